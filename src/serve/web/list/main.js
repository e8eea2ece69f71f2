// The list of logs: refreshes the server's table, filters and sorts it, and opens several logs together. The URL's
// fragment holds the state, so that a link or the Back button shows the same list.

import { noteIdentity } from '../net/signed-out.js';
import { linkTo, pagePath, pageUrl, serverUrl, withoutBase } from '../net/wire.js';
import { byId, setText } from '../ui/dom.js';
import { bindHelp, bindKeys } from '../ui/keys.js';
import { watchIdentity } from '../ui/signed-out.js';
import { formatAge, formatSize, plural } from '../ui/units.js';
import { MERGED_MAX, multiLogUrl, SPLIT_MAX } from '../url/multi-log.js';
import { Favourites } from './favourites.js';
import { formatState, parseState } from './list-hash.js';
import { filterLogs, filterWords, flat, isWriting, sortLogs, tree } from './listing.js';
import { drawRow, readRows, updateRow } from './log-row.js';
import { VirtualTable } from './virtual-table.js';

const REFRESH_MS = 3_000;
/** A hidden page refreshes rarely. */
const HIDDEN_REFRESH_MS = 60_000;
/** The pause between two requests is at least this many times the duration of the last request. */
const REFRESH_PER_ANSWER = 10;
const ANSWER_MS_MAX = 20_000;
const TICK_MS = 1_000;
/** Browsers limit how often a page may change its URL. */
const URL_MS = 300;

/**
 * @typedef {import('./listing.js').Log} Log
 * @typedef {import('./listing.js').Line} Line
 */

watchIdentity();
const body = /** @type {HTMLTableSectionElement} */ (byId('logs'));
const filter = /** @type {HTMLInputElement} */ (byId('filter'));
const sortMenu = /** @type {HTMLSelectElement} */ (byId('sort'));

/** By URL. @type {Map<string, Log>} */
const logs = new Map(readRows(body).map((log) => [log.href, log]));
/** The logs in order. @type {Log[]} */
let order = [];
const favourites = new Favourites(() => updateOrder());
const state = parseState(location.hash);
let truncated = false;
let reachable = true;
/** The key of the line that keyboard shortcuts act on. @type {string | null} */
let cursor = null;

/** @type {VirtualTable<Line>} */
const virtualTable = new VirtualTable(body, byId('table-scroller'), (line) => drawRow(line), (row, line) => {
  const now = Date.now();
  const log = line.kind === 'log' ? line.log : null;
  updateRow(row, line, {
    words: filterWords(state.filter),
    isCursor: (cursor ?? virtualTable.lines[0]?.key) === line.key,
    isStarred: log !== null && favourites.logs.has(log.href),
    isPicked: log !== null && state.picked.has(log.href),
    size: formatSize(line.kind === 'log' ? line.log.size : line.size),
    isWriting: isWriting(log ?? /** @type {import('./listing.js').DirectoryLine} */ (line), now),
    age: formatAge(now - (log ?? /** @type {import('./listing.js').DirectoryLine} */ (line)).modified),
  });
});

/** Sorts all logs. Not called while the table is in use: a row must not move under the pointer. */
function updateOrder() {
  order = sortLogs([...logs.values()].filter((log) => !log.isGone), state.sort, favourites.logs, Date.now());
  for (const [href, log] of logs) if (log.isGone) logs.delete(href);
  show();
}

/** Shows the logs that pass the filter. */
function show() {
  const words = filterWords(state.filter);
  const shown = filterLogs(order, words);
  // While filtering, all directories are open, so that none hides a match.
  const isOpen = (/** @type {string} */ path) => words.length > 0 || !state.folded.has(path);
  const lines = state.tree ? tree(shown, state.sort, isOpen, Date.now()) : flat(shown);
  if (cursor !== null && !lines.some(({ key }) => key === cursor)) cursor = null;
  virtualTable.show(lines);
  byId('no-logs').hidden = order.length > 0;
  byId('no-match').hidden = order.length === 0 || shown.length > 0;
  byId('filter-box').hidden = order.length === 0;
  const all = order.filter(({ isGone }) => !isGone).length;
  const total = truncated ? `the ${plural(all, 'log')} that changed last` : plural(all, 'log');
  const found = words.length > 0 ? `${plural(shown.filter(({ isGone }) => !isGone).length, 'log')} of ${total}` : total;
  setText(byId('count'), reachable ? found : `${found} · no answer from the server, retrying`);
  showControls();
}

function showControls() {
  if (filter.value !== state.filter) filter.value = state.filter;
  sortMenu.value = state.sort.by;
  byId('tree').setAttribute('aria-pressed', String(state.tree));
  for (const head of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll('th[data-sort]'))) {
    const isBy = head.dataset.sort === state.sort.by;
    if (isBy) head.setAttribute('aria-sort', state.sort.descending ? 'descending' : 'ascending');
    else head.removeAttribute('aria-sort');
  }
  showPicked();
  scheduleUrl();
}

function showPicked() {
  const { size: count } = state.picked;
  byId('picked').hidden = count === 0;
  document.body.dataset.picking = String(count > 0);
  setText(byId('picked-count'), plural(count, 'log'));
  setText(byId('picked-hint'), count < 2 ? 'select another to open them together' : '');
  for (const [page, max] of /** @type {const} */ ([['beside', SPLIT_MAX], ['merged', MERGED_MAX]])) {
    const link = byId(page === 'beside' ? 'open-split' : 'open-merged');
    link.hidden = count < 2;
    const fits = count <= max;
    link.title = fits ? `Open ${page === 'beside' ? 'side by side (b)' : 'in one list, by the times of their lines (m)'}` : `At most ${max} logs fit`;
    if (fits) link.setAttribute('href', linkTo(multiLogUrl(page, state.picked)));
    else link.removeAttribute('href');
    link.setAttribute('role', 'link');
    link.setAttribute('aria-disabled', String(!fits));
  }
}

let urlTimer = 0;

function scheduleUrl() {
  urlTimer ||= window.setTimeout(writeUrl, URL_MS);
}

function writeUrl() {
  window.clearTimeout(urlTimer);
  urlTimer = 0;
  const hash = formatState(state);
  if (hash !== location.hash) history.replaceState(null, '', pageUrl(`${pagePath()}${hash}`));
}

/** Whether the table has to be sorted once it is no longer in use. */
let isStale = false;

function inUse() {
  return body.matches(':hover') || body.contains(document.activeElement);
}

/** @param {Log[]} fresh */
function merge(fresh) {
  /** @type {Log[]} */
  const added = [];
  for (const log of logs.values()) log.isGone = true;
  for (const log of fresh) {
    const known = logs.get(log.href);
    if (known === undefined) added.push(log);
    logs.set(log.href, known === undefined ? log : Object.assign(known, { names: undefined, exit: undefined, duration: undefined, away: false }, log, { isGone: false }));
  }
  // While the table is in use, new rows are appended and rows of removed logs stay. So no click opens the wrong log.
  isStale = inUse();
  if (!isStale) {
    updateOrder();
    return;
  }
  order.push(...sortLogs(added, state.sort, favourites.logs, Date.now()));
  show();
}

let etag = '';
let isSignedOut = false;

async function refresh() {
  try {
    const response = await fetch(serverUrl('/_/logs'), { headers: { accept: 'application/json' }, signal: AbortSignal.timeout(ANSWER_MS_MAX) });
    noteIdentity(response);
    isSignedOut = response.status === 401;
    if (!response.ok) throw new Error(`status ${response.status}`);
    const wasReachable = reachable;
    reachable = true;
    const mark = response.headers.get('etag') ?? '';
    if (mark !== '' && mark === etag) {
      if (isStale && !inUse()) {
        isStale = false;
        updateOrder();
      } else if (!wasReachable) {
        show();
      }
      return;
    }
    const answer = await response.json();
    etag = mark;
    truncated = answer.truncated === true;
    merge(answer.logs.map((/** @type {Log} */ log) => ({ ...log, href: withoutBase(log.href) })));
  } catch {
    reachable = false;
    show();
  }
}

let refreshTimer = 0;
let refreshing = false;

/** Refreshes again and again, one request at a time. */
async function refreshLoop() {
  window.clearTimeout(refreshTimer);
  if (refreshing) return;
  refreshing = true;
  const began = performance.now();
  await refresh();
  refreshing = false;
  // The page asks again when it is looked at again.
  if (isSignedOut) return;
  const pause = document.hidden ? HIDDEN_REFRESH_MS : REFRESH_MS;
  refreshTimer = window.setTimeout(refreshLoop, Math.max(pause, REFRESH_PER_ANSWER * (performance.now() - began)));
}

/** @param {string} href */
function pick(href) {
  if (!state.picked.delete(href)) state.picked.add(href);
  virtualTable.draw();
  showPicked();
  scheduleUrl();
}

/** @param {string} path @param {boolean} isOpen */
function fold(path, isOpen) {
  if (isOpen) state.folded.delete(path);
  else state.folded.add(path);
  show();
}

function lineAtCursor() {
  const at = cursor === null ? -1 : virtualTable.lines.findIndex(({ key }) => key === cursor);
  return { at, line: virtualTable.lines[at] };
}

/** @param {number} to */
function moveCursorTo(to) {
  const at = Math.max(0, Math.min(virtualTable.lines.length - 1, to));
  const line = virtualTable.lines[at];
  if (line === undefined) return;
  cursor = line.key;
  virtualTable.reveal(at);
  /** @type {HTMLElement | null | undefined} */ (virtualTable.row(line.key)?.querySelector('.opens'))?.focus({ preventScroll: true });
}

/** @param {number} by */
function moveCursor(by) {
  const { at } = lineAtCursor();
  if (at === 0 && by < 0) {
    cursor = null;
    focusFilter();
  } else {
    moveCursorTo(at + by);
  }
}

function focusFilter() {
  filter.focus();
  filter.select();
}

/** @param {(log: Log) => void} act */
function withLog(act) {
  const { line } = lineAtCursor();
  if (line?.kind === 'log') act(line.log);
}

/** @param {boolean} isOpen */
function foldAtCursor(isOpen) {
  const { at, line } = lineAtCursor();
  if (line === undefined || !state.tree) return;
  if (line.kind === 'directory' && line.isExpanded !== isOpen) {
    fold(line.key.slice(0, -1), isOpen);
  } else if (isOpen) {
    moveCursor(1);
  } else {
    const outer = virtualTable.lines.findLastIndex((other, index) => index < at && other.kind === 'directory' && other.depth < line.depth);
    if (outer >= 0) moveCursorTo(outer);
  }
}

function choose(/** @type {import('./listing.js').Key} */ by) {
  state.sort = state.sort.by === by ? { by, descending: !state.sort.descending } : { by, descending: by !== 'name' };
  updateOrder();
}

function toggleTree() {
  state.tree = !state.tree;
  show();
}

function pickNone() {
  state.picked.clear();
  virtualTable.draw();
  showPicked();
  scheduleUrl();
}

/** @param {Log} log */
function star(log) {
  favourites.toggle(log.href);
  virtualTable.draw();
}

/** @param {'beside' | 'merged'} page */
function openPicked(page) {
  const link = byId(page === 'beside' ? 'open-split' : 'open-merged');
  if (!byId('picked').hidden && !link.hidden) link.click();
}

bindKeys([
  { keys: ['/'], does: 'filter by path; every word must occur', act: focusFilter },
  { keys: ['ArrowDown', 'j'], does: 'to the next log', act: () => moveCursor(1) },
  { keys: ['ArrowUp', 'k'], does: 'to the previous log', act: () => moveCursor(-1) },
  { keys: ['PageDown'], does: 'a screen down', act: () => moveCursor(virtualTable.rowsInSight) },
  { keys: ['PageUp'], does: 'a screen up', act: () => moveCursorTo(lineAtCursor().at - virtualTable.rowsInSight) },
  { keys: ['Home'], does: 'to the first', act: () => moveCursorTo(0) },
  { keys: ['End'], does: 'to the last', act: () => moveCursorTo(virtualTable.lines.length - 1) },
  { keys: ['x'], does: 'select the log, to open several together', act: () => withLog(({ href }) => pick(href)) },
  { keys: ['b'], does: 'open the selected logs side by side', act: () => openPicked('beside') },
  { keys: ['m'], does: 'open the selected logs merged', act: () => openPicked('merged') },
  { keys: ['s'], does: 'favourite: keep it at the top', act: () => withLog(star) },
  { keys: ['v'], does: 'tree or flat list', act: toggleTree },
  { keys: ['ArrowRight'], does: 'open a directory', act: () => foldAtCursor(true) },
  { keys: ['ArrowLeft'], does: 'fold the directory', act: () => foldAtCursor(false) },
  { keys: ['t'], does: 'theme: auto, light, dark', act: () => /** @type {HTMLElement} */ (document.querySelector('[data-theme-switch]')).click() },
  { keys: ['Escape'], does: 'clear the selection', act: pickNone },
  { keys: ['?'], does: 'show these keys', act: bindHelp() },
], byId('help-keys'));

filter.addEventListener('input', () => {
  state.filter = filter.value;
  cursor = null;
  byId('table-scroller').scrollTop = 0;
  show();
});
filter.addEventListener('keydown', (event) => {
  if (event.isComposing) return;
  if (event.key === 'Escape') {
    state.filter = '';
    show();
    filter.blur();
  } else if (event.key === 'ArrowDown') {
    moveCursorTo(0);
  } else if (event.key === 'Enter') {
    const first = virtualTable.lines.find(({ kind }) => kind === 'log');
    if (first?.kind === 'log') location.assign(serverUrl(first.log.href));
  } else {
    return;
  }
  event.preventDefault();
});
byId('filter-clear').addEventListener('click', () => {
  state.filter = '';
  show();
  filter.focus();
});
sortMenu.addEventListener('change', () => choose(/** @type {import('./listing.js').Key} */ (sortMenu.value)));
byId('tree').addEventListener('click', toggleTree);
byId('picked-clear').addEventListener('click', pickNone);
body.addEventListener('click', (event) => {
  const target = /** @type {Element} */ (event.target);
  const key = target.closest('tr')?.dataset.key;
  const line = virtualTable.lines.find((one) => one.key === key);
  if (line === undefined) return;
  cursor = line.key;
  if (line.kind === 'directory') fold(line.key.slice(0, -1), !line.isExpanded);
  else if (target.closest('.pick')) pick(line.log.href);
  else if (target.closest('.favourite')) star(line.log);
  else virtualTable.draw();
});
body.addEventListener('focusin', (event) => {
  const key = /** @type {Element} */ (event.target).closest('tr')?.dataset.key;
  if (key === undefined || key === cursor) return;
  cursor = key;
  virtualTable.draw();
});
for (const head of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll('th[data-sort]'))) {
  const button = document.createElement('button');
  button.type = 'button';
  button.textContent = head.textContent;
  button.addEventListener('click', () => choose(/** @type {import('./listing.js').Key} */ (head.dataset.sort)));
  head.replaceChildren(button);
}
document.addEventListener('visibilitychange', () => {
  if (!document.hidden) refreshLoop();
});
// The Back button must restore the last state.
window.addEventListener('pagehide', writeUrl);
window.addEventListener('hashchange', () => {
  Object.assign(state, parseState(location.hash));
  updateOrder();
});

for (const id of ['tree', 'sort-box', 'help-open']) byId(id).hidden = false;
updateOrder();
refreshTimer = window.setTimeout(refreshLoop, REFRESH_MS);
setInterval(() => virtualTable.draw(), TICK_MS);
