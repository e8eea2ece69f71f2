// The rows of the list's table: parses the server's rows, draws new ones and updates them.

import { linkTo, withoutBase } from '../net/wire.js';
import { byId, setText } from '../ui/dom.js';
import { formatSpan } from '../ui/units.js';

/**
 * @typedef {import('./listing.js').Log} Log
 * @typedef {import('./listing.js').Line} Line
 *
 * @typedef {object} RowState
 * @property {string[]} words words of the filter, highlighted in the path
 * @property {boolean} isCursor whether it is the row for Tab and keyboard shortcuts
 * @property {boolean} isStarred
 * @property {boolean} isPicked
 * @property {boolean} isWriting
 * @property {string} size
 * @property {string} age
 */

/**
 * The logs in the table that the server sent.
 * @param {HTMLTableSectionElement} body
 * @returns {Log[]}
 */
export function readRows(body) {
  return [...body.rows].map((row) => {
    const link = row.querySelector('a');
    const { modified, size, viewers } = row.dataset;
    // A name has no space in it.
    const names = row.querySelector('.viewers')?.getAttribute('title')?.split(', ').filter(Boolean);
    const [known, directory, file] = ['known', 'dir', 'file'].map((part) => link?.querySelector(`.${part}`)?.textContent ?? '');
    return { path: directory + file, ...(known !== '' && { name: known }), href: withoutBase(link?.getAttribute('href') ?? ''), modified: Number(modified), size: Number(size), viewers: Number(viewers), names, ...readExit(row.dataset.exit ?? ''), away: row.classList.contains('away') };
  });
}

/**
 * The end of a command in the data of a row: `STATUS;MILLISECONDS`, either of which may be missing.
 * @param {string} data
 * @returns {Pick<Log, 'exit' | 'duration'>}
 */
function readExit(data) {
  if (data === '') return {};
  const [exitStatus, duration] = data.split(';').map((part) => (part === '' ? null : Number(part)));
  return { exit: { status: exitStatus }, ...(duration !== null && { duration }) };
}

/**
 * A new row, cloned from a template of the page. The server fills the same `log-row` template.
 * @param {Line} line
 * @returns {HTMLTableRowElement}
 */
export function drawRow(line) {
  const template = /** @type {HTMLTemplateElement} */ (byId(`${line.kind}-row`));
  const row = /** @type {HTMLTableRowElement} */ (template.content.firstElementChild?.cloneNode(true));
  row.dataset.key = line.key;
  row.style.setProperty('--depth', String(line.depth));
  if (line.kind === 'log') {
    const link = /** @type {HTMLAnchorElement} */ (row.querySelector('.opens'));
    link.href = linkTo(line.log.href);
    link.title = line.log.path;
    // These controls are hidden in the template, because they do nothing without the script.
    for (const control of /** @type {NodeListOf<HTMLElement>} */ (row.querySelectorAll('[hidden]'))) control.hidden = false;
  }
  return row;
}

/**
 * @param {HTMLTableRowElement} row
 * @param {Line} line
 * @param {RowState} looks
 */
export function updateRow(row, line, looks) {
  const [, size, changed, viewers] = row.cells;
  row.classList.toggle('writing', looks.isWriting);
  row.style.setProperty('--depth', String(line.depth));
  setText(size, looks.size);
  const time = /** @type {HTMLTimeElement} */ (changed.firstElementChild);
  setText(time, looks.isWriting ? 'writing now' : looks.age);
  const openControl = /** @type {HTMLElement} */ (row.querySelector('.opens'));
  const tabIndex = looks.isCursor ? 0 : -1;
  openControl.tabIndex = tabIndex;
  if (line.kind === 'directory') {
    openControl.setAttribute('aria-expanded', String(line.isExpanded));
    setText(/** @type {HTMLElement} */ (row.querySelector('.label')), line.label);
    setText(/** @type {HTMLElement} */ (row.querySelector('.count')), String(line.count));
    return;
  }
  const { log } = line;
  row.classList.toggle('gone', log.isGone === true);
  row.classList.toggle('away', log.away === true);
  row.classList.toggle('picked', looks.isPicked);
  time.dateTime = new Date(log.modified).toISOString();
  setText(/** @type {HTMLElement} */ (viewers.firstElementChild), presenceOf(log));
  viewers.title = log.names?.join(', ') ?? '';
  const exit = /** @type {HTMLElement} */ (row.querySelector('.exit-mark'));
  setText(exit, exitOf(log));
  exit.classList.toggle('failed', (log.exit?.status ?? 0) !== 0);
  const known = /** @type {HTMLElement} */ (openControl.querySelector('.known'));
  setText(known, log.name ?? '');
  known.hidden = !log.name;
  showPath(openControl, log.path, line.cut, looks.words);
  const box = /** @type {HTMLInputElement} */ (row.querySelector('.pick'));
  box.checked = looks.isPicked;
  box.tabIndex = tabIndex;
  const star = /** @type {HTMLElement} */ (row.querySelector('.favourite'));
  star.setAttribute('aria-pressed', String(looks.isStarred));
  star.tabIndex = tabIndex;
}

/**
 * How the command ended whose output a log is, in few letters.
 * @param {Pick<Log, 'exit' | 'duration'>} log
 * @returns {string}
 */
export function exitOf({ exit, duration }) {
  if (exit === undefined) return '';
  const took = duration === undefined ? '' : formatSpan(duration);
  if (exit.status === 0) return `✓ ${took}`.trimEnd();
  return [exit.status === null ? 'ended' : `exit ${exit.status}`, took].filter(Boolean).join(' · ');
}

/**
 * Who views a log, in few letters.
 * @param {Pick<Log, 'viewers' | 'names'>} log
 * @returns {string}
 */
export function presenceOf({ viewers, names = [] }) {
  if (names.length === 0) return viewers > 0 ? String(viewers) : '';
  return names.length === 1 ? names[0] : `${names[0]} +${names.length - 1}`;
}

/**
 * Shows the directory and the file name of a path, and highlights the words of the filter.
 * @param {HTMLElement} link
 * @param {string} path
 * @param {number} cut
 * @param {string[]} words
 */
function showPath(link, path, cut, words) {
  const look = `${cut} ${words.join(' ')}`;
  if (link.dataset.look === look) return;
  link.dataset.look = look;
  const at = path.lastIndexOf('/') + 1;
  const found = findWords(path, words);
  const directory = /** @type {HTMLElement} */ (link.querySelector('.dir'));
  directory.hidden = at <= cut;
  directory.firstElementChild?.replaceChildren(...highlightWords(path, cut, at, found));
  link.querySelector('.file')?.replaceChildren(...highlightWords(path, Math.max(cut, at), path.length, found));
}

/**
 * The ranges of the words in the path, in ascending order and without overlap.
 * @param {string} path
 * @param {string[]} words
 * @returns {[number, number][]}
 */
function findWords(path, words) {
  const lower = path.toLowerCase();
  // Lower case may change the length of a text. Such a path is not highlighted.
  if (lower.length !== path.length) return [];
  /** @type {[number, number][]} */
  const places = [];
  for (const word of words) {
    for (let at = lower.indexOf(word); at >= 0; at = lower.indexOf(word, at + word.length)) places.push([at, at + word.length]);
  }
  places.sort((a, b) => a[0] - b[0]);
  /** @type {[number, number][]} */
  const joined = [];
  for (const [from, to] of places) {
    const last = joined[joined.length - 1];
    if (last !== undefined && from <= last[1]) last[1] = Math.max(last[1], to);
    else joined.push([from, to]);
  }
  return joined;
}

/**
 * @param {string} path
 * @param {number} from
 * @param {number} to
 * @param {[number, number][]} found
 */
function highlightWords(path, from, to, found) {
  /** @type {(string | HTMLElement)[]} */
  const parts = [];
  let at = from;
  for (const [start, end] of found) {
    const first = Math.max(start, at);
    const last = Math.min(end, to);
    if (first >= last) continue;
    const mark = document.createElement('mark');
    mark.textContent = path.slice(first, last);
    parts.push(path.slice(at, first), mark);
    at = last;
  }
  parts.push(path.slice(at, to));
  return parts;
}
