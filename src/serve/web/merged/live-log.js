// The rows and markers of one log that have arrived since the page was opened. Their keys never fall, so they are in the
// order of the merged list.

import { isSameGeneration } from '../net/wire.js';
import { firstNotBefore, LIVE_FROM, NO_KEY, offsetOf } from './place.js';

/** The most rows of one log that are kept, so that a busy log does not push out a quiet one. */
export const ROWS_MAX = 4_000;
/** Bounds the memory of long rows. */
const CHARS_MAX = 4 * 1024 * 1024;

/**
 * @typedef {import('./merge-buffer.js').Entry} Entry
 * @typedef {import('./merged-api.js').FilePlace} FilePlace
 */

export class LiveLog {
  log;
  /** The key of the last row; before the first one, that of the row before it. */
  key = NO_KEY;
  /** Where the rows begin; null until the log was opened. @type {FilePlace | null} */
  start = null;
  /** The entries that are shown when the server has said where they stand, and since when they wait, in the order of the log. @type {{entry: Entry, since: number}[]} */
  awaited = [];
  /** The greatest offset of a row. */
  last = -1;
  chars = 0;
  /** The generations of the log, in order, from that of `start` on. @type {string[]} */
  #generations = [];
  /** @type {Entry[]} */
  #entries = [];
  /** Entries before this index are dropped. The array is compacted from time to time. */
  #head = 0;
  /** Entries before this index are final. */
  #finalBefore = 0;
  #next = LIVE_FROM;

  /** @param {number} log */
  constructor(log) {
    this.log = log;
  }

  /**
   * The log is followed from here on.
   * @param {FilePlace} place
   */
  begin(place) {
    if (this.start === null) this.start = place;
    this.turnTo(place.generation);
  }

  /** The log goes on elsewhere than where it was left. @param {FilePlace} place */
  reopen(place) {
    if (this.length === 0) this.start = null;
    this.begin(place);
  }

  /** The next rows are of this generation. @param {string} generation */
  turnTo(generation) {
    const at = this.#generations.findIndex((known) => isSameGeneration(known, generation));
    if (at < 0) this.#generations.push(generation);
    else this.#generations[at] = generation;
  }

  /**
   * Whether a row at this position is among those that have arrived, or will be.
   * @param {string} generation
   * @param {number} offset
   */
  has(generation, offset) {
    if (this.start === null) return false;
    const first = this.#generations.findIndex((known) => isSameGeneration(known, this.start?.generation));
    const at = this.#generations.findIndex((known) => isSameGeneration(known, generation));
    return at > first || (at >= 0 && at === first && offset >= this.start.offset);
  }

  get length() {
    return this.#entries.length - this.#head;
  }

  /** @param {number} index */
  at(index) {
    return index < 0 ? /** @type {any} */ (undefined) : this.#entries[this.#head + index];
  }

  entries() {
    return this.#entries.slice(this.#head);
  }

  /** The offset of the next entry in the list. */
  nextOffset() {
    this.#next += 1;
    return offsetOf(this.log, this.#next);
  }

  /** @param {Entry} entry */
  add(entry) {
    this.#entries.push(entry);
    if (entry.marker === undefined) this.chars += entry.html.length;
  }

  /** Whether an entry is the last one that has not been followed by another. @param {Entry} entry */
  isLast(entry) {
    return this.#entries[this.#entries.length - 1] === entry;
  }

  finalize() {
    this.#finalBefore = this.#entries.length;
  }

  /**
   * The entries at or after an offset of the log that can still change.
   * @param {number} offset
   */
  from(offset) {
    let first = this.#entries.length;
    while (first > Math.max(this.#finalBefore, this.#head) && this.#entries[first - 1].logOffset >= offset) first -= 1;
    return this.#entries.slice(first);
  }

  /** The index of the first entry that is not before a place. @param {import('./place.js').Place} place */
  find(place) {
    return firstNotBefore(this.length, (index) => this.at(index), place);
  }

  /** Removes what is too much at the beginning. Returns it. */
  bound() {
    /** @type {Entry[]} */
    const gone = [];
    while (this.length > ROWS_MAX || (this.chars > CHARS_MAX && this.length > 1)) {
      const first = this.#entries[this.#head];
      if (first.marker === undefined) this.chars -= first.html.length;
      gone.push(first);
      this.#head += 1;
    }
    if (gone.length === 0) return gone;
    for (let at = this.#head; at < this.#entries.length; at += 1) {
      const first = this.#entries[at];
      if (first.marker !== undefined) continue;
      this.start = { generation: first.generation, offset: first.logOffset };
      break;
    }
    if (this.#head > ROWS_MAX) {
      this.#entries = this.#entries.slice(this.#head);
      this.#finalBefore = Math.max(0, this.#finalBefore - this.#head);
      this.#head = 0;
    }
    return gone;
  }

  /** @param {Entry} entry that has just arrived */
  await(entry) {
    entry.isAwaited = true;
    this.awaited.push({ entry, since: performance.now() });
  }

  /** Entries wait no more. @param {Set<Entry>} entries */
  release(entries) {
    for (const entry of entries) entry.isAwaited = false;
    this.awaited = this.awaited.filter(({ entry }) => !entries.has(entry));
  }

  /**
   * Moves rows that are not drawn yet to other keys, and what comes behind them in the log not before them.
   * @param {Map<Entry, number>} keys
   */
  place(keys) {
    let bound = NO_KEY;
    for (const entry of this.entries()) {
      const key = keys.get(entry);
      if (entry.element === null && key !== undefined) entry.gen = key;
      else if (entry.isAwaited && entry.marker !== undefined && bound > NO_KEY) entry.gen = bound;
      entry.gen = Math.max(bound, entry.gen);
      bound = entry.gen;
    }
    this.key = Math.max(this.key, bound);
  }

  /** Moves all rows that say a time, as the log's clock is now thought to be off by so much more. @param {number} ms */
  shift(ms) {
    let bound = NO_KEY;
    for (const entry of this.entries()) {
      if (entry.isTold && entry.gen !== NO_KEY) entry.gen += ms;
      if (entry.isTold && typeof entry.told === 'number') entry.told += ms;
      bound = Math.max(bound, entry.gen);
      entry.gen = bound;
    }
    if (this.length > 0) this.key = bound;
    else if (this.key !== NO_KEY) this.key += ms;
  }
}
