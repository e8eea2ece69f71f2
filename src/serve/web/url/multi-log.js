// The logs that a page shows together, as its address names them: `?log=/a&log=/b`. A name is the path of the log's
// own address, percent-encoded, for a path of any bytes has one; it is never decoded on its way.

/** Panes below this width are no use, so more are not offered. */
export const SPLIT_MAX = 4;
/** As many as there are colours that can be told apart. */
export const MERGED_MAX = 8;

/**
 * The logs in an address, each once, in their order.
 * @param {string} search
 * @param {number} max
 * @returns {string[]}
 */
export function parseLogs(search, max) {
  /** @type {Set<string>} */
  const logs = new Set();
  for (const part of search.replace(/^\?/, '').split('&')) {
    if (!part.startsWith('log=')) continue;
    const log = canonicalLog(part.slice('log='.length));
    if (log !== null) logs.add(log);
  }
  return [...logs].slice(0, max);
}

/**
 * The path of a log's address, or null for what names no log here: other hosts, and pages of ours.
 * @param {string} rawPath as it stands in an address, where a person may have left out some of the encoding
 * @returns {string | null}
 */
export function canonicalLog(rawPath) {
  const path = rawPath.replace(/%2F/gi, '/').replace(/%(?![0-9a-f]{2})/gi, '%25').replace(/[^A-Za-z0-9/._~%-]/g, encodeURIComponent);
  if (!path.startsWith('/')) return null;
  // What the browser makes of it counts: it resolves `..`, and would take two slashes for a host.
  const { pathname } = new URL(path.replace(/^\/+/, '/'), 'http://localhost/');
  return pathname.endsWith('/') || pathname.startsWith('/_/') || pathname.startsWith('//') ? null : pathname;
}

/**
 * @param {'beside' | 'merged'} page
 * @param {Iterable<string>} logs
 */
export function multiLogUrl(page, logs) {
  return `/_/${page}?${[...logs].map((log) => `log=${log}`).join('&')}`;
}

/**
 * A log's path for people, until the server tells how it writes it: what does not show is left encoded.
 * @param {string} log
 */
export function displayPath(log) {
  return log.replace(/(?:%[0-9a-f]{2})+/gi, (bytes) => {
    try {
      return decodeURIComponent(bytes).replace(/[\p{C}\p{Zl}\p{Zp}]/gu, encodeURIComponent);
    } catch {
      return bytes;
    }
  });
}

/**
 * The shortest ends of paths that tell them apart, whole names at least.
 * @param {string[]} paths
 * @returns {string[]}
 */
export function shortNames(paths) {
  const parts = paths.map((path) => path.split('/'));
  return parts.map((own, at) => {
    for (let taken = 1; taken < own.length; taken += 1) {
      const end = own.slice(-taken).join('/');
      if (!parts.some((other, index) => index !== at && other.slice(-taken).join('/') === end)) return end;
    }
    return own.join('/');
  });
}
