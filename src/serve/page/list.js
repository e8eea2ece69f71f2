// The list of logs: the server's table kept fresh, filtered as one types, and marked where something is written now.

import { age, counted, size } from './units.js';

const REFRESH_MS = 3_000;
const TICK_MS = 1_000;
/** A log that changed this recently is being written. */
const WRITING_MS = 10_000;

/**
 * @typedef {{path: string, href: string, size: number, modified: number, viewers: number}} Log
 */

/** @param {string} id */
const byId = (id) => /** @type {HTMLElement} */ (document.getElementById(id));

const table = byId('logs');
const filter = /** @type {HTMLInputElement} */ (byId('filter'));
let truncated = false;
let reachable = true;

/** @returns {HTMLTableRowElement[]} */
const tableRows = () => /** @type {HTMLTableRowElement[]} */ ([...table.children]);

/** @param {Element} row */
const pathOf = (row) => row.querySelector('a')?.textContent ?? '';

/**
 * @param {Log} log
 * @returns {HTMLTableRowElement}
 */
function draw(log) {
  const row = document.createElement('tr');
  const cut = log.path.lastIndexOf('/') + 1;
  const link = document.createElement('a');
  const directory = document.createElement('span');
  directory.className = 'dir';
  directory.textContent = log.path.slice(0, cut);
  link.append(directory, log.path.slice(cut));
  const name = row.insertCell();
  name.append(link);
  row.insertCell().className = 'size';
  const changed = row.insertCell();
  changed.className = 'age';
  changed.append(document.createElement('time'));
  row.insertCell().className = 'viewers';
  return row;
}

/**
 * @param {HTMLTableRowElement} row
 * @param {Log} log
 */
function update(row, log) {
  row.dataset.modified = String(log.modified);
  row.dataset.size = String(log.size);
  row.dataset.viewers = String(log.viewers);
  row.querySelector('a')?.setAttribute('href', log.href);
  say(row.cells[1], size(log.size));
  row.querySelector('time')?.setAttribute('datetime', new Date(log.modified).toISOString());
}

/** Ages and marks are a matter of the present, so they are drawn each second. */
function tick() {
  const now = Date.now();
  for (const row of tableRows()) {
    const since = now - Number(row.dataset.modified);
    const time = row.querySelector('time');
    const writing = since < WRITING_MS;
    row.classList.toggle('writing', writing);
    if (time) say(time, writing ? 'writing now' : age(since));
    const viewers = Number(row.dataset.viewers);
    say(row.cells[3], viewers > 0 ? String(viewers) : '');
    row.cells[3].setAttribute('aria-label', viewers > 0 ? `${viewers} watching` : 'nobody is watching');
  }
}

/** @param {Log[]} logs */
function merge(logs) {
  const known = new Map(tableRows().map((row) => [pathOf(row), row]));
  const ordered = [...logs].sort((a, b) => b.modified - a.modified).map((log) => {
    const row = known.get(log.path) ?? draw(log);
    known.delete(log.path);
    update(row, log);
    return row;
  });
  for (const gone of known.values()) gone.remove();
  // A table that sorts itself under the pointer opens the wrong log: new rows go to the end until it is left.
  const inUse = table.matches(':hover') || table.contains(document.activeElement);
  if (inUse) table.append(...ordered.filter((row) => row.parentNode === null));
  else if (ordered.some((row, at) => table.children[at] !== row)) table.append(...ordered);
  tick();
  sieve();
}

/** Hides the rows that do not hold every word of the filter. */
function sieve() {
  const words = filter.value.toLowerCase().split(/\s+/).filter((word) => word !== '');
  let shown = 0;
  for (const row of tableRows()) {
    const path = pathOf(row).toLowerCase();
    row.hidden = !words.every((word) => path.includes(word));
    if (!row.hidden) shown += 1;
  }
  const all = table.children.length;
  byId('no-match').hidden = all === 0 || shown > 0;
  byId('filter-box').hidden = all === 0;
  const total = truncated ? `the ${counted(all, 'log')} that changed last` : counted(all, 'log');
  const words_ = words.length > 0 ? `${shown} of ${total}` : total;
  say(byId('count'), reachable ? words_ : `${words_} · no answer from the server, still trying`);
}

async function refresh() {
  if (document.hidden) return;
  try {
    const response = await fetch('/_/logs', { headers: { accept: 'application/json' }, signal: AbortSignal.timeout(REFRESH_MS * 3) });
    if (!response.ok) throw new Error(`status ${response.status}`);
    const answer = await response.json();
    reachable = true;
    truncated = answer.truncated === true;
    merge(answer.logs);
  } catch {
    reachable = false;
    sieve();
  }
}

/** One answer at a time, however slow the server is. */
async function refreshAlways() {
  await refresh();
  setTimeout(refreshAlways, REFRESH_MS);
}

/**
 * @param {Element} target
 * @param {string} text
 */
function say(target, text) {
  if (target.textContent !== text) target.textContent = text;
}

filter.addEventListener('input', sieve);
byId('filter-clear').addEventListener('click', () => {
  filter.value = '';
  sieve();
  filter.focus();
});
document.addEventListener('keydown', (event) => {
  const typing = event.target === filter;
  if (event.key === '/' && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
    event.preventDefault();
    filter.select();
    filter.focus();
  } else if (event.key === 'Escape' && typing) {
    filter.value = '';
    sieve();
    filter.blur();
  } else if (event.key === 'Enter' && typing) {
    const first = tableRows().find((row) => !row.hidden);
    if (first) first.querySelector('a')?.click();
  }
});
document.addEventListener('visibilitychange', refresh);

tick();
sieve();
setTimeout(refreshAlways, REFRESH_MS);
setInterval(tick, TICK_MS);
