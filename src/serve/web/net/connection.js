// The connection to one log. It reconnects for as long as the page is open, and resumes at the byte where it stopped.
// It does not touch the document.
//
// It tries a WebSocket first. If no message arrives over it, as behind a proxy that blocks WebSockets, it uses
// server-sent events and probes from time to time whether a WebSocket works. Events may pause while other pages need the
// connections of the browser; the log then goes on at its position.

import { askRefusal } from './refusal.js';
import { ResumeState } from './resume.js';
import { signedIn, signedOut } from './signed-out.js';
import { openStream } from './transport.js';
import { streamUrl } from './wire.js';

const RETRY_MS_MIN = 500;
const RETRY_MS_MAX = 15_000;
/** The back-off starts at this attempt for errors that a quick retry cannot solve. */
const SLOW_ATTEMPT_MIN = 3;
/** A connection that lasted this long resets the back-off. */
const STABLE_MS = 5_000;
const CONNECT_MS_MAX = 10_000;
/** The longest wait for the history of a new connection before it counts as open. */
const CATCH_UP_MS_MAX = 3_000;
/** If a WebSocket has worked before, it falls back to server-sent events after this many failures in a row. */
const FAILURES_BEFORE_FALLBACK = 3;
const PROBE_MS_MIN = 20_000;
const PROBE_MS_MAX = 600_000;
const CLOCK_CHECK_MS = 5_000;
/** A timer that is this late means that the machine slept, and that the socket may be dead. Timers of a hidden page may
 * be a minute late anyway. */
const SLEPT_MS = 150_000;

/**
 * @typedef {import('./transport.js').Transport} Transport
 *
 * The phase is `open` once the history has arrived, so that a log does not look empty while its rows are on their way.
 *
 * @typedef {import('./refusal.js').Refusal} Refusal
 * @typedef {'lost' | 'full' | 'incompatible' | 'refused'} RetryReason
 *
 * `refusal` is why the server refuses WebSockets, or this page.
 *
 * @typedef {{name: 'connecting'} | {name: 'open', transport: Transport, refusal: Refusal | null}
 *   | {name: 'retry', at: number, reason: RetryReason, refusal: Refusal | null}
 *   | {name: 'signed-out'} | {name: 'forbidden', message: string} | {name: 'not-found', message: string} | {name: 'ended'}} Phase
 */

export class Connection {
  /** @type {Phase} */
  phase = { name: 'connecting' };
  #resume = new ResumeState();
  /** @type {{close: () => void} | null} */
  #stream = null;
  /** @type {{close: () => void} | null} */
  #probe = null;
  /** The transport that the next connection tries first. @type {Transport} */
  #transport = 'socket';
  #socketsWork = false;
  #attempt = 0;
  /** Why the server refused the stream. @type {Refusal | null} */
  #refusal = null;
  /** Why the server refuses WebSockets. @type {Refusal | null} */
  #socketRefusal = null;
  #checkedAt = Date.now();
  #probeDelay = PROBE_MS_MIN;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer = undefined;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #probeTimer = undefined;
  #url;
  #onMessage;
  #onPhase;
  #wantsViewers;

  /**
   * @param {Location | URL} url of the log; on the viewer page it is the page's own URL
   * @param {(message: import('./wire.js').Message, resuming: boolean) => void} onMessage
   * @param {(phase: Phase) => void} onPhase
   * @param {boolean} wantsViewers whether the server is to tell who views the log
   * @param {import('./wire.js').ResumePosition | null} position where the log goes on; without one, its last lines come first
   */
  constructor(url, onMessage, onPhase, wantsViewers = false, position = null) {
    this.#url = url;
    this.#resume.position = position;
    this.#wantsViewers = wantsViewers;
    this.#onMessage = onMessage;
    this.#onPhase = onPhase;
    window.addEventListener('online', () => {
      if (this.phase.name === 'open' || this.phase.name === 'retry') this.#connect(this.#transport);
    });
    document.addEventListener('visibilitychange', () => {
      // Somebody may have signed in on another page.
      if (!document.hidden && ['retry', 'signed-out'].includes(this.phase.name)) this.#connect(this.#transport);
    });
    // A browser may keep a page in its back-forward cache. A cached page is no viewer.
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

  /** Connects now, unless a connection is open. */
  retry() {
    if (this.phase.name !== 'open') this.#connect(this.#transport);
  }

  /** @param {Transport} transport */
  #connect(transport) {
    this.#disconnect();
    this.#refusal = null;
    const began = Date.now();
    let spoke = false;
    let isOver = false;
    let resuming = false;
    /** Whether nothing has arrived since the stream began or went on. */
    let isSilent = true;
    /** The size of the file when the stream opened. */
    let goal = 0;
    const begin = () => {
      const position = this.#resume.disconnect();
      if (position) this.#onMessage({ type: 'reset', generation: position.generation, from: position.offset, reason: 'back' }, true);
      resuming = this.position !== null;
      isSilent = true;
      clearTimeout(this.#timer);
      this.#timer = setTimeout(onEnd, CONNECT_MS_MAX, 'lost');
      return this.#streamUrl();
    };
    /** @param {import('./transport.js').EndReason} reason */
    const onEnd = (reason) => {
      this.#disconnect();
      if (isOver) this.#setPhase({ name: 'ended' });
      else if (reason === 'signed-out') {
        signedOut();
        this.#setPhase({ name: 'signed-out' });
      } else if (reason === 'forbidden') this.#setPhase({ name: 'forbidden', message: this.#refusal?.message ?? '' });
      else if (reason === 'missing') this.#setPhase({ name: 'not-found', message: this.#refusal?.message ?? '' });
      else if (spoke || reason === 'full') {
        if (Date.now() - began >= STABLE_MS) this.#attempt = 0;
        this.#retryLater(reason);
      } else this.#fallBack(transport, reason);
    };
    this.#stream = openStream(transport, {
      begin,
      onPause: () => clearTimeout(this.#timer),
      onEnd,
      onMessage: (message) => {
        if (message.type === 'error') this.#refusal = { message: String(message.message ?? ''), hint: String(message.hint ?? '') };
        if (message.type === 'end') isOver = true;
        this.#resume.advance(message);
        if (message.type !== 'error' && isSilent) {
          isSilent = false;
          clearTimeout(this.#timer);
          if (!spoke) this.#connected(transport);
          spoke = true;
          this.#timer = setTimeout(() => this.#caughtUp(transport), CATCH_UP_MS_MAX);
        }
        this.#onMessage(message, resuming);
        if (message.type === 'open') goal = message.size;
        const at = message.type === 'open' ? message.from : message.type === 'rows' ? message.next : Infinity;
        if (spoke && at >= goal && message.type !== 'signed' && message.type !== 'viewers') this.#caughtUp(transport);
      },
    });
    this.#setPhase({ name: 'connecting' });
  }

  /** Called when the history has arrived. @param {Transport} transport */
  #caughtUp(transport) {
    clearTimeout(this.#timer);
    if (this.phase.name === 'connecting') this.#setPhase({ name: 'open', transport, refusal: this.#socketRefusal });
  }

  /** Called at the first message. @param {Transport} transport */
  #connected(transport) {
    this.#transport = transport;
    signedIn();
    if (transport === 'socket') {
      this.#socketsWork = true;
      this.#socketRefusal = null;
      this.#probeDelay = PROBE_MS_MIN;
    } else {
      this.#probeTimer = setTimeout(() => this.#probeSocket(), this.#probeDelay);
    }
  }

  /**
   * Called when a connection ended before its first message.
   * @param {Transport} transport
   * @param {import('./transport.js').EndReason} reason
   */
  #fallBack(transport, reason) {
    const doubtful = !this.#socketsWork || this.#attempt >= FAILURES_BEFORE_FALLBACK;
    if (transport === 'socket' && doubtful) {
      this.#explain();
      this.#connect('events');
      return;
    }
    this.#transport = 'socket';
    this.#retryLater(reason);
  }

  /** Asks the server whether it refuses the WebSocket, and why. */
  async #explain() {
    this.#socketRefusal = await askRefusal();
    const { phase } = this;
    if (phase.name === 'open' && phase.transport === 'events') this.#setPhase({ ...phase, refusal: this.#socketRefusal });
  }

  /** Probes whether a WebSocket works now. Meanwhile the server-sent events continue. */
  #probeSocket() {
    const again = () => {
      this.#probe?.close();
      this.#probe = null;
      this.#probeDelay = Math.min(PROBE_MS_MAX, this.#probeDelay * 2);
      clearTimeout(this.#probeTimer);
      this.#probeTimer = setTimeout(() => this.#probeSocket(), this.#probeDelay);
    };
    this.#probeTimer = setTimeout(again, CONNECT_MS_MAX);
    this.#probe = openStream('socket', {
      begin: () => this.#streamUrl(),
      onPause: () => {},
      onEnd: again,
      onMessage: (message) => {
        if (message.type !== 'error') this.#connect('socket');
      },
    });
  }

  /** Closes the stream and cancels all timers. */
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
    const shown = reason === 'full' || reason === 'incompatible' || reason === 'refused' ? reason : 'lost';
    if (shown !== 'lost') this.#attempt = Math.max(this.#attempt, SLOW_ATTEMPT_MIN);
    const longest = Math.min(RETRY_MS_MAX, RETRY_MS_MIN * 2 ** (this.#attempt + 1));
    const delay = RETRY_MS_MIN + Math.random() * (longest - RETRY_MS_MIN);
    this.#attempt += 1;
    this.#timer = setTimeout(() => this.#connect(this.#transport), delay);
    this.#setPhase({ name: 'retry', at: Date.now() + delay, reason: shown, refusal: this.#refusal });
  }

  #streamUrl() {
    const url = streamUrl(this.#url, this.position, this.#resume.late);
    if (this.#wantsViewers) url.searchParams.set('viewers', '1');
    return url;
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
