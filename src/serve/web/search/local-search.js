// A search in the rows of the merged page: those that are here are tested on the page, and the server knows the others.

import { isBefore } from '../merged/place.js';

/**
 * @typedef {import('../merged/merge-buffer.js').Entry} Entry
 *
 * @typedef {object} Parts
 * @property {import('../merged/merge-buffer.js').MergeBuffer} buffer
 * @property {import('../merged/pager.js').Pager} pager
 * @property {() => import('../merged/merge-buffer.js').RowFilter} rowFilter
 * @property {() => Record<string, string>} parameters what the server is asked for
 * @property {import('../merged/journey.js').Journey} journey
 * @property {(words: string) => void} say
 */

export class LocalSearch {
  /** Rows that match, in the order of the list. @type {Entry[]} */
  rows = [];
  /** Whether all rows of all logs are here. */
  complete = true;
  running = false;
  /** The match to which a step led. @type {Entry | null} */
  current = null;
  /** Why the pattern is invalid. */
  error = '';
  interruption = '';
  #parts;
  /** Aborts the request for a match that is not here. */
  #turn = new AbortController();
  /** @type {((entry: import('../rows/tail.js').Row & Entry) => boolean) | null} */
  #test = null;
  /** Earlier results, each valid for one HTML text. @type {WeakMap<Entry, {html: string, passes: boolean}>} */
  #cache = new WeakMap();

  /** @param {Parts} parts */
  constructor(parts) {
    this.#parts = parts;
  }

  /** A match is named by its place among the matches that are here. */
  get offsets() {
    return this.rows.map((_, at) => at);
  }

  get count() {
    return this.rows.length;
  }

  /** @param {((entry: import('../rows/tail.js').Row & Entry) => boolean) | null} test null if nothing is searched */
  setTest(test) {
    this.#turn.abort();
    this.#test = test;
    this.#cache = new WeakMap();
    this.current = null;
  }

  /** @param {Entry} entry */
  matches(entry) {
    if (this.#test === null || entry.marker !== undefined || entry.isGone) return false;
    const known = this.#cache.get(entry);
    if (known?.html === entry.html) return known.passes;
    const passes = this.#test(entry);
    this.#cache.set(entry, { html: entry.html, passes });
    return passes;
  }

  /** Searches the rows that are here. */
  run() {
    const { buffer, rowFilter } = this.#parts;
    this.complete = buffer.paged.atStart && buffer.paged.isJoined;
    this.rows = [];
    if (this.#test === null) return;
    const choice = rowFilter();
    for (const entry of buffer.entries(choice.logs)) if (this.matches(entry) && buffer.isShown(entry, choice) && buffer.isInRun(entry, choice)) this.rows.push(entry);
    this.rows.sort((a, b) => (isBefore(a, b) ? -1 : 1));
  }

  /**
   * Goes to the next or the previous match; wraps around at the ends of the logs.
   * @param {1 | -1} way
   */
  async step(way) {
    const { buffer: { paged }, journey, say } = this.#parts;
    this.#turn.abort();
    this.#turn = new AbortController();
    const { signal } = this.#turn;
    this.run();
    const { row, isCurrent } = journey.here();
    const isBehind = (/** @type {Entry} */ one) => row === null || isBefore(row, one) || (one === row && !isCurrent);
    const near = way > 0 ? this.rows.find(isBehind) : this.rows.findLast((one) => row !== null && isBefore(one, row));
    if (near !== undefined) {
      this.current = near;
      await journey.goTo(near, true);
      return;
    }
    try {
      const isEnd = way > 0 ? paged.isJoined : paged.atStart;
      const far = isEnd ? null : await this.#ask(way, false, signal);
      if (far !== null) {
        await journey.goTo(far, false);
        return;
      }
      // Around: from the other end of the logs.
      const isThere = way > 0 ? paged.atStart : paged.isJoined;
      const first = isThere ? (way > 0 ? this.rows[0] : this.rows.at(-1)) : await this.#ask(way, true, signal);
      if (first) {
        this.current = first;
        await journey.goTo(first, isThere);
      } else say('Nothing found in these logs');
    } catch (error) {
      if (!signal.aborted) say(`Could not search: ${error instanceof Error ? error.message : String(error)}`);
    }
  }

  /** @param {1 | -1} way @param {boolean} isFromEnd @param {AbortSignal} signal */
  async #ask(way, isFromEnd, signal) {
    const { pager, parameters, say } = this.#parts;
    const late = setTimeout(() => say('Searching all of these logs…'), 400);
    try {
      const found = await pager.find(way > 0 ? 'from' : 'before', { ...parameters(), filter: '1' }, isFromEnd, signal);
      signal.throwIfAborted();
      return found;
    } finally {
      clearTimeout(late);
    }
  }
}
