// A proxy in front of a server, which breaks WebSockets as corporate proxies do, or removes a path from requests.

import http from 'node:http';
import net from 'node:net';

/**
 * @typedef {'refuses' | 'closes' | 'hangs' | 'passes'} Manner how it handles an upgrade: it answers 403, accepts it and
 *   closes at once, never answers, or forwards it
 */

export class Proxy {
  /** @type {Manner} */
  manner;
  /** The `Host` that the server gets instead of the browser's. @type {string | null} */
  host = null;
  /** Whether the browser's `Sec-Fetch-Site` is passed on to the server. */
  passesSite = true;
  /** A path that it removes from the beginning of each target; it answers 404 to all others. @type {string | null} */
  strips = null;
  upgrades = 0;
  /** How many event streams are open. */
  streams = 0;
  #server;
  /** @type {Set<import('node:stream').Duplex>} */
  #open = new Set();

  /** @param {() => string} origin of the server behind it @param {Manner} manner */
  static async before(origin, manner) {
    const proxy = new Proxy(origin, manner);
    await new Promise((resolve) => proxy.#server.listen(0, '127.0.0.1', () => resolve(undefined)));
    const { port } = /** @type {import('node:net').AddressInfo} */ (proxy.#server.address());
    proxy.origin = `http://127.0.0.1:${port}`;
    return proxy;
  }

  /** @param {() => string} origin @param {Manner} manner */
  constructor(origin, manner) {
    this.manner = manner;
    this.#server = http.createServer((request, response) => {
      const target = this.#target(request);
      if (target === null) {
        response.writeHead(404).end();
        return;
      }
      const onward = http.request(`${origin()}${target}`, { method: request.method, headers: this.#headers(request) }, (answer) => {
        if (answer.headers['content-type']?.startsWith('text/event-stream')) {
          this.streams += 1;
          response.on('close', () => { this.streams -= 1; });
        }
        response.writeHead(answer.statusCode ?? 502, answer.headers);
        response.flushHeaders();
        answer.pipe(response);
        answer.on('error', () => response.destroy());
      });
      onward.on('error', () => (response.headersSent ? response.destroy() : response.writeHead(502).end()));
      response.on('close', () => onward.destroy());
      request.pipe(onward);
    });
    this.#server.on('upgrade', (request, socket, head) => {
      this.upgrades += 1;
      this.#hold(socket);
      if (this.manner === 'refuses') socket.end('HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n');
      if (this.manner !== 'closes' && this.manner !== 'passes') return;
      const { hostname, port } = new URL(origin());
      const onward = net.connect(Number(port), hostname, () => {
        const headers = Object.entries(this.#headers(request)).map(([name, value]) => `${name}: ${value}\r\n`).join('');
        onward.write(`GET ${this.#target(request) ?? '/'} HTTP/1.1\r\n${headers}\r\n`);
        onward.write(head);
        socket.pipe(onward);
        if (this.manner === 'passes') onward.pipe(socket);
        // Only the answer to the handshake is forwarded.
        else onward.once('data', (data) => socket.end(data.subarray(0, data.indexOf('\r\n\r\n') + 4)));
      });
      this.#hold(onward);
      onward.on('close', () => socket.destroy());
      socket.on('close', () => onward.destroy());
    });
  }

  /** @param {http.IncomingMessage} request */
  #target({ url = '' }) {
    if (this.strips === null) return url;
    return url.startsWith(`${this.strips}/`) ? url.slice(this.strips.length) : null;
  }

  /** @param {http.IncomingMessage} request */
  #headers({ headers }) {
    const passed = this.host === null ? { ...headers } : { ...headers, host: this.host };
    if (!this.passesSite) delete passed['sec-fetch-site'];
    return passed;
  }

  /** @param {import('node:stream').Duplex} socket */
  #hold(socket) {
    this.#open.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => this.#open.delete(socket));
  }

  close() {
    for (const socket of this.#open) socket.destroy();
    this.#server.closeAllConnections();
    this.#server.close();
  }
}
