// The rows of all logs that were loaded from the server: one run of the merged list without gaps. While it is joined to
// the rows that arrive, nothing is missing between it and them.

import { firstNotBefore, isBefore, offsetOf, PAGED_FROM } from './place.js';

/** More rows than the viewport has. */
export const PAGED_MAX = 8_000;

/**
 * @typedef {import('./merge-buffer.js').Entry} Entry
 * @typedef {import('./merged-api.js').FilePlace} FilePlace
 */

export class PagedRows {
  /** In the order of the list. @type {Entry[]} */
  rows = [];
  /** Whether nothing comes before the rows. */
  atStart = false;
  /** Whether the rows that arrive come right behind them. */
  isJoined = true;
  /** For each log, its first row in the run or behind it. @type {(FilePlace | null)[]} */
  top;
  /** For each log, its first row behind the run. @type {(FilePlace | null)[]} */
  bottom;
  /** The parameters of the filter with which the rows were loaded. */
  filter = '';
  /** The numbers of the first and the last row of each log. @type {{first: number, last: number}[]} */
  #numbers;

  /** @param {number} logs */
  constructor(logs) {
    this.top = Array.from({ length: logs }, () => null);
    this.bottom = Array.from({ length: logs }, () => null);
    this.#numbers = Array.from({ length: logs }, () => ({ first: PAGED_FROM, last: PAGED_FROM }));
  }

  /** @param {import('./place.js').Place} place */
  find(place) {
    return firstNotBefore(this.rows.length, (index) => this.rows[index], place);
  }

  /**
   * Adds rows before the others, or behind them. Those of one log keep the order of their file, whatever their keys.
   * @param {Entry[]} rows in order
   * @param {boolean} isBefore
   */
  add(rows, isBefore) {
    if (rows.length === 0) return;
    /** The keys that the rows of each log may not pass. @type {Map<number, number>} */
    const bounds = new Map();
    for (const row of isBefore ? this.rows : [...this.rows].reverse()) if (!bounds.has(row.log)) bounds.set(row.log, row.gen);
    for (const row of isBefore ? [...rows].reverse() : rows) {
      const numbers = this.#numbers[row.log];
      const bound = bounds.get(row.log) ?? row.gen;
      row.gen = isBefore ? Math.min(row.gen, bound) : Math.max(row.gen, bound);
      bounds.set(row.log, row.gen);
      row.offset = offsetOf(row.log, isBefore ? (numbers.first -= 1) : (numbers.last += 1));
    }
    this.rows = isBefore ? [...rows, ...this.rows] : [...this.rows, ...rows];
    // This does nothing but for logs that are far out of order.
    this.rows.sort(compareRows);
  }

  /**
   * Takes rows that arrived, and for which the live log has no room. They are numbered like the others, as rows may be
   * loaded behind them later.
   * @param {Entry[]} entries
   */
  takeOver(entries) {
    for (const entry of entries) entry.offset = offsetOf(entry.log, this.#numbers[entry.log].last += 1);
    this.rows.push(...entries);
    this.rows.sort(compareRows);
  }

  /**
   * Drops rows at the top that are too many, but none from a place on.
   * @param {import('./place.js').Place} kept
   * @param {(log: number) => FilePlace | null} startOf where the arriving rows of a log begin
   */
  trimTop(kept, startOf) {
    const gone = Math.min(this.rows.length - PAGED_MAX, this.find(kept));
    if (gone > 0) this.dropFirst(gone, (log) => (this.isJoined ? startOf(log) : this.bottom[log]));
  }

  /**
   * @param {number} gone how many rows are dropped
   * @param {(log: number) => FilePlace | null} endOf where the run ends in a log of which no row is left
   */
  dropFirst(gone, endOf) {
    const logs = new Set(this.rows.slice(0, gone).map(({ log }) => log));
    this.rows.splice(0, gone);
    this.atStart = false;
    for (const log of logs) {
      const first = this.rows.find((row) => row.log === log && row.marker === undefined);
      this.top[log] = first === undefined ? endOf(log) : filePlaceOf(first);
    }
  }

  /**
   * The same at the bottom. Then rows are missing behind it.
   * @param {import('./place.js').Place} kept
   * @param {(log: number) => FilePlace | null} startOf where the arriving rows of a log begin
   */
  trimBottom(kept, startOf) {
    const end = Math.max(PAGED_MAX, this.find(kept));
    if (end >= this.rows.length) return;
    const gone = this.rows.splice(end);
    // The run ended where the rows begin that arrived, and those have moved on.
    if (this.isJoined) this.bottom = this.bottom.map((place, log) => startOf(log) ?? place);
    this.isJoined = false;
    for (const row of gone.reverse()) if (row.marker === undefined) this.bottom[row.log] = filePlaceOf(row);
  }
}

/** @param {Entry} row @returns {FilePlace} */
function filePlaceOf({ generation, logOffset }) {
  return { generation, offset: logOffset };
}

/** @param {Entry} a @param {Entry} b */
function compareRows(a, b) {
  if (isBefore(a, b)) return -1;
  return isBefore(b, a) ? 1 : 0;
}
