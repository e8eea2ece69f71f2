// Places in the merged list. A row stands at its key, the time by which it is ordered; rows with the same key stand in the
// order of the logs, and those of one log in the order of its file.
//
// A place is a position as the viewport knows it: `gen` is the key, and `offset` has the log and the number of the row
// in it.

/** The key of rows that nothing says a time of: they come first. */
export const NO_KEY = -8.64e15;
/** Behind all rows. */
export const END = { gen: Infinity, offset: 0 };
/** Before all rows. */
export const START = { gen: -Infinity, offset: 0 };
/** No log has so many rows on a page. */
const ROWS_MAX = 2 ** 44;
/** Rows that were loaded in pages are counted from here, up and down. */
export const PAGED_FROM = 2 ** 42;
/** Rows that arrived are counted from here: they come after those of pages. */
export const LIVE_FROM = 2 ** 43;

/** @typedef {import('../rows/generations.js').Position} Place */

/**
 * @param {number} log
 * @param {number} number of the row in its log
 */
export function offsetOf(log, number) {
  return log * ROWS_MAX + number;
}

/** The place right behind a row. @param {Place} row @returns {Place} */
export function behind({ gen, offset }) {
  return { gen, offset: offset + 0.5 };
}

/** @param {Place} row @returns {Place} */
export function placeOf({ gen, offset }) {
  return { gen, offset };
}

/**
 * The index of the first row of an ordered list that is not before a place.
 * @template {Place} T
 * @param {number} count
 * @param {(index: number) => T} at
 * @param {Place} place
 */
export function firstNotBefore(count, at, place) {
  let low = 0;
  let high = count;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (isBefore(at(middle), place)) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** @param {Place} one @param {Place} other */
export function isBefore(one, other) {
  return one.gen < other.gen || (one.gen === other.gen && one.offset < other.offset);
}

/** Whether a place is in a span of time. @param {Place} place @param {import('../ui/histogram.js').Span} span */
export function isWithin({ gen }, { since, until }) {
  return gen >= since && gen < until;
}
