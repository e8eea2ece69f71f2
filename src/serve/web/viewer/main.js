// The viewer page: one log, its connection, its rows, and what surrounds them, tied together.

import { Columns } from '../rows/columns.js';
import { Connection } from '../net/connection.js';
import { Controls } from './controls.js';
import { byId } from '../ui/dom.js';
import { Finder } from '../search/find-bar.js';
import { Folds } from '../rows/folds.js';
import { Follow } from '../rows/follow.js';
import { Frames } from '../ui/draw-scheduler.js';
import { History } from '../net/api.js';
import { offer } from '../rows/json.js';
import { Levels } from '../rows/levels.js';
import { LevelScan } from '../search/level-search.js';
import { Lines } from './line-selection.js';
import { Link } from './url-sync.js';
import { Menu } from '../ui/view-menu.js';
import { stored } from '../ui/options.js';
import { Overview } from './minimap.js';
import { Paint } from '../search/highlight.js';
import { Reader } from './loader.js';
import { Scan } from '../search/file-search.js';
import { StateLine } from '../ui/status.js';
import { Stream } from './stream.js';
import { Tab } from './tab.js';
import { Toolbar } from './bars.js';
import { Troubles } from '../search/problem-nav.js';
import { Window } from '../rows/row-viewport.js';

const TICK_MS = 1_000;
/** Nobody reads what passes by so fast, so it is drawn less often. */
const BURST_MS = 100;

const log = byId('log');
const state = new StateLine();
const toolbar = new Toolbar();
const stream = new Stream();
const { spans, tail } = stream;
const shown = new Window(byId('rows'), log);
const history = new History(location.pathname);

/** @type {import('../ui/status.js').Facts} */
const facts = {
  phase: { name: 'connecting' }, waiting: null, following: true, empty: true, newLines: 0,
  lostAt: null, openedAt: 0, heardAt: 0, size: null, watch: null,
};
let stateIsDue = true;
/** Whether rows that stay the same may have to look otherwise. */
let looksAreDue = true;
let foldedVersion = -1;
let isRestored = false;
/** What the finder last looked for. */
let looked = '';

const frames = new Frames(draw);
/** @type {Follow} */
const follow = new Follow(log, () => reader.attached, () => {
  facts.following = follow.following;
  log.dataset.following = String(follow.following);
  if (follow.following) facts.newLines = 0;
  toolbar.showFollow(follow.following);
  refresh();
});
/** @type {Reader} */
const reader = new Reader({ scroller: log, spans, tail, window: shown, history, follow, changed: () => frames.request() });
const levels = new Levels();
const tab = new Tab((row) => levels.ofWire(row));
const folds = new Folds(levels);
const lines = new Lines(restyle);
const paint = new Paint();
const columns = new Columns(log, history, spans, restyle);
const found = new Scan(history, () => {
  finder.found();
  refresh();
});
const finder = new Finder(found, { changed: searched, go: goTo, here, left: () => controls.focusLog() });
const errors = new LevelScan(history, 'error', () => {
  troubles.show();
  refresh();
});
const troubles = new Troubles('error', errors, goTo, here);
const warnings = new LevelScan(history, 'warning', () => {
  doubts.show();
  refresh();
});
const doubts = new Troubles('warning', warnings, goTo, here);
const menu = new Menu(log, stored(), () => {
  shown.hold(() => menu.show());
  restyle();
});
const link = new Link({ spans, window: shown, reader, history, follow, lines, finder, folds, menu, hint: (words) => toolbar.hint(words) });
const overview = new Overview(byId('overview'), log, (part) => reader.seek(part));
const controls = new Controls({ log, window: shown, reader, follow, lines, finder, troubles, doubts, folds, menu, link, history, spans, toolbar, restyle, demandTroubles });
const connection = new Connection(location, heard, connectionChanged);

/** @param {import('../net/connection.js').Phase} phase */
function connectionChanged(phase) {
  const before = facts.phase.name;
  facts.phase = phase;
  if (facts.phase.name === 'retry' && before === 'open') facts.lostAt = Date.now();
  if (facts.phase.name === 'open') facts.lostAt = null;
  refresh();
}

/**
 * @param {import('../net/wire.js').Message} message
 * @param {boolean} resuming
 */
function heard(message, resuming) {
  const { fresh, news } = stream.hear(message, resuming);
  facts.waiting = message.type === 'waiting' ? message.reason : null;
  switch (message.type) {
    case 'open':
      facts.openedAt ||= Date.now();
      facts.watch = message.watch;
      toolbar.showPath(message.path);
      break;
    case 'rows':
      if (news) {
        facts.heardAt = Date.now();
        state.hear(fresh);
      }
      if (!follow.following) facts.newLines += fresh;
      tab.hear(message.rows, fresh);
      break;
  }
  facts.size = spans.last?.to ?? facts.size;
  if (!isRestored && spans.last) {
    isRestored = true;
    link.restore();
  }
  reader.grew();
  lookOn();
  stateIsDue = true;
  frames.requestPatiently();
}

/** Searches on in what has come. */
function lookOn() {
  const { last } = spans;
  if (!last) return;
  if (errors.look(last.generation, ends(), here())) troubles.current = null;
  if (warnings.look(last.generation, ends(), here())) doubts.current = null;
  if (finder.pattern === null) return;
  if (found.generation === last.generation) found.extend(ends());
  else searched();
}

/** Searches the log for errors and warnings, however large it is. */
function demandTroubles() {
  if (errors.demand(here())) troubles.current = null;
  if (warnings.demand(here())) doubts.current = null;
}

/** How far the present file goes. @returns {import('../search/file-search.js').Ends} */
function ends() {
  const size = spans.last?.to ?? 0;
  const [last] = tail.end(1);
  return { size, lastRow: last?.span === spans.present ? Math.min(last.offset, size) : 0 };
}

/** The pattern, the filter or the highlights are others. */
function searched() {
  const { last } = spans;
  const { pattern } = finder;
  paint.find(pattern);
  paint.rules(finder.rules);
  const wanted = pattern === null ? '' : JSON.stringify([last?.generation, finder.sought]);
  if (wanted !== looked) {
    looked = wanted;
    if (pattern === null || !last) found.stop();
    else found.start(last.generation, finder.sought ?? {}, here(), ends());
    finder.show();
  }
  const filter = finder.filtering;
  if (JSON.stringify(filter) !== JSON.stringify(reader.filter)) reader.refilter(filter, null);
  restyle();
}

function refresh() {
  stateIsDue = true;
  frames.request();
}

/** Rows may have to look otherwise. */
function restyle() {
  looksAreDue = true;
  refresh();
}

/** One change of the document. Returns whether rows are left for another. */
function draw() {
  const more = reader.draw();
  if (reader.isBursting) frames.rest(BURST_MS);
  fold();
  follow.pin();
  dress();
  showOverview();
  if (stateIsDue) {
    stateIsDue = false;
    facts.empty = shown.isEmpty && tail.end(1).length === 0;
    state.show(facts);
    toolbar.showNewLines(follow.following, facts.newLines);
    toolbar.showEdges(olderWords(), newerWords());
    tab.show(toolbar.name, facts.phase.name === 'open');
    link.sync();
  }
  return more;
}

function fold() {
  if (foldedVersion === shown.version && !looksAreDue) return;
  foldedVersion = shown.version;
  if (follow.following) folds.update(shown.entries(), menu.options);
  else shown.hold(() => folds.update(shown.entries(), menu.options));
}

/** Gives the rows in sight, and those around, what is drawn beside and over their text. */
function dress() {
  looksAreDue = false;
  const near = [...shown.inSight(log.clientHeight)];
  levels.show(near);
  offer(near);
  columns.show(near, menu.options, lines.wantsNumbers);
  lines.show(near);
  paint.show(near, finder.current ?? troubles.current ?? doubts.current, spans.present);
}

/** Offset of the row that the reader looks at. */
function here() {
  const first = lines.cursor ?? shown.first();
  return first?.offset ?? 0;
}

/**
 * To a row that was found in the present file.
 * @param {number} offset
 */
async function goTo(offset) {
  // One row is the one that the reader was brought to, by whichever way.
  for (const way of [finder, troubles, doubts]) if (way.current !== offset) way.current = null;
  const row = await reader.reveal({ span: spans.present, offset }, 'middle');
  lines.moveTo(row);
}

/** Where in the whole file the view is, and what is where. */
function showOverview() {
  const rows = [...shown.inSight()].filter((entry) => entry.mark === undefined);
  const first = rows[0];
  const last = rows[rows.length - 1];
  const size = facts.size ?? 0;
  if (first === undefined || last === undefined) {
    overview.show(0, size, size);
    return;
  }
  const { to } = spans.at(first.span);
  const isAtEnd = follow.following || (reader.attached && log.scrollHeight - log.clientHeight - log.scrollTop < 2);
  overview.show(log.scrollTop === 0 && reader.top !== '' ? 0 : first.offset, isAtEnd || last.span !== first.span ? to : last.offset, to);
  const isPresent = first.span === spans.present;
  const { chosen } = lines;
  overview.mark([
    { kind: 'warning', offsets: isPresent ? warnings.offsets : [] },
    { kind: 'error', offsets: isPresent ? errors.offsets : [] },
    { kind: 'found', offsets: isPresent ? found.offsets : [] },
    { kind: 'chosen', offsets: chosen?.span === first.span ? [chosen.first.offset] : [] },
  ]);
}

function olderWords() {
  if (reader.top === 'gone') return 'What came before is in a file that can not be read any more.';
  return reader.isFiltering && reader.top === '' ? scanWords('up') : '';
}

function newerWords() {
  if (!reader.isFiltering) return '';
  const words = scanWords('down');
  if (words !== '' || !shown.isEmpty || reader.top === '') return words;
  return found.running ? 'No line passes the filter so far.' : 'No line passes the filter.';
}

/** How far the search for rows that pass the filter has come. @param {'up' | 'down'} way */
function scanWords(way) {
  const at = reader.scanning;
  if (at === null || (way === 'up') !== (at.offset <= shown.from.offset)) return '';
  const { to } = spans.at(at.span);
  const part = to === 0 ? 1 : at.offset / to;
  return `looking for more lines: at ${Math.round(100 * part)} % of the log`;
}

log.addEventListener('scroll', () => {
  // A view that follows scrolls by what arrives, and is drawn with that.
  if (follow.following) frames.requestPatiently();
  else frames.request();
}, { passive: true });
byId('retry').addEventListener('click', () => connection.retry());
document.addEventListener('visibilitychange', refresh);
setInterval(() => {
  folds.tick();
  refresh();
}, TICK_MS);

// The server has put the path there, with what does not show or would mislead escaped.
toolbar.showPath(document.title);
document.title = toolbar.name;
toolbar.showFollow(true);
levels.load(restyle);
controls.focusLog();
