// Asks the server which rows on the page match: it knows the fields of lines, and its regular expressions take no time that
// grows beyond the text.

import { failureWords, Gone, Invalid } from '../net/api.js';
import { readLines } from '../net/lines.js';

/** The most rows that the server lists in one answer. */
const FOUND_MAX = 50_000;

/**
 * @typedef {import('../rows/tail.js').Row & import('../merged/merge-buffer.js').Entry} RowEntry
 *
 * @typedef {object} SlowTest a test of rows that is not made on the page's own thread
 * @property {string} interruption why some rows are not known; empty if all are
 * @property {(rows: RowEntry[], signal: AbortSignal) => Promise<(boolean | null)[]>} ask whether each row matches; null while
 *   that is not known. Throws `Invalid` for what cannot be searched
 */

/** @implements {SlowTest} */
export class ServerTest {
  interruption = '';
  #apis;
  #parameters;

  /**
   * @param {import('../net/api.js').LogApi[]} apis of each log
   * @param {Record<string, string>} parameters of the search
   */
  constructor(apis, parameters) {
    this.#apis = apis;
    this.#parameters = parameters;
  }

  /** @param {RowEntry[]} rows @param {AbortSignal} signal */
  async ask(rows, signal) {
    /** @type {Map<string, RowEntry[]>} */
    const files = new Map();
    for (const row of rows) {
      const file = `${row.log} ${row.generation}`;
      const others = files.get(file);
      if (others === undefined) files.set(file, [row]);
      else others.push(row);
    }
    /** @type {Map<RowEntry, boolean>} */
    const known = new Map();
    this.interruption = '';
    await Promise.all([...files.values()].map(async (ofFile) => {
      try {
        const found = await this.#find(ofFile, signal);
        for (const row of ofFile) known.set(row, found.has(row.logOffset));
      } catch (error) {
        signal.throwIfAborted();
        // What is no longer there matches nothing.
        if (error instanceof Gone) for (const row of ofFile) known.set(row, false);
        else if (error instanceof Invalid) throw error;
        else this.interruption = failureWords(error);
      }
    }));
    return rows.map((row) => known.get(row) ?? null);
  }

  /**
   * The offsets of rows that match, in the part of a file that has these rows.
   * @param {RowEntry[]} rows of one file
   * @param {AbortSignal} signal
   */
  async #find(rows, signal) {
    const [{ log, generation }] = rows;
    let from = rows.reduce((least, { logOffset }) => Math.min(least, logOffset), Infinity);
    const to = rows.reduce((most, { logOffset }) => Math.max(most, logOffset), 0) + 1;
    /** @type {Set<number>} */
    const found = new Set();
    while (from < to) {
      const answer = await this.#apis[log].request('find', { ...this.#parameters, generation, from, to, max: FOUND_MAX }, signal);
      let last = from;
      /** @type {import('./file-search.js').Done | null} */
      let done = null;
      for await (const message of readLines(answer)) {
        if (message.type === 'done') done = message;
        if (message.type !== 'found') continue;
        for (const [offset] of message.rows) {
          found.add(offset);
          last = Math.max(last, offset + 1);
        }
      }
      if (done?.reason === 'gone') throw new Gone();
      if (done?.complete) break;
      const reached = done?.reason === 'time' ? done.to : last;
      if (done === null || reached <= from) throw new Error('the answer broke off');
      from = reached;
    }
    return found;
  }
}
