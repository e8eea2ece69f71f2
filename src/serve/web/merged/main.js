// The merged page: several logs in one list, by the times of their lines. Each log has a connection, a colour, a switch and,
// where its clock is wrong, an offset.

import { failureWords, Invalid, LogApi } from '../net/api.js';
import { interpretation, linkTo, serverUrl } from '../net/wire.js';
import { ColourMarks } from '../rows/colour-marks.js';
import { forgetTime, showTimes } from '../rows/columns.js';
import { Follow } from '../rows/follow.js';
import { addJsonButtons, forgetJson, toggleJson } from '../rows/json.js';
import { Levels, plainText } from '../rows/levels.js';
import { ReadableRows } from '../rows/readable.js';
import { Reading, READING_PX } from '../rows/reading.js';
import { RowViewport } from '../rows/row-viewport.js';
import { isInColumns, showAll } from '../rows/row.js';
import { parseTime } from '../rows/times.js';
import { Highlighter } from '../search/highlight.js';
import { ColourDialog } from '../ui/colour-dialog.js';
import { loadColourRules } from '../ui/colour-rules.js';
import { byId, setText } from '../ui/dom.js';
import { DrawScheduler } from '../ui/draw-scheduler.js';
import { bindEncodingMenu, chosenEncoding } from '../ui/encoding.js';
import { Hints } from '../ui/hints.js';
import { bindFindKey, bindHelp, bindKeys, selectedText } from '../ui/keys.js';
import { loadOptions, TIMES } from '../ui/options.js';
import { watchIdentity } from '../ui/signed-out.js';
import { spanState } from '../ui/status.js';
import { plural } from '../ui/units.js';
import { ViewMenu } from '../ui/view-menu.js';
import { serverZone } from '../ui/zones.js';
import { displayPath, MERGED_MAX, multiLogUrl, parseLogs, shortNames } from '../url/multi-log.js';
import { emptyView, formatView, parseView } from '../url/view-hash.js';
import { copyText } from '../viewer/copy.js';
import { ShownTimes } from '../viewer/shown-times.js';
import { TimeDialog } from '../viewer/time-dialog.js';
import { TimesOverLog } from '../viewer/times-over-log.js';
import { ValuesDialog } from '../viewer/values-dialog.js';
import { ClockOffsets } from './clock-offsets.js';
import { Journey } from './journey.js';
import { MergedLoader } from './loader.js';
import { MergeBuffer } from './merge-buffer.js';
import { MergedApi } from './merged-api.js';
import { MergedFind } from './merged-find.js';
import { loadTogether } from './merged-times.js';
import { countTogether } from './merged-values.js';
import { filterName, Pager } from './pager.js';
import { Source } from './source.js';
import { drawSwitches, showFollowButton, showStatus } from './status.js';
import { ToldPlaces } from './told-places.js';
import { MergedUrl } from './url-sync.js';

const TICK_MS = 1_000;
/** A log is not connected later than this because the server has not said how its times are read. */
const LOOK_MS = 2_000;
/** The pause before the first rows are asked for again. */
const RETRY_MS = 1_000;
const RETRY_MS_MAX = 30_000;
const NAME_CHARS_MAX = 20;

watchIdentity();
const log = byId('log');
const encoding = chosenEncoding(location, parseView(location.hash));
const logs = parseLogs(location.search, MERGED_MAX);
const names = shortNames(logs.map(displayPath));
/** Long names are truncated at the start, because the end distinguishes them better. */
const labels = names.map((logName) => (logName.length > NAME_CHARS_MAX ? `…${logName.slice(1 - NAME_CHARS_MAX)}` : logName));
const scratch = document.createElement('template');
const buffer = new MergeBuffer(logs.length, (html, now) => {
  scratch.innerHTML = html;
  return parseTime(scratch.content.textContent ?? '', now, serverZone() ?? undefined);
});
/** @type {Source[]} */
const sources = [];
let newLines = 0;
/** How many rows have arrived. */
let received = 0;
/** The number of lines that arrived while the page was hidden. */
let unseen = 0;
/** Whether the first rows are still awaited. */
let isGathering = logs.length > 0;
const drawScheduler = new DrawScheduler(draw);
const hints = new Hints((words) => {
  byId('hint').hidden = words === '';
  setText(byId('hint'), words);
});
const levels = new Levels();
/** @type {Follow} */
const follow = new Follow(log, () => loader.attached, () => {
  log.dataset.following = String(follow.following);
  if (follow.following) newLines = 0;
  showFollowButton(follow.following);
  url.update();
  drawScheduler.request();
});
const rowViewport = new RowViewport(byId('rows'), log, () => follow.pin());
const { decode } = interpretation(location);
const logApis = logs.map((one) => new LogApi(one, encoding, decode ? { decode } : {}));
const api = new MergedApi({ ...(encoding !== '' && { encoding }), ...(decode && { decode }) });
/** @type {Pager} */
const pager = new Pager({ buffer, api, logs, logsOn, filter: () => mergedFind.parameters, changed: () => drawScheduler.request(), recovered: reload });
/** @type {MergedLoader} */
const loader = new MergedLoader({ scroller: log, rowViewport, buffer, pager, follow, decorate, redrawn: rowChanged, rowFilter: () => mergedFind.rowFilter });
const journey = new Journey({ buffer, pager, loader, follow, rowViewport, rowFilter: () => mergedFind.rowFilter, changed: () => drawScheduler.request(), say: (words) => hints.answer(words), refused: (why) => mergedFind.refuse(why) });
/** @type {MergedFind} */
const mergedFind = new MergedFind({ buffer, pager, journey, levels, apis: logApis, logsOn, changed: findChanged, reload, draw: () => drawScheduler.request(), say: (words) => hints.answer(words), closed: focusLog });
const highlighter = new Highlighter(() => drawScheduler.request(), (words) => hints.trouble(words));
const readable = new ReadableRows();
const reading = new Reading();
const colourMarks = new ColourMarks(coloursChanged, (words) => hints.trouble(words));
let colourRules = loadColourRules();
const colourDialog = new ColourDialog({ rules: () => colourRules, changed: setColours, troubleOf: (rule) => colourMarks.troubleOf(rule), closed: focusLog });
const menu = new ViewMenu(log, loadOptions(), () => {
  loader.hold(() => menu.show());
  follow.pin();
  url.update();
  drawScheduler.request();
}, fieldsInSight, true);

/** The names of the fields of the lines on the screen. */
function fieldsInSight() {
  return readable.fieldsOf(rowViewport.inSight());
}

/** @param {string} time as the server takes it @param {AbortSignal} signal */
const findTime = (time, signal) => journey.findTime(time, signal);
const timesOverLog = new TimesOverLog({
  load: (span, buckets, signal) => loadTogether(clockedLogs(), span, buckets, signal),
  size: timesState,
  zone: () => menu.options.zone,
  find: findTime,
  only: (span) => mergedFind.bar.setSpan(span),
  failed: (words) => hints.trouble(words),
});
const timeDialog = new TimeDialog({ find: findTime, options: () => menu.options, closed: focusLog });
const toldPlaces = new ToldPlaces({
  buffer,
  ask: (number, place, count) => api.rows([{ path: logs[number], shift: buffer.clocks[number].shift, place }], 'from', { count, filter: { format: 'text' } }),
  look: (number) => pager.look(number),
  changed: () => drawScheduler.request(),
});
const shownTimes = new ShownTimes(log, rowViewport, () => menu.nextZone(), () => drawScheduler.request());

const clockOffsets = new ClockOffsets(byId('shifts'), names, (number, shift) => {
  buffer.setShift(number, shift);
  reload();
  url.update();
});
/** @type {MergedUrl} */
const url = new MergedUrl({ sources, buffer, clockOffsets, journey, mergedFind, follow, rowViewport, menu, timesOverLog, colours: { get: () => colourRules, set: setColours }, encoding, trouble: (words) => hints.trouble(words) });

const valuesDialog = new ValuesDialog({
  count: (field, signal, show) => countTogether(clockedLogs(), field, mergedFind.parameters, mergedFind.bar.span, signal, show),
  fields: fieldsInSight,
  conditions: () => mergedFind.bar.fieldConditions,
  show: (conditions) => mergedFind.bar.filterFields(conditions),
  closed: focusLog,
});

function logsOn() {
  return new Set(sources.filter(({ on }) => on).map(({ number }) => number));
}

/** Called when the reader's own colours have other matches. */
function coloursChanged() {
  colourDialog.refresh();
  drawScheduler.request();
}

/** @param {import('../ui/colour-rules.js').ColourRule[]} rules */
function setColours(rules) {
  colourRules = rules;
  colourMarks.set(rules);
  url.update();
}

/** Called when the pattern, the filter or the highlights changed. */
function findChanged() {
  highlighter.setPattern(mergedFind.bar.pattern);
  highlighter.setRules(mergedFind.bar.rules);
  url.update();
  drawScheduler.request();
}

/** Adds the name and the colour of its log to a row. @param {import('./merge-buffer.js').Entry} entry */
function decorate(entry) {
  const { element } = entry;
  if (element === null) return;
  element.dataset.log = String(entry.log + 1);
  element.dataset.name = labels[entry.log];
  if (entry.marker !== undefined && entry.log >= 0) element.textContent = `${names[entry.log]}: ${entry.text}`;
}

/** @param {import('./merge-buffer.js').Entry} entry */
function rowChanged(entry) {
  if (entry.marker !== undefined) return;
  levels.forget(entry);
  forgetTime(entry);
  forgetJson(entry);
}

/** @param {number} number @param {number} fresh */
function changed(number, fresh) {
  received += fresh;
  toldPlaces.run();
  // Behind a span that is over nothing is new.
  if (sources[number]?.on !== false && spanState(mergedFind.bar.span, Date.now() + api.ahead) !== 'over') {
    if (!follow.following) newLines += fresh;
    if (document.hidden) unseen += fresh;
  }
  drawScheduler.request();
}

function draw() {
  const more = !isGathering && loader.draw();
  mergedFind.run();
  const near = [...rowViewport.inSight(log.clientHeight)];
  levels.show(near);
  rowViewport.keepInPlace(() => readable.show(near, menu.effective));
  addJsonButtons(near);
  showTimes(log, near, menu.effective);
  reading.show(rowViewport.inSight(READING_PX), menu.options.highlight);
  colourMarks.show(near);
  highlighter.show(near, journey.cursor);
  follow.pin();
  updateStatus();
  showTimesOverLog();
  url.sync();
  byId('copy').hidden = current() === null;
  return more;
}

/** Changes when the histogram does: when lines arrive, a log is switched, or a clock is set right. */
function timesState() {
  return JSON.stringify([received, logsOnInOrder(), buffer.clocks.map(({ shift }) => shift)]);
}

function logsOnInOrder() {
  return [...logsOn()].sort((a, b) => a - b);
}

/** The logs that are on, each with what is added to its times. */
function clockedLogs() {
  return logsOnInOrder().map((number) => ({ api: logApis[number], shift: buffer.clocks[number].shift }));
}

function showTimesOverLog() {
  timesOverLog.open(menu.options.histogram);
  timesOverLog.refresh();
  timesOverLog.showView(...shownTimes.show([...rowViewport.inSight()], menu.options.zone));
}

function updateStatus() {
  showStatus(sources, names, {
    following: follow.following, newLines, unseen, isGathering, isEmpty: loader.isEmpty, isFiltering: mergedFind.isFiltering,
    span: spanState(mergedFind.bar.span, Date.now() + api.ahead),
    isLoading: pager.isLoading, failure: pager.failure, missing: pager.missing,
  });
}

/** Loads the rows at the present place anew, as other rows are wanted there now. */
function reload() {
  mergedFind.restart();
  if (!isGathering && logs.length > 0) journey.reload();
}

function toggleFollow() {
  if (follow.following) follow.pause();
  else journey.toEnd();
}

/** @param {number} number */
function toggleLog(number) {
  const source = sources[number];
  if (source === undefined) return;
  source.on = !source.on;
  reload();
  // Not throttled, so that the switch changes together with the rows.
  updateStatus();
  url.update();
  drawScheduler.request();
}

/** Opens the viewer page of a row's log at that row. @param {import('./merge-buffer.js').Entry | null} entry */
function openLogAt(entry) {
  if (entry === null || entry.marker !== undefined) return;
  const lines = { kind: /** @type {const} */ ('offset'), from: entry.logOffset, to: entry.logOffset };
  const hash = formatView({ ...emptyView(), lines, generation: entry.generation, follow: false, find: mergedFind.bar.pattern, encoding });
  window.open(serverUrl(`${logs[entry.log]}${hash}`), '_blank', 'noopener');
}

/** The row that the reader went to. */
function current() {
  return journey.cursor?.element ? journey.cursor : null;
}

/** Copies the row that the reader went to, an error with its stack trace, without the rows of other logs between them. */
async function copyCurrent() {
  const row = current();
  if (row === null) {
    hints.answer('Go to a line first: e and n go to errors and matches');
    return;
  }
  const rows = mergedFind.traces.withTrace(row);
  const isCopied = await copyText(rows.map((one) => (one.marker === undefined ? `${plainText(one.html)}\n` : '')).join(''));
  const words = rows.length === 1 ? 'Line copied' : `Error copied with its stack trace: ${plural(rows.length, 'line')}`;
  hints.answer(isCopied ? words : 'Could not copy');
}

bindKeys([
  { keys: ['f'], does: 'follow or pause', act: toggleFollow },
  { keys: ['G', 'End'], does: 'to the end, and follow', act: () => journey.toEnd() },
  { keys: ['g', 'Home'], does: 'to the first line', act: () => journey.toStart() },
  { keys: ['d'], does: 'go to a time', act: () => timeDialog.open() },
  { keys: ['i'], does: 'count the values of a field', act: () => valuesDialog.open() },
  { keys: ['p'], does: 'lines over time', act: () => menu.toggle('histogram') },
  ...logs.map((_, number) => ({ keys: [String(number + 1)], does: `show or hide ${names[number]}`, act: () => toggleLog(number) })),
  { keys: ['0'], does: 'show all', act: () => sources.forEach(({ on }, number) => on || toggleLog(number)) },
  { keys: ['/'], does: 'find in all of these logs', act: () => mergedFind.bar.open(selectedText()) },
  { keys: ['n', 'N'], does: 'next, previous match', act: (key) => mergedFind.bar.step(key === 'n' ? 1 : -1) },
  { keys: ['\\'], does: 'show matching lines only', act: () => mergedFind.bar.toggleFilter() },
  { keys: ['e', 'E'], does: 'next, previous error', act: (key) => mergedFind.stepError(key === 'e' ? 1 : -1) },
  { keys: ['a', 'A'], does: 'next, previous warning', act: (key) => mergedFind.stepWarning(key === 'a' ? 1 : -1) },
  { keys: ['v'], does: 'lines: all, errors and warnings, errors only', act: () => mergedFind.bar.nextLevel() },
  { keys: ['o', 'Enter'], does: 'open the log of the match or error at that line', act: () => openLogAt(current()) },
  { keys: ['y'], does: 'copy that line, an error with its stack trace', act: copyCurrent },
  { keys: ['h'], does: 'highlight times, levels, numbers and the like', act: () => menu.toggle('highlight') },
  { keys: ['b'], does: 'readable JSON and logfmt', act: () => menu.toggle('readable') },
  { keys: ['w'], does: 'wrap long lines', act: () => menu.toggle('wrap') },
  { keys: ['s'], does: 'times: none, clock, age, since previous', act: () => menu.setTimes(TIMES[(TIMES.indexOf(menu.options.times) + 1) % TIMES.length]) },
  { keys: ['u'], does: 'zone of times: this browser, the server, UTC', act: () => menu.nextZone() },
  { keys: ['t'], does: 'theme: auto, light, dark', act: () => /** @type {HTMLElement} */ (document.querySelector('[data-theme-switch]')).click() },
  { keys: ['?'], does: 'show these keys', act: bindHelp() },
], byId('help-keys'));

bindFindKey(() => mergedFind.bar.open(selectedText()));
byId('follow').addEventListener('click', toggleFollow);
byId('copy').addEventListener('click', copyCurrent);
log.addEventListener('click', (event) => {
  if (event.button !== 0 || !(event.target instanceof Element) || event.target.closest('a')) return;
  const entry = /** @type {import('./merge-buffer.js').Entry | null} */ (rowViewport.entryOf(event.target));
  if (entry === null || entry.marker !== undefined || entry.element === null) return;
  const { element } = entry;
  if (event.target.closest('.more')) loader.hold(() => showAll(element));
  else if (event.target.closest('.open')) toggleJson(entry);
  else if (isInColumns(element, event.clientX)) openLogAt(entry);
  drawScheduler.request();
});
byId('new-lines').addEventListener('click', () => {
  journey.toEnd();
  focusLog();
});
// The button covers a part of the log, so it forwards wheel events.
byId('new-lines').addEventListener('wheel', (event) => log.scrollBy({ top: event.deltaY }), { passive: true });
byId('retry').addEventListener('click', () => sources.forEach((source) => source.retry()));
log.addEventListener('scroll', () => drawScheduler.request(), { passive: true });
document.addEventListener('visibilitychange', () => {
  if (!document.hidden) unseen = 0;
  drawScheduler.request();
});

/** Focuses the log, so that keys scroll it, without a focus ring. */
function focusLog() {
  log.focus(/** @type {FocusOptions} */ ({ preventScroll: true, focusVisible: false }));
}

/**
 * Connects a log. If none of its rows has told how its times are read, or its end was not read, the server is asked first.
 * @param {Source} source
 * @param {boolean} isServed whether the server answers
 */
async function connect(source, isServed) {
  if (isServed && !(buffer.clocks[source.number].isTimed && source.hasBegun)) {
    const late = new Promise((resolve) => { setTimeout(resolve, LOOK_MS, null); });
    const read = await Promise.race([pager.look(source.number), late]);
    if (read !== null) source.begin(read);
  }
  source.connect();
}

/** Loads the last rows: all if the server does not understand the filter. */
async function seekEnd() {
  try {
    return await pager.seek('end');
  } catch (error) {
    if (!(error instanceof Invalid) || !mergedFind.refuse(error.message)) throw error;
    return pager.seek('end');
  }
}

/** Asks for the last rows, and connects each log where they end. @param {import('../url/view-hash.js').View} view of the address */
async function begin(view) {
  const numbers = logsOnInOrder();
  /** @type {import('./merged-api.js').MergedRows | null} */
  let answer = null;
  let isServed = true;
  try {
    // Null if the reader goes elsewhere meanwhile.
    answer = await seekEnd();
  } catch (error) {
    isServed = false;
    hints.trouble(`Earlier lines cannot be loaded yet: ${failureWords(error)}`);
  }
  for (const source of sources) {
    const read = answer?.logs[numbers.indexOf(source.number)];
    if (read !== undefined) source.begin(read);
    connect(source, isServed);
  }
  // A log begins where its stream does, so that its first rows are of a page.
  const isElsewhere = view.time !== null && isServed && await url.goTo(view.time);
  isGathering = false;
  url.listen();
  if (!isElsewhere && (answer !== null || !isServed)) loader.showEnd();
  // What the reader changed meanwhile has asked for nothing.
  if (answer !== null && (String(logsOnInOrder()) !== String(numbers) || filterName(mergedFind.parameters) !== buffer.paged.filter)) reload();
  drawScheduler.request();
  for (let wait = RETRY_MS; !isServed && !pager.hasRead; wait = Math.min(2 * wait, RETRY_MS_MAX)) {
    await new Promise((resolve) => { setTimeout(resolve, wait); });
    if (pager.hasRead || pager.isSeeking) continue;
    const first = await pager.seek('end').catch(() => null);
    if (first !== null && view.time !== null) await url.goTo(view.time);
    else if (first !== null && follow.following) loader.showEnd();
    drawScheduler.request();
  }
}

logs.forEach((one, number) => sources.push(new Source(one, number, buffer, api, encoding, (fresh) => changed(number, fresh))));
log.style.setProperty('--names', `${Math.max(0, ...labels.map((label) => label.length))}ch`);
drawSwitches(byId('sources'), sources, names, toggleLog);
byId('split').setAttribute('href', linkTo(multiLogUrl('beside', logs)));
const linked = url.begin();
bindEncodingMenu(encoding, (chosen) => url.hashWith(chosen));
showFollowButton(follow.following);
setColours(colourRules);
levels.load(() => {
  mergedFind.levelsLoaded();
  if (mergedFind.isFiltering && !isGathering) loader.refilter();
  drawScheduler.request();
}, (words) => hints.trouble(words));
if (logs.length > 0) begin(linked);
focusLog();
drawScheduler.request();
setInterval(() => drawScheduler.request(), TICK_MS);
