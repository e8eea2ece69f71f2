// Colours over the rows in sight: what was found, and what the reader wants to stand out. They are painted by the browser's own
// highlights, which leave the rows as they are; a browser without these marks the whole row.

import { compile, matches } from './pattern.js';

/**
 * @typedef {import('../url/view-hash.js').Pattern} Pattern
 * @typedef {import('../rows/tail.js').Entry} Entry
 */

const CAN_PAINT = typeof Highlight === 'function' && 'highlights' in CSS;

export class Paint {
  /** @type {{expression: RegExp | null}} */
  #find = { expression: null };
  /** @type {(RegExp | null)[]} */
  #rules = [];
  /** The row that the reader was brought to. @type {HTMLElement | null} */
  #hit = null;
  /** Names of the highlights that are set. @type {Set<string>} */
  #set = new Set();

  /** @param {Pattern | null} pattern */
  find(pattern) {
    this.#find = { expression: pattern === null ? null : compile(pattern) };
  }

  /** @param {Pattern[]} rules */
  rules(rules) {
    this.#rules = rules.map(compile);
  }

  /**
   * @param {Entry[]} entries in sight
   * @param {number | null} current offset of the row that the reader was brought to
   * @param {number} span the file of `current`
   */
  show(entries, current, span) {
    /** @type {Map<string, AbstractRange[]>} */
    const painted = new Map();
    /** @type {HTMLElement | null} */
    let hit = null;
    const isOn = this.#find.expression !== null || this.#rules.length > 0;
    for (const entry of entries) {
      if (entry.mark !== undefined || entry.element === null) continue;
      const isCurrent = entry.span === span && entry.offset === current;
      if (isCurrent) hit = entry.element;
      if (!isOn && entry.note?.match === undefined) continue;
      const text = entry.element.textContent ?? '';
      this.#rules.forEach((rule, at) => {
        if (rule !== null) add(painted, `rule-${at}`, entry.element, matches(rule, text));
      });
      const found = this.#find.expression === null ? entry.note?.match ?? [] : matches(this.#find.expression, text);
      add(painted, isCurrent ? 'found-here' : 'found', entry.element, found);
    }
    if (hit !== this.#hit) {
      this.#hit?.classList.remove('hit');
      this.#hit = hit;
    }
    this.#hit?.classList.add('hit');
    this.#apply(painted);
  }

  /** @param {Map<string, AbstractRange[]>} painted */
  #apply(painted) {
    if (!CAN_PAINT) return;
    for (const name of this.#set) if (!painted.has(name)) CSS.highlights.delete(name);
    for (const [name, ranges] of painted) {
      const highlight = new Highlight(...ranges);
      highlight.priority = name === 'found-here' ? 3 : name === 'found' ? 2 : 1;
      CSS.highlights.set(name, highlight);
    }
    this.#set = new Set(painted.keys());
  }
}

/**
 * @param {Map<string, AbstractRange[]>} painted
 * @param {string} name
 * @param {HTMLElement | null} element
 * @param {[number, number][]} places in the element's text, in ascending order
 */
function add(painted, name, element, places) {
  if (places.length === 0 || element === null) return;
  if (!CAN_PAINT) {
    element.dataset.painted = name;
    return;
  }
  const ranges = painted.get(name) ?? [];
  painted.set(name, ranges);
  const walker = document.createTreeWalker(element, NodeFilter.SHOW_TEXT);
  let node = /** @type {Text | null} */ (walker.nextNode());
  let start = 0;
  for (const [from, to] of places) {
    while (node !== null && start + node.length <= from) {
      start += node.length;
      node = /** @type {Text | null} */ (walker.nextNode());
    }
    if (node === null) return;
    let end = node;
    let endStart = start;
    const range = new StaticRange({ startContainer: node, startOffset: from - start, ...endOf() });
    ranges.push(range);

    /** The text node that holds the end; the next match may begin in it. */
    function endOf() {
      while (endStart + end.length < to) {
        const next = /** @type {Text | null} */ (walker.nextNode());
        if (next === null) break;
        endStart += end.length;
        end = next;
      }
      return { endContainer: end, endOffset: Math.min(to - endStart, end.length) };
    }
    node = end;
    start = endStart;
  }
}
