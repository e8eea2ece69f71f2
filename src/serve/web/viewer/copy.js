// Copies lines, whether or not they are on the page, as plain text or Markdown to the clipboard.

import { formatLineRange } from '../url/view-hash.js';

const ROWS_PER_REQUEST = 2_000;
/** The most rows that are copied at once. */
export const COPY_ROWS_MAX = 20_000;

/**
 * The text of the rows from one offset to another, both included. An error that is copied alone takes its stack trace along.
 * @param {import('../net/api.js').LogApi} api
 * @param {string} generation
 * @param {number} first
 * @param {number} last
 * @param {import('../rows/levels.js').Levels} levels
 * @returns {Promise<{lines: string[], complete: boolean, hasTrace: boolean}>}
 */
export async function fetchText(api, generation, first, last, levels) {
  /** @type {string[]} */
  const lines = [];
  let from = first;
  let hasTrace = false;
  while (lines.length < COPY_ROWS_MAX) {
    const answer = await api.rows(generation, { from }, ROWS_PER_REQUEST, { format: 'text' });
    for (const [offset, text] of answer.rows) {
      if (offset > last) {
        const [error = ''] = lines;
        const isTrace = first === last && levels.isError(error) && levels.continuation(text) > levels.indent(error);
        if (!isTrace) return { lines, complete: true, hasTrace };
        hasTrace = true;
      }
      if (offset >= first) lines.push(text);
    }
    if (answer.at_end || answer.next <= from) return { lines, complete: true, hasTrace };
    from = answer.next;
  }
  return { lines, complete: false, hasTrace };
}

/**
 * A link with the lines as a code block, for issues and chats.
 * @param {string} logName
 * @param {string} url
 * @param {import('../url/view-hash.js').LineRange} lines
 * @param {string[]} text
 */
export function markdown(logName, url, lines, text) {
  const body = text.join('\n');
  // The fence must be longer than any run of backticks inside.
  const longest = Math.max(2, ...[...body.matchAll(/`+/g)].map(([run]) => run.length));
  const codeFence = '`'.repeat(longest + 1);
  const title = `${logName} ${formatLineRange(lines)}`.replace(/[\\[\]`*_<>]/g, '\\$&');
  return `[${title}](${url.replace(/[()\s]/g, (sign) => encodeURIComponent(sign).replace('(', '%28').replace(')', '%29'))})\n\n${codeFence}text\n${body}\n${codeFence}\n`;
}

/**
 * The Clipboard API exists only in secure contexts (TLS or localhost). Elsewhere this uses `execCommand`.
 * @param {string} text
 */
export async function copyText(text) {
  if (navigator.clipboard) {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch {
      // The browser denied it: try `execCommand`.
    }
  }
  const before = document.activeElement;
  const holder = document.createElement('textarea');
  holder.className = 'unseen';
  holder.value = text;
  document.body.append(holder);
  holder.select();
  const done = document.execCommand('copy');
  holder.remove();
  if (before instanceof HTMLElement) before.focus({ preventScroll: true });
  return done;
}
