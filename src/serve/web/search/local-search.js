// A search in the rows of the merged page: those that are here are tested one by one, and the server knows the others. A
// test may take a while, as that of a worker or of the server does; until then a row does not match.

import { isBefore } from '../merged/place.js';
import { failureWords, Invalid } from '../net/api.js';

/** Rows that arrive are tested together. */
const ASK_MS = 250;
/** The pause after a question without an answer. */
const RETRY_MS = 1_000;
/** While lines arrive, a step waits for the test of those that are here, not of all that follow. */
const ROUNDS_MAX = 2;
/** The same while pages are loaded, of which there are few. */
const PAGE_ROUNDS_MAX = 10;

/**
 * @typedef {import('../merged/merge-buffer.js').Entry} Entry
 * @typedef {import('./server-test.js').RowEntry} RowEntry
 * @typedef {((entry: RowEntry) => boolean) | import('./server-test.js').SlowTest} Test
 *
 * @typedef {object} Parts
 * @property {import('../merged/merge-buffer.js').MergeBuffer} buffer
 * @property {import('../merged/pager.js').Pager} pager
 * @property {() => import('../merged/merge-buffer.js').RowFilter} rowFilter
 * @property {() => Record<string, string>} parameters what the server is asked for
 * @property {import('../merged/journey.js').Journey} journey
 * @property {(words: string) => void} say
 * @property {(rows: Entry[]) => void} decided called when more is known: with the rows that match now and did not before, or the
 *   other way round
 * @property {() => void} refused called when it turned out why the pattern is invalid
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
  /** @type {Test | null} */
  #test = null;
  /** Ends with the test. */
  #testing = new AbortController();
  /** What is being found out of rows that were not tested yet. @type {Promise<void> | null} */
  #question = null;
  /** Whether rows of a page are among those that were not tested yet. */
  #awaitsPage = false;
  #askedAt = -Infinity;
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

  /** @param {Test | null} test null if nothing is searched */
  setTest(test) {
    this.#turn.abort();
    this.#testing.abort();
    this.#testing = new AbortController();
    this.#question = null;
    this.#test = test;
    this.#cache = new WeakMap();
    this.current = null;
    this.interruption = '';
    this.running = test !== null && typeof test !== 'function';
  }

  /** Whether a row matches; null while that is not known. Of a row that has changed, what was known last. @param {Entry} entry */
  verdict(entry) {
    if (this.#test === null || entry.marker !== undefined || entry.isGone) return false;
    const known = this.#cache.get(entry);
    if (known?.html === entry.html) return known.passes;
    if (typeof this.#test !== 'function') return known?.passes ?? null;
    const passes = this.#test(entry);
    this.#cache.set(entry, { html: entry.html, passes });
    return passes;
  }

  /** @param {Entry} entry */
  matches(entry) {
    return this.verdict(entry) ?? false;
  }

  /** Searches the rows that are here. */
  run() {
    const { buffer, rowFilter } = this.#parts;
    this.complete = buffer.paged.atStart && buffer.paged.isJoined;
    this.rows = [];
    const test = this.#test;
    if (test === null) return;
    const choice = rowFilter();
    /** @type {RowEntry[]} */
    const unknown = [];
    for (const entry of buffer.entries(choice.logs)) {
      if (typeof test !== 'function' && entry.marker === undefined && !entry.isGone && this.#cache.get(entry)?.html !== entry.html) unknown.push(entry);
      if (this.matches(entry) && buffer.isShown(entry, choice) && buffer.isInRun(entry, choice)) this.rows.push(entry);
    }
    this.rows.sort((a, b) => (isBefore(a, b) ? -1 : 1));
    if (typeof test === 'function' || this.error !== '') return;
    this.#awaitsPage = unknown.some(({ isPaged }) => isPaged === true);
    if (unknown.length > 0) this.#question ??= this.#findOut(test, unknown, this.#testing.signal);
    else this.running = false;
  }

  /**
   * Finds out which of these rows match.
   * @param {import('./server-test.js').SlowTest} test
   * @param {RowEntry[]} rows
   * @param {AbortSignal} signal
   */
  async #findOut(test, rows, signal) {
    /** @type {Entry[]} */
    const decided = [];
    await pause(this.#askedAt + ASK_MS - performance.now());
    if (signal.aborted) return;
    this.#askedAt = performance.now();
    const texts = rows.map(({ html }) => html);
    try {
      const passed = await test.ask(rows, signal);
      if (signal.aborted) return;
      rows.forEach((row, at) => {
        const passes = passed[at];
        if (passes === null) return;
        if (this.#cache.get(row)?.passes !== passes) decided.push(row);
        this.#cache.set(row, { html: texts[at], passes });
      });
      this.interruption = test.interruption;
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof Invalid) this.error = error.message;
      else this.interruption = failureWords(error);
    }
    this.running = false;
    this.#parts.decided(decided);
    if (this.error !== '') this.#parts.refused();
    if (this.interruption !== '') await pause(RETRY_MS);
    if (signal.aborted) return;
    this.#question = null;
    // Others may have arrived meanwhile.
    this.#parts.decided([]);
  }

  /** Waits until the rows that are here are tested, or cannot be now. @param {AbortSignal} signal */
  async #settled(signal) {
    for (let round = 0; this.#question !== null && this.interruption === '' && !signal.aborted; round += 1) {
      // A match in a page that comes meanwhile would be passed over, for the server searches from the page's edge on.
      if (round >= (this.#awaitsPage ? PAGE_ROUNDS_MAX : ROUNDS_MAX)) return;
      await this.#question;
      this.run();
    }
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
    await this.#settled(signal);
    if (signal.aborted) return;
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

/** @param {number} ms */
function pause(ms) {
  return ms <= 0 ? Promise.resolve() : new Promise((resolve) => { setTimeout(resolve, ms); });
}
