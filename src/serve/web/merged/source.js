// One log of the merged page: its connection and its status. It adds its rows and markers to the list.

import { Connection } from '../net/connection.js';
import { interpretation, serverUrl } from '../net/wire.js';
import { finishIn } from '../rows/exit.js';
import { describe } from '../ui/status.js';
import { formatClock, formatSize } from '../ui/units.js';
import { resetWords } from '../viewer/stream.js';
import { NO_KEY } from './place.js';

/** The number of lines with which a log begins whose place is not known. */
const LINES = 200;

export class Source {
  log;
  number;
  name = '';
  watch = '';
  on = true;
  /** The arrival time of the last new byte, or 0. */
  heardAt = 0;
  /** The reason why there is no file to read. @type {string | null} */
  #waiting = null;
  /** @type {import('../net/connection.js').Phase} */
  #phase = { name: 'connecting' };
  /** The time of the loss of the connection. @type {number | null} */
  #lostAt = null;
  #opened = false;
  /** How the command ended whose output the log is, and the offset of that row. @type {{at: number, finish: import('../ui/status.js').Finish} | null} */
  #finished = null;
  /** The generation of the rows that arrive. */
  #generation = '';
  /** The size of the log when it was opened: rows up to here are history. */
  #historySize = Infinity;
  /** Where the log is followed from. @type {import('./merged-api.js').FilePlace | null} */
  #begin = null;
  #buffer;
  #api;
  #encoding;
  #changed;
  /** @type {Connection | null} */
  #connection = null;

  /**
   * @param {string} log
   * @param {number} number
   * @param {import('./merge-buffer.js').MergeBuffer} buffer
   * @param {import('./merged-api.js').MergedApi} api
   * @param {string} encoding that was chosen, or empty
   * @param {(fresh: number) => void} changed
   */
  constructor(log, number, buffer, api, encoding, changed) {
    this.log = log;
    this.number = number;
    this.#buffer = buffer;
    this.#api = api;
    this.#encoding = encoding;
    this.#changed = changed;
  }

  /**
   * The log will be followed from the place on where the rows of the first page end.
   * @param {import('./merged-api.js').LogAnswer} read what there is of it
   */
  begin(read) {
    if ('error' in read || read.live === null || this.#begin !== null) return;
    const live = this.#buffer.live[this.number];
    this.#begin = read.live;
    live.begin(read.live);
    live.key = read.key ?? NO_KEY;
    this.#buffer.giveWay(this.number);
  }

  /** Follows the log. If it is not known where it begins, its last lines come first. */
  connect() {
    const { decode } = interpretation(location);
    const parameters = new URLSearchParams({ lines: String(LINES), encoding: this.#encoding, ...(decode && { decode }) });
    this.#connection = new Connection(
      new URL(serverUrl(`${this.log}?${parameters}`)),
      (message, resuming) => this.#changed(this.#handle(message, resuming)),
      (phase) => {
        if (phase.name === 'retry' && this.#phase.name === 'open') this.#lostAt = Date.now();
        if (phase.name === 'open') this.#lostAt = null;
        this.#phase = phase;
        this.#changed(0);
      },
      false,
      this.#begin,
    );
  }

  /** Whether it is known from where on the log is followed. */
  get hasBegun() {
    return this.#begin !== null;
  }

  /** Its state for display. */
  get status() {
    return describe({
      phase: this.#phase, waiting: this.#waiting, following: true, empty: false, newLines: 0,
      lostAt: this.#lostAt, openedAt: 0, heardAt: 0, size: null, watch: null, viewers: null, finish: this.#finished?.finish ?? null,
    }, Date.now());
  }

  retry() {
    this.#connection?.retry();
  }

  /**
   * @param {import('../net/wire.js').Message} message
   * @param {boolean} resuming
   * @returns {number} how many rows are new
   */
  #handle(message, resuming) {
    const wasWaiting = this.#waiting !== null;
    this.#waiting = message.type === 'waiting' ? message.reason : null;
    const live = this.#buffer.live[this.number];
    switch (message.type) {
      case 'open':
        this.watch = message.watch;
        this.#generation = String(message.generation);
        if (resuming && !message.recovered) live.reopen({ generation: this.#generation, offset: message.from });
        else live.begin({ generation: this.#generation, offset: message.from });
        // Pages that came before this answer have rows that now arrive.
        this.#buffer.giveWay(this.number);
        if (resuming && !message.recovered) this.#addMarker('not-resumed', `could not resume at ${formatClock(Date.now())}: lines may be missing or repeated here`, true);
        if (!this.#opened) this.#historySize = message.size;
        this.#opened = true;
        return 0;
      case 'rows': {
        const last = message.rows.at(-1);
        const finish = finishIn(last?.[2]);
        if (last !== undefined && finish !== null) this.#finished = { at: last[0], finish };
        else if (last !== undefined || message.from <= (this.#finished?.at ?? -1)) this.#finished = null;
        const isNews = message.next > this.#historySize;
        const fresh = this.#buffer.patch(this.number, message, this.#generation, isNews ? Date.now() + this.#api.ahead : null);
        if (isNews) this.heardAt = Date.now();
        return isNews ? fresh : 0;
      }
      case 'gap':
        this.#addMarker('gap', message.to === null ? `lines may be missing here, after byte ${message.from}` : `${formatSize(message.to - message.from)} left out`, false);
        return 0;
      case 'reset':
        this.#finished = null;
        this.#historySize = -1;
        this.#generation = String(message.generation);
        live.begin({ generation: this.#generation, offset: message.from });
        this.#addMarker(message.reason, resetWords(message.reason, wasWaiting), true);
        return 0;
      case 'signed':
        this.#generation = String(message.generation);
        live.turnTo(this.#generation);
        return 0;
      default:
        return 0;
    }
  }

  /**
   * @param {string} mark
   * @param {string} text
   * @param {boolean} isOther
   */
  #addMarker(mark, text, isOther) {
    this.#buffer.addMarker(this.number, mark, text, isOther, Date.now() + this.#api.ahead);
  }
}
