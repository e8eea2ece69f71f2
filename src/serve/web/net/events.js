// The server-sent events of a page. A browser opens at most six connections to a server with HTTP/1.1, and all its tabs
// share them. So all logs of a page share one stream, and a page without a turn to hold it lets it go.

import { askTurns } from './turns.js';
import { readRefusal } from './refusal.js';
import { CLOSE_REASONS, knownMessage, serverUrl, withoutBase } from './wire.js';

/** Logs that are opened at about the same time are requested together. */
const GATHER_MS = 50;
/** A page that has no turn, but is visible, holds its stream this long, and again after a pause. */
const LOOK_MS = 1_000;
const PAUSE_MS = 3_000;
/** The longest target of a request. The server accepts 16 KiB for all headers. */
const TARGET_CHARS_MAX = 10_000;

/** @type {Record<number, import('./transport.js').EndReason>} */
const STATUS_REASONS = {
  400: 'refused', 401: 'signed-out', 403: 'forbidden', 404: 'missing', 421: 'refused', 429: 'full', 503: 'full',
};

/**
 * @typedef {import('./transport.js').Handlers} Handlers
 * @typedef {{name: string, handlers: Handlers, url: URL | null}} Log a log of the page; `url` of the present stream
 */

class PageEvents {
  /** @type {Set<Log>} */
  #logs = new Set();
  /** Ends the present streams. @type {AbortController | null} */
  #open = null;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer = undefined;
  #turns = askTurns(() => this.#restart());

  /**
   * The events of a log.
   * @param {Handlers} handlers
   * @returns {{close: () => void}}
   */
  open(handlers) {
    /** @type {Log} */
    const log = { name: '', handlers, url: null };
    this.#logs.add(log);
    this.#restartSoon();
    return {
      close: () => {
        if (this.#logs.delete(log)) this.#restartSoon();
      },
    };
  }

  #restartSoon() {
    clearTimeout(this.#timer);
    if (this.#logs.size > 0) this.#timer = setTimeout(() => this.#restart(), GATHER_MS);
    else this.#stop();
  }

  #stop() {
    clearTimeout(this.#timer);
    this.#open?.abort();
    this.#open = null;
    this.#turns.want(this.#logs.size > 0);
  }

  /** Requests all logs, each from its position. */
  #restart() {
    this.#stop();
    const { turn } = this.#turns;
    if (this.#logs.size === 0) return;
    if (turn === 'none') {
      for (const { handlers } of [...this.#logs]) handlers.onPause();
      return;
    }
    this.#open = new AbortController();
    for (const group of this.#groups()) this.#request(group, this.#open.signal);
    if (turn === 'short') this.#timer = setTimeout(() => this.#pause(), LOOK_MS);
  }

  #pause() {
    this.#stop();
    for (const { handlers } of [...this.#logs]) handlers.onPause();
    this.#timer = setTimeout(() => this.#restart(), PAUSE_MS);
  }

  /** The logs, in groups of which each fits into a request. */
  #groups() {
    /** @type {Log[][]} */
    const groups = [];
    let chars = Infinity;
    for (const log of [...this.#logs]) {
      log.url = log.handlers.begin();
      chars += log.url.href.length;
      if (chars > TARGET_CHARS_MAX) {
        groups.push([]);
        chars = log.url.href.length;
      }
      groups[groups.length - 1].push(log);
    }
    return groups;
  }

  /** @param {Log[]} logs @param {AbortSignal} signal */
  async #request(logs, signal) {
    /** @param {Log} log @param {import('./wire.js').Message} message */
    const hear = (log, message) => {
      if (signal.aborted || !this.#logs.has(log)) return;
      log.handlers.onMessage(message);
      if (message.type === 'error' && typeof message.code === 'number' && message.code in CLOSE_REASONS) {
        this.#end(log, CLOSE_REASONS[message.code]);
      } else if (message.type === 'end') this.#end(log, 'lost');
    };
    const reason = await readEvents(logs, signal, hear).catch(() => /** @type {const} */ ('lost'));
    if (signal.aborted) return;
    for (const log of logs) this.#end(log, reason);
  }

  /** @param {Log} log @param {import('./transport.js').EndReason} reason */
  #end(log, reason) {
    if (this.#logs.delete(log)) log.handlers.onEnd(reason);
    if (this.#logs.size === 0) this.#stop();
  }
}

/**
 * Reads with `fetch`, because `EventSource` does not distinguish a refusal from a lost connection, and always reconnects.
 * @param {Log[]} logs
 * @param {AbortSignal} signal
 * @param {(log: Log, message: import('./wire.js').Message) => void} hear
 * @returns {Promise<import('./transport.js').EndReason>}
 */
async function readEvents(logs, signal, hear) {
  const answer = await fetch(target(logs), { headers: { accept: 'text/event-stream' }, cache: 'no-store', signal });
  if (!answer.ok || answer.body === null) {
    const refusal = await readRefusal(answer);
    for (const log of logs) hear(log, { type: 'error', code: answer.status, ...refusal });
    return STATUS_REASONS[answer.status] ?? 'lost';
  }
  if (!answer.headers.get('content-type')?.startsWith('text/event-stream')) return 'incompatible';
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return 'lost';
    const blocks = (rest + value).split('\n\n');
    rest = blocks.pop() ?? '';
    for (const block of blocks) {
      // Each message is one `data:` line. Other lines are positions and heartbeats.
      const data = block.split('\n').find((line) => line.startsWith('data: '));
      if (data !== undefined) hearEvent(logs, data.slice('data: '.length), hear);
    }
  }
}

/**
 * @param {Log[]} logs
 * @param {string} data
 * @param {(log: Log, message: import('./wire.js').Message) => void} hear
 */
function hearEvent(logs, data, hear) {
  const value = parse(data);
  const log = logs.length === 1 ? logs[0] : logs[value?.log];
  const message = knownMessage(logs.length === 1 ? value : value?.message);
  if (log !== undefined && message !== null) hear(log, message);
}

/** @param {string} data */
function parse(data) {
  try {
    return JSON.parse(data);
  } catch {
    return null;
  }
}

/** The address of the stream: that of the log, or one for several logs. @param {Log[]} logs */
function target(logs) {
  const urls = logs.flatMap(({ url }) => (url === null ? [] : [url]));
  if (urls.length === 1) return urls[0];
  return serverUrl(`/_/events?${urls.map(({ pathname, search }) => `log=${withoutBase(pathname).replace(/[&+#]/g, encodeURIComponent)}&${search.slice(1)}`).join('&')}`);
}

/** @typedef {Window & {tailcastEvents?: PageEvents}} EventsWindow */

/** The events of this page. The panes of the split view share those of the view. */
export function pageEvents() {
  const host = /** @type {EventsWindow} */ (window.parent);
  try {
    if (host.tailcastEvents !== undefined) return host.tailcastEvents;
  } catch {
    // The page is in a frame of another origin.
  }
  return shareEvents();
}

/** Lets the frames in this page share its events. */
export function shareEvents() {
  const here = /** @type {EventsWindow} */ (window);
  here.tailcastEvents ??= new PageEvents();
  return here.tailcastEvents;
}
