// One log's connection, held up for as long as the page is open. It knows the position to resume from, so that
// a lost connection goes on at the very byte; it never touches the page.
//
// A WebSocket is the first choice. Where none says a word, as behind a proxy that refuses them, the same messages come
// as server-sent events, and a WebSocket is tried again beside them now and then.

import { ResumeState } from './resume.js';
import { openStream } from './transport.js';
import { streamUrl } from './wire.js';

const RETRY_MS_MIN = 500;
const RETRY_MS_MAX = 15_000;
/** What will not be mended by the next second is asked less eagerly from the start. */
const SLOW_ATTEMPT_MIN = 3;
/** A connection that lived this long ends a series of failed ones. */
const STABLE_MS = 5_000;
const CONNECT_MS_MAX = 10_000;
/** So long a connection is waited for to bring what was there when it opened. */
const CATCH_UP_MS_MAX = 3_000;
/** Once a WebSocket has worked, so many failures in a row make one doubt that it still can. */
const FAILURES_BEFORE_FALLBACK = 3;
const PROBE_MS_MIN = 20_000;
const PROBE_MS_MAX = 600_000;
const CLOCK_CHECK_MS = 5_000;
/** A pulse this late means that the machine slept, and that the socket may be dead without knowing. A hidden page's
 * timers may come a minute late, which is not sleep. */
const SLEPT_MS = 150_000;

/**
 * @typedef {import('./transport.js').Transport} Transport
 *
 * It is open once the rows have come that were there already, so that nobody takes a log for empty whose rows are on their way.
 *
 * @typedef {{name: 'connecting'} | {name: 'open', transport: Transport} | {name: 'retry', at: number, reason: 'lost' | 'full' | 'incompatible'}
 *   | {name: 'forbidden', message: string} | {name: 'not-found', message: string} | {name: 'ended'}} Phase
 */

export class Connection {
  /** @type {Phase} */
  phase = { name: 'connecting' };
  #resume = new ResumeState();
  /** @type {{close: () => void} | null} */
  #stream = null;
  /** @type {{close: () => void} | null} */
  #probe = null;
  /** What the next connection is tried with first. @type {Transport} */
  #transport = 'socket';
  #socketsWork = false;
  #attempt = 0;
  #refusal = '';
  #checkedAt = Date.now();
  #probeDelay = PROBE_MS_MIN;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer = undefined;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #probeTimer = undefined;
  #url;
  #onMessage;
  #onPhase;

  /**
   * @param {Location | URL} url the log's, which is the page's where it shows one log
   * @param {(message: import('./wire.js').Message, resuming: boolean) => void} onMessage
   * @param {(phase: Phase) => void} onPhase
   */
  constructor(url, onMessage, onPhase) {
    this.#url = url;
    this.#onMessage = onMessage;
    this.#onPhase = onPhase;
    window.addEventListener('online', () => {
      if (this.phase.name === 'open' || this.phase.name === 'retry') this.#connect(this.#transport);
    });
    document.addEventListener('visibilitychange', () => {
      if (!document.hidden && this.phase.name === 'retry') this.#connect(this.#transport);
    });
    // A browser may keep a page that was left, with its socket open, for the way back; meanwhile it is no viewer.
    window.addEventListener('pagehide', () => this.#disconnect());
    window.addEventListener('pageshow', (event) => {
      if (event.persisted && ['connecting', 'open', 'retry'].includes(this.phase.name)) this.#connect(this.#transport);
    });
    setInterval(() => this.#checkClock(), CLOCK_CHECK_MS);
    this.#connect(this.#transport);
  }

  get position() {
    return this.#resume.position;
  }

  /** Connects now, whatever was planned, unless a connection stands. */
  retry() {
    if (this.phase.name !== 'open') this.#connect(this.#transport);
  }

  /** @param {Transport} transport */
  #connect(transport) {
    this.#disconnect();
    const position = this.#resume.disconnect();
    if (position) this.#onMessage({ type: 'reset', generation: position.generation, from: position.offset, reason: 'back' }, true);
    this.#refusal = '';
    const resuming = this.position !== null;
    const began = Date.now();
    let spoke = false;
    let isOver = false;
    /** How far the file went when it opened. */
    let goal = 0;
    /** @param {import('./transport.js').EndReason} reason */
    const onEnd = (reason) => {
      this.#disconnect();
      if (isOver) this.#setPhase({ name: 'ended' });
      else if (reason === 'forbidden') this.#setPhase({ name: 'forbidden', message: this.#refusal });
      else if (reason === 'missing') this.#setPhase({ name: 'not-found', message: this.#refusal });
      else if (spoke || reason === 'full') {
        if (Date.now() - began >= STABLE_MS) this.#attempt = 0;
        this.#retryLater(reason);
      } else this.#fallBack(transport, reason);
    };
    this.#timer = setTimeout(onEnd, CONNECT_MS_MAX, 'lost');
    this.#stream = openStream(transport, this.#streamUrl(), {
      onEnd,
      onMessage: (message) => {
        if (message.type === 'error') this.#refusal = String(message.message ?? '');
        if (message.type === 'end') isOver = true;
        this.#resume.advance(message);
        if (message.type !== 'error' && !spoke) {
          spoke = true;
          clearTimeout(this.#timer);
          this.#connected(transport);
        }
        this.#onMessage(message, resuming);
        if (message.type === 'open') goal = message.size;
        const at = message.type === 'open' ? message.from : message.type === 'rows' ? message.next : Infinity;
        if (spoke && at >= goal && message.type !== 'signed') this.#caughtUp(transport);
      },
    });
    this.#setPhase({ name: 'connecting' });
  }

  /** What was there has come. @param {Transport} transport */
  #caughtUp(transport) {
    clearTimeout(this.#timer);
    if (this.phase.name === 'connecting') this.#setPhase({ name: 'open', transport });
  }

  /** A connection stands. @param {Transport} transport */
  #connected(transport) {
    this.#transport = transport;
    if (transport === 'socket') {
      this.#socketsWork = true;
      this.#probeDelay = PROBE_MS_MIN;
    } else {
      this.#probeTimer = setTimeout(() => this.#probeSocket(), this.#probeDelay);
    }
    this.#timer = setTimeout(() => this.#caughtUp(transport), CATCH_UP_MS_MAX);
  }

  /**
   * Not a word came.
   * @param {Transport} transport
   * @param {import('./transport.js').EndReason} reason
   */
  #fallBack(transport, reason) {
    const doubtful = !this.#socketsWork || this.#attempt >= FAILURES_BEFORE_FALLBACK;
    if (transport === 'socket' && doubtful) {
      this.#connect('events');
      return;
    }
    this.#transport = 'socket';
    this.#retryLater(reason);
  }

  /** Looks whether a WebSocket gets through by now, beside the events that go on meanwhile. */
  #probeSocket() {
    const again = () => {
      this.#probe?.close();
      this.#probe = null;
      this.#probeDelay = Math.min(PROBE_MS_MAX, this.#probeDelay * 2);
      clearTimeout(this.#probeTimer);
      this.#probeTimer = setTimeout(() => this.#probeSocket(), this.#probeDelay);
    };
    this.#probeTimer = setTimeout(again, CONNECT_MS_MAX);
    this.#probe = openStream('socket', this.#streamUrl(), {
      onEnd: again,
      onMessage: (message) => {
        if (message.type !== 'error') this.#connect('socket');
      },
    });
  }

  /** Drops the stream without hearing from it again, and what was planned. */
  #disconnect() {
    clearTimeout(this.#timer);
    clearTimeout(this.#probeTimer);
    this.#stream?.close();
    this.#stream = null;
    this.#probe?.close();
    this.#probe = null;
  }

  /** Exponential back-off with full jitter, so that many viewers of a restarted server do not come back at once.
   * @param {import('./transport.js').EndReason} reason */
  #retryLater(reason) {
    const shown = reason === 'full' || reason === 'incompatible' ? reason : 'lost';
    if (shown !== 'lost') this.#attempt = Math.max(this.#attempt, SLOW_ATTEMPT_MIN);
    const longest = Math.min(RETRY_MS_MAX, RETRY_MS_MIN * 2 ** (this.#attempt + 1));
    const delay = RETRY_MS_MIN + Math.random() * (longest - RETRY_MS_MIN);
    this.#attempt += 1;
    this.#timer = setTimeout(() => this.#connect(this.#transport), delay);
    this.#setPhase({ name: 'retry', at: Date.now() + delay, reason: shown });
  }

  #streamUrl() {
    return streamUrl(this.#url, this.position, this.#resume.late);
  }

  #checkClock() {
    const now = Date.now();
    const late = now - this.#checkedAt;
    this.#checkedAt = now;
    if (late > SLEPT_MS && this.phase.name === 'open') this.#connect(this.#transport);
  }

  /** @param {Phase} phase */
  #setPhase(phase) {
    this.phase = phase;
    this.#onPhase(phase);
  }
}
