// Keyboard and pointer input of the viewer page.

import { failureWords, Gone } from '../net/api.js';
import { isUndecoded, isWritten, pagePath, serverUrl } from '../net/wire.js';
import { toggleJson } from '../rows/json.js';
import { isInColumns, showAll } from '../rows/row.js';
import { byId } from '../ui/dom.js';
import { bindFindKey, bindHelp, bindKeys, selectedText } from '../ui/keys.js';
import { TIMES } from '../ui/options.js';
import { plural } from '../ui/units.js';
import { COPY_ROWS_MAX, copyText, fetchText, markdown } from './copy.js';
import { findTime } from './go-to-time.js';
import { TimeDialog } from './time-dialog.js';
import { ValuesDialog } from './values-dialog.js';

/** The width of the touch target at the start of a row. */
const TOUCH_PX = 32;

/**
 * @typedef {import('../rows/tail.js').Row} Row
 * @typedef {'link' | 'time' | 'text' | 'markdown' | 'curl'} Copied
 *
 * @typedef {object} Parts
 * @property {HTMLElement} log
 * @property {import('../rows/row-viewport.js').RowViewport} rowViewport
 * @property {import('./loader.js').RowLoader} loader
 * @property {import('./seek.js').Seek} seek
 * @property {import('../rows/follow.js').Follow} follow
 * @property {import('./line-selection.js').LineSelection} selection
 * @property {import('../rows/levels.js').Levels} levels
 * @property {import('../search/find-bar.js').FindBar} findBar
 * @property {import('../search/problem-nav.js').ProblemNav} errorNav errors
 * @property {import('../search/problem-nav.js').ProblemNav} warningNav warnings
 * @property {import('../rows/folds.js').Folds} folds
 * @property {import('../ui/view-menu.js').ViewMenu} menu
 * @property {import('./url-sync.js').UrlSync} urlSync
 * @property {import('../net/api.js').LogApi} api
 * @property {import('./old-files.js').OldFiles} oldFiles
 * @property {string} encoding that was chosen, or empty
 * @property {import('../rows/generations.js').Generations} generations
 * @property {import('./bars.js').ViewerBars} bars
 * @property {() => void} restyle
 * @property {() => string[]} fieldsInSight the names of the fields of the lines on the screen
 */

export class Controls {
  #parts;
  #timeDialog;
  #valuesDialog;

  /** @param {Parts} parts */
  constructor(parts) {
    this.#parts = parts;
    const { api, oldFiles, seek, selection, findBar } = parts;
    this.#timeDialog = new TimeDialog({
      find: (time, signal) => findTime({ api, oldFiles, seek, selection }, time, signal),
      options: () => parts.menu.options,
      closed: () => this.focusLog(),
    });
    this.#valuesDialog = new ValuesDialog({
      count: async (field, signal, show) => {
        for await (const state of api.fieldValues(field, findBar.filterParameters, signal)) show(state);
      },
      fields: parts.fieldsInSight,
      conditions: () => findBar.fieldConditions,
      show: (conditions) => findBar.filterFields(conditions),
      closed: () => this.focusLog(),
    });
    this.#bindKeys();
    this.#bindButtons();
    parts.log.addEventListener('click', (event) => this.#click(event));
  }

  /** Focuses the log, so that keys scroll it, without a focus ring. */
  focusLog() {
    this.#parts.log.focus(/** @type {FocusOptions} */ ({ preventScroll: true, focusVisible: false }));
  }

  #bindKeys() {
    const { seek, findBar, menu, log, errorNav, warningNav } = this.#parts;
    bindKeys([
      { keys: ['/'], does: 'find in the whole log', act: () => findBar.open(selectedText()) },
      { keys: ['n', 'N'], does: 'next, previous match', act: (key) => findBar.step(key === 'n' ? 1 : -1) },
      { keys: ['\\'], does: 'show matching lines only', act: () => findBar.toggleFilter() },
      { keys: ['e', 'E'], does: 'next, previous error', act: (key) => errorNav.step(key === 'e' ? 1 : -1) },
      { keys: ['a', 'A'], does: 'next, previous warning', act: (key) => warningNav.step(key === 'a' ? 1 : -1) },
      { keys: ['v'], does: 'lines: all, errors and warnings, errors only', act: () => findBar.nextLevel() },
      { keys: ['1'], does: 'the first error', act: () => errorNav.first() },
      { keys: ['g', 'Home'], does: 'to the first byte', act: () => seek.toStart() },
      { keys: ['G', 'End'], does: 'to the end, and follow', act: () => seek.toEnd() },
      { keys: ['d'], does: 'to a date or a time', act: () => this.#timeDialog.open() },
      { keys: ['i'], does: 'count the values of a field', act: () => this.#valuesDialog.open() },
      { keys: ['f'], does: 'follow or pause', act: () => this.#toggleFollow() },
      { keys: ['j', 'k'], does: 'line cursor down, up', act: (key) => this.#move(key === 'j' ? 1 : -1) },
      { keys: ['J', 'K'], does: 'select lines, down, up', act: (key) => this.#move(key === 'J' ? 1 : -1, true) },
      { keys: [']', '['], does: 'next, previous group or marker', act: (key) => this.#jump(key === ']' ? 1 : -1) },
      { keys: ['o', 'Enter'], does: 'open or fold the line: group, JSON, match in context', act: () => this.#open(this.#parts.selection.cursor) },
      { keys: ['y', 'm', 'c'], does: 'copy lines, as Markdown, link', act: (key) => this.#copy(key === 'y' ? 'text' : key === 'm' ? 'markdown' : 'link') },
      { keys: ['h'], does: 'highlight times, levels, numbers and the like', act: () => menu.toggle('highlight') },
      { keys: ['p'], does: 'lines over time', act: () => menu.toggle('histogram') },
      { keys: ['b'], does: 'readable JSON and logfmt', act: () => menu.toggle('readable') },
      { keys: ['w', 'l'], does: 'wrap long lines, line numbers', act: (key) => menu.toggle(key === 'w' ? 'wrap' : 'numbers') },
      { keys: ['s'], does: 'times: none, clock, age, since previous', act: () => menu.setTimes(TIMES[(TIMES.indexOf(menu.options.times) + 1) % TIMES.length]) },
      { keys: ['u'], does: 'zone of times: this browser, the server, UTC', act: () => menu.nextZone() },
      { keys: ['r', 'z'], does: 'fold repeated lines, groups', act: (key) => menu.toggle(key === 'r' ? 'repeats' : 'groups') },
      { keys: ['x'], does: 'as written: overwritten text, control characters', act: () => this.#toggleWritten() },
      { keys: ['PageUp', 'PageDown'], does: 'a screen up, down', act: (key) => log.scrollBy({ top: (key === 'PageUp' ? -0.9 : 0.9) * log.clientHeight }) },
      { keys: ['t'], does: 'theme: auto, light, dark', act: () => /** @type {HTMLElement} */ (document.querySelector('[data-theme-switch]')).click() },
      { keys: ['Escape'], does: 'clear the selection', act: () => this.#clearSelection() },
      { keys: ['?'], does: 'show these keys', act: bindHelp() },
    ], byId('help-keys'));
    bindFindKey(() => findBar.open(selectedText()));
  }

  #bindButtons() {
    const { seek, log } = this.#parts;
    byId('follow').addEventListener('click', () => this.#toggleFollow());
    const newLines = byId('new-lines');
    newLines.addEventListener('click', () => {
      seek.toEnd();
      this.focusLog();
    });
    // The button covers a part of the log, so it forwards wheel events.
    newLines.addEventListener('wheel', (event) => log.scrollBy({ top: event.deltaY }), { passive: true });
    const written = /** @type {HTMLInputElement} */ (byId('written'));
    written.checked = isWritten(location);
    written.addEventListener('change', () => this.#toggleWritten());
    const undecoded = /** @type {HTMLInputElement} */ (byId('undecoded'));
    const isDefault = undecoded.dataset.default !== undefined;
    undecoded.checked = isUndecoded(location, isDefault);
    undecoded.addEventListener('change', () => this.#chooseDecoding(!undecoded.checked));
    // Rows that were not decoded do not say whether they are those of a container.
    if (isDefault || undecoded.checked || this.#parts.bars.isOfContainer) this.offerDecoding();
    const more = byId('more-menu');
    more.addEventListener('beforetoggle', () => this.#updateLinks());
    more.addEventListener('toggle', () => this.#offerHistory());
    for (const button of /** @type {NodeListOf<HTMLElement>} */ (more.querySelectorAll('[data-copy]'))) {
      button.addEventListener('click', () => {
        more.hidePopover();
        this.#copy(/** @type {Copied} */ (button.dataset.copy));
      });
    }
    this.#updateLinks();
  }

  /** Sets the targets of the menu's links. */
  #updateLinks() {
    const { findBar, api, bars, encoding } = this.#parts;
    const raw = serverUrl(`${pagePath()}?format=raw${encoding === '' ? '' : `&encoding=${encoding}`}`);
    /** @type {HTMLAnchorElement} */ (byId('raw')).href = raw;
    const whole = /** @type {HTMLAnchorElement} */ (byId('download'));
    whole.href = raw;
    whole.download = bars.name;
    const matches = /** @type {HTMLAnchorElement} */ (byId('download-matches'));
    const filter = findBar.filterParameters;
    matches.hidden = Object.keys(filter).length === 0;
    matches.href = serverUrl(api.url('text', filter));
  }

  /** Offers the log with its old files if it has some. */
  async #offerHistory() {
    const { api } = this.#parts;
    const link = /** @type {HTMLAnchorElement} */ (byId('download-history'));
    if (!byId('more-menu').matches(':popover-open')) return;
    try {
      const files = await api.history();
      link.hidden = files.length < 2;
      link.href = serverUrl(api.url('text', { history: 1 }));
      /** @type {HTMLElement} */ (link.firstElementChild).textContent = `Download with ${files.length - 1} older ${files.length === 2 ? 'file' : 'files'}`;
    } catch {
      link.hidden = true;
    }
  }

  /** @param {MouseEvent} event */
  #click(event) {
    const { rowViewport, folds, selection, restyle } = this.#parts;
    const isTouch = event instanceof PointerEvent && event.pointerType === 'touch';
    if (event.button !== 0 || !(event.target instanceof Element) || event.target.closest('a')) return;
    const entry = rowViewport.entryOf(event.target);
    if (entry === null || entry.marker !== undefined || entry.element === null) return;
    if (event.target.closest('.more')) {
      rowViewport.keepInPlace(() => showAll(/** @type {HTMLElement} */ (entry.element)));
    } else if (event.target.closest('.fold')) {
      folds.toggle(entry);
    } else if (event.target.closest('.open')) {
      toggleJson(entry);
    } else if (isInColumns(entry.element, event.clientX, isTouch ? TOUCH_PX : 0)) {
      if (event.shiftKey) document.getSelection()?.removeAllRanges();
      if (this.#parts.loader.isFiltering && !event.shiftKey) this.#showInContext(entry);
      // A touch screen has no Shift key: a second tap selects a range, and a tap on the selection clears it.
      else if (isTouch && selection.has(entry)) selection.clear();
      else selection.select(entry, event.shiftKey || isTouch);
    } else {
      return;
    }
    restyle();
  }

  /** Loads the page again, because all rows are others then. The view stays where it is. */
  #toggleWritten() {
    const url = new URL(this.#parts.urlSync.url);
    if (isWritten(url)) url.searchParams.delete('raw');
    else url.searchParams.set('raw', '1');
    location.replace(url);
  }

  /** Offers the lines as they are in the file, because they are those of a container's runtime. */
  offerDecoding() {
    byId('undecoded-option').hidden = false;
  }

  /** Loads the page again, as for what is written. @param {boolean} isDecoded */
  #chooseDecoding(isDecoded) {
    const url = new URL(this.#parts.urlSync.url);
    // The server's own default may be either.
    url.searchParams.set('decode', isDecoded ? 'auto' : 'off');
    location.replace(url);
  }

  #toggleFollow() {
    const { follow, seek } = this.#parts;
    if (follow.following) follow.pause();
    else seek.toEnd();
  }

  /**
   * @param {1 | -1} way
   * @param {boolean} [choose]
   */
  #move(way, choose = false) {
    const { rowViewport, selection, follow } = this.#parts;
    const cursor = selection.cursor?.element?.isConnected ? selection.cursor : null;
    const row = cursor === null ? this.#rowInSight(way) : rowViewport.neighbour(cursor, way);
    if (row === null) return;
    follow.pause();
    if (choose) {
      if (selection.selected === null) selection.select(cursor ?? row, false);
      selection.select(row, true);
    } else {
      selection.moveTo(row);
    }
    this.#show(row);
  }

  /** The row at which the line cursor appears. @param {1 | -1} way */
  #rowInSight(way) {
    const rows = [...this.#parts.rowViewport.inSight()].filter((entry) => entry.marker === undefined);
    return /** @type {Row | undefined} */ (way > 0 && !this.#parts.follow.following ? rows[0] : rows[rows.length - 1]) ?? null;
  }

  /** @param {1 | -1} way */
  #jump(way) {
    const { rowViewport, selection, follow } = this.#parts;
    const all = [...rowViewport.entries()];
    const from = selection.cursor?.element?.isConnected ? selection.cursor : rowViewport.firstInSight();
    if (from === null) return;
    for (let at = all.indexOf(from) + way; at >= 0 && at < all.length; at += way) {
      const entry = all[at];
      if (entry.element === null || entry.element.hidden) continue;
      if (entry.marker === undefined && entry.annotation?.group?.opens === undefined) continue;
      follow.pause();
      const row = entry.marker === undefined ? entry : rowViewport.neighbour(entry, 1);
      selection.moveTo(row);
      entry.element.scrollIntoView({ block: 'start' });
      follow.pin();
      this.#announceLine(row);
      return;
    }
    this.#parts.bars.hints.answer(way > 0 ? 'No later group or marker is loaded' : 'No earlier group or marker is loaded');
  }

  /** @param {Row | null} row */
  #open(row) {
    const { folds, restyle, loader } = this.#parts;
    if (row === null || row.element === null) return;
    if (loader.isFiltering) this.#showInContext(row);
    else if (row.annotation?.group?.opens !== undefined) folds.toggle(row);
    else if (row.element.querySelector('.more')) showAll(row.element);
    else toggleJson(row);
    restyle();
  }

  /** Leaves the filter and shows the row among all others. @param {Row} row */
  async #showInContext(row) {
    const { findBar, selection } = this.#parts;
    selection.select(row, false);
    findBar.current = this.#parts.generations.placeOf(row);
    findBar.leaveFilter();
    const { gen, offset } = row;
    selection.moveTo(await this.#parts.seek.reveal({ gen, offset }, 'middle'));
  }

  #clearSelection() {
    const { selection } = this.#parts;
    document.getSelection()?.removeAllRanges();
    selection.clear();
    selection.moveTo(null);
  }

  /** @param {Row} row */
  #show(row) {
    row.element?.scrollIntoView({ block: 'nearest' });
    this.#announceLine(row);
  }

  /** @param {Row | null} row */
  #announceLine(row) {
    if (row?.element) byId('announce').textContent = row.element.textContent;
  }

  /** @param {Copied} what */
  async #copy(what) {
    const { urlSync, encoding } = this.#parts;
    if (what === 'link') {
      this.#parts.bars.hints.answer(await copyText(urlSync.url) ? 'Link copied' : 'Could not copy');
    } else if (what === 'time') {
      const url = urlSync.timeUrl;
      if (url === null) this.#parts.bars.hints.answer('No line on the screen says a time');
      else this.#parts.bars.hints.answer(await copyText(url) ? 'Link copied' : 'Could not copy');
    } else if (what === 'curl') {
      // A terminal shows UTF-8.
      const decoded = encoding === '' ? '' : `&format=text&encoding=${encoding}`;
      const url = `${location.origin}${location.pathname.replaceAll("'", '%27')}?tail=1${decoded}`;
      this.#parts.bars.hints.answer(await copyText(`curl -N '${url}'`) ? 'Command copied' : 'Could not copy');
    } else {
      await this.#copyLines(what === 'markdown');
    }
  }

  /** @param {boolean} isMarkdown */
  async #copyLines(isMarkdown) {
    const { selection, generations, api, bars, urlSync, levels } = this.#parts;
    if (selection.selected === null && selection.cursor !== null) selection.select(selection.cursor, false);
    const { selected } = selection;
    if (selected === null) {
      this.#parts.bars.hints.answer(matchMedia('(pointer: coarse)').matches ? 'Select lines first: tap the start of one, then of another' : 'Select lines first: click before one, Shift-click another');
      return;
    }
    try {
      const { lines: text, complete, hasTrace } = await fetchText(api, generations.at(selected.gen).id, selected.first.offset, selected.last.offset, levels);
      const done = await copyText(isMarkdown && urlSync.selectedLines ? markdown(bars.name, urlSync.url, urlSync.selectedLines, text) : text.map((line) => `${line}\n`).join(''));
      const copied = hasTrace ? `Error copied with its stack trace: ${plural(text.length, 'line')}` : `${plural(text.length, 'line')} copied`;
      const words = complete ? copied : `The first ${plural(COPY_ROWS_MAX, 'line')} copied`;
      this.#parts.bars.hints.answer(done ? words : 'Could not copy');
    } catch (error) {
      this.#parts.bars.hints.answer(`Could not copy: ${error instanceof Gone ? 'the lines are no longer there' : failureWords(error)}`);
    }
  }
}
