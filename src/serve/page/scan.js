// A search through a whole file: the server's answer as it streams in, and what the file has grown by since. The offsets that were
// found are kept in order, bounded; how many there are is counted beyond that.

import { Gone, NotYet, words } from './history.js';

const FOUND_MAX = 20_000;
/** A log that grows all the time is searched on in steps. */
const EXTEND_MS = 400;
const RETRY_MS = 1_000;

/**
 * @typedef {{size: number, lastRow: number}} Ends of the file as far as it is known: its size, and where its last row begins
 *
 * @typedef {{type: 'found', rows: [offset: number, matches: number][]}} Found
 * @typedef {{type: 'progress', scanned: number, rows: number, matches: number}} Progress
 * @typedef {{type: 'done', rows: number, matches: number, scanned: number, to: number, complete: boolean, reason: string | null}} Done
 */

export class Scan {
  /** Offsets of rows that match, in ascending order. @type {number[]} */
  offsets = [];
  /** Rows that match, also those that are not in `offsets`. */
  count = 0;
  /** Bytes that have been looked through. */
  scanned = 0;
  /** Whether it has come to the end of the file as far as that was known. */
  complete = false;
  running = false;
  /** Why the pattern is none, in words. */
  error = '';
  #history;
  #changed;
  /** @type {AbortController | null} */
  #turn = null;
  /** @type {Record<string, string> | null} */
  #parameters = null;
  #generation = '';
  /** @type {Ends} */
  #ends = { size: 0, lastRow: 0 };
  /** The file's ends when it was last searched: what has come behind them is searched next, with the row that may not have been whole.
   * @type {Ends} */
  #searched = { size: 0, lastRow: 0 };
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer = undefined;

  /**
   * @param {import('./history.js').History} history
   * @param {() => void} changed
   */
  constructor(history, changed) {
    this.#history = history;
    this.#changed = changed;
  }

  get isOn() {
    return this.#parameters !== null;
  }

  get generation() {
    return this.#generation;
  }

  /**
   * Searches a file from its beginning.
   * @param {string} generation
   * @param {Record<string, string>} parameters
   * @param {number} near what is found near this offset comes first
   * @param {Ends} ends
   */
  start(generation, parameters, near, ends) {
    this.stop();
    this.#generation = generation;
    this.#parameters = parameters;
    this.#ends = ends;
    this.#run({ near: Math.max(0, Math.min(near, ends.size)) });
  }

  stop() {
    clearTimeout(this.#timer);
    this.#turn?.abort();
    this.#turn = null;
    this.#parameters = null;
    this.offsets = [];
    this.count = 0;
    this.scanned = 0;
    this.#searched = { size: 0, lastRow: 0 };
    this.complete = false;
    this.running = false;
    this.error = '';
  }

  /**
   * The file has grown.
   * @param {Ends} ends
   */
  extend(ends) {
    this.#ends = ends;
    if (!this.isOn || this.running || this.error !== '' || !this.complete || ends.size <= this.#searched.size) return;
    this.running = true;
    this.#timer = setTimeout(() => this.#run({ from: this.#searched.lastRow }), EXTEND_MS);
  }

  /**
   * The place of an offset among those that were found, or that of the next one.
   * @param {number} offset
   */
  indexOf(offset) {
    let low = 0;
    let high = this.offsets.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.offsets[middle] < offset) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** @param {{near: number} | {from: number}} where */
  async #run(where) {
    const turn = new AbortController();
    this.#turn = turn;
    this.running = true;
    const before = this.count;
    const ends = this.#ends;
    try {
      const answer = await fetch(this.#history.address('find', { ...this.#parameters, ...where, generation: this.#generation, max: FOUND_MAX }), { signal: turn.signal });
      if (answer.status === 410) throw new Gone();
      if (answer.status === 503) throw new NotYet();
      if (!answer.ok) {
        this.error = await words(answer);
        this.running = false;
        this.#changed();
        return;
      }
      for await (const message of messages(answer)) this.#take(message, before);
      this.#searched = ends;
    } catch (error) {
      if (turn.signal.aborted) return;
      if (!(error instanceof Gone)) this.#timer = setTimeout(() => this.#run(where), RETRY_MS);
      return;
    }
    this.running = false;
    this.#changed();
    this.extend(this.#ends);
  }

  /**
   * @param {Found | Progress | Done} message
   * @param {number} before rows that had been found before this run
   */
  #take(message, before) {
    if (message.type === 'found') {
      this.#insert(message.rows.map(([offset]) => offset));
    } else {
      this.scanned = Math.max(this.#searched.size, message.scanned);
      if (message.type === 'done') {
        this.complete = message.complete;
      }
      // A row that was found before it was whole is found again with its end.
      const isAll = before + message.rows <= FOUND_MAX;
      this.count = isAll ? this.offsets.length : before + message.rows;
    }
    this.#changed();
  }

  /** @param {number[]} found in ascending order, but for the step from the end of the file to its beginning */
  #insert(found) {
    const step = found.findIndex((offset, at) => at > 0 && offset < found[at - 1]);
    if (step > 0) {
      this.#insert(found.slice(step));
      found = found.slice(0, step);
    }
    const fresh = found.filter((offset) => this.offsets[this.indexOf(offset)] !== offset);
    if (fresh.length === 0) return;
    const place = this.indexOf(fresh[0]);
    if (place === this.offsets.length) for (const offset of fresh) this.offsets.push(offset);
    else this.offsets.splice(place, 0, ...fresh);
    if (this.offsets.length > FOUND_MAX) this.offsets.length = FOUND_MAX;
    this.count = Math.max(this.count, this.offsets.length);
  }
}

/**
 * The lines of a streamed answer, each a JSON object.
 * @param {Response} answer
 * @returns {AsyncGenerator<Found | Progress | Done>}
 */
async function* messages(answer) {
  if (answer.body === null) return;
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const lines = (rest + value).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) if (line !== '') yield JSON.parse(line);
  }
}
