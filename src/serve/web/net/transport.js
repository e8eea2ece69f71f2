// One stream of a log's messages, by WebSocket or, if a proxy blocks WebSockets, by server-sent events. Both carry the
// same messages and report the same end reasons. The caller decides whether to reconnect.

import { pageEvents } from './events.js';
import { CLOSE_REASONS, parseMessage, SUBPROTOCOL } from './wire.js';

/**
 * @typedef {'socket' | 'events'} Transport
 *
 * @typedef {'lost' | 'full' | 'signed-out' | 'forbidden' | 'missing' | 'incompatible' | 'refused'} EndReason why a stream ended;
 *   `incompatible`: the peer does not speak the page's protocol; `refused`: the server does not serve this page
 *
 * @typedef {object} Handlers
 * @property {() => URL} begin called each time that the stream begins or goes on; returns its URL, with the scheme of the page
 * @property {() => void} onPause called when the stream pauses until its next `begin`
 * @property {(message: import('./wire.js').Message) => void} onMessage
 * @property {(reason: EndReason) => void} onEnd called once, and never after `close`
 */

/**
 * @param {Transport} transport
 * @param {Handlers} handlers
 * @returns {{close: () => void}}
 */
export function openStream(transport, handlers) {
  return transport === 'socket' ? openSocket(handlers) : pageEvents().open(handlers);
}

/** @param {Handlers} handlers */
function openSocket(handlers) {
  const url = handlers.begin();
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
    if (message !== null) handlers.onMessage(message);
  };
  socket.onclose = (event) => handlers.onEnd(isForeign ? 'incompatible' : CLOSE_REASONS[event.code] ?? 'lost');
  return {
    close() {
      socket.onopen = null;
      socket.onmessage = null;
      socket.onclose = null;
      socket.close();
    },
  };
}
