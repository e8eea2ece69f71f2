// Several logs as one, by arrival: each with its connection, its colour and its switch.

import { emptyView, format, parse } from '../url/view-hash.js';
import { forgetTime, showTimes } from '../rows/columns.js';
import { byId } from '../ui/dom.js';
import { Finder } from '../search/find-bar.js';
import { Follow } from '../rows/follow.js';
import { Frames } from '../ui/draw-scheduler.js';
import { forgetValue, offer, toggle as toggleJson } from '../rows/json.js';
import { bindFind, bindKeys, selected } from '../ui/keys.js';
import { Levels, plain } from '../rows/levels.js';
import { Medley } from './merge-buffer.js';
import { drawMembers } from './source-switches.js';
import { Menu } from '../ui/view-menu.js';
import { MergedReader } from './loader.js';
import { showFollow, showState } from './status.js';
import { stored, TIMES } from '../ui/options.js';
import { Paint } from '../search/highlight.js';
import { compile } from '../search/pattern.js';
import { isBeside, showAll } from '../rows/row.js';
import { addressOf, logsOf, MERGED_MAX, shortNames, shown } from '../url/multi-log.js';
import { Sift } from '../search/local-search.js';
import { Source } from './source.js';
import { recognise } from '../rows/times.js';
import { Troubles } from '../search/problem-nav.js';
import { Window } from '../rows/row-viewport.js';

const TICK_MS = 1_000;
/** What was there before is put in order when all logs have given it, or after this time. */
const GATHER_MS = 2_000;
const NAME_CHARS_MAX = 20;
/** Rows that come are looked through together, now and then. */
const LOOK_MS = 250;
const SAID_MS = 2_500;

const log = byId('log');
const logs = logsOf(location.search, MERGED_MAX);
const names = shortNames(logs.map(shown));
/** The end of a name tells more than its beginning. */
const labels = names.map((name) => (name.length > NAME_CHARS_MAX ? `…${name.slice(1 - NAME_CHARS_MAX)}` : name));
const scratch = document.createElement('template');
const medley = new Medley(logs.length, (html) => {
  scratch.innerHTML = html;
  return recognise(scratch.content.textContent ?? '', Date.now());
});
/** @type {Source[]} */
const sources = [];
let newLines = 0;
/** Lines that came while the page was hidden. */
let unseen = 0;
let isRestored = false;
/** Place of the row that the reader was brought to. @type {number | null} */
let cursor = null;
/** Of the list when it was last looked through. */
let lookedVersion = -1;
let lookedAt = 0;

const frames = new Frames(draw);
const levels = new Levels();
/** @type {Follow} */
const follow = new Follow(log, () => reader.attached, () => {
  log.dataset.following = String(follow.following);
  if (follow.following) newLines = 0;
  showFollow(follow.following);
  keepAddress();
  frames.request();
});
const shownRows = new Window(byId('rows'), log);
/** @type {MergedReader} */
const reader = new MergedReader({
  scroller: log, window: shownRows, medley, follow, dress, redrawn,
  choice: () => ({ logs: logsOn(), passes: isFiltering() ? passes : null }),
});
const found = new Sift();
const errors = new Sift();
const warnings = new Sift();
const finder = new Finder(found, { changed: searched, go: goTo, here, left: focusLog });
const troubles = new Troubles('error', errors, goTo, here);
const doubts = new Troubles('warning', warnings, goTo, here);
const paint = new Paint();
const menu = new Menu(log, stored(), () => {
  reader.hold(() => menu.show());
  follow.pin();
  keepAddress();
  frames.request();
});

function logsOn() {
  return new Set(sources.filter(({ on }) => on).map(({ number }) => number));
}

/** Whether the finder's pattern leaves rows out. */
function filtersText() {
  return finder.filter && finder.pattern !== null && found.error === '';
}

function isFiltering() {
  return filtersText() || finder.level !== '';
}

/** @param {import('./merge-buffer.js').Entry} entry */
function passes(entry) {
  if (filtersText() && found.passes(entry) === finder.invert) return false;
  return finder.level === '' || errors.passes(entry) || (finder.level === 'warning' && warnings.passes(entry));
}

/** Place of the row that the reader looks at: the one they were brought to, as long as it is in sight. */
function here() {
  const inSight = [...shownRows.inSight()];
  return (inSight.find(({ offset }) => offset === cursor) ?? inSight[0])?.offset ?? 0;
}

/** @param {number} offset */
async function goTo(offset) {
  cursor = offset;
  reader.reveal(offset);
  frames.request();
}

/** The pattern, the filter or the highlights are others. */
function searched() {
  const { pattern } = finder;
  const expression = pattern === null ? null : compile(pattern);
  found.error = pattern !== null && expression === null ? 'not a pattern that this browser knows' : '';
  found.set(expression === null ? null : ({ html }) => plain(html).search(expression) >= 0);
  paint.find(pattern);
  paint.rules(finder.rules);
  lookedVersion = -1;
  look();
  if (!medley.isGathering) reader.refilter();
  keepAddress();
  frames.request();
}

/** Looks through what came. */
function look() {
  const rest = lookedAt + LOOK_MS - performance.now();
  if (medley.version === lookedVersion) return;
  if (lookedVersion >= 0 && rest > 0) {
    setTimeout(() => frames.request(), rest);
    return;
  }
  lookedVersion = medley.version;
  lookedAt = performance.now();
  found.look(medley.entries(logsOn()));
  errors.look(medley.entries(logsOn()));
  warnings.look(medley.entries(logsOn()));
  finder.found();
  troubles.show();
  doubts.show();
}

/** A row tells by its name and colour which log it is of. @param {import('./merge-buffer.js').Entry} entry */
function dress(entry) {
  const { element } = entry;
  if (element === null) return;
  element.dataset.log = String(entry.log + 1);
  element.dataset.name = labels[entry.log];
  if (entry.mark !== undefined && entry.log >= 0) element.textContent = `${names[entry.log]}: ${entry.text}`;
}

/** @param {import('./merge-buffer.js').Entry} entry */
function redrawn(entry) {
  if (entry.mark !== undefined) return;
  levels.forget(entry);
  forgetTime(entry);
  forgetValue(entry);
}

/** @param {number} number @param {number} fresh */
function changed(number, fresh) {
  if (sources[number]?.on !== false) {
    if (!follow.following) newLines += fresh;
    if (document.hidden) unseen += fresh;
  }
  frames.request();
}

function draw() {
  if (medley.isGathering && (sources.every(({ isGathered }) => isGathered) || Date.now() - began > GATHER_MS)) {
    medley.gathered();
    reader.restart();
  }
  const more = !medley.isGathering && reader.draw();
  look();
  const near = [...shownRows.inSight(log.clientHeight)];
  levels.show(near);
  offer(near);
  showTimes(log, near, menu.options.times);
  paint.show(near, cursor, 0);
  follow.pin();
  tellState();
  return more;
}

function tellState() {
  const on = logsOn();
  showState(sources, names, {
    following: follow.following, newLines, unseen, isGathering: medley.isGathering, isEmpty: reader.isEmpty, isFiltering: isFiltering(),
    isCut: reader.isAtTop && (medley.cut(on).length > 0 || sources.some(({ number, isCut }) => isCut && on.has(number))),
  });
}

function toEnd() {
  reader.toEnd();
  frames.request();
}

function toggleFollow() {
  if (follow.following) follow.pause();
  else toEnd();
}

/** @param {number} number */
function toggleLog(number) {
  const source = sources[number];
  if (source === undefined) return;
  source.on = !source.on;
  lookedVersion = -1;
  reader.refilter();
  // The rows change at once, and so does the switch.
  tellState();
  keepAddress();
  frames.request();
}

/** @param {1 | -1} way */
function stepError(way) {
  if (errors.offsets.length > 0) troubles.step(way);
  else hint('No error in the lines that are here');
}

/** @param {1 | -1} way */
function stepWarning(way) {
  if (warnings.offsets.length > 0) doubts.step(way);
  else hint('No warning in the lines that are here');
}

/** Opens the page of a row's log, at the row. @param {import('./merge-buffer.js').Entry | null} entry */
function openInPlace(entry) {
  if (entry === null || entry.mark !== undefined) return;
  const lines = { kind: /** @type {const} */ ('offset'), from: entry.at, to: entry.at };
  const hash = format({ ...emptyView(), lines, generation: entry.generation, follow: false, find: finder.pattern });
  window.open(`${logs[entry.log]}${hash}`, '_blank', 'noopener');
}

/** The row that the reader was brought to. */
function current() {
  const row = cursor === null ? null : shownRows.rowAt({ span: 0, offset: cursor });
  return row?.offset === cursor ? /** @type {import('./merge-buffer.js').Entry | null} */ (row) : null;
}

/** @type {ReturnType<typeof setTimeout> | undefined} */
let hinted;

/** @param {string} words */
function hint(words) {
  clearTimeout(hinted);
  byId('hint').hidden = words === '';
  byId('hint').textContent = words;
  if (words !== '') hinted = setTimeout(() => hint(''), SAID_MS);
}

function keepAddress() {
  if (!isRestored) return;
  const off = sources.filter(({ on }) => !on).map(({ number }) => number + 1);
  const { wrap, times } = menu.options;
  const view = format({
    ...emptyView(), follow: follow.following, find: finder.pattern, filter: finder.filter, invert: finder.invert, level: finder.level, rules: finder.rules, options: { wrap, times },
  });
  const parts = [...(off.length > 0 ? [`off=${off.join(',')}`] : []), ...(view === '' ? [] : [view.slice(1)])];
  const hash = parts.length === 0 ? '' : `#${parts.join('&')}`;
  if (hash !== location.hash) history.replaceState(null, '', `${location.pathname}${location.search}${hash}`);
}

const help = /** @type {HTMLDialogElement} */ (byId('help'));

bindKeys([
  { keys: ['f'], does: 'follow the end, or stand still', act: toggleFollow },
  { keys: ['G', 'End'], does: 'to the end, and follow', act: toEnd },
  { keys: ['g', 'Home'], does: 'to the first line that is here', act: () => reader.toStart() },
  ...logs.map((_, number) => ({ keys: [String(number + 1)], does: `show ${names[number]}, or not`, act: () => toggleLog(number) })),
  { keys: ['0'], does: 'show all', act: () => sources.forEach(({ on }, number) => on || toggleLog(number)) },
  { keys: ['/'], does: 'find in the lines that are here', act: () => finder.open(selected()) },
  { keys: ['n', 'N'], does: 'next match, previous one', act: (key) => finder.step(key === 'n' ? 1 : -1) },
  { keys: ['\\'], does: 'show matching lines only', act: () => finder.toggleFilter() },
  { keys: ['e', 'E'], does: 'next error, previous one', act: (key) => stepError(key === 'e' ? 1 : -1) },
  { keys: ['a', 'A'], does: 'next warning, previous one', act: (key) => stepWarning(key === 'a' ? 1 : -1) },
  { keys: ['v'], does: 'show all, errors and warnings, errors only', act: () => finder.nextLevel() },
  { keys: ['o', 'Enter'], does: 'open the log of the match or error, at its line', act: () => openInPlace(current()) },
  { keys: ['w'], does: 'wrap long lines', act: () => menu.toggle('wrap') },
  { keys: ['s'], does: 'times: none, clock, ago, gaps', act: () => menu.setTimes(TIMES[(TIMES.indexOf(menu.options.times) + 1) % TIMES.length]) },
  { keys: ['t'], does: 'theme: auto, light, dark', act: () => /** @type {HTMLElement} */ (document.querySelector('[data-theme-switch]')).click() },
  { keys: ['?'], does: 'these keys', act: () => help.showModal() },
], byId('help-keys'));

bindFind(() => finder.open(selected()));
byId('follow').addEventListener('click', toggleFollow);
log.addEventListener('click', (event) => {
  if (event.button !== 0 || !(event.target instanceof Element) || event.target.closest('a')) return;
  const entry = /** @type {import('./merge-buffer.js').Entry | null} */ (shownRows.entryOf(event.target));
  if (entry === null || entry.mark !== undefined || entry.element === null) return;
  const { element } = entry;
  if (event.target.closest('.more')) reader.hold(() => showAll(element));
  else if (event.target.closest('.open')) toggleJson(entry);
  else if (isBeside(element, event.clientX)) openInPlace(entry);
  frames.request();
});
byId('new-lines').addEventListener('click', () => {
  toEnd();
  focusLog();
});
// The button lies over the log, so it hands on the wheel.
byId('new-lines').addEventListener('wheel', (event) => log.scrollBy({ top: event.deltaY }), { passive: true });
byId('retry').addEventListener('click', () => sources.forEach((source) => source.retry()));
byId('help-open').addEventListener('click', () => help.showModal());
byId('help-close').addEventListener('click', () => help.close());
help.addEventListener('click', (event) => {
  if (event.target === help) help.close();
});
log.addEventListener('scroll', () => frames.request(), { passive: true });
document.addEventListener('visibilitychange', () => {
  if (!document.hidden) unseen = 0;
  frames.request();
});

/** Lets the reader scroll by keys from the start; the ring is for those who came by key. */
function focusLog() {
  log.focus(/** @type {FocusOptions} */ ({ preventScroll: true, focusVisible: false }));
}

const began = Date.now();
const view = parse(location.hash);
const fields = new URLSearchParams(location.hash.replace(/^#/, ''));
logs.forEach((one, number) => sources.push(new Source(one, number, medley, (fresh) => changed(number, fresh))));
for (const number of (fields.get('off') ?? '').split(',')) if (sources[Number(number) - 1] !== undefined) sources[Number(number) - 1].on = false;
log.style.setProperty('--names', `${Math.max(0, ...labels.map(({ length }) => length))}ch`);
drawMembers(byId('members'), sources, names, toggleLog);
byId('beside').setAttribute('href', addressOf('beside', logs));
Object.assign(menu.options, view.options);
menu.show();
finder.set(view.find, view.filter, view.invert, view.rules, view.level);
if (!view.follow) follow.pause();
isRestored = true;
showFollow(follow.following);
levels.load(() => {
  for (const [level, sift] of /** @type {const} */ ([['error', errors], ['warning', warnings]])) {
    sift.set(({ at, html, note }) => levels.ofWire([at, html, note ?? undefined]) === level);
  }
  lookedVersion = -1;
  if (finder.level !== '' && !medley.isGathering) reader.refilter();
  frames.request();
});
focusLog();
frames.request();
setInterval(() => frames.request(), TICK_MS);
