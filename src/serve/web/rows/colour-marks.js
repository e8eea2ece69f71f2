// Colours what the reader's own rules match in the rows in and near sight. A worker finds the matches, because no one can
// tell how long a regular expression takes. A rule that takes too long is off until it is changed.

import { MATCH_MS_MAX, Matcher, TooSlow } from '../search/matcher.js';
import { colourExpression } from '../ui/colour-rules.js';
import { HAS_HIGHLIGHTS, textRanges } from './text-ranges.js';

/** Only so many characters of a row are searched. */
const READ_CHARS = 2_000;

/**
 * @typedef {import('../ui/colour-rules.js').ColourRule} ColourRule
 * @typedef {{html: string, first: Node | null, ranges: StaticRange[]}} Drawn
 *
 * @typedef {object} Active a rule that is applied
 * @property {ColourRule} rule
 * @property {{source: string, flags: string} | null} expression
 * @property {Map<HTMLElement, Drawn>} drawn
 * @property {boolean} isAsking
 * @property {string} trouble why it is off; empty if it is not
 */

export class ColourMarks {
  /** @type {Active[]} */
  #active = [];
  #matcher = new Matcher();
  /** The highlight of each colour. @type {Map<string, Highlight>} */
  #highlights = new Map();
  #changed;
  #failed;

  /**
   * @param {() => void} changed called when there is more to show
   * @param {(words: string) => void} failed called when a rule is switched off
   */
  constructor(changed, failed) {
    this.#changed = changed;
    this.#failed = failed;
  }

  /** @param {ColourRule[]} rules */
  set(rules) {
    const before = this.#active;
    this.#active = rules.map((rule) => {
      const same = before.find((one) => one.rule.text === rule.text && one.rule.colour === rule.colour);
      return same ?? { rule, expression: colourExpression(rule.text), drawn: new Map(), isAsking: false, trouble: '' };
    });
    for (const gone of before) if (!this.#active.includes(gone)) this.#clear(gone);
    this.#changed();
  }

  /** Why a rule is off; empty if it is not. @param {ColourRule} rule */
  troubleOf(rule) {
    return this.#active.find((one) => one.rule.text === rule.text && one.rule.colour === rule.colour)?.trouble ?? '';
  }

  /** @param {import('./tail.js').Entry[]} entries in sight */
  show(entries) {
    if (!HAS_HIGHLIGHTS) return;
    for (const active of this.#active) if (active.trouble === '' && active.expression !== null) this.#showOne(active, entries);
  }

  /** @param {Active} active @param {import('./tail.js').Entry[]} entries */
  #showOne(active, entries) {
    const before = active.drawn;
    active.drawn = new Map();
    /** @type {[HTMLElement, string][]} */
    const unknown = [];
    for (const entry of entries) {
      const { element } = entry;
      if (entry.marker !== undefined || element === null) continue;
      const drawn = before.get(element);
      if (drawn === undefined || drawn.html !== entry.html || drawn.first !== element.firstChild) {
        unknown.push([element, entry.html]);
      } else {
        active.drawn.set(element, drawn);
        before.delete(element);
      }
    }
    const highlight = this.#highlightOf(active.rule.colour);
    for (const { ranges } of before.values()) for (const range of ranges) highlight.delete(range);
    if (unknown.length > 0 && !active.isAsking) this.#ask(active, unknown);
  }

  /** @param {Active} active @param {[HTMLElement, string][]} rows with their HTML */
  async #ask(active, rows) {
    active.isAsking = true;
    try {
      const { source, flags } = /** @type {{source: string, flags: string}} */ (active.expression);
      const found = await this.#matcher.find({ source, flags }, rows.map(([element]) => (element.textContent ?? '').slice(0, READ_CHARS)));
      if (this.#active.includes(active)) rows.forEach(([element, html], at) => this.#draw(active, element, html, found[at]));
    } catch (error) {
      const reason = error instanceof TooSlow ? `its expression took more than ${MATCH_MS_MAX} ms for the lines on the screen` : `${error instanceof Error ? error.message : error}`;
      active.trouble = `off: ${reason}`;
      this.#clear(active);
      if (this.#active.includes(active)) this.#failed(`The colour for ${active.rule.text} is off: ${reason}`);
    }
    active.isAsking = false;
    this.#changed();
  }

  /** @param {Active} active @param {HTMLElement} element @param {string} html @param {[number, number][]} places */
  #draw(active, element, html, places) {
    const highlight = this.#highlightOf(active.rule.colour);
    for (const range of active.drawn.get(element)?.ranges ?? []) highlight.delete(range);
    const ranges = textRanges(element, places);
    for (const range of ranges) highlight.add(range);
    active.drawn.set(element, { html, first: element.firstChild, ranges });
  }

  /** @param {Active} active */
  #clear({ drawn, rule }) {
    const highlight = this.#highlightOf(rule.colour);
    for (const { ranges } of drawn.values()) for (const range of ranges) highlight.delete(range);
    drawn.clear();
  }

  /** @param {string} colour */
  #highlightOf(colour) {
    let highlight = this.#highlights.get(colour);
    if (highlight === undefined) {
      highlight = new Highlight();
      this.#highlights.set(colour, highlight);
      if (HAS_HIGHLIGHTS) CSS.highlights.set(`colour-${colour}`, highlight);
    }
    return highlight;
  }
}
