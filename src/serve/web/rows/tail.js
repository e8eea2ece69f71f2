// The last rows and markers of the live stream, before they are drawn. Their number and length are bounded. Older
// rows are loaded from the server when the reader scrolls to them.

import { compare } from './generations.js';

export const TAIL_ROWS_MAX = 5_000;
/** Bounds the memory of long rows. */
const TAIL_CHARS_MAX = 8 * 1024 * 1024;

/**
 * @typedef {import('./generations.js').Position} Position
 *
 * @typedef {object} Row
 * @property {number} gen
 * @property {number} offset
 * @property {string} html
 * @property {import('../net/wire.js').RowAnnotation | null} annotation
 * @property {number | null} line
 * @property {number | null} time of writing or arrival, in ms since 1970
 * @property {number | null} [told] its time as the server reads it
 * @property {HTMLElement | null} element while it is on the page
 * @property {undefined} [marker]
 *
 * @typedef {object} Marker
 * @property {number} gen
 * @property {number} offset
 * @property {string} marker
 * @property {string} text
 * @property {HTMLElement | null} element
 *
 * @typedef {Row | Marker} Entry
 */

export class Tail {
  /** The tail holds everything from this position on. @type {Position | null} */
  from = null;
  /** The position after the last byte. @type {Position} */
  to = { gen: 0, offset: 0 };
  /** The first position at which entries changed; whoever draws the change sets it to null. @type {Position | null} */
  changedFrom = null;
  /** @type {Entry[]} */
  #entries = [];
  /** Entries before this index are dropped. The array is compacted from time to time. */
  #head = 0;
  #chars = 0;
  #last = -1;

  /** Starts an empty tail at this position. @param {Position} place */
  start(place) {
    this.from = place;
    this.to = place;
    this.changedFrom = place;
    this.#entries = [];
    this.#head = 0;
    this.#chars = 0;
    this.#last = -1;
  }

  /**
   * Applies a patch: its rows replace those at `from` or later. Returns the number of new rows, which start at
   * `newsFrom` or later and were not known before. A redrawn row is not counted twice.
   * @param {import('../net/wire.js').Patch} patch
   * @param {number} gen
   * @param {number} newsFrom
   * @param {number} now
   */
  patch(patch, gen, newsFrom, now) {
    for (;;) {
      const last = this.#entries[this.#entries.length - 1];
      if (this.#length === 0 || last.marker !== undefined || last.gen !== gen || last.offset < patch.from) break;
      this.#chars -= last.html.length;
      this.#entries.pop();
    }
    this.#changed({ gen, offset: patch.from });
    let fresh = 0;
    for (const [offset, html, note] of patch.rows) {
      const isNews = offset >= newsFrom;
      this.#entries.push({ gen, offset, html, annotation: note ?? null, line: null, time: note?.time ?? (isNews ? now : null), element: null });
      this.#chars += html.length;
      if (offset > this.#last) {
        this.#last = offset;
        if (isNews) fresh += 1;
      }
    }
    this.to = { gen, offset: patch.next };
    this.#bound();
    return fresh;
  }

  /**
   * Appends a marker. The rows before it are final.
   * @param {Marker} mark
   */
  addMarker(mark) {
    this.#entries.push(mark);
    this.#last = -1;
    this.to = { gen: mark.gen, offset: mark.offset };
    this.#changed(this.to);
    this.#bound();
  }

  /** @param {Position} place */
  covers(place) {
    return this.from !== null && compare(this.from, place) <= 0 && compare(place, this.to) <= 0;
  }

  /**
   * The entries from a position on.
   * @param {Position} place
   * @param {number} max
   */
  after(place, max) {
    const first = this.#find(place);
    return this.#entries.slice(first, first + max);
  }

  /**
   * The entries right before a position.
   * @param {Position} place
   * @param {number} max
   */
  before(place, max) {
    const end = this.#find(place);
    return this.#entries.slice(Math.max(this.#head, end - max), end);
  }

  /** @param {Position} place */
  countAfter(place) {
    return this.#entries.length - this.#find(place);
  }

  /** @param {number} max */
  last(max) {
    return this.#entries.slice(Math.max(this.#head, this.#entries.length - max));
  }

  get #length() {
    return this.#entries.length - this.#head;
  }

  /** The index of the first entry at the position or after it. @param {Position} place */
  #find(place) {
    let low = this.#head;
    let high = this.#entries.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (compare(this.#entries[middle], place) < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** @param {Position} place */
  #changed(place) {
    if (this.changedFrom === null || compare(place, this.changedFrom) < 0) this.changedFrom = place;
  }

  #bound() {
    let dropped = false;
    while (this.#length > TAIL_ROWS_MAX || (this.#chars > TAIL_CHARS_MAX && this.#length > 1)) {
      const gone = this.#entries[this.#head];
      if (gone.marker === undefined) this.#chars -= gone.html.length;
      this.#head += 1;
      dropped = true;
    }
    if (!dropped) return;
    const { gen, offset } = this.#entries[this.#head];
    this.from = { gen, offset };
    if (this.#head > TAIL_ROWS_MAX) {
      this.#entries = this.#entries.slice(this.#head);
      this.#head = 0;
    }
  }
}
