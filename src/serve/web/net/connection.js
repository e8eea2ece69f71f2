// One log's connection, held up for as long as the page is open. It knows the position to resume from, so that
// a lost connection goes on at the very byte; it never touches the page.
//
// A WebSocket is the first choice. Where none says a word, as behind a proxy that refuses them, the same messages come
// as server-sent events, and a WebSocket is tried again beside them now and then.

import { open } from './transport.js';
import { Whereabouts } from './resume.js';
import { address } from './wire.js';

const RETRY_MS_MIN = 500;
const RETRY_MS_MAX = 15_000;
/** What will not be mended by the next second is asked less eagerly from the start. */
const PATIENT_ATTEMPT_MIN = 3;
/** A connection that lived this long ends a series of failed ones. */
const STEADY_MS = 5_000;
const CONNECT_MS_MAX = 10_000;
/** So long a connection is waited for to bring what was there when it opened. */
const ARRIVAL_MS_MAX = 3_000;
/** Once a WebSocket has worked, so many failures in a row make one doubt that it still can. */
const FAILURES_OF_DOUBT = 3;
const PROBE_MS_MIN = 20_000;
const PROBE_MS_MAX = 600_000;
const PULSE_MS = 5_000;
/** A pulse this late means that the machine slept, and that the socket may be dead without knowing. A hidden page's
 * timers may come a minute late, which is not sleep. */
const SLEPT_MS = 150_000;

/**
 * @typedef {import('./transport.js').Means} Means
 *
 * It is open once the rows have come that were there already, so that nobody takes a log for empty whose rows are on their way.
 *
 * @typedef {{name: 'connecting'} | {name: 'open', means: Means} | {name: 'retry', at: number, why: 'lost' | 'full' | 'foreign'}
 *   | {name: 'forbidden', message: string} | {name: 'not-found', message: string} | {name: 'ended'}} Phase
 */

export class Connection {
  /** @type {Phase} */
  phase = { name: 'connecting' };
  #whereabouts = new Whereabouts();
  /** @type {{close: () => void} | null} */
  #stream = null;
  /** @type {{close: () => void} | null} */
  #probe = null;
  /** What the next connection is tried with first. @type {Means} */
  #means = 'socket';
  #socketsWork = false;
  #attempt = 0;
  #refusal = '';
  #pulse = Date.now();
  #probeAfter = PROBE_MS_MIN;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer = undefined;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #probeTimer = undefined;
  #location;
  #heard;
  #changed;

  /**
   * @param {Location | URL} location the log's, which is the page's where it shows one log
   * @param {(message: import('./wire.js').Message, resuming: boolean) => void} heard
   * @param {(phase: Phase) => void} changed
   */
  constructor(location, heard, changed) {
    this.#location = location;
    this.#heard = heard;
    this.#changed = changed;
    window.addEventListener('online', () => {
      if (this.phase.name === 'open' || this.phase.name === 'retry') this.#connect(this.#means);
    });
    document.addEventListener('visibilitychange', () => {
      if (!document.hidden && this.phase.name === 'retry') this.#connect(this.#means);
    });
    // A browser may keep a page that was left, with its socket open, for the way back; meanwhile it is no viewer.
    window.addEventListener('pagehide', () => this.#leave());
    window.addEventListener('pageshow', (event) => {
      if (event.persisted && ['connecting', 'open', 'retry'].includes(this.phase.name)) this.#connect(this.#means);
    });
    setInterval(() => this.#watchClock(), PULSE_MS);
    this.#connect(this.#means);
  }

  get position() {
    return this.#whereabouts.position;
  }

  /** Connects now, whatever was planned, unless a connection stands. */
  retry() {
    if (this.phase.name !== 'open') this.#connect(this.#means);
  }

  /** @param {Means} means */
  #connect(means) {
    this.#leave();
    const home = this.#whereabouts.part();
    if (home) this.#heard({ type: 'reset', generation: home.generation, from: home.offset, reason: 'back' }, true);
    this.#refusal = '';
    const resuming = this.position !== null;
    const began = Date.now();
    let spoke = false;
    let isOver = false;
    /** How far the file went when it opened. */
    let goal = 0;
    /** @param {import('./transport.js').Reason} reason */
    const ended = (reason) => {
      this.#leave();
      if (isOver) this.#enter({ name: 'ended' });
      else if (reason === 'forbidden') this.#enter({ name: 'forbidden', message: this.#refusal });
      else if (reason === 'missing') this.#enter({ name: 'not-found', message: this.#refusal });
      else if (spoke || reason === 'full') {
        if (Date.now() - began >= STEADY_MS) this.#attempt = 0;
        this.#retryLater(reason);
      } else this.#despair(means, reason);
    };
    this.#timer = setTimeout(ended, CONNECT_MS_MAX, 'lost');
    this.#stream = open(means, this.#address(), {
      ended,
      heard: (message) => {
        if (message.type === 'error') this.#refusal = String(message.message ?? '');
        if (message.type === 'end') isOver = true;
        this.#whereabouts.advance(message);
        if (message.type !== 'error' && !spoke) {
          spoke = true;
          clearTimeout(this.#timer);
          this.#settle(means);
        }
        this.#heard(message, resuming);
        if (message.type === 'open') goal = message.size;
        const at = message.type === 'open' ? message.from : message.type === 'rows' ? message.next : Infinity;
        if (spoke && at >= goal && message.type !== 'signed') this.#arrived(means);
      },
    });
    this.#enter({ name: 'connecting' });
  }

  /** What was there has come. @param {Means} means */
  #arrived(means) {
    clearTimeout(this.#timer);
    if (this.phase.name === 'connecting') this.#enter({ name: 'open', means });
  }

  /** A connection stands. @param {Means} means */
  #settle(means) {
    this.#means = means;
    if (means === 'socket') {
      this.#socketsWork = true;
      this.#probeAfter = PROBE_MS_MIN;
    } else {
      this.#probeTimer = setTimeout(() => this.#probeSocket(), this.#probeAfter);
    }
    this.#timer = setTimeout(() => this.#arrived(means), ARRIVAL_MS_MAX);
  }

  /**
   * Not a word came.
   * @param {Means} means
   * @param {import('./transport.js').Reason} reason
   */
  #despair(means, reason) {
    const doubtful = !this.#socketsWork || this.#attempt >= FAILURES_OF_DOUBT;
    if (means === 'socket' && doubtful) {
      this.#connect('events');
      return;
    }
    this.#means = 'socket';
    this.#retryLater(reason);
  }

  /** Looks whether a WebSocket gets through by now, beside the events that go on meanwhile. */
  #probeSocket() {
    const again = () => {
      this.#probe?.close();
      this.#probe = null;
      this.#probeAfter = Math.min(PROBE_MS_MAX, this.#probeAfter * 2);
      clearTimeout(this.#probeTimer);
      this.#probeTimer = setTimeout(() => this.#probeSocket(), this.#probeAfter);
    };
    this.#probeTimer = setTimeout(again, CONNECT_MS_MAX);
    this.#probe = open('socket', this.#address(), {
      ended: again,
      heard: (message) => {
        if (message.type !== 'error') this.#connect('socket');
      },
    });
  }

  /** Drops the stream without hearing from it again, and what was planned. */
  #leave() {
    clearTimeout(this.#timer);
    clearTimeout(this.#probeTimer);
    this.#stream?.close();
    this.#stream = null;
    this.#probe?.close();
    this.#probe = null;
  }

  /** Exponential back-off with full jitter, so that many viewers of a restarted server do not come back at once.
   * @param {import('./transport.js').Reason} reason */
  #retryLater(reason) {
    const why = reason === 'full' || reason === 'foreign' ? reason : 'lost';
    if (why !== 'lost') this.#attempt = Math.max(this.#attempt, PATIENT_ATTEMPT_MIN);
    const longest = Math.min(RETRY_MS_MAX, RETRY_MS_MIN * 2 ** (this.#attempt + 1));
    const delay = RETRY_MS_MIN + Math.random() * (longest - RETRY_MS_MIN);
    this.#attempt += 1;
    this.#timer = setTimeout(() => this.#connect(this.#means), delay);
    this.#enter({ name: 'retry', at: Date.now() + delay, why });
  }

  #address() {
    return address(this.#location, this.position, this.#whereabouts.late);
  }

  #watchClock() {
    const now = Date.now();
    const late = now - this.#pulse;
    this.#pulse = now;
    if (late > SLEPT_MS && this.phase.name === 'open') this.#connect(this.#means);
  }

  /** @param {Phase} phase */
  #enter(phase) {
    this.phase = phase;
    this.#changed(phase);
  }
}
