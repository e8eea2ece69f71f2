// Search patterns: as parameters for the server, and as regular expressions for the rows on the page.

/** @typedef {import('../url/view-hash.js').Pattern} Pattern */

/**
 * @param {Pattern} pattern
 * @returns {Record<string, string>}
 */
export function parameters({ text, regex, case: isCase, word, fields }) {
  if (fields) return { where: text };
  return { q: text, ...(regex && { regex: '1' }), ...(isCase && { case: '1' }), ...(word && { word: '1' }) };
}

/**
 * The pattern as a regular expression of the browser; null if the browser does not support it. Then only the server
 * knows which rows match.
 * @param {Pattern} pattern
 * @returns {RegExp | null}
 */
export function compile(pattern) {
  const expression = expressionOf(pattern);
  return expression && new RegExp(expression.source, expression.flags);
}

/**
 * The same as a source and flags.
 * @param {Pattern} pattern
 * @returns {{source: string, flags: string} | null}
 */
export function expressionOf({ text, regex, case: isCase, word, fields }) {
  if (fields) return null;
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
    new RegExp(source, flags);
    return { source, flags };
  } catch {
    return null;
  }
}

/**
 * The matches in a text, as pairs of start and end. Empty matches are left out.
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

/** The most matches highlighted in one row, so that it is drawn quickly. */
const MATCHES_MAX = 500;
