// The stack trace of an error in a merged log: the rows after it that continue its message. They share its fate, as they
// do when the server filters.

import { plainText } from '../rows/levels.js';

/** The most rows that are looked back for the errors of a row. */
const ROWS_BACK = 512;

/** @typedef {import('./merge-buffer.js').Entry} Entry */
/** `continuation` and `indent` as `Levels` gives them. @typedef {{html: string, continuation: number, indent: number, isCause: boolean}} Shape */

export class Traces {
  #buffer;
  #isError;
  #levels;
  /** How a row goes on with a message before it, valid for one HTML text. @type {WeakMap<Entry, Shape>} */
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
    // A row continues a message if all rows between do, too.
    let least = this.#shape(entry).continuation;
    if (least === 0) return errors;
    for (const before of this.#buffer.backInLog(entry, ROWS_BACK)) {
      if (before.marker !== undefined) break;
      const { continuation, indent, isCause } = this.#shape(before);
      if (least > indent && (isCause || this.#isError(before))) errors.push(before);
      if (continuation === 0) break;
      least = Math.min(least, continuation);
    }
    return errors;
  }

  /** A row and, if it is an error, the rows that continue its message. @param {Entry} entry @returns {Entry[]} */
  withTrace(entry) {
    return this.#isError(entry) ? [entry, ...this.behind(entry)] : [entry];
  }

  /** The rows that continue the message of a row. @param {Entry} entry @returns {Generator<Entry>} */
  * behind(entry) {
    const { indent } = this.#shape(entry);
    for (let next = this.#buffer.afterInLog(entry); next !== undefined && this.#shape(next).continuation > indent; next = this.#buffer.afterInLog(next)) yield next;
  }

  /** @param {Entry} entry @returns {Shape} */
  #shape(entry) {
    if (entry.marker !== undefined || entry.isGone) return { html: '', continuation: 0, indent: 0, isCause: false };
    const known = this.#cache.get(entry);
    if (known?.html === entry.html) return known;
    const text = plainText(entry.html);
    const levels = this.#levels;
    const shape = { html: entry.html, continuation: levels.continuation(text), indent: levels.indent(text), isCause: levels.isCause(text) };
    this.#cache.set(entry, shape);
    return shape;
  }
}
