// The client of the server's API for one log: rows anywhere in it, line numbers, and the offset of a line.

import { readLines } from './lines.js';
import { noteIdentity } from './signed-out.js';
import { serverUrl } from './wire.js';

/**
 * @typedef {object} Rows the server's answer: rows of the file around an offset
 * @property {string} generation
 * @property {number} size
 * @property {number} from offset of the first row, or the offset at which a backward search stopped
 * @property {number} next offset after the last row, or the offset at which a forward search stopped
 * @property {boolean} at_start
 * @property {boolean} at_end
 * @property {{code: string, message: string}} [notice] what has to be said about a compressed file
 * @property {import('./wire.js').WireRow[]} rows
 * @property {(number | null)[]} lines
 * @property {(number | null)[]} times
 *
 * @typedef {{from: number} | {before: number} | {line: number}} Where
 * @typedef {{total: number | null, lines: (number | null)[]}} LineNumbers
 * @typedef {{path: string, href: string} | null} LogLink
 *
 * @typedef {object} FieldValues the values of a field so far
 * @property {number} rows
 * @property {number} with_field
 * @property {number} distinct
 * @property {[string, number][]} values the most frequent ones and their rows
 * @property {boolean} done whether this is the last state
 * @property {boolean} complete
 * @property {boolean} [isAtLeast] whether there may be more different values
 *
 * @typedef {object} HistoryFile a file of the log: one that had its name, or the present one
 * @property {string} generation
 * @property {string} name without the directory
 * @property {number} bytes on the disk
 * @property {number | null} size of its content; null for a compressed file that is not unpacked now
 * @property {string | null} compressed how it is compressed
 * @property {number | null} modified when it was last written, in ms since 1970
 * @property {boolean} present
 * @property {{code: string, message: string}} [notice] what has to be said about it, as far as that is known
 */

/** The server can no longer read the requested generation (status 410). */
export class Gone extends Error {}

/** The server cannot answer yet (status 503). The request may be repeated. */
export class Unavailable extends Error {}

/** The server does not understand the request (status 400), and says why. */
export class Invalid extends Error {}

const RETRY_MS = 1_000;
/** A request without an answer for so long has failed. The server answers within a second or two. */
const ANSWER_MS_MAX = 30_000;

export class LogApi {
  #path;
  #interpretation;
  #encoding;

  /**
   * @param {string} path the log's path, percent-encoded as in the page's URL
   * @param {string} encoding the chosen encoding, or empty
   * @param {Record<string, string>} [interpretation] parameters that say how the log is to be understood
   */
  constructor(path, encoding, interpretation = {}) {
    this.#path = path;
    this.#interpretation = interpretation;
    this.#encoding = encoding;
  }

  /**
   * @param {string} resource name of the endpoint below `/_/`
   * @param {Record<string, string | number | null | undefined>} parameters
   */
  url(resource, parameters) {
    const search = new URLSearchParams(this.#interpretation);
    for (const [key, value] of Object.entries(parameters)) {
      if (value !== null && value !== undefined) search.set(key, String(value));
    }
    if (this.#encoding !== '') search.set('encoding', this.#encoding);
    return `/_/${resource}${this.#path}?${search}`;
  }

  /**
   * @param {string} resource
   * @param {Record<string, string | number | null | undefined>} parameters
   * @param {AbortSignal} [signal]
   */
  async request(resource, parameters, signal) {
    const answer = await fetch(serverUrl(this.url(resource, parameters)), { signal: bounded(signal), headers: { accept: 'application/json' } });
    noteIdentity(answer);
    if (answer.status === 410) throw new Gone('the file is no longer there');
    if (answer.status === 503) throw new Unavailable(await errorText(answer));
    if (answer.status === 400) throw new Invalid(await errorText(answer));
    if (!answer.ok) throw new Error(await errorText(answer));
    return answer;
  }

  /**
   * @param {string | null} generation
   * @param {Where} where
   * @param {number} count
   * @param {Record<string, string>} filter
   * @param {AbortSignal} [signal]
   * @returns {Promise<Rows>}
   */
  async rows(generation, where, count, filter, signal) {
    const answer = await this.request('rows', { generation, ...where, count, ...filter }, signal);
    return answer.json();
  }

  /**
   * The first row of the log and of its old files that is not before a time.
   * @param {string} time as the server takes it
   * @param {AbortSignal} signal
   * @returns {Promise<Rows>}
   */
  async rowsAt(time, signal) {
    const answer = await this.request('rows', { time, count: 1, history: 1 }, signal);
    return answer.json();
  }

  /**
   * @param {string} generation
   * @param {number[]} offsets of rows
   * @returns {Promise<LineNumbers>}
   */
  async lineNumbers(generation, offsets) {
    const answer = await this.request('lines', { generation, at: offsets.join(',') });
    return answer.json();
  }

  /**
   * How many lines there were when, in the log and its old files.
   * @param {import('../ui/histogram.js').Span | null} span null for all of the log
   * @param {number} buckets
   * @param {AbortSignal} signal
   * @returns {Promise<import('../ui/histogram.js').Times>}
   */
  async times(span, buckets, signal) {
    const answer = await this.request('times', { ...(span !== null && spanParameters(span)), buckets, history: 1 }, signal);
    return answer.json();
  }

  /**
   * Counts the values of a field in the log and its old files. Each state contains the one before.
   * @param {string} field
   * @param {Record<string, string>} filter
   * @param {AbortSignal} signal
   * @param {number} [most] how many values are named
   * @returns {AsyncGenerator<FieldValues>}
   */
  async* fieldValues(field, filter, signal, most) {
    const answer = await this.request('fields', { history: 1, field, ...filter, top: most }, signal);
    yield* readLines(answer);
  }

  /**
   * The files of the log, the oldest first.
   * @param {AbortSignal} [signal]
   * @returns {Promise<HistoryFile[]>}
   */
  async history(signal) {
    const answer = await this.request('history', {}, signal);
    const { files } = await answer.json();
    return files;
  }

  /**
   * The newest file of this log's kind and a pattern of them; null if there is no newer one.
   * @returns {Promise<{newest: LogLink, pattern: LogLink}>}
   */
  async newer() {
    const answer = await this.request('newer', {});
    return answer.json();
  }

  /**
   * The offset at which a line begins. The request is repeated until the server has counted that far.
   * @param {string | null} generation
   * @param {number} line
   * @param {AbortSignal} signal
   * @returns {Promise<{generation: string, line: number, offset: number}>}
   */
  async offsetOfLine(generation, line, signal) {
    for (;;) {
      try {
        const answer = await this.request('lines', { generation, line }, signal);
        return await answer.json();
      } catch (error) {
        if (!(error instanceof Unavailable)) throw error;
        await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
        signal.throwIfAborted();
      }
    }
  }
}

/**
 * A signal that also aborts a request whose answer takes too long.
 * @param {AbortSignal} [signal]
 */
export function bounded(signal) {
  const late = AbortSignal.timeout(ANSWER_MS_MAX);
  return signal === undefined ? late : AbortSignal.any([signal, late]);
}

/** Why a request failed, in words that continue a sentence. @param {unknown} error */
export function failureWords(error) {
  if (error instanceof DOMException && error.name === 'TimeoutError') return `the server has not answered for ${ANSWER_MS_MAX / 1_000} s`;
  // The browser's own message for a request without an answer is different in each browser.
  if (error instanceof TypeError) return 'the server does not answer';
  return error instanceof Error ? error.message : String(error);
}

/**
 * The message of an error response, in one line.
 * @param {Response} answer
 */
export async function errorText(answer) {
  const text = await answer.text();
  try {
    const { message, error } = JSON.parse(text);
    return String(message ?? error);
  } catch {
    return text.split('\n')[0] || `the server answered ${answer.status}`;
  }
}

/**
 * A span of time as the server takes it: in seconds since 1970.
 * @param {import('../ui/histogram.js').Span} span
 */
export function spanParameters({ since, until }) {
  return { since: String(since / 1000), until: String(until / 1000) };
}
