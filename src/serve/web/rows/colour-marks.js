// Colours what the reader's own rules match in the rows in and near sight. A rule that takes too long is off until it is
// changed.

import { Matcher } from '../search/matcher.js';
import { RowMatches } from '../search/row-matches.js';
import { colourExpression } from '../ui/colour-rules.js';
import { HAS_HIGHLIGHTS, textRanges } from './text-ranges.js';

/** Only so many characters of a row are searched. */
const READ_CHARS = 2_000;

/**
 * @typedef {import('../ui/colour-rules.js').ColourRule} ColourRule
 *
 * @typedef {object} Active a rule that is applied
 * @property {ColourRule} rule
 * @property {RowMatches} matches
 * @property {Map<HTMLElement, {places: [number, number][], ranges: StaticRange[]}>} drawn
 * @property {boolean} isTold whether the reader was told that it is off
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
    /** @type {Active[]} */
    const active = [];
    for (const rule of rules) {
      const expression = colourExpression(rule.text);
      if (expression === null) continue;
      const matches = () => new RowMatches(this.#matcher, expression, READ_CHARS, this.#changed);
      active.push(before.find(isOf(rule)) ?? { rule, matches: matches(), drawn: new Map(), isTold: false });
    }
    this.#active = active;
    for (const gone of before) if (!active.includes(gone)) this.#drop(gone, gone.drawn);
    this.#changed();
  }

  /** Why a rule is off; empty if it is not. @param {ColourRule} rule */
  troubleOf(rule) {
    const trouble = this.#active.find(isOf(rule))?.matches.trouble ?? '';
    return trouble === '' ? '' : `off: ${trouble}`;
  }

  /** @param {import('./tail.js').Entry[]} entries in sight */
  show(entries) {
    if (!HAS_HIGHLIGHTS) return;
    for (const active of this.#active) {
      active.matches.want(entries);
      this.#draw(active, entries);
      const { trouble } = active.matches;
      if (trouble === '' || active.isTold) continue;
      active.isTold = true;
      this.#failed(`The colour for ${active.rule.text} is off: ${trouble}`);
    }
  }

  /** @param {Active} active @param {import('./tail.js').Entry[]} entries */
  #draw(active, entries) {
    const before = active.drawn;
    active.drawn = new Map();
    for (const { element, marker, ...entry } of entries) {
      if (marker !== undefined || element === null || !('html' in entry) || active.matches.trouble !== '') continue;
      const places = active.matches.in(element, entry.html);
      if (places === null) continue;
      let drawn = before.get(element);
      if (drawn?.places === places) {
        before.delete(element);
      } else {
        drawn = { places, ranges: textRanges(element, places) };
        for (const range of drawn.ranges) this.#highlightOf(active.rule.colour).add(range);
      }
      active.drawn.set(element, drawn);
    }
    this.#drop(active, before);
  }

  /** @param {Active} active @param {Active['drawn']} drawn */
  #drop({ rule }, drawn) {
    for (const { ranges } of drawn.values()) for (const range of ranges) this.#highlightOf(rule.colour).delete(range);
  }

  /** @param {string} colour */
  #highlightOf(colour) {
    let highlight = this.#highlights.get(colour);
    if (highlight === undefined) {
      highlight = new Highlight();
      this.#highlights.set(colour, highlight);
      CSS.highlights.set(`colour-${colour}`, highlight);
    }
    return highlight;
  }
}

/** @param {ColourRule} rule @returns {(active: Active) => boolean} */
function isOf(rule) {
  return (active) => active.rule.text === rule.text && active.rule.colour === rule.colour;
}
