// The logs of three services over a day and a half, each in a form of its own: JSON, log4j, and the access log of nginx. They
// end a moment ago. Yesterday at 14:07:33 one of them fails, and the others say what that did to them.

import { createWriteStream } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import path from 'node:path';

const HOUR_MS = 3_600_000;
const SPAN_MS = 36 * HOUR_MS;
const CHUNK_CHARS = 1 << 20;
const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];
const PATHS = ['/cart', '/cart/items', '/orders', '/orders/latest', '/account', '/search?q=kettle'];

/** @param {number} number @param {number} digits */
const padded = (number, digits) => String(number).padStart(digits, '0');

/** @typedef {(at: number, nth: number) => string} Line the line of a time, without its newline */

/** @type {Record<string, {form: Line, charsPerLine: number}>} */
const SERVICES = {
  'checkout/checkout.json.log': {
    charsPerLine: 156,
    form: (at, nth) => JSON.stringify({ time: new Date(at).toISOString(), level: nth % 40 === 0 ? 'warn' : 'info', logger: 'shop.checkout', msg: nth % 40 === 0 ? 'slow answer' : 'order placed', order: 40_000 + nth, took_ms: 12 + (nth * 7) % 90 }),
  },
  'gateway/access.log': { charsPerLine: 107, form: (at, nth) => access(at, nth, 200) },
  'payments/payments.log': {
    charsPerLine: 98,
    form: (at, nth) => `${log4j(at)} INFO  [pool-3-thread-${1 + nth % 8}] com.shop.payments.Charge - charge ${70_000 + nth} accepted by bank ${1 + nth % 3}`,
  },
};

/** @param {number} at */
function log4j(at) {
  return new Date(at).toISOString().slice(0, 23).replace('T', ' ').replace('.', ',');
}

/** @param {number} at @param {number} nth @param {number} status */
function access(at, nth, status) {
  const [year, month, rest] = new Date(at).toISOString().split('-');
  return `192.0.2.${1 + nth % 200} - - [${rest.slice(0, 2)}/${MONTHS[Number(month) - 1]}/${year}:${rest.slice(3, 11)} +0000] "GET ${PATHS[nth % PATHS.length]} HTTP/1.1" ${status} ${1_200 + nth % 700} "-" "kettle/2.1"`;
}

/** Yesterday at 14:00 in UTC. @param {number} now */
export function yesterdayAtTwo(now) {
  return Math.floor(now / (24 * HOUR_MS)) * 24 * HOUR_MS - 10 * HOUR_MS;
}

/**
 * What the services say beside their ordinary lines, in order: the failure that is sought, one before it and one after it.
 * @param {number} now
 * @returns {Record<string, [at: number, lines: string[]][]>}
 */
export function failures(now) {
  const two = yesterdayAtTwo(now);
  const [before, sought, after] = [two - 8 * 60_000, two + 453_250, two + 80 * 60_000];
  const declined = (/** @type {number} */ at, /** @type {string} */ why) => [
    `${log4j(at)} ERROR [pool-3-thread-4] com.shop.payments.Charge - charge failed: ${why}`,
    `java.net.SocketTimeoutException: ${why}`,
    '\tat com.shop.payments.Bank.call(Bank.java:88)',
    '\tat com.shop.payments.Charge.run(Charge.java:41)',
  ];
  return {
    'checkout/checkout.json.log': [[sought + 250, [JSON.stringify({ time: new Date(sought + 250).toISOString(), level: 'error', logger: 'shop.checkout', msg: 'payment failed', order: 41_207, status: 502 })]]],
    'gateway/access.log': [[sought + 750, [access(sought + 750, 3, 502)]]],
    'payments/payments.log': [[before, declined(before, 'card reader is offline')], [sought, declined(sought, 'bank 2 did not answer')], [after, declined(after, 'bank 1 did not answer')]],
  };
}

/**
 * Writes the logs. Returns what the failure that is sought consists of, in the order of the times.
 * @param {string} directory
 * @param {number} bytes about so many in all
 * @param {number} now when the logs end
 * @returns {Promise<string[]>}
 */
export async function writeServices(directory, bytes, now) {
  const told = failures(now);
  await Promise.all(Object.entries(SERVICES).map(async ([name, { form, charsPerLine }]) => {
    const file = path.join(directory, name);
    await mkdir(path.dirname(file), { recursive: true });
    const stream = createWriteStream(file);
    const count = Math.ceil(bytes / 3 / charsPerLine);
    const special = [...told[name]];
    let chunk = '';
    for (let nth = 0; nth < count; nth += 1) {
      const at = Math.floor(now - SPAN_MS + ((nth + 1) * SPAN_MS) / count);
      while (special.length > 0 && special[0][0] <= at) chunk += `${special.shift()?.[1].join('\n')}\n`;
      chunk += `${form(at, nth)}\n`;
      if (chunk.length < CHUNK_CHARS) continue;
      if (!stream.write(chunk)) await new Promise((resolve) => { stream.once('drain', () => resolve(null)); });
      chunk = '';
    }
    await new Promise((resolve) => { stream.end(chunk, () => resolve(null)); });
  }));
  return [...told['payments/payments.log'][1][1], ...told['checkout/checkout.json.log'][0][1], ...told['gateway/access.log'][0][1]];
}
