// The columns before the text: the line number and the time of each row in sight. Unknown line numbers are requested
// from the server in batches.

import { failureWords, Gone } from '../net/api.js';
import { serverZone, zoneOf } from '../ui/zones.js';
import { textOf } from './row.js';
import { formatAgo, formatTimeGap, isLongGap, parseTime } from './times.js';

const REQUEST_MS = 250;
const OFFSETS_MAX = 500;
const DIGITS_MIN = 4;

/**
 * @typedef {import('./tail.js').Row} Row
 * @typedef {import('./tail.js').Entry} Entry
 */

export class Columns {
  #log;
  #api;
  #generations;
  #changed;
  #failed;
  /** Whether the last request for numbers failed. */
  #hasFailed = false;
  #asking = false;
  #askedAt = 0;
  #digits = DIGITS_MIN;

  /**
   * @param {HTMLElement} log
   * @param {import('../net/api.js').LogApi} api
   * @param {import('./generations.js').Generations} generations
   * @param {() => void} changed called when numbers have arrived
   * @param {(words: string) => void} failed called when requests for numbers begin to fail
   */
  constructor(log, api, generations, changed, failed) {
    this.#log = log;
    this.#api = api;
    this.#generations = generations;
    this.#changed = changed;
    this.#failed = failed;
  }

  /**
   * @param {Entry[]} entries in sight, in their order
   * @param {import('../ui/options.js').Options} options
   * @param {boolean} numbered whether numbers are needed even if they are not shown
   */
  show(entries, options, numbered) {
    if (options.numbers || numbered) this.#showNumbers(entries);
    showTimes(this.#log, entries, options);
  }

  /** @param {Entry[]} entries */
  #showNumbers(entries) {
    /** @type {Row[]} */
    const unknown = [];
    for (const entry of entries) {
      if (entry.marker !== undefined) continue;
      if (entry.line === null) {
        if (!this.#hasNoNumber(entry) && unknown.length < OFFSETS_MAX && (unknown.length === 0 || unknown[0].gen === entry.gen)) unknown.push(entry);
        continue;
      }
      const { dataset } = /** @type {HTMLElement} */ (entry.element);
      const number = String(entry.line);
      if (dataset.line !== number) dataset.line = number;
      if (number.length > this.#digits) {
        this.#digits = number.length;
        this.#log.style.setProperty('--digits', number.length.toFixed());
      }
    }
    if (unknown.length > 0) this.#requestNumbers(unknown);
  }

  /** Rows without a line number, because they continue a line. They are not requested again. @type {WeakSet<Row>} */
  #numberless = new WeakSet();

  /** @param {Row} row */
  #hasNoNumber(row) {
    return this.#numberless.has(row);
  }

  /** @param {Row[]} rows rows of one generation */
  async #requestNumbers(rows) {
    if (this.#asking) return;
    this.#asking = true;
    const wait = this.#askedAt + REQUEST_MS - performance.now();
    if (wait > 0) await new Promise((resolve) => setTimeout(resolve, wait));
    this.#askedAt = performance.now();
    try {
      const { lines, total } = await this.#api.lineNumbers(this.#generations.at(rows[0].gen).id, rows.map(({ offset }) => offset));
      rows.forEach((row, at) => {
        row.line = lines[at] ?? null;
        if (row.line === null && total !== null) this.#numberless.add(row);
      });
      this.#hasFailed = false;
    } catch (error) {
      // The numbers are requested again when the view changes.
      if (!this.#hasFailed && !(error instanceof Gone)) this.#failed(`No line numbers yet: ${failureWords(error)}`);
      this.#hasFailed = true;
    }
    this.#asking = false;
    this.#changed();
  }
}

/**
 * Shows the times of consecutive rows.
 * @param {HTMLElement} log
 * @param {Entry[]} entries
 * @param {import('../ui/options.js').Options} options
 */
export function showTimes(log, entries, { times, zone }) {
  if (times === 'off') return;
  const now = Date.now();
  /** @type {number | null} */
  let before = null;
  for (const entry of entries) {
    if (entry.marker !== undefined) continue;
    const element = /** @type {HTMLElement} */ (entry.element);
    const at = timeOf(entry, now);
    let words = '';
    let isLong = false;
    if (at !== null) {
      if (times === 'clock') words = zoneOf(zone).preciseClock(at);
      else if (times === 'ago') words = formatAgo(now - at);
      else if (before !== null) {
        words = formatTimeGap(at - before);
        isLong = isLongGap(at - before);
      }
      before = at;
    }
    if ((element.dataset.time ?? '') !== words) element.dataset.time = words;
    if (element.classList.contains('long-gap') !== isLong) element.classList.toggle('long-gap', isLong);
  }
  const chars = times === 'clock' ? 12 : 9;
  log.style.setProperty('--time-chars', String(chars));
}

/** The times in rows' texts, parsed once until the row changes. @type {WeakMap<Row, number | null>} */
const lineTimes = new WeakMap();

/** Must be called when the row changed. @param {Row} row */
export function forgetTime(row) {
  lineTimes.delete(row);
}

/**
 * The time of a row: what the server reads, if it was asked; else that of its annotation, else the time in its text, else its time of arrival.
 * What the server does not take for the time of a row is none.
 * @param {Row} row
 * @param {number} now
 */
export function timeOf(row, now) {
  if (row.told === null) return row.annotation?.time ?? row.time;
  let at = lineTimes.get(row);
  if (at === undefined) {
    at = parseTime(row.element === null ? '' : textOf(row.element), row.time ?? now, serverZone() ?? undefined);
    lineTimes.set(row, at);
  }
  // The log's own stamp of the row stands above a time in the program's text.
  return row.told ?? row.annotation?.time ?? at ?? row.time;
}
