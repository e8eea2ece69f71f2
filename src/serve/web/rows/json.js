// JSON in rows: a control on the row shows the value below it, indented and coloured.

import { appendControl, textOf } from './row.js';

/** Larger values get no control: they would be too long to read. */
const OPEN_CHARS_MAX = 200_000;
const TOKEN = /("(?:[^"\\]|\\.)*")(\s*:)?|\b(true|false|null)\b|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;

/** Whether a row ends in JSON. @type {WeakMap<import('./tail.js').Row, boolean>} */
const hasJson = new WeakMap();

/**
 * The JSON object or array at the end of a line; undefined if there is none.
 * @param {string} text
 */
export function parseJson(text) {
  const end = text.trimEnd();
  if (!/[}\]]$/.test(end) || end.length > OPEN_CHARS_MAX) return undefined;
  const closes = end.endsWith('}') ? '{' : '[';
  const start = end.indexOf(closes);
  if (start < 0) return undefined;
  try {
    const value = JSON.parse(end.slice(start));
    return typeof value === 'object' && value !== null && Object.keys(value).length > 0 ? value : undefined;
  } catch {
    return undefined;
  }
}

/**
 * Adds a control to the rows in sight that end in JSON.
 * @param {import('./tail.js').Entry[]} entries
 */
export function addJsonButtons(entries) {
  for (const entry of entries) {
    if (entry.marker !== undefined || entry.element === null) continue;
    if (!hasJson.has(entry)) hasJson.set(entry, parseJson(textOf(entry.element)) !== undefined);
    // A row that was removed from the page and added again has a new element.
    if (!hasJson.get(entry) || entry.element.querySelector('button.open') !== null) continue;
    const button = document.createElement('button');
    button.type = 'button';
    button.className = 'open';
    button.setAttribute('aria-label', 'Show the JSON below');
    button.setAttribute('aria-expanded', 'false');
    appendControl(entry.element, button);
    entry.element.classList.add('json');
  }
}

/** Must be called when the row changed. @param {import('./tail.js').Row} row */
export function forgetJson(row) {
  hasJson.delete(row);
}

/**
 * Shows or hides a row's JSON below it. Returns false if the row has none.
 * @param {import('./tail.js').Row} row
 */
export function toggleJson(row) {
  const { element } = row;
  if (element === null) return false;
  const button = element.querySelector('button.open');
  if (element.nextElementSibling?.matches('.opened')) {
    element.nextElementSibling.remove();
    button?.setAttribute('aria-expanded', 'false');
    return true;
  }
  const value = parseJson(textOf(element));
  if (value === undefined) return false;
  const opened = document.createElement('pre');
  opened.className = 'opened';
  opened.append(...formatJson(value));
  element.after(opened);
  button?.setAttribute('aria-expanded', 'true');
  return true;
}

/**
 * @param {unknown} value
 * @returns {(string | HTMLElement)[]}
 */
function formatJson(value) {
  const text = JSON.stringify(value, null, 2);
  /** @type {(string | HTMLElement)[]} */
  const parts = [];
  let last = 0;
  for (const found of text.matchAll(TOKEN)) {
    parts.push(text.slice(last, found.index));
    const [whole, string, colon, word] = found;
    const kind = colon !== undefined ? 'key' : string !== undefined ? 'string' : word !== undefined ? 'word' : 'number';
    const token = document.createElement('span');
    token.className = kind;
    token.textContent = string ?? whole;
    parts.push(token, colon ?? '');
    last = found.index + whole.length;
  }
  parts.push(text.slice(last));
  return parts;
}
