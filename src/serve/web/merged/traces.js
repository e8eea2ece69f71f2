// The stack trace of an error in a merged log: the rows after it that continue its message. They share its fate, as they
// do when the server filters.

/** The most rows that are looked back for the errors of a row. */
const ROWS_BACK = 512;

/** @typedef {import('./merge-buffer.js').Entry} Entry */

export class Traces {
  #buffer;
  #isError;
  #levels;
  /** Whether a row continues the message before it, valid for one HTML text. @type {WeakMap<Entry, {html: string, continues: boolean}>} */
  #cache = new WeakMap();

  /**
   * @param {import('./merge-buffer.js').MergeBuffer} buffer
   * @param {import('../rows/levels.js').Levels} levels
   * @param {(entry: Entry) => boolean} isError
   */
  constructor(buffer, levels, isError) {
    this.#buffer = buffer;
    this.#levels = levels;
    this.#isError = isError;
  }

  /** Must be called when the rules have arrived. */
  clear() {
    this.#cache = new WeakMap();
  }

  /**
   * The errors whose message a row continues, the nearest first: a trace may contain the error that caused another.
   * @param {Entry} entry
   * @returns {Entry[]}
   */
  errorsOf(entry) {
    /** @type {Entry[]} */
    const errors = [];
    if (!this.#continues(entry)) return errors;
    for (const before of this.#buffer.backInLog(entry, ROWS_BACK)) {
      if (before.marker !== undefined) break;
      if (this.#isError(before)) errors.push(before);
      if (!this.#continues(before)) break;
    }
    return errors;
  }

  /** A row and, if it is an error, the rows that continue its message. @param {Entry} entry @returns {Entry[]} */
  withTrace(entry) {
    const rows = [entry];
    if (!this.#isError(entry)) return rows;
    for (let next = this.#buffer.afterInLog(entry); next !== undefined && this.#continues(next); next = this.#buffer.afterInLog(next)) {
      rows.push(next);
    }
    return rows;
  }

  /** @param {Entry} entry */
  #continues(entry) {
    if (entry.marker !== undefined || entry.isGone) return false;
    const known = this.#cache.get(entry);
    if (known?.html === entry.html) return known.continues;
    const continues = this.#levels.continues(entry.html);
    this.#cache.set(entry, { html: entry.html, continues });
    return continues;
  }
}
