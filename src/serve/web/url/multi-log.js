// The URL of a page with several logs: `?log=/a&log=/b`. Each log is given by the path of its own URL, percent-encoded.
// It is never decoded, because a path may be any bytes.

/** More panes would be too narrow. */
export const SPLIT_MAX = 4;
/** The style sheet has this many distinguishable colours. */
export const MERGED_MAX = 8;

/**
 * The logs in a query, without duplicates, in their order.
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
 * The normalised path of a log's URL; null if it cannot be a log of this server, such as a page of tailcast.
 * @param {string} rawPath from an address, possibly typed by a person and not fully percent-encoded
 * @returns {string | null}
 */
export function canonicalLog(rawPath) {
  const path = rawPath.replace(/%2F/gi, '/').replace(/%(?![0-9a-f]{2})/gi, '%25').replace(/[^A-Za-z0-9/._~%-]/g, encodeURIComponent);
  if (!path.startsWith('/')) return null;
  // Parsed by the browser, because it resolves `..` and reads two leading slashes as the start of a host.
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
 * A log's path for display until the server has sent its own form. Invisible characters stay encoded.
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
 * The shortest unique suffix of each path, in whole components.
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
