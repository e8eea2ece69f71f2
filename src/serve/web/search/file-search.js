// A search of a whole file by the server, continued as the file grows. The offsets of matching rows are kept in order,
// up to a limit; the count continues beyond it.

import { bounded, errorText, failureWords, Gone, Unavailable } from '../net/api.js';
import { readLines } from '../net/lines.js';
import { noteIdentity } from '../net/signed-out.js';
import { serverUrl } from '../net/wire.js';

const FOUND_MAX = 20_000;
/** The pause before the search of newly written bytes. */
const EXTEND_MS = 400;
const RETRY_MS = 1_000;

/**
 * @typedef {object} SearchResult the state and the results of a search
 * @property {number[]} offsets of rows that match, in ascending order
 * @property {number} count number of matching rows, also of those that are not in `offsets`
 * @property {boolean} complete whether everything was searched
 * @property {boolean} running
 * @property {string} error why the pattern is invalid
 * @property {string} interruption why the search waits to be continued; empty if it does not
 * @property {boolean} [isOnRequest] whether the reader has to ask, or has asked, for the search
 * @property {boolean} [hasUnsearched] whether there are older files that were not searched
 * @property {() => boolean} [more] goes on in older files; whether there may be more matches
 * @property {(way: 1 | -1) => Promise<void>} [step] goes to the next or the previous match, in a search that does that by itself
 *
 * @typedef {{size: number, lastRow: number}} FileEnd the known size of the file, and the offset of its last row
 *
 * @typedef {{type: 'found', rows: [offset: number, matches: number][]}} Found
 * @typedef {{type: 'progress', scanned: number, rows: number, matches: number}} Progress
 * @typedef {{type: 'done', rows: number, matches: number, scanned: number, to: number, complete: boolean, reason: string | null}} Done
 *
 * @typedef {{from?: number, to: number, near?: number}} Part a part of the file; `from` defaults to its beginning
 * @typedef {{parts: Part[], end: FileEnd, before: number}} Run the parts left to search, the end of the file, and the
 *   number of rows that were found before
 */

export class FileSearch {
  /** Offsets of rows that match, in ascending order. @type {number[]} */
  offsets = [];
  /** The number of matching rows, also of those that are not in `offsets`. */
  count = 0;
  /** Whether the search has reached the known end of the file. */
  complete = false;
  running = false;
  /** Changes with each search that is started or stopped. */
  version = 0;
  /** Why the pattern is invalid. */
  error = '';
  /** Why the search waits to be continued; empty if it does not. */
  interruption = '';
  #api;
  #changed;
  /** @type {AbortController | null} */
  #abort = null;
  /** @type {Record<string, string> | null} */
  #parameters = null;
  #generation = '';
  /** @type {FileEnd} */
  #end = { size: 0, lastRow: 0 };
  /** The end of the file at the last search. The next search starts there, at the row that may have been incomplete.
   * @type {FileEnd} */
  #searchedTo = { size: 0, lastRow: 0 };
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer = undefined;

  /**
   * @param {import('../net/api.js').LogApi} api
   * @param {() => void} changed
   */
  constructor(api, changed) {
    this.#api = api;
    this.#changed = changed;
  }

  get isActive() {
    return this.#parameters !== null;
  }

  get isOnRequest() {
    return false;
  }

  get generation() {
    return this.#generation;
  }

  /** What is searched for. @returns {Record<string, string>} */
  get parameters() {
    return this.#parameters ?? {};
  }

  /**
   * Searches a file from its beginning.
   * @param {string} generation
   * @param {Record<string, string>} parameters
   * @param {number} near matches after this offset are sent first
   * @param {FileEnd} end
   */
  start(generation, parameters, near, end) {
    this.stop();
    this.#generation = generation;
    this.#parameters = parameters;
    this.#end = end;
    this.#run({ parts: [{ to: end.size, near: Math.max(0, Math.min(near, end.size)) }], end, before: 0 });
  }

  stop() {
    clearTimeout(this.#timer);
    this.#abort?.abort();
    this.#abort = null;
    this.#parameters = null;
    this.version += 1;
    this.offsets = [];
    this.count = 0;
    this.#searchedTo = { size: 0, lastRow: 0 };
    this.complete = false;
    this.running = false;
    this.error = '';
    this.interruption = '';
  }

  /**
   * Searches the new bytes of the file.
   * @param {FileEnd} end
   */
  extend(end) {
    this.#end = end;
    if (!this.isActive || this.running || this.error !== '' || !this.complete || end.size <= this.#searchedTo.size) return;
    this.running = true;
    this.#timer = setTimeout(() => {
      this.#run({ parts: [{ from: this.#searchedTo.lastRow, to: this.#end.size }], end: this.#end, before: this.count });
    }, EXTEND_MS);
  }

  /**
   * The index of the first match at or after an offset.
   * @param {number} offset
   */
  indexOf(offset) {
    return lowerBound(this.offsets, offset);
  }

  /** @param {Run} run */
  async #run(run) {
    const turn = new AbortController();
    this.#abort = turn;
    this.running = true;
    try {
      while (run.parts.length > 0) run = await this.#runPart(run, turn.signal);
    } catch (error) {
      if (turn.signal.aborted) return;
      if (error instanceof SearchRefused) {
        this.error = error.message;
      } else if (!(error instanceof Gone)) {
        // Retries the interrupted part.
        this.interruption = failureWords(error);
        this.#changed();
        this.#timer = setTimeout(() => this.#run(run), RETRY_MS);
        return;
      }
      this.running = false;
      this.interruption = '';
      this.#changed();
      return;
    }
    this.#searchedTo = run.end;
    this.running = false;
    this.#changed();
    this.extend(this.#end);
  }

  /**
   * Searches the first part, or as much of it as fits in one response. Returns the rest of the run.
   * @param {Run} run
   * @param {AbortSignal} signal
   * @returns {Promise<Run>}
   */
  async #runPart({ parts: [part, ...others], end, before }, signal) {
    const parameters = { ...this.#parameters, ...part, generation: this.#generation, max: FOUND_MAX };
    const answer = await fetch(serverUrl(this.#api.url('find', parameters)), { signal: bounded(signal) });
    noteIdentity(answer);
    if (answer.status === 410) throw new Gone();
    if (answer.status === 503) throw new Unavailable(await errorText(answer));
    if (!answer.ok) throw new SearchRefused(await errorText(answer));
    /** @type {Done | null} */
    let done = null;
    for await (const message of readLines(answer)) {
      if (message.type === 'done') done = message;
      this.#handle(message, before);
    }
    if (done?.reason === 'gone') throw new Gone();
    // An incomplete response does not count. A response without progress is retried after a pause.
    if (done === null || (!done.complete && done.scanned === 0)) throw new Unavailable('the answer broke off');
    this.interruption = '';
    const parts = [...(done.complete ? [] : remainingParts(part, done.to)), ...others];
    this.complete = parts.length === 0;
    return { parts, end, before: this.count };
  }

  /**
   * @param {Found | Progress | Done} message
   * @param {number} before number of rows that were found before this part
   */
  #handle(message, before) {
    if (message.type === 'found') {
      this.#insert(message.rows.map(([offset]) => offset));
    } else {
      // `message.rows` counts a row twice that matched both incomplete and complete; `offsets` has it once.
      const isAll = before + message.rows <= FOUND_MAX;
      this.count = isAll ? this.offsets.length : before + message.rows;
    }
    this.#changed();
  }

  /** @param {number[]} found ascending offsets, except for one step from the end of the file back to its beginning */
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
 * The index of the first of the ascending offsets that is not less than `offset`.
 * @param {number[]} offsets
 * @param {number} offset
 */
export function lowerBound(offsets, offset) {
  let low = 0;
  let high = offsets.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (offsets[middle] < offset) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Thrown when the server refuses the search. */
class SearchRefused extends Error {}

/**
 * The rest of a part that was searched up to an offset.
 * @param {Part} part
 * @param {number} at
 * @returns {Part[]}
 */
function remainingParts({ from, to, near }, at) {
  if (near === undefined || near >= to) return [{ from: at, to }];
  // The server searches from `near` to the end first, then from the start to `near`.
  return at < near ? [{ from: at, to: near }] : [{ from: at, to }, { from, to: near }];
}
