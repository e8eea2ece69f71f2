// One stream of a log's messages, by WebSocket or, if a proxy blocks WebSockets, by server-sent events. Both carry the
// same messages and report the same end reasons. The caller decides whether to reconnect.

import { readRefusal } from './refusal.js';
import { CLOSE, parseMessage, SUBPROTOCOL } from './wire.js';

/**
 * @typedef {'socket' | 'events'} Transport
 *
 * @typedef {'lost' | 'full' | 'forbidden' | 'missing' | 'incompatible' | 'refused'} EndReason why a stream ended;
 *   `incompatible`: the peer does not speak the page's protocol; `refused`: the server does not serve this page
 *
 * @typedef {object} Handlers
 * @property {(message: import('./wire.js').Message) => void} onMessage
 * @property {(reason: EndReason) => void} onEnd called once, and never after `close`
 */

/** @type {Record<number, EndReason>} */
const CLOSE_REASONS = { [CLOSE.full]: 'full', [CLOSE.forbidden]: 'forbidden', [CLOSE.missing]: 'missing' };
/** @type {Record<number, EndReason>} */
const STATUS_REASONS = { 400: 'refused', 403: 'forbidden', 404: 'missing', 421: 'refused', 503: 'full' };

/**
 * @param {Transport} means
 * @param {URL} url with the scheme of the page
 * @param {Handlers} ears
 * @returns {{close: () => void}}
 */
export function openStream(means, url, ears) {
  return means === 'socket' ? openSocket(url, ears) : openEvents(url, ears);
}

/** @param {URL} url @param {Handlers} ears */
function openSocket(url, ears) {
  const address = new URL(url);
  address.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
  const socket = new WebSocket(address, SUBPROTOCOL);
  let isForeign = false;
  // Some browsers close a connection without the subprotocol themselves, without a reason.
  socket.onopen = () => {
    isForeign = socket.protocol !== SUBPROTOCOL;
    if (isForeign) socket.close();
  };
  socket.onmessage = (event) => {
    const message = isForeign ? null : parseMessage(event.data);
    if (message !== null) ears.onMessage(message);
  };
  socket.onclose = (event) => ears.onEnd(isForeign ? 'incompatible' : CLOSE_REASONS[event.code] ?? 'lost');
  return {
    close() {
      socket.onopen = null;
      socket.onmessage = null;
      socket.onclose = null;
      socket.close();
    },
  };
}

/**
 * Server-sent events, read by `fetch`, because `EventSource` does not distinguish a refusal from a lost connection, and
 * always reconnects.
 * @param {URL} url
 * @param {Handlers} ears
 */
function openEvents(url, ears) {
  const leaving = new AbortController();
  const { signal } = leaving;
  readEvents(url, signal, ears.onMessage).catch(() => /** @type {const} */ ('lost')).then((reason) => {
    if (!signal.aborted) ears.onEnd(reason);
  });
  return { close: () => leaving.abort() };
}

/**
 * @param {URL} url
 * @param {AbortSignal} signal
 * @param {Handlers['onMessage']} heard
 * @returns {Promise<EndReason>}
 */
async function readEvents(url, signal, heard) {
  const answer = await fetch(url, { headers: { accept: 'text/event-stream' }, cache: 'no-store', signal });
  if (!answer.ok || answer.body === null) {
    heard({ type: 'error', code: answer.status, ...await readRefusal(answer) });
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
      const message = data === undefined || signal.aborted ? null : parseMessage(data.slice('data: '.length));
      if (message !== null) heard(message);
    }
  }
}
