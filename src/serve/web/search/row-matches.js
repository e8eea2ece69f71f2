// What an expression of a reader matches in rows. A worker finds it, because no one can tell how long a regular expression
// takes. One that takes too long is not asked for again.

import { MATCH_MS_MAX, TooSlow } from './matcher.js';

/**
 * @typedef {import('../rows/tail.js').Entry} Entry
 * @typedef {[from: number, to: number][]} Places
 * @typedef {{html: string, first: Node | null}} Drawn what a row showed when it was searched
 */

export class RowMatches {
  /** Why nothing is searched any more; empty if that is not so. */
  trouble = '';
  #matcher;
  #expression;
  #chars;
  #changed;
  #isAsking = false;
  /** @type {WeakMap<HTMLElement, Drawn & {places: Places}>} */
  #known = new WeakMap();

  /**
   * @param {import('./matcher.js').Matcher} matcher
   * @param {{source: string, flags: string}} expression
   * @param {number} chars how many characters of a row are searched
   * @param {() => void} changed called when more is known, and when there is trouble
   */
  constructor(matcher, expression, chars, changed) {
    this.#matcher = matcher;
    this.#expression = expression;
    this.#chars = chars;
    this.#changed = changed;
  }

  /**
   * The matches in a row; null while they are not known.
   * @param {HTMLElement} element
   * @param {string} html
   */
  in(element, html) {
    const known = this.#known.get(element);
    // The whole of a long row has other nodes than its beginning.
    return known !== undefined && known.html === html && known.first === element.firstChild ? known.places : null;
  }

  /** Searches those rows that were not searched yet. @param {Entry[]} entries */
  want(entries) {
    if (this.trouble !== '' || this.#isAsking) return;
    /** @type {[HTMLElement, Drawn][]} */
    const unknown = [];
    for (const { element, marker, ...entry } of entries) {
      if (marker !== undefined || element === null || !('html' in entry)) continue;
      if (this.in(element, entry.html) === null) unknown.push([element, { html: entry.html, first: element.firstChild }]);
    }
    if (unknown.length > 0) this.#ask(unknown);
  }

  /** @param {[HTMLElement, Drawn][]} rows */
  async #ask(rows) {
    this.#isAsking = true;
    try {
      const found = await this.#matcher.find(this.#expression, rows.map(([element]) => (element.textContent ?? '').slice(0, this.#chars)));
      rows.forEach(([element, drawn], at) => this.#known.set(element, { ...drawn, places: found[at] }));
    } catch (error) {
      this.trouble = error instanceof TooSlow
        ? `its expression took more than ${MATCH_MS_MAX / 1_000} s for the lines on the screen`
        : `${error instanceof Error ? error.message : error}`;
    }
    this.#isAsking = false;
    this.#changed();
  }
}
