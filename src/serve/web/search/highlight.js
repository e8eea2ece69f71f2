// Highlights matches and the reader's own patterns in the visible rows, by the CSS Custom Highlight API, which does not
// change the document. In a browser without that API the whole row is highlighted. A worker finds the matches of a regular
// expression, which may take for ever.

import { HAS_HIGHLIGHTS, textRanges } from '../rows/text-ranges.js';
import { Matcher } from './matcher.js';
import { compile, expressionOf, matches } from './pattern.js';
import { RowMatches } from './row-matches.js';

/**
 * @typedef {import('../url/view-hash.js').Pattern} Pattern
 * @typedef {import('../rows/tail.js').Entry} Entry
 * @typedef {{key: string, expression: RegExp | null, slow: RowMatches | null}} Sought a pattern: searched here, or by a worker
 */

/** So many characters of a row are searched for a regular expression. */
const READ_CHARS = 20_000;

export class Highlighter {
  /** @type {Sought | null} */
  #find = null;
  /** @type {Sought[]} */
  #rules = [];
  #matcher = new Matcher();
  #changed;
  #failed;
  /** The row that the reader went to. @type {HTMLElement | null} */
  #currentRow = null;
  /** The names of the present highlights. @type {Set<string>} */
  #names = new Set();

  /**
   * @param {() => void} changed called when there is more to show
   * @param {(words: string) => void} failed called when a pattern takes too long
   */
  constructor(changed, failed) {
    this.#changed = changed;
    this.#failed = failed;
  }

  /** @param {Pattern | null} pattern */
  setPattern(pattern) {
    this.#find = pattern === null ? null : this.#sought(pattern, this.#find);
  }

  /** @param {Pattern[]} rules */
  setRules(rules) {
    this.#rules = rules.map((rule, at) => this.#sought(rule, this.#rules[at] ?? null));
  }

  /** @param {Pattern} pattern @param {Sought | null} before @returns {Sought} */
  #sought(pattern, before) {
    const key = JSON.stringify(pattern);
    if (before?.key === key) return before;
    if (!pattern.regex) return { key, expression: compile(pattern), slow: null };
    const expression = expressionOf(pattern);
    if (expression === null) return { key, expression: null, slow: null };
    const slow = new RowMatches(this.#matcher, expression, READ_CHARS, () => {
      if (slow.trouble !== '') this.#failed(`The matches of ${pattern.text} are not marked: ${slow.trouble}`);
      this.#changed();
    });
    return { key, expression: null, slow };
  }

  /**
   * @param {Entry[]} entries in sight
   * @param {import('../rows/generations.js').Position | null} current the row that the reader went to
   */
  show(entries, current) {
    /** @type {Map<string, AbstractRange[]>} */
    const rangesByName = new Map();
    /** @type {HTMLElement | null} */
    let hit = null;
    const isOn = this.#find !== null || this.#rules.length > 0;
    for (const sought of [this.#find, ...this.#rules]) sought?.slow?.want(entries);
    for (const entry of entries) {
      if (entry.marker !== undefined || entry.element === null) continue;
      const isCurrent = current !== null && entry.gen === current.gen && entry.offset === current.offset;
      if (isCurrent) hit = entry.element;
      if (!isOn && entry.annotation?.match === undefined) continue;
      const text = entry.element.textContent ?? '';
      this.#rules.forEach((rule, at) => addRanges(rangesByName, `rule-${at}`, entry.element, placesOf(rule, entry, text) ?? []));
      const found = placesOf(this.#find, entry, text) ?? entry.annotation?.match ?? [];
      addRanges(rangesByName, isCurrent ? 'found-here' : 'found', entry.element, found);
    }
    if (hit !== this.#currentRow) {
      this.#currentRow?.classList.remove('current');
      this.#currentRow = hit;
    }
    this.#currentRow?.classList.add('current');
    this.#apply(rangesByName);
  }

  /** @param {Map<string, AbstractRange[]>} rangesByName */
  #apply(rangesByName) {
    if (!HAS_HIGHLIGHTS) return;
    for (const highlightName of this.#names) if (!rangesByName.has(highlightName)) CSS.highlights.delete(highlightName);
    for (const [highlightName, ranges] of rangesByName) {
      const highlight = new Highlight(...ranges);
      highlight.priority = highlightName === 'found-here' ? 3 : highlightName === 'found' ? 2 : 1;
      CSS.highlights.set(highlightName, highlight);
    }
    this.#names = new Set(rangesByName.keys());
  }
}

/**
 * @param {Map<string, AbstractRange[]>} rangesByName
 * @param {string} highlightName
 * @param {HTMLElement | null} element
 * @param {[number, number][]} places ranges in the element's text, in ascending order
 */
function addRanges(rangesByName, highlightName, element, places) {
  if (places.length === 0 || element === null) return;
  if (!HAS_HIGHLIGHTS) {
    element.dataset.highlighted = highlightName;
    return;
  }
  const ranges = rangesByName.get(highlightName) ?? [];
  rangesByName.set(highlightName, ranges);
  ranges.push(...textRanges(element, places));
}

/**
 * Where a pattern matches in a row; null if that is not known here.
 * @param {Sought | null} sought
 * @param {import('../rows/tail.js').Row} row
 * @param {string} text of the row
 */
function placesOf(sought, row, text) {
  if (sought === null || row.element === null) return null;
  if (sought.slow !== null) return sought.slow.in(row.element, row.html);
  return sought.expression === null ? null : matches(sought.expression, text);
}
