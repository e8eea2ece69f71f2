// The messages of `tailcast.v1`, server to viewer. Offsets and sizes are bytes; a generation names the file
// behind the path, and a position is a generation with an offset in it.

/**
 * @typedef {{opens?: string, closes?: number, level?: number, collapsed?: boolean}} GroupAnnotation groups that end and begin here
 * @typedef {{group?: GroupAnnotation, level?: string, time?: number, match?: [start: number, end: number][]}} RowAnnotation what the
 *   log says about a row by a marker, and where it matches
 * @typedef {[offset: number, html: string, note?: RowAnnotation]} WireRow
 *
 * @typedef {{type: 'open', path: string, generation: string | number, from: number, size: number,
 *   recovered: boolean, watch: 'events' | 'poll'}} Open where this stream starts
 * @typedef {{type: 'rows', from: number, next: number, rows: WireRow[]}} Patch drop the rows whose offset is `from`
 *   or more, append these; `next` is where to resume
 * @typedef {{type: 'gap', generation: string | number, from: number, to: number | null}} Gap bytes left out; `to` is
 *   null when nobody knows how many
 * @typedef {{type: 'reset', generation: string | number, from: number, reason: string}} Reset what follows belongs to
 *   this generation, from that offset
 * @typedef {{type: 'signed', generation: string | number}} Signed the generation has another text from now on
 * @typedef {{type: 'waiting', reason: string}} Waiting no file to read at present
 * @typedef {{type: 'end'}} End the stream is over
 * @typedef {{type: 'error', code: string | number, message: string, hint?: string}} Refusal why the stream ends
 *
 * @typedef {Open | Patch | Gap | Reset | Signed | Waiting | End | Refusal} Message
 * @typedef {{generation: string | number, offset: number}} ResumePosition
 */

export const SUBPROTOCOL = 'tailcast.v1';

/** Close codes with a meaning. Any other one is a lost connection. */
export const CLOSE = { done: 1000, leaving: 1001, full: 1013, forbidden: 4403, missing: 4404 };

const KNOWN = new Set(['open', 'rows', 'gap', 'reset', 'signed', 'waiting', 'end', 'error']);

/**
 * The message, or null if this page does not know its type: a newer server may send more types.
 * @param {unknown} data
 * @returns {Message | null}
 */
export function parseMessage(data) {
  if (typeof data !== 'string') return null;
  try {
    const message = JSON.parse(data);
    return message !== null && typeof message === 'object' && KNOWN.has(message.type) ? message : null;
  } catch {
    return null;
  }
}

/**
 * Whether two names are of the same generation. The part after the third dash is its signature, which may grow.
 * @param {string | number | undefined} one
 * @param {string | number | undefined} other
 */
export function isSameGeneration(one, other) {
  /** @param {string | number | undefined} of */
  const withoutSignature = (of) => String(of).split('-', 3).join('-');
  return withoutSignature(one) === withoutSignature(other);
}

/**
 * The address of a path on this page's server. The page's own address may have a name and a password, which relative
 * addresses inherit, and `fetch` takes no address with them.
 * @param {string} path with its parameters
 */
export function serverUrl(path) {
  return `${location.origin}${path}`;
}

/** Whether a page shows what was written, and not what a terminal would have left. @param {Location | URL} page */
export function isWritten(page) {
  return new URLSearchParams(page.search).get('raw') === '1';
}

/**
 * The address of a log's stream: from the position if there is one, else `lines` before the end.
 * @param {Location | URL} page
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
  if (isWritten(page)) url.searchParams.set('raw', '1');
  if (position) {
    url.searchParams.set('from', String(position.offset));
    url.searchParams.set('generation', String(position.generation));
    for (const { generation, offset } of late) url.searchParams.append('late', `${generation}:${offset}`);
  } else {
    url.searchParams.set('lines', new URLSearchParams(page.search).get('lines') ?? '1000');
  }
  return url;
}
