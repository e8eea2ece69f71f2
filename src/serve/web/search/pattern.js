// A pattern: as the server is asked for it, and as the page finds it in the rows that are in sight.

/** @typedef {import('../url/view-hash.js').Pattern} Pattern */

/**
 * @param {Pattern} pattern
 * @returns {Record<string, string>}
 */
export function parameters({ text, regex, case: isCase, word }) {
  return { q: text, ...(regex && { regex: '1' }), ...(isCase && { case: '1' }), ...(word && { word: '1' }) };
}

/**
 * The pattern in the language of the browser, or null where that has no word for it; what matches is then known by row only.
 * @param {Pattern} pattern
 * @returns {RegExp | null}
 */
export function compile({ text, regex, case: isCase, word }) {
  let source = regex ? text : text.replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&');
  let flags = isCase ? 'gu' : 'giu';
  const inline = /^\(\?([imsU-]+)\)/.exec(source);
  if (inline !== null) {
    if (!/^[ims]+$/.test(inline[1])) return null;
    source = source.slice(inline[0].length);
    flags = [...new Set(flags + inline[1])].join('');
  }
  if (word) source = `(?<![\\p{L}\\p{N}_])(?:${source})(?![\\p{L}\\p{N}_])`;
  try {
    return new RegExp(source, flags);
  } catch {
    return null;
  }
}

/**
 * Where a pattern is in a text, as pairs of start and end; empty matches are none.
 * @param {RegExp} expression
 * @param {string} text
 * @returns {[number, number][]}
 */
export function matches(expression, text) {
  /** @type {[number, number][]} */
  const found = [];
  for (const match of text.matchAll(expression)) {
    if (match[0] !== '') found.push([match.index, match.index + match[0].length]);
    if (found.length >= MATCHES_MAX) break;
  }
  return found;
}

/** In one row: more would only slow its drawing down. */
const MATCHES_MAX = 500;
