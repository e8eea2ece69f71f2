// One log's connection, held up for as long as the page is open. It knows the position to resume from, so that
// a lost connection goes on at the very byte; it never touches the page.

import { CLOSE, SUBPROTOCOL, address, parse } from './wire.js';

const RETRY_MS_MIN = 500;
const RETRY_MS_MAX = 15_000;
/** A server that is full is asked less eagerly from the start. */
const FULL_ATTEMPT_MIN = 3;
/** A connection that lived this long ends a series of failed ones. */
const STEADY_MS = 5_000;
const CONNECT_MS_MAX = 10_000;
const PULSE_MS = 5_000;
/** A pulse this late means that the machine slept, and that the socket may be dead without knowing. A hidden page's
 * timers may come a minute late, which is not sleep. */
const SLEPT_MS = 150_000;

/**
 * @typedef {{name: 'connecting'} | {name: 'open'} | {name: 'retry', at: number, full: boolean}
 *   | {name: 'forbidden', message: string} | {name: 'not-found', message: string} | {name: 'ended'}} Phase
 */

export class Connection {
  /** @type {Phase} */
  phase = { name: 'connecting' };
  /** @type {import('./wire.js').Position | null} */
  position = null;
  /** @type {WebSocket | null} */
  #socket = null;
  #attempt = 0;
  #refusal = '';
  #pulse = Date.now();
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer = undefined;
  #location;
  #heard;
  #changed;

  /**
   * @param {Location} location the page's, which is the log's
   * @param {(message: import('./wire.js').Message, resuming: boolean) => void} heard
   * @param {(phase: Phase) => void} changed
   */
  constructor(location, heard, changed) {
    this.#location = location;
    this.#heard = heard;
    this.#changed = changed;
    window.addEventListener('online', () => {
      if (this.phase.name === 'open' || this.phase.name === 'retry') this.#connect();
    });
    document.addEventListener('visibilitychange', () => {
      if (!document.hidden && this.phase.name === 'retry') this.#connect();
    });
    // A browser may keep a page that was left, with its socket open, for the way back; meanwhile it is no viewer.
    window.addEventListener('pagehide', () => {
      clearTimeout(this.#timer);
      this.#leave();
    });
    window.addEventListener('pageshow', (event) => {
      if (event.persisted && ['connecting', 'open', 'retry'].includes(this.phase.name)) this.#connect();
    });
    setInterval(() => this.#watchClock(), PULSE_MS);
    this.#connect();
  }

  /** Connects now, whatever was planned, unless a connection stands. */
  retry() {
    if (this.phase.name !== 'open') this.#connect();
  }

  #connect() {
    clearTimeout(this.#timer);
    this.#leave();
    this.#refusal = '';
    const resuming = this.position !== null;
    const socket = new WebSocket(address(this.#location, this.position), SUBPROTOCOL);
    const began = Date.now();
    let ended = false;
    this.#socket = socket;
    this.#timer = setTimeout(() => {
      this.#leave();
      this.#retryLater(false);
    }, CONNECT_MS_MAX);

    socket.onmessage = (event) => {
      const message = parse(event.data);
      if (message === null) return;
      if (message.type === 'error') this.#refusal = String(message.message ?? '');
      if (message.type === 'end') ended = true;
      this.#advance(message);
      if (message.type !== 'error' && this.phase.name !== 'open') {
        clearTimeout(this.#timer);
        this.#enter({ name: 'open' });
      }
      this.#heard(message, resuming);
    };
    socket.onclose = (event) => {
      this.#socket = null;
      clearTimeout(this.#timer);
      if (Date.now() - began >= STEADY_MS) this.#attempt = 0;
      if (ended) this.#enter({ name: 'ended' });
      else if (event.code === CLOSE.forbidden) this.#enter({ name: 'forbidden', message: this.#refusal });
      else if (event.code === CLOSE.missing) this.#enter({ name: 'not-found', message: this.#refusal });
      else this.#retryLater(event.code === CLOSE.full);
    };
    this.#enter({ name: 'connecting' });
  }

  /** Drops the socket without hearing from it again. */
  #leave() {
    if (this.#socket === null) return;
    this.#socket.onmessage = null;
    this.#socket.onclose = null;
    this.#socket.close();
    this.#socket = null;
  }

  /** Exponential back-off with full jitter, so that many viewers of a restarted server do not come back at once.
   * @param {boolean} full */
  #retryLater(full) {
    if (full) this.#attempt = Math.max(this.#attempt, FULL_ATTEMPT_MIN);
    const longest = Math.min(RETRY_MS_MAX, RETRY_MS_MIN * 2 ** (this.#attempt + 1));
    const delay = RETRY_MS_MIN + Math.random() * (longest - RETRY_MS_MIN);
    this.#attempt += 1;
    this.#timer = setTimeout(() => this.#connect(), delay);
    this.#enter({ name: 'retry', at: Date.now() + delay, full });
  }

  /** @param {import('./wire.js').Message} message */
  #advance(message) {
    if (message.type === 'open' || message.type === 'reset') {
      this.position = { generation: message.generation, offset: message.from };
    } else if (message.type === 'gap') {
      this.position = { generation: message.generation, offset: message.to ?? message.from };
    } else if (message.type === 'signed' && this.position !== null) {
      this.position = { generation: message.generation, offset: this.position.offset };
    } else if (message.type === 'rows' && this.position !== null) {
      this.position = { generation: this.position.generation, offset: message.next };
    }
  }

  #watchClock() {
    const now = Date.now();
    const late = now - this.#pulse;
    this.#pulse = now;
    if (late > SLEPT_MS && this.phase.name === 'open') this.#connect();
  }

  /** @param {Phase} phase */
  #enter(phase) {
    this.phase = phase;
    this.#changed(phase);
  }
}
