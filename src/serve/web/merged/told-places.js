// The places of arriving rows whose times the page cannot read, but the server can. Such a row is shown when the server has said
// where it stands, a moment after it arrived, so that no row moves that a reader sees. So are the first rows of a log of which
// nothing is known yet.

import { isSameGeneration } from '../net/wire.js';
import { askTimes } from '../rows/told-times.js';

/** The least time between two questions about a log. */
const ASK_MS = 250;
/** A row of which the server says nothing for so long stands where it arrived. */
const AWAITED_MS_MAX = 3_000;
/** The rows of one question. */
const ROWS_MAX = 2_000;
/** A log of which nothing is known is looked at so often. */
const LOOK_MS = 2_000;

/**
 * @typedef {import('./merge-buffer.js').Entry} Entry
 *
 * @typedef {object} Parts
 * @property {import('./merge-buffer.js').MergeBuffer} buffer
 * @property {(log: number, place: import('./merged-api.js').FilePlace, count: number) => Promise<import('./merged-api.js').MergedRows>} ask
 *   the rows of a log from a place on
 * @property {(log: number) => Promise<unknown>} look has the server say how the times of a log are read
 * @property {() => void} changed called when rows have got their places
 */

export class ToldPlaces {
  #parts;
  /** The logs that are asked about now. @type {Set<number>} */
  #asking = new Set();
  /** When each log was last asked about. @type {number[]} */
  #askedAt = [];
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer = undefined;

  /** @param {Parts} parts */
  constructor(parts) {
    this.#parts = parts;
  }

  /** Must be called when rows have arrived. */
  run() {
    const { buffer } = this.#parts;
    const now = performance.now();
    let isDue = false;
    for (const { log, awaited } of buffer.live) {
      if (awaited.length === 0) continue;
      const { isUnknown, isAsked } = buffer.clocks[log];
      const late = awaited.filter(({ since }) => now - since > AWAITED_MS_MAX || !(isUnknown || isAsked)).map(({ entry }) => entry);
      if (late.length > 0) buffer.release(log, late);
      isDue = true;
      const isFree = !this.#asking.has(log) && (this.#askedAt[log] ?? -Infinity) + (isUnknown ? LOOK_MS : ASK_MS) <= now;
      if (!isFree) continue;
      if (isUnknown) this.#about(log, () => this.#parts.look(log));
      else if (buffer.live[log].awaited.length > 0) this.#ask(log, buffer.live[log].awaited.slice(0, ROWS_MAX).map(({ entry }) => entry));
    }
    if (isDue) {
      this.#timer ??= setTimeout(() => {
        this.#timer = undefined;
        this.run();
      }, ASK_MS);
    }
  }

  /** @param {number} log @param {() => Promise<unknown>} question */
  async #about(log, question) {
    this.#asking.add(log);
    this.#askedAt[log] = performance.now();
    try {
      await question();
    } catch {
      // They are asked for again, until they have waited too long.
    }
    this.#asking.delete(log);
    this.#parts.changed();
    this.run();
  }

  /** @param {number} log @param {Entry[]} entries in order */
  #ask(log, entries) {
    const { buffer, ask } = this.#parts;
    const { generation, logOffset } = entries[0];
    const end = entries.findIndex((entry) => entry.generation !== generation);
    const rows = end < 0 ? entries : entries.slice(0, end);
    return this.#about(log, async () => {
      const isTheirs = (/** @type {string} */ other) => isSameGeneration(other, generation);
      const told = await askTimes((place, count) => ask(log, place, count), { generation, offset: logOffset }, rows.length, isTheirs);
      // An answer is bounded, so the last rows may be missing. The others that are missing are no rows of the server.
      const last = Math.max(logOffset, ...told.keys());
      buffer.tell(log, rows.filter((row) => row.logOffset <= last), told);
    });
  }
}
