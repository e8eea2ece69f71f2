// The messages of `tailcast.v1`, server to viewer. Offsets and sizes are bytes; a generation names the file
// behind the path, and a position is a generation with an offset in it.

/** With so many lines a page opens: some screens. Earlier ones are loaded when the reader scrolls up to them. */
const LINES = 400;

/**
 * @typedef {{opens?: string, closes?: number, level?: number, collapsed?: boolean}} GroupAnnotation groups that end and begin here
 * @typedef {{status: number | null}} ExitAnnotation how a command ended here; null if that is not said
 * @typedef {{group?: GroupAnnotation, level?: string, time?: number, stream?: string, exit?: ExitAnnotation, duration?: number,
 *   match?: [start: number, end: number][]}} RowAnnotation
 *   group, level, time and exit from the log's markers, the stream of a container's program, how long the command ran in
 *   ms, and the ranges that match the pattern
 * @typedef {[offset: number, html: string, note?: RowAnnotation]} WireRow
 *
 * @typedef {{type: 'open', path: string, generation: string | number, from: number, size: number,
 *   recovered: boolean, watch: 'events' | 'poll'}} Open the start of this stream
 * @typedef {{type: 'rows', from: number, next: number, rows: WireRow[]}} Patch drop the rows whose offset is `from`
 *   or more, append these; `next` is where to resume
 * @typedef {{type: 'gap', generation: string | number, from: number, to: number | null}} Gap bytes left out; `to` is
 *   null if their number is unknown
 * @typedef {{type: 'reset', generation: string | number, from: number, reason: string}} Reset the following bytes are
 *   of this generation and begin at this offset
 * @typedef {{type: 'signed', generation: string | number}} Signed the new name of the same generation
 * @typedef {{type: 'waiting', reason: string}} Waiting the log has no readable file at present
 * @typedef {{type: 'viewers', count: number, names?: string[]}} Viewers who views the log now
 * @typedef {{type: 'notice', generation: string | number, code: string, message: string}} Notice what has to be said about
 *   a compressed file that could not be unpacked to its end
 * @typedef {{type: 'end'}} End the stream is over
 * @typedef {{type: 'error', code: string | number, message: string, hint?: string}} Refusal why the stream ends
 *
 * @typedef {Open | Patch | Gap | Reset | Signed | Waiting | Viewers | Notice | End | Refusal} Message
 * @typedef {{generation: string | number, offset: number}} ResumePosition
 */

export const SUBPROTOCOL = 'tailcast.v1';

/** Close codes with a meaning. Any other one is a lost connection. */
export const CLOSE = { done: 1000, leaving: 1001, full: 1013, signedOut: 4401, forbidden: 4403, missing: 4404 };

const KNOWN = new Set(['open', 'rows', 'gap', 'reset', 'signed', 'waiting', 'viewers', 'notice', 'end', 'error']);

/** Why a stream ended, by its close code. @type {Record<number, import('./transport.js').EndReason>} */
export const CLOSE_REASONS = {
  [CLOSE.full]: 'full', [CLOSE.signedOut]: 'signed-out', [CLOSE.forbidden]: 'forbidden', [CLOSE.missing]: 'missing',
};

/**
 * The message; null if its type is unknown. A newer server may send more types.
 * @param {unknown} data
 * @returns {Message | null}
 */
export function parseMessage(data) {
  if (typeof data !== 'string') return null;
  try {
    return knownMessage(JSON.parse(data));
  } catch {
    return null;
  }
}

/**
 * The value as a message; null if its type is unknown.
 * @param {any} value
 * @returns {Message | null}
 */
export function knownMessage(value) {
  return value !== null && typeof value === 'object' && KNOWN.has(value.type) ? value : null;
}

/**
 * Whether two names belong to the same generation. The part after the third dash is the signature, which may grow.
 * @param {string | number | undefined} one
 * @param {string | number | undefined} other
 */
export function isSameGeneration(one, other) {
  /** @param {string | number | undefined} of */
  const withoutSignature = (of) => String(of).split('-', 3).join('-');
  return withoutSignature(one) === withoutSignature(other);
}

/**
 * The path under which everything of the server lies, such as `/logs`; empty if there is none. The server puts it before
 * the address of this module. Without a server, in tests, there is none either.
 */
const BASE = new URL(import.meta.url).pathname.match(/^(.*)\/_\/page\//)?.[1] ?? '';

/** The address of an asset of this page's version. @param {string} asset such as `matcher/main.js` */
export function assetUrl(asset) {
  return new URL(`../${asset}`, import.meta.url);
}

/**
 * The path of a link on this page's server.
 * @param {string} path without the base
 */
export function linkTo(path) {
  return `${BASE}${path}`;
}

/**
 * A path of this page's server without the base.
 * @param {string} pathname of an address, or as the server sends it
 */
export function withoutBase(pathname) {
  return pathname.startsWith(`${BASE}/`) ? pathname.slice(BASE.length) : pathname;
}

/** The path of this page without the base. */
export function pagePath() {
  return withoutBase(location.pathname);
}

/**
 * The address of a path on this page's server. The page's own address may have a name and a password, which relative
 * addresses inherit, and `fetch` takes no address with them.
 * @param {string} path without the base, with its parameters
 */
export function serverUrl(path) {
  return `${location.origin}${linkTo(path)}`;
}

/**
 * Whether a page shows the lines of a container's runtime, and not what is in them.
 * @param {Location | URL} page
 * @param {boolean} byDefault whether the server shows them where the address says nothing
 */
export function isUndecoded(page, byDefault) {
  const decode = new URLSearchParams(page.search).get('decode');
  return decode === null ? byDefault : decode === 'off';
}

/** Whether a page shows what was written, and not what a terminal would have left. @param {Location | URL} page */
export function isWritten(page) {
  return new URLSearchParams(page.search).get('raw') === '1';
}

/**
 * The parameters of a page that say how its log is to be understood, but for the encoding.
 * @param {Location | URL} page
 */
export function interpretation(page) {
  const given = new URLSearchParams(page.search);
  /** @type {Record<string, string>} */
  const kept = isWritten(page) ? { raw: '1' } : {};
  for (const key of ['cols', 'rows', 'decode']) {
    const value = given.get(key);
    if (value) kept[key] = value;
  }
  return kept;
}

/**
 * This page's own address with another path and fragment. It keeps a name and a password, without which a browser refuses
 * to change the address, and does not depend on a `<base>`.
 * @param {string} path without the base, with its parameters and fragment
 */
export function pageUrl(path) {
  // `location` leaves a name and a password out in some browsers.
  const url = new URL(document.URL);
  const { pathname, search, hash } = new URL(serverUrl(path));
  url.pathname = pathname;
  url.search = search;
  url.hash = hash;
  return url;
}

/**
 * The URL of a log's stream. It starts at the position, or without one at the last `lines` lines.
 * @param {Location | URL} page the log's URL, which may have `lines`, `encoding`, `raw`, `cols`, `rows` and `decode`
 * @param {ResumePosition | null} position
 * @param {ResumePosition[]} late positions in rotated files that may still get late bytes
 */
export function streamUrl(page, position, late) {
  const url = new URL(page.href);
  url.username = '';
  url.password = '';
  url.search = '';
  url.hash = '';
  url.searchParams.set('tail', '1');
  url.searchParams.set('format', 'rows');
  url.searchParams.set('signed', '1');
  for (const [key, value] of Object.entries(interpretation(page))) url.searchParams.set(key, value);
  const encoding = new URLSearchParams(page.search).get('encoding');
  if (encoding) url.searchParams.set('encoding', encoding);
  if (position) {
    url.searchParams.set('from', String(position.offset));
    url.searchParams.set('generation', String(position.generation));
    for (const { generation, offset } of late) url.searchParams.append('late', `${generation}:${offset}`);
  } else {
    url.searchParams.set('lines', new URLSearchParams(page.search).get('lines') ?? String(LINES));
  }
  return url;
}
