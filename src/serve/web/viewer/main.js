// The viewer page: creates the parts of the page of one log and connects them.

import { MergedApi } from '../merged/merged-api.js';
import { failureWords, LogApi } from '../net/api.js';
import { Connection } from '../net/connection.js';
import { refusalText } from '../net/refusal.js';
import { interpretation, pagePath } from '../net/wire.js';
import { ColourMarks } from '../rows/colour-marks.js';
import { Columns } from '../rows/columns.js';
import { finishOf, showFinishes } from '../rows/exit.js';
import { Folds } from '../rows/folds.js';
import { Follow } from '../rows/follow.js';
import { addJsonButtons } from '../rows/json.js';
import { Levels } from '../rows/levels.js';
import { ReadableRows } from '../rows/readable.js';
import { Reading, READING_PX } from '../rows/reading.js';
import { RowViewport } from '../rows/row-viewport.js';
import { FileSearch } from '../search/file-search.js';
import { FindBar } from '../search/find-bar.js';
import { HistorySearch } from '../search/history-search.js';
import { Highlighter } from '../search/highlight.js';
import { LevelSearch, ProblemNav } from '../search/problem-nav.js';
import { ColourDialog } from '../ui/colour-dialog.js';
import { loadColourRules } from '../ui/colour-rules.js';
import { byId } from '../ui/dom.js';
import { DrawScheduler } from '../ui/draw-scheduler.js';
import { bindEncodingMenu, chosenEncoding } from '../ui/encoding.js';
import { loadOptions } from '../ui/options.js';
import { watchIdentity } from '../ui/signed-out.js';
import { spanState, StatusBar } from '../ui/status.js';
import { ViewMenu } from '../ui/view-menu.js';
import { zoneOf } from '../ui/zones.js';
import { formatView, parseView } from '../url/view-hash.js';
import { ViewerBars } from './bars.js';
import { Controls } from './controls.js';
import { findTime } from './go-to-time.js';
import { LineSelection } from './line-selection.js';
import { RowLoader } from './loader.js';
import { Minimap } from './minimap.js';
import { NewerFile } from './newer-file.js';
import { OldFiles } from './old-files.js';
import { Seek } from './seek.js';
import { ShownTimes } from './shown-times.js';
import { Stream } from './stream.js';
import { TimesOverLog } from './times-over-log.js';
import { ToldTimes } from './told-times.js';
import { StripLayout } from './strip-layout.js';
import { TabBadge } from './tab.js';
import { UrlSync } from './url-sync.js';

const TICK_MS = 1_000;
/** During a burst the page draws less often. */
const BURST_MS = 100;
/** A log that is rotated again and again has its files listed at most so often. */
const LIST_MS = 10_000;

const log = byId('log');
/** The rows that came with the page, until live ones take their place. */
let firstRows = document.getElementById('first-rows');
const statusBar = new StatusBar();
watchIdentity();
const bars = new ViewerBars();
const stream = new Stream();
const { generations, tail } = stream;
const rowViewport = new RowViewport(byId('rows'), log, () => follow.pin());
const encoding = chosenEncoding(location, parseView(location.hash));
const api = new LogApi(pagePath(), encoding, interpretation(location));

const oldFiles = new OldFiles(api, generations);

/** @type {import('../ui/status.js').Facts} */
const facts = {
  phase: { name: 'connecting' }, waiting: null, following: true, empty: true, newLines: 0,
  lostAt: null, openedAt: 0, heardAt: 0, size: null, watch: null, viewers: null, finish: null,
};
let isStatusDue = true;
/** Whether the visible rows have to be decorated again. */
let isStyleDue = true;
let foldedVersion = -1;
let isRestored = false;
/** Whether the refusal of the WebSocket has been shown. It is shown only once. */
let isRefusalShown = false;
/** What has to be said about a compressed file that could not be unpacked to its end; empty if nothing has. */
let notice = '';
/** The parameters of the last search, as JSON. */
let lastSearch = '';
/** Whether the files have other names since they were listed. */
let isListStale = false;
let listedAt = 0;

const drawScheduler = new DrawScheduler(draw);
/** @type {Follow} */
const follow = new Follow(log, () => loader.attached, () => {
  facts.following = follow.following;
  log.dataset.following = String(follow.following);
  if (follow.following) facts.newLines = 0;
  bars.showFollow(follow.following);
  refresh();
});
/** @type {RowLoader} */
const loader = new RowLoader({ scroller: log, generations, tail, rowViewport, api, follow, oldFiles, changed: () => refresh(), failed: showFailure });
const seek = new Seek({ scroller: log, generations, tail, rowViewport, loader, follow, oldFiles, layout: () => minimap.layout, changed: () => drawScheduler.request() });
const levels = new Levels();
const tab = new TabBadge((row) => levels.ofWire(row));
const folds = new Folds(levels);
const selection = new LineSelection(restyle);
const highlighter = new Highlighter(restyle, showFailure);
const readable = new ReadableRows();
const reading = new Reading();
const colourMarks = new ColourMarks(coloursChanged, showFailure);
let colourRules = loadColourRules();
const columns = new Columns(log, api, generations, restyle, showFailure);
const search = new FileSearch(api, () => foundChanged());
const found = new HistorySearch(api, search, generations, oldFiles, true, () => foundChanged());
const findBar = new FindBar(found, { changed: findChanged, goTo, here: currentPlace, closed: () => controls.focusLog() });
const errorSearch = new LevelSearch(api, 'error', () => errorsChanged());
const errors = new HistorySearch(api, errorSearch, generations, oldFiles, false, () => errorsChanged());
/** @param {string} words */
const answer = (words) => bars.hints.answer(words);
const errorNav = new ProblemNav('error', errors, goTo, currentPlace, searchProblems, answer);
const warningSearch = new LevelSearch(api, 'warning', () => warningsChanged());
const warnings = new HistorySearch(api, warningSearch, generations, oldFiles, false, () => warningsChanged());
const warningNav = new ProblemNav('warning', warnings, goTo, currentPlace, searchProblems, answer);
const menu = new ViewMenu(log, loadOptions(), () => {
  rowViewport.keepInPlace(() => menu.show());
  restyle();
}, fieldsInSight);
const colourDialog = new ColourDialog({ rules: () => colourRules, changed: setColours, troubleOf: (rule) => colourMarks.troubleOf(rule), closed: () => controls.focusLog() });
const timesOverLog = new TimesOverLog({
  load: (span, buckets, signal) => api.times(span, buckets, signal),
  size: () => facts.size,
  zone: () => menu.options.zone,
  find: (time, signal) => findTime({ api, oldFiles, seek, selection }, time, signal),
  only: (span) => findBar.setSpan(span),
  failed: showFailure,
});
const urlSync = new UrlSync({ timesOverLog, colours: { get: () => colourRules, set: setColours }, generations, rowViewport, seek, api, oldFiles, follow, selection, findBar, folds, menu, encoding, hint: (words) => bars.hints.notice(words) });
const minimap = new Minimap(byId('minimap'), log, new StripLayout(generations), (part) => goToPart(part));
const mergedApi = new MergedApi({ ...interpretation(location), ...(encoding !== '' && { encoding }) });
const toldTimes = new ToldTimes((place, count) => mergedApi.rows([{ path: pagePath(), shift: 0, place }], 'from', { count, filter: { format: 'text' } }), generations, refresh);
const shownTimes = new ShownTimes(log, rowViewport, () => menu.nextZone(), refresh);
const controls = new Controls({ oldFiles, log, rowViewport, loader, seek, follow, selection, findBar, errorNav, warningNav, folds, menu, urlSync, api, encoding, generations, bars, levels, restyle, fieldsInSight });
const connection = new Connection(logUrl(), onMessage, connectionChanged, true);

/** The names of the fields of the lines on the screen. */
function fieldsInSight() {
  return readable.fieldsOf(rowViewport.inSight());
}

/** The address of the log, in the chosen encoding. */
function logUrl() {
  const url = new URL(location.href);
  url.searchParams.set('encoding', encoding);
  return url;
}

/** @param {import('../net/connection.js').Phase} phase */
function connectionChanged(phase) {
  const before = facts.phase.name;
  facts.phase = phase;
  if (facts.phase.name === 'retry' && before === 'open') facts.lostAt = Date.now();
  if (facts.phase.name === 'open') {
    facts.lostAt = null;
    if (facts.phase.refusal !== null && !isRefusalShown) {
      isRefusalShown = true;
      bars.hints.notice(`No WebSocket: ${refusalText(facts.phase.refusal)}`);
    }
  }
  refresh();
}

/**
 * @param {import('../net/wire.js').Message} message
 * @param {boolean} resuming
 */
function onMessage(message, resuming) {
  if (message.type === 'viewers') {
    facts.viewers = message;
    isStatusDue = true;
    drawScheduler.requestThrottled();
    return;
  }
  const { fresh, news } = stream.handle(message, resuming);
  facts.waiting = message.type === 'waiting' ? message.reason : null;
  switch (message.type) {
    case 'notice':
      notice = message.message;
      break;
    case 'reset':
      notice = '';
      isListStale = true;
      // Places are good until another generation begins.
      for (const way of [findBar, errorNav, warningNav]) way.current = null;
      break;
    case 'open':
      notice = '';
      facts.openedAt ||= Date.now();
      facts.watch = message.watch;
      bars.showPath(message.path);
      break;
    case 'rows':
      if (news) {
        facts.heardAt = Date.now();
        statusBar.countNewLines(fresh);
      }
      if (!follow.following && facts.span !== 'over') facts.newLines += fresh;
      tab.countRows(message.rows, fresh);
      if (message.rows.some(([, , note]) => note?.stream !== undefined)) controls.offerDecoding();
      break;
  }
  facts.size = generations.current?.to ?? facts.size;
  if (!isRestored && generations.current) {
    isRestored = true;
    urlSync.restore();
    listOldFiles();
  }
  loader.grew();
  extendSearches();
  isStatusDue = true;
  drawScheduler.requestThrottled();
}

/** Gets the files of the log for the strip. If that fails, they are asked for again when the reader comes to one. */
function listOldFiles() {
  isListStale = false;
  listedAt = performance.now();
  oldFiles.list().then(refresh, () => {});
}

function foundChanged() {
  found.presentChanged();
  findBar.resultsChanged();
  refresh();
}

function errorsChanged() {
  errors.presentChanged();
  errorNav.show();
  refresh();
}

function warningsChanged() {
  warnings.presentChanged();
  warningNav.show();
  refresh();
}

/** Extends the running searches to new bytes. */
function extendSearches() {
  const { current } = generations;
  if (!current) return;
  if (errorSearch.update(current.id, fileEnd(), currentOffset())) errorNav.current = null;
  if (warningSearch.update(current.id, fileEnd(), currentOffset())) warningNav.current = null;
  for (const way of [errorNav, warningNav]) way.show();
  if (findBar.pattern === null) return;
  if (search.generation === current.id) search.extend(fileEnd());
  else findChanged();
}

/** Searches the log for errors and warnings, however large it is. */
function searchProblems() {
  if (errorSearch.searchNow(currentOffset())) errorNav.current = null;
  if (warningSearch.searchNow(currentOffset())) warningNav.current = null;
}

/** The known end of the current file. @returns {import('../search/file-search.js').FileEnd} */
function fileEnd() {
  const size = generations.current?.to ?? 0;
  const [last] = tail.last(1);
  return { size, lastRow: last?.gen === generations.currentGen ? Math.min(last.offset, size) : 0 };
}

/** Called when the pattern, the filter or the highlights changed. */
function findChanged() {
  const { current } = generations;
  const { pattern } = findBar;
  highlighter.setPattern(pattern);
  highlighter.setRules(findBar.rules);
  const wanted = pattern === null ? '' : JSON.stringify([current?.id, findBar.searchParameters]);
  if (wanted !== lastSearch) {
    lastSearch = wanted;
    if (pattern === null || !current) search.stop();
    else search.start(current.id, findBar.searchParameters ?? {}, currentOffset(), fileEnd());
    findBar.show();
  }
  const filter = findBar.filterParameters;
  if (JSON.stringify(filter) !== JSON.stringify(loader.filter)) seek.refilter(filter, null);
  restyle();
}

/** Called when the reader's own colours have other matches. */
function coloursChanged() {
  colourDialog.refresh();
  restyle();
}

/** @param {import('../ui/colour-rules.js').ColourRule[]} rules */
function setColours(rules) {
  colourRules = rules;
  colourMarks.set(rules);
}

function refresh() {
  isStatusDue = true;
  drawScheduler.request();
}

/** Requests a new decoration of the visible rows. */
function restyle() {
  isStyleDue = true;
  refresh();
}

/** Draws one frame. Returns whether rows are left for another. */
function draw() {
  const more = loader.draw();
  if (!rowViewport.isEmpty) dropFirstRows();
  if (loader.isBursting) drawScheduler.delay(BURST_MS);
  fold();
  follow.pin();
  decorateInSight();
  showMinimap();
  if (isStatusDue) {
    isStatusDue = false;
    const [last] = tail.last(1);
    facts.empty = rowViewport.isEmpty && last === undefined;
    facts.finish = finishOf(last);
    facts.span = spanState(findBar.span, Date.now());
    statusBar.show(facts);
    if (!byId('notice').hidden) dropFirstRows();
    timesOverLog.open(menu.options.histogram);
    timesOverLog.refresh();
    const inSight = [...rowViewport.inSight()];
    toldTimes.show(inSight, follow.following);
    timesOverLog.showView(...shownTimes.show(inSight, menu.options.zone));
    bars.showNewLines(follow.following, facts.newLines);
    bars.showEdges(olderText(), newerText());
    tab.show(bars.label, facts.phase.name === 'open', facts.finish);
    urlSync.sync();
  }
  return more;
}

function dropFirstRows() {
  firstRows?.remove();
  firstRows = null;
}

function fold() {
  if (foldedVersion === rowViewport.version && !isStyleDue) return;
  foldedVersion = rowViewport.version;
  if (follow.following) folds.update(rowViewport.entries(), menu.options);
  else rowViewport.keepInPlace(() => folds.update(rowViewport.entries(), menu.options));
}

/** Decorates the rows in and near sight: levels, columns, selection and highlights. */
function decorateInSight() {
  isStyleDue = false;
  const near = [...rowViewport.inSight(log.clientHeight)];
  levels.show(near);
  rowViewport.keepInPlace(() => readable.show(near, menu.options));
  follow.pin();
  showFinishes(near);
  addJsonButtons(near);
  columns.show(near, menu.options, selection.wantsNumbers);
  selection.show(near);
  reading.show(rowViewport.inSight(READING_PX), menu.options.highlight);
  colourMarks.show(near);
  const place = findBar.current ?? errorNav.current ?? warningNav.current;
  highlighter.show(near, place === null ? null : generations.positionAt(place));
}

/** The offset in the present file near which a search begins: that of the reader's current row. */
function currentOffset() {
  const first = selection.cursor ?? rowViewport.firstInSight();
  return first?.gen === generations.currentGen ? first.offset : 0;
}

/** The place of the reader's current row. */
function currentPlace() {
  const first = selection.cursor ?? rowViewport.firstInSight();
  return first ? generations.placeOf(first) : 0;
}

/**
 * Goes to a search result.
 * @param {number} place
 */
async function goTo(place) {
  // Only one row is the current one, whether the find bar or the error or warning button led to it.
  for (const way of [findBar, errorNav, warningNav]) if (way.current !== place) way.current = null;
  const row = await seek.reveal(generations.positionAt(place), 'middle');
  selection.moveTo(row);
}

/** Goes to what is at a place on the strip. @param {number} part */
async function goToPart(part) {
  try {
    await seek.toPart(part);
  } catch (error) {
    showFailure(`These lines cannot be loaded: ${failureWords(error)}`);
  }
}

/** Shows the position of the view and the marks on the minimap. */
function showMinimap() {
  minimap.zone = zoneOf(menu.options.zone);
  const layout = new StripLayout(generations);
  const rows = [...rowViewport.inSight()].filter((entry) => entry.marker === undefined);
  const first = rows[0];
  const last = rows[rows.length - 1];
  if (first === undefined || last === undefined) {
    minimap.show(layout, 0, 1);
    return;
  }
  const isAtEnd = follow.following || (loader.attached && log.scrollHeight - log.clientHeight - log.scrollTop < 2);
  minimap.show(layout, log.scrollTop === 0 && loader.top !== '' ? 0 : layout.placeOf(first), isAtEnd ? 1 : layout.placeOf(last));
  const { selected } = selection;
  minimap.setMarks([
    ...warnings.marks('warning'), ...errors.marks('error'), ...found.marks('found'),
    ...(selected === null ? [] : [{ kind: 'selected', gen: selected.gen, offsets: [selected.first.offset] }]),
  ]);
}

/** Shows why a request failed. @param {string} words */
function showFailure(words) {
  bars.hints.trouble(words);
}

function olderText() {
  if (loader.failure.up !== '') return `Earlier lines cannot be loaded now: ${loader.failure.up}. The page tries again.`;
  if (loader.top === 'gone') return 'Earlier lines are in a file that can no longer be read.';
  return loader.isFiltering && loader.top === '' ? progressText('up') : '';
}

function newerText() {
  if (loader.failure.down !== '') return `The next lines cannot be loaded now: ${loader.failure.down}. The page tries again.`;
  if (!loader.isFiltering) return notice === '' || !loader.attached ? '' : `${notice[0].toUpperCase()}${notice.slice(1)}.`;
  const words = progressText('down');
  if (words !== '' || !rowViewport.isEmpty || loader.top === '') return words;
  return search.running ? 'No line passes the filter so far.' : 'No line passes the filter.';
}

/** The progress of the search for matching rows, as text. @param {'up' | 'down'} way */
function progressText(way) {
  const at = loader.scanning;
  if (at === null || (way === 'up') !== (at.offset <= rowViewport.from.offset)) return '';
  const { to } = generations.at(at.gen);
  const part = to === 0 ? 1 : at.offset / to;
  return `searching for more lines: at ${Math.round(100 * part)} % of the log`;
}

log.addEventListener('scroll', () => {
  // While following, the page itself scrolls at each arriving row, so this event is not urgent.
  if (follow.following) drawScheduler.requestThrottled();
  else drawScheduler.request();
}, { passive: true });
byId('retry').addEventListener('click', () => connection.retry());
document.addEventListener('visibilitychange', refresh);
setInterval(() => {
  folds.tick();
  if (isListStale && !document.hidden && performance.now() - listedAt > LIST_MS) listOldFiles();
  refresh();
}, TICK_MS);

// The title from the server is the path, with invisible and misleading characters escaped.
bars.showPath(document.title);
document.title = bars.label;
bars.showFollow(true);
bindEncodingMenu(encoding, (chosen) => formatView({ ...urlSync.view, encoding: chosen }));
setColours(colourRules);
levels.load(restyle, showFailure);
new NewerFile(api, pagePath());
controls.focusLog();
