// Loads pages of the merged list from the server: more rows at either end of what is here, or the rows around another
// place.

import { failureWords } from '../net/api.js';
import { displayPath } from '../url/multi-log.js';
import { secondsOf } from './merged-api.js';
import { PagedRows } from './paged-rows.js';
import { NO_KEY } from './place.js';

/** The rows of one page. */
const ROWS = 300;
/** The rows of one log of which one says a time, if the log says times. */
const LOOK_ROWS = 50;
const RETRY_MS = 1_000;
/** The pause before a log is tried again without whose rows the others are shown. */
const RETRY_LOG_MS = 5_000;
/** The failures of a log that another try does not mend. */
const FINAL = ['forbidden', 'not-found', 'gone'];

/**
 * @typedef {import('./merge-buffer.js').Entry} Entry
 * @typedef {import('./merged-api.js').MergedRows} MergedRows
 * @typedef {import('./merged-api.js').LogAnswer} LogAnswer
 * @typedef {{row: Entry} | {time: string} | 'end' | 'start'} Where a row, a time as the server takes it, or one of the ends
 *
 * @typedef {object} Parts
 * @property {import('./merge-buffer.js').MergeBuffer} buffer
 * @property {import('./merged-api.js').MergedApi} api
 * @property {string[]} logs their paths
 * @property {() => Set<number>} logsOn
 * @property {() => Record<string, string>} filter the parameters of the filter; empty without one
 * @property {() => void} changed called when a frame is needed
 * @property {() => void} recovered called when a log can be read again whose rows are missing
 */

export class Pager {
  /** Whether the place that the reader wants is being loaded. */
  isSeeking = false;
  /** Whether the server has said what there is. */
  hasRead = false;
  /** Why the last request failed; empty if it did not. It is repeated. */
  failure = '';
  /** The logs that could not be read. @type {Map<number, import('./merged-api.js').LogFailed>} */
  failed = new Map();
  #parts;
  /** Aborts the requests for pages around another place. */
  #turn = new AbortController();
  /** The requests for more rows at either end. @type {Record<import('./merged-api.js').Way, Promise<void> | null>} */
  #loading = { before: null, from: null };

  /** @param {Parts} parts */
  constructor(parts) {
    this.#parts = parts;
  }

  /** Whether rows before or behind those that are here are on their way. */
  get isLoading() {
    return this.#loading.before !== null || this.#loading.from !== null || this.isSeeking;
  }

  /**
   * Loads the rows at a place instead of those that are here. Returns the answer; null if another place is wanted meanwhile.
   * @param {Where} where
   * @param {AbortSignal} [asking] aborts it
   * @returns {Promise<MergedRows | null>}
   */
  async seek(where, asking) {
    this.#turn.abort();
    this.#turn = new AbortController();
    const signal = asking === undefined ? this.#turn.signal : AbortSignal.any([this.#turn.signal, asking]);
    const own = this.#turn;
    this.#loading = { before: null, from: null };
    this.isSeeking = true;
    try {
      const { buffer } = this.#parts;
      const numbers = this.#logsOn();
      if (numbers.length === 0) return null;
      const way = where === 'end' ? 'before' : 'from';
      const filter = this.#parts.filter();
      const answer = await this.#ask(numbers, way, (log) => placeIn(where, log), filter, signal);
      const paged = new PagedRows(this.#parts.logs.length);
      paged.filter = filterName(filter);
      buffer.replacePages(paged);
      this.failed = new Map();
      this.#take(answer, numbers, way, true);
      if (typeof where === 'object' && 'row' in where) beginWith(paged, where.row);
      this.hasRead = true;
      if (answer.logs.some(isPassing)) this.#awaitFailed(own.signal);
      return answer;
    } catch (error) {
      if (signal.aborted) return null;
      throw error;
    } finally {
      if (own === this.#turn) this.isSeeking = false;
    }
  }

  /**
   * Looks at the end of one log, so that the times of its lines are read as the server reads them. Does not change what is
   * here.
   * @param {number} log
   * @returns {Promise<LogAnswer | null>} what there is of it; null if the server does not say
   */
  async look(log) {
    const { logs, api, buffer } = this.#parts;
    try {
      const answer = await api.rows([{ path: logs[log], shift: buffer.clocks[log].shift }], 'before', { count: LOOK_ROWS, filter: {} });
      this.#entries(answer, [log]);
      return answer.logs[0] ?? null;
    } catch {
      return null;
    }
  }

  /** Why rows of some logs are missing; empty if none are. What is said of a log elsewhere is left out. */
  get missing() {
    const { logs } = this.#parts;
    return [...this.failed].flatMap(([log, why]) => (why.error === 'forbidden' || why.error === 'not-found' ? [] : [failedWords(logs[log], why)])).join('; ');
  }

  /** Waits until one of the logs can be read that could not be. @param {AbortSignal} signal */
  async #awaitFailed(signal) {
    for (;;) {
      await new Promise((resolve) => { setTimeout(resolve, RETRY_LOG_MS); });
      for (const [log, why] of this.failed) {
        if (signal.aborted) return;
        const read = isPassing(why) ? await this.look(log) : null;
        if (read === null || isPassing(read) || signal.aborted) continue;
        this.#parts.recovered();
        return;
      }
    }
  }

  /** Loads the rows before those that are here. */
  up() {
    return this.#more('before');
  }

  /** Loads the rows behind those that are here. */
  down() {
    return this.#more('from');
  }

  /** @param {import('./merged-api.js').Way} way @returns {Promise<void>} */
  #more(way) {
    if (this.isSeeking) return Promise.resolve();
    const present = this.#loading[way];
    if (present !== null) return present;
    const loading = this.#load(way).then(() => {
      if (this.#loading[way] !== loading) return;
      this.#loading[way] = null;
      this.#parts.changed();
    });
    this.#loading[way] = loading;
    return loading;
  }

  /** @param {import('./merged-api.js').Way} way */
  async #load(way) {
    const { buffer, logs, changed } = this.#parts;
    const { signal } = this.#turn;
    try {
      const numbers = this.#logsOn().filter((log) => this.#edge(log, way) !== null);
      if (numbers.length === 0) {
        if (way === 'before') buffer.paged.atStart = true;
        else buffer.paged.isJoined = true;
      } else {
        const answer = await this.#ask(numbers, way, (log) => ({ place: this.#edge(log, way) }), this.#parts.filter(), signal);
        // Without the rows of one log that may be read later, those of the others would pass it.
        const late = answer.logs.findIndex(isPassing);
        if (late >= 0) throw new Error(failedWords(logs[numbers[late]], answer.logs[late]));
        this.#take(answer, numbers, way, false);
      }
      this.failure = '';
    } catch (error) {
      if (signal.aborted) return;
      this.failure = failureWords(error);
      changed();
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
  }

  /**
   * The next row that passes, before the rows that are here or behind them, or from an end of the logs on. Does not change
   * what is here.
   * @param {import('./merged-api.js').Way} way
   * @param {Record<string, string>} filter
   * @param {boolean} isFromEnd whether to begin at the end of the logs from which this way leads
   * @param {AbortSignal} signal
   * @returns {Promise<Entry | null>}
   */
  async find(way, filter, isFromEnd, signal) {
    const { logs, api, buffer } = this.#parts;
    /** @type {Map<number, import('./merged-api.js').FilePlace | null>} */
    const places = new Map();
    for (const log of this.#logsOn()) if (isFromEnd || this.#edge(log, way) !== null) places.set(log, isFromEnd ? null : this.#edge(log, way));
    let failed = '';
    while (places.size > 0) {
      const numbers = [...places.keys()];
      const asked = numbers.map((log) => ({ path: logs[log], shift: buffer.clocks[log].shift, place: places.get(log) }));
      const answer = await api.rows(asked, way, { count: 1, filter }, signal);
      const [entry] = this.#entries(answer, numbers);
      if (entry !== undefined) return entry;
      answer.logs.forEach((log, at) => {
        if (isPassing(log)) failed = failedWords(logs[numbers[at]], log);
        if ('error' in log) places.delete(numbers[at]);
        else places.set(numbers[at], way === 'from' ? log.next : log.from);
      });
      if (way === 'from' ? answer.at_end : answer.at_start) break;
    }
    if (failed !== '') throw new Error(failed);
    return null;
  }

  #logsOn() {
    const on = this.#parts.logsOn();
    return this.#parts.logs.flatMap((_, log) => (on.has(log) ? [log] : []));
  }

  /** Where the rows of a log that are here begin or end; null if nothing is known of the log. @param {number} log @param {import('./merged-api.js').Way} way */
  #edge(log, way) {
    if (this.failed.has(log)) return null;
    const { paged, live } = this.#parts.buffer;
    return (way === 'before' ? paged.top : paged.bottom)[log] ?? (way === 'before' ? live[log].start : null);
  }

  /**
   * @param {number[]} numbers
   * @param {import('./merged-api.js').Way} way
   * @param {(log: number) => {place?: import('./merged-api.js').FilePlace | null, time?: string}} placeOf
   * @param {Record<string, string>} filter
   * @param {AbortSignal} signal
   */
  async #ask(numbers, way, placeOf, filter, signal) {
    const { logs, buffer, api } = this.#parts;
    const asked = numbers.map((log) => ({ path: logs[log], shift: buffer.clocks[log].shift, ...placeOf(log) }));
    const answer = await api.rows(asked, way, { count: ROWS, filter }, signal);
    signal.throwIfAborted();
    return answer;
  }

  /**
   * Adds the rows of an answer to those that are here.
   * @param {MergedRows} answer
   * @param {number[]} numbers the logs of the answer
   * @param {import('./merged-api.js').Way} way
   * @param {boolean} isNew whether no other rows are here
   */
  #take(answer, numbers, way, isNew) {
    const { buffer } = this.#parts;
    const { paged, live } = buffer;
    const rows = this.#entries(answer, numbers).filter(({ log, generation, logOffset }) => !live[log].has(generation, logOffset));
    let isJoined = true;
    answer.logs.forEach((log, at) => {
      const number = numbers[at];
      if ('error' in log) {
        this.failed.set(number, log);
        return;
      }
      if (way === 'before' || isNew) paged.top[number] = log.from;
      if (way === 'from' || isNew) paged.bottom[number] = log.next;
      if (!log.at_end && !live[number].has(log.next.generation, log.next.offset)) isJoined = false;
    });
    if (way === 'before' || isNew) paged.atStart = answer.at_start;
    if (way === 'from' || isNew) paged.isJoined = isJoined;
    paged.add(rows, way === 'before');
    for (const row of rows) buffer.arrived.add(row);
    buffer.version += 1;
  }

  /**
   * The rows of an answer as entries of the list.
   * @param {MergedRows} answer
   * @param {number[]} numbers
   * @returns {Entry[]}
   */
  #entries(answer, numbers) {
    const { clocks } = this.#parts.buffer;
    answer.logs.forEach((log, at) => {
      if (!('error' in log)) clocks[numbers[at]].isTimedByServer ||= log.timed;
    });
    return answer.rows.map(([logOffset, html, annotation], at) => {
      const { log: nth, generation } = answer.files[answer.of[at]];
      const log = numbers[nth];
      const told = answer.times[at] ?? null;
      clocks[log].learn(html, told, annotation);
      return {
        gen: answer.keys[at] ?? NO_KEY, offset: 0, log, logOffset, generation, html, annotation: annotation ?? null, line: null, time: told, told,
        isTold: true, isPaged: true, element: null,
      };
    });
  }
}

/**
 * Where the rows of a log begin that belong to a place in the list.
 * @param {Where} where
 * @param {number} log
 */
function placeIn(where, log) {
  if (typeof where === 'string') return {};
  if ('time' in where) return { time: where.time };
  const { row } = where;
  if (row.log === log && row.logOffset >= 0) return { place: { generation: row.generation, offset: row.logOffset } };
  return row.gen === NO_KEY ? {} : { time: secondsOf(row.gen) };
}

/**
 * Drops the rows before a row. They have its key, and others with that key that stand between them may be missing.
 * @param {PagedRows} paged
 * @param {Entry} row
 */
function beginWith(paged, row) {
  const at = paged.rows.findIndex((one) => one.log === row.log && one.generation === row.generation && one.logOffset === row.logOffset);
  if (at > 0) paged.dropFirst(at, (log) => paged.bottom[log]);
}

/** Whether a log could not be read now, but may be later. @param {LogAnswer} log */
function isPassing(log) {
  return 'error' in log && !FINAL.includes(log.error);
}

/** @param {string} path @param {LogAnswer} log that failed */
function failedWords(path, log) {
  return `${displayPath(path)}: ${'error' in log ? log.message : ''}`;
}

/** A filter as a text that is the same for the same filter. @param {Record<string, string>} filter */
export function filterName(filter) {
  return new URLSearchParams(filter).toString();
}
