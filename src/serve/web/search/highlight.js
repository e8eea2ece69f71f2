// Highlights matches and the reader's own patterns in the visible rows, by the CSS Custom Highlight API, which does not
// change the document. In a browser without that API the whole row is highlighted.

import { HAS_HIGHLIGHTS, textRanges } from '../rows/text-ranges.js';
import { compile, matches } from './pattern.js';

/**
 * @typedef {import('../url/view-hash.js').Pattern} Pattern
 * @typedef {import('../rows/tail.js').Entry} Entry
 */

export class Highlighter {
  /** @type {{expression: RegExp | null}} */
  #find = { expression: null };
  /** @type {(RegExp | null)[]} */
  #rules = [];
  /** The row that the reader went to. @type {HTMLElement | null} */
  #currentRow = null;
  /** The names of the present highlights. @type {Set<string>} */
  #names = new Set();

  /** @param {Pattern | null} pattern */
  setPattern(pattern) {
    this.#find = { expression: pattern === null ? null : compile(pattern) };
  }

  /** @param {Pattern[]} rules */
  setRules(rules) {
    this.#rules = rules.map(compile);
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
    const isOn = this.#find.expression !== null || this.#rules.length > 0;
    for (const entry of entries) {
      if (entry.marker !== undefined || entry.element === null) continue;
      const isCurrent = current !== null && entry.gen === current.gen && entry.offset === current.offset;
      if (isCurrent) hit = entry.element;
      if (!isOn && entry.annotation?.match === undefined) continue;
      const text = entry.element.textContent ?? '';
      this.#rules.forEach((rule, at) => {
        if (rule !== null) addRanges(rangesByName, `rule-${at}`, entry.element, matches(rule, text));
      });
      const found = this.#find.expression === null ? entry.annotation?.match ?? [] : matches(this.#find.expression, text);
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
