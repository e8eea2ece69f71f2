// The end of the log as it comes in, before it is drawn: the last rows and markers, bounded. What it no longer holds
// is in the file, from where the window loads it when it is looked at.

import { compare } from './generations.js';

export const TAIL_ROWS_MAX = 5_000;
/** Bounds the memory of rows that are long. */
const TAIL_CHARS_MAX = 8 * 1024 * 1024;

/**
 * @typedef {import('./generations.js').Place} Place
 *
 * @typedef {object} Row
 * @property {number} span
 * @property {number} offset
 * @property {string} html
 * @property {import('../net/wire.js').RowNote | null} note
 * @property {number | null} line
 * @property {number | null} time when it was written or arrived, in ms since 1970
 * @property {HTMLElement | null} element while it is on the page
 * @property {undefined} [mark]
 *
 * @typedef {object} Mark
 * @property {number} span
 * @property {number} offset
 * @property {string} mark
 * @property {string} text
 * @property {HTMLElement | null} element
 *
 * @typedef {Row | Mark} Entry
 */

export class Tail {
  /** All that came from this place on is held here. @type {Place | null} */
  from = null;
  /** The place after the last byte. @type {Place} */
  to = { span: 0, offset: 0 };
  /** Where entries were changed since this was last set to null. @type {Place | null} */
  cut = null;
  /** @type {Entry[]} */
  #entries = [];
  /** Entries before this index are gone; the array is compacted now and then, not for each. */
  #head = 0;
  #chars = 0;
  #last = -1;

  /** A stream begins here, where nothing was before. @param {Place} place */
  start(place) {
    this.from = place;
    this.to = place;
    this.cut = place;
    this.#entries = [];
    this.#head = 0;
    this.#chars = 0;
    this.#last = -1;
  }

  /**
   * Takes a patch: rows at `from` or later are replaced by these. Returns how many of the rows start at `newsFrom` or
   * later and were not known before, so that a redrawn row is not counted twice.
   * @param {import('../net/wire.js').Patch} patch
   * @param {number} span
   * @param {number} newsFrom
   * @param {number} now
   */
  patch(patch, span, newsFrom, now) {
    for (;;) {
      const last = this.#entries[this.#entries.length - 1];
      if (this.#length === 0 || last.mark !== undefined || last.span !== span || last.offset < patch.from) break;
      this.#chars -= last.html.length;
      this.#entries.pop();
    }
    this.#change({ span, offset: patch.from });
    let fresh = 0;
    for (const [offset, html, note] of patch.rows) {
      const isNews = offset >= newsFrom;
      this.#entries.push({ span, offset, html, note: note ?? null, line: null, time: note?.time ?? (isNews ? now : null), element: null });
      this.#chars += html.length;
      if (offset > this.#last) {
        this.#last = offset;
        if (isNews) fresh += 1;
      }
    }
    this.to = { span, offset: patch.next };
    this.#bound();
    return fresh;
  }

  /**
   * Ends what can still change: rows before the marker are final.
   * @param {Mark} mark
   */
  mark(mark) {
    this.#entries.push(mark);
    this.#last = -1;
    this.to = { span: mark.span, offset: mark.offset };
    this.#change(this.to);
    this.#bound();
  }

  /** @param {Place} place */
  covers(place) {
    return this.from !== null && compare(this.from, place) <= 0 && compare(place, this.to) <= 0;
  }

  /**
   * The entries from a place on.
   * @param {Place} place
   * @param {number} max
   */
  after(place, max) {
    const first = this.#find(place);
    return this.#entries.slice(first, first + max);
  }

  /**
   * The entries right before a place.
   * @param {Place} place
   * @param {number} max
   */
  before(place, max) {
    const end = this.#find(place);
    return this.#entries.slice(Math.max(this.#head, end - max), end);
  }

  /** @param {Place} place */
  countAfter(place) {
    return this.#entries.length - this.#find(place);
  }

  /** @param {number} max */
  end(max) {
    return this.#entries.slice(Math.max(this.#head, this.#entries.length - max));
  }

  get #length() {
    return this.#entries.length - this.#head;
  }

  /** The index of the first entry at the place or behind it. @param {Place} place */
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

  /** @param {Place} place */
  #change(place) {
    if (this.cut === null || compare(place, this.cut) < 0) this.cut = place;
  }

  #bound() {
    let dropped = false;
    while (this.#length > TAIL_ROWS_MAX || (this.#chars > TAIL_CHARS_MAX && this.#length > 1)) {
      const gone = this.#entries[this.#head];
      if (gone.mark === undefined) this.#chars -= gone.html.length;
      this.#head += 1;
      dropped = true;
    }
    if (!dropped) return;
    const { span, offset } = this.#entries[this.#head];
    this.from = { span, offset };
    if (this.#head > TAIL_ROWS_MAX) {
      this.#entries = this.#entries.slice(this.#head);
      this.#head = 0;
    }
  }
}
