// The list of logs: the server's table, kept fresh, filtered as one types, in any order, with what the reader chose to open
// together. What is on the page stands in its address, so that a link or the way back shows the same.

import { byId, say } from '../ui/dom.js';
import { bindKeys } from '../ui/keys.js';
import { flat, isWriting, ordered, sieve, tree, wordsOf } from './listing.js';
import { cellsOf, drawRow, updateRow } from './log-row.js';
import { formatState, parseState } from './list-hash.js';
import { MERGED_MAX, BESIDE_MAX, addressOf } from '../url/multi-log.js';
import { Shelf } from './virtual-table.js';
import { Stars } from './favourites.js';
import { age, counted, size } from '../ui/units.js';

const REFRESH_MS = 3_000;
/** A page that nobody looks at asks seldom. */
const HIDDEN_REFRESH_MS = 60_000;
/** A server that takes long to list its logs is asked less often. */
const REFRESH_PER_ANSWER = 10;
const ANSWER_MS_MAX = 20_000;
const TICK_MS = 1_000;
/** Browsers limit how often an address may change. */
const ADDRESS_MS = 300;

/**
 * @typedef {import('./listing.js').Log} Log
 * @typedef {import('./listing.js').Line} Line
 */

const body = /** @type {HTMLTableSectionElement} */ (byId('logs'));
const filter = /** @type {HTMLInputElement} */ (byId('filter'));
const sortMenu = /** @type {HTMLSelectElement} */ (byId('sort'));
const help = /** @type {HTMLDialogElement} */ (byId('help'));

/** By address. @type {Map<string, Log>} */
const logs = new Map(cellsOf(body).map((log) => [log.href, log]));
/** The logs in order. @type {Log[]} */
let order = [];
const stars = new Stars(() => arrange());
const state = parseState(location.hash);
let truncated = false;
let reachable = true;
/** The line that the keys act on. @type {string | null} */
let cursor = null;

/** @type {Shelf<Line>} */
const shelf = new Shelf(body, byId('shelf'), (line) => drawRow(line), (row, line) => {
  const now = Date.now();
  const log = line.kind === 'log' ? line.log : null;
  updateRow(row, line, {
    words: wordsOf(state.filter),
    isCursor: (cursor ?? shelf.lines[0]?.key) === line.key,
    isStarred: log !== null && stars.logs.has(log.href),
    isPicked: log !== null && state.picked.has(log.href),
    size: size(line.kind === 'log' ? line.log.size : line.size),
    isWriting: isWriting(log ?? /** @type {import('./listing.js').DirectoryLine} */ (line), now),
    age: age(now - (log ?? /** @type {import('./listing.js').DirectoryLine} */ (line)).modified),
  });
});

/** Puts all logs in order, where nobody is about to click on one of them. */
function arrange() {
  order = ordered([...logs.values()].filter((log) => !log.isGone), state.sort, stars.logs, Date.now());
  for (const [href, log] of logs) if (log.isGone) logs.delete(href);
  show();
}

/** Shows the logs that pass the filter. */
function show() {
  const words = wordsOf(state.filter);
  const shown = sieve(order, words);
  // What was found in a folded directory would be hidden by it.
  const isOpen = (/** @type {string} */ path) => words.length > 0 || !state.folded.has(path);
  const lines = state.tree ? tree(shown, state.sort, isOpen, Date.now()) : flat(shown);
  if (cursor !== null && !lines.some(({ key }) => key === cursor)) cursor = null;
  shelf.show(lines);
  byId('no-logs').hidden = order.length > 0;
  byId('no-match').hidden = order.length === 0 || shown.length > 0;
  byId('filter-box').hidden = order.length === 0;
  const all = order.filter(({ isGone }) => !isGone).length;
  const total = truncated ? `the ${counted(all, 'log')} that changed last` : counted(all, 'log');
  const found = words.length > 0 ? `${counted(shown.filter(({ isGone }) => !isGone).length, 'log')} of ${total}` : total;
  say(byId('count'), reachable ? found : `${found} · no answer from the server, still trying`);
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
  keepAddress();
}

function showPicked() {
  const { size: count } = state.picked;
  byId('picked').hidden = count === 0;
  document.body.dataset.picking = String(count > 0);
  say(byId('picked-count'), counted(count, 'log'));
  say(byId('picked-hint'), count < 2 ? 'choose another to open them together' : '');
  for (const [page, max] of /** @type {const} */ ([['beside', BESIDE_MAX], ['merged', MERGED_MAX]])) {
    const link = byId(`open-${page}`);
    link.hidden = count < 2;
    const fits = count <= max;
    link.title = fits ? `Open them ${page === 'beside' ? 'side by side (b)' : 'in one list, by arrival (m)'}` : `At most ${max} logs fit`;
    if (fits) link.setAttribute('href', addressOf(page, state.picked));
    else link.removeAttribute('href');
    link.setAttribute('role', 'link');
    link.setAttribute('aria-disabled', String(!fits));
  }
}

let addressTimer = 0;

function keepAddress() {
  addressTimer ||= window.setTimeout(writeAddress, ADDRESS_MS);
}

function writeAddress() {
  window.clearTimeout(addressTimer);
  addressTimer = 0;
  const hash = formatState(state);
  if (hash !== location.hash) history.replaceState(null, '', hash === '' ? location.pathname : hash);
}

/** Whether the order waits for the table to be left. */
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
    logs.set(log.href, known === undefined ? log : Object.assign(known, log, { isGone: false }));
  }
  // A table that sorts itself under the pointer opens the wrong log: until it is left, new rows go to the end, and those that are
  // gone keep their place.
  isStale = inUse();
  if (!isStale) {
    arrange();
    return;
  }
  order.push(...ordered(added, state.sort, stars.logs, Date.now()));
  show();
}

let etag = '';

async function refresh() {
  try {
    const response = await fetch('/_/logs', { headers: { accept: 'application/json' }, signal: AbortSignal.timeout(ANSWER_MS_MAX) });
    if (!response.ok) throw new Error(`status ${response.status}`);
    const wasReachable = reachable;
    reachable = true;
    const mark = response.headers.get('etag') ?? '';
    if (mark !== '' && mark === etag) {
      if (isStale && !inUse()) {
        isStale = false;
        arrange();
      } else if (!wasReachable) {
        show();
      }
      return;
    }
    const answer = await response.json();
    etag = mark;
    truncated = answer.truncated === true;
    merge(answer.logs);
  } catch {
    reachable = false;
    show();
  }
}

let refreshTimer = 0;
let refreshing = false;

/** One answer at a time, however slow the server is. */
async function refreshAlways() {
  window.clearTimeout(refreshTimer);
  if (refreshing) return;
  refreshing = true;
  const began = performance.now();
  await refresh();
  refreshing = false;
  const pause = document.hidden ? HIDDEN_REFRESH_MS : REFRESH_MS;
  refreshTimer = window.setTimeout(refreshAlways, Math.max(pause, REFRESH_PER_ANSWER * (performance.now() - began)));
}

/** @param {string} href */
function pick(href) {
  if (!state.picked.delete(href)) state.picked.add(href);
  shelf.draw();
  showPicked();
  keepAddress();
}

/** @param {string} path @param {boolean} open */
function fold(path, open) {
  if (open) state.folded.delete(path);
  else state.folded.add(path);
  show();
}

function lineAtCursor() {
  const at = cursor === null ? -1 : shelf.lines.findIndex(({ key }) => key === cursor);
  return { at, line: shelf.lines[at] };
}

/** @param {number} to */
function moveTo(to) {
  const at = Math.max(0, Math.min(shelf.lines.length - 1, to));
  const line = shelf.lines[at];
  if (line === undefined) return;
  cursor = line.key;
  shelf.reveal(at);
  /** @type {HTMLElement | null | undefined} */ (shelf.row(line.key)?.querySelector('.opens'))?.focus({ preventScroll: true });
}

/** @param {number} by */
function move(by) {
  const { at } = lineAtCursor();
  if (at === 0 && by < 0) {
    cursor = null;
    focusFilter();
  } else {
    moveTo(at + by);
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

/** @param {boolean} open */
function foldAtCursor(open) {
  const { at, line } = lineAtCursor();
  if (line === undefined || !state.tree) return;
  if (line.kind === 'directory' && line.open !== open) {
    fold(line.key.slice(0, -1), open);
  } else if (open) {
    move(1);
  } else {
    const outer = shelf.lines.findLastIndex((other, index) => index < at && other.kind === 'directory' && other.depth < line.depth);
    if (outer >= 0) moveTo(outer);
  }
}

function choose(/** @type {import('./listing.js').Key} */ by) {
  state.sort = state.sort.by === by ? { by, descending: !state.sort.descending } : { by, descending: by !== 'name' };
  arrange();
}

function toggleTree() {
  state.tree = !state.tree;
  show();
}

function pickNone() {
  state.picked.clear();
  shelf.draw();
  showPicked();
  keepAddress();
}

/** @param {Log} log */
function star(log) {
  stars.toggle(log.href);
  shelf.draw();
}

/** @param {'beside' | 'merged'} page */
function openPicked(page) {
  const link = byId(`open-${page}`);
  if (!byId('picked').hidden && !link.hidden) link.click();
}

bindKeys([
  { keys: ['/'], does: 'filter by path; each word must be in it', act: focusFilter },
  { keys: ['ArrowDown', 'j'], does: 'to the next log', act: () => move(1) },
  { keys: ['ArrowUp', 'k'], does: 'to the one before', act: () => move(-1) },
  { keys: ['PageDown'], does: 'a page down', act: () => move(shelf.rowsInSight) },
  { keys: ['PageUp'], does: 'a page up', act: () => moveTo(lineAtCursor().at - shelf.rowsInSight) },
  { keys: ['Home'], does: 'to the first', act: () => moveTo(0) },
  { keys: ['End'], does: 'to the last', act: () => moveTo(shelf.lines.length - 1) },
  { keys: ['x'], does: 'choose it, to open several together', act: () => withLog(({ href }) => pick(href)) },
  { keys: ['b'], does: 'open the chosen ones side by side', act: () => openPicked('beside') },
  { keys: ['m'], does: 'open the chosen ones merged', act: () => openPicked('merged') },
  { keys: ['s'], does: 'keep it at the top, with a star', act: () => withLog(star) },
  { keys: ['v'], does: 'as a tree, or flat', act: toggleTree },
  { keys: ['ArrowRight'], does: 'open a directory', act: () => foldAtCursor(true) },
  { keys: ['ArrowLeft'], does: 'fold it', act: () => foldAtCursor(false) },
  { keys: ['t'], does: 'theme: auto, light, dark', act: () => /** @type {HTMLElement} */ (document.querySelector('[data-theme-switch]')).click() },
  { keys: ['Escape'], does: 'choose none', act: pickNone },
  { keys: ['?'], does: 'these keys', act: () => help.showModal() },
], byId('help-keys'));

filter.addEventListener('input', () => {
  state.filter = filter.value;
  cursor = null;
  byId('shelf').scrollTop = 0;
  show();
});
filter.addEventListener('keydown', (event) => {
  if (event.isComposing) return;
  if (event.key === 'Escape') {
    state.filter = '';
    show();
    filter.blur();
  } else if (event.key === 'ArrowDown') {
    moveTo(0);
  } else if (event.key === 'Enter') {
    const first = shelf.lines.find(({ kind }) => kind === 'log');
    if (first?.kind === 'log') location.assign(first.log.href);
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
byId('help-open').addEventListener('click', () => help.showModal());
byId('help-close').addEventListener('click', () => help.close());
help.addEventListener('click', (event) => {
  if (event.target === help) help.close();
});
body.addEventListener('click', (event) => {
  const target = /** @type {Element} */ (event.target);
  const key = target.closest('tr')?.dataset.key;
  const line = shelf.lines.find((one) => one.key === key);
  if (line === undefined) return;
  cursor = line.key;
  if (line.kind === 'directory') fold(line.key.slice(0, -1), !line.open);
  else if (target.closest('.pick')) pick(line.log.href);
  else if (target.closest('.star')) star(line.log);
  else shelf.draw();
});
body.addEventListener('focusin', (event) => {
  const key = /** @type {Element} */ (event.target).closest('tr')?.dataset.key;
  if (key === undefined || key === cursor) return;
  cursor = key;
  shelf.draw();
});
for (const head of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll('th[data-sort]'))) {
  const button = document.createElement('button');
  button.type = 'button';
  button.textContent = head.textContent;
  button.addEventListener('click', () => choose(/** @type {import('./listing.js').Key} */ (head.dataset.sort)));
  head.replaceChildren(button);
}
document.addEventListener('visibilitychange', () => {
  if (!document.hidden) refreshAlways();
});
// The way back leads to what was there last.
window.addEventListener('pagehide', writeAddress);
window.addEventListener('hashchange', () => {
  Object.assign(state, parseState(location.hash));
  arrange();
});

for (const id of ['tree', 'sort-box', 'help-open']) byId(id).hidden = false;
arrange();
refreshTimer = window.setTimeout(refreshAlways, REFRESH_MS);
setInterval(() => shelf.draw(), TICK_MS);
