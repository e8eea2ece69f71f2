// What the reader does by key and by pointer, and what it does to the view.

import { copy } from './clipboard.js';
import { COPY_ROWS_MAX, markdown, textOf } from './copy.js';
import { byId } from '../ui/dom.js';
import { toggle as toggleJson } from '../rows/json.js';
import { bindFind, bindKeys, selected } from '../ui/keys.js';
import { TIMES } from '../ui/options.js';
import { isBeside, showAll } from '../rows/row.js';
import { counted } from '../ui/units.js';

const SAID_MS = 2_500;
/** So wide is what a finger hits beside the rows. */
const TOUCH_PX = 32;

/**
 * @typedef {import('../rows/tail.js').Row} Row
 * @typedef {'link' | 'text' | 'markdown' | 'curl'} Copied
 *
 * @typedef {object} Parts
 * @property {HTMLElement} log
 * @property {import('../rows/row-viewport.js').Window} window
 * @property {import('./loader.js').Reader} reader
 * @property {import('../rows/follow.js').Follow} follow
 * @property {import('./line-selection.js').Lines} lines
 * @property {import('../search/find-bar.js').Finder} finder
 * @property {import('../search/problem-nav.js').Troubles} troubles errors
 * @property {import('../search/problem-nav.js').Troubles} doubts warnings
 * @property {import('../rows/folds.js').Folds} folds
 * @property {import('../ui/view-menu.js').Menu} menu
 * @property {import('./url-sync.js').Link} link
 * @property {import('../net/api.js').History} history
 * @property {import('../rows/generations.js').Spans} spans
 * @property {import('./bars.js').Toolbar} toolbar
 * @property {() => void} restyle
 * @property {() => void} demandTroubles
 */

export class Controls {
  #parts;
  #help = /** @type {HTMLDialogElement} */ (byId('help'));
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #said = undefined;

  /** @param {Parts} parts */
  constructor(parts) {
    this.#parts = parts;
    this.#bindKeys();
    this.#bindButtons();
    parts.log.addEventListener('click', (event) => this.#click(event));
  }

  /** Lets the reader scroll by keys from the start; the ring is for those who came by key. */
  focusLog() {
    this.#parts.log.focus(/** @type {FocusOptions} */ ({ preventScroll: true, focusVisible: false }));
  }

  #bindKeys() {
    const { reader, finder, menu, log } = this.#parts;
    bindKeys([
      { keys: ['/'], does: 'find in the whole log', act: () => finder.open(selected()) },
      { keys: ['n', 'N'], does: 'next match, previous one', act: (key) => finder.step(key === 'n' ? 1 : -1) },
      { keys: ['\\'], does: 'show matching lines only', act: () => finder.toggleFilter() },
      { keys: ['e', 'E'], does: 'next error, previous one', act: (key) => this.#error((troubles) => troubles.step(key === 'e' ? 1 : -1)) },
      { keys: ['a', 'A'], does: 'next warning, previous one', act: (key) => this.#warning(key === 'a' ? 1 : -1) },
      { keys: ['v'], does: 'show all, errors and warnings, errors only', act: () => finder.nextLevel() },
      { keys: ['1'], does: 'the first error', act: () => this.#error((troubles) => troubles.first()) },
      { keys: ['g', 'Home'], does: 'to the first byte', act: () => reader.toStart() },
      { keys: ['G', 'End'], does: 'to the end, and follow', act: () => reader.toEnd() },
      { keys: ['f'], does: 'follow the end, or stand still', act: () => this.#toggleFollow() },
      { keys: ['j', 'k'], does: 'line cursor down, up', act: (key) => this.#move(key === 'j' ? 1 : -1) },
      { keys: ['J', 'K'], does: 'choose lines, down, up', act: (key) => this.#move(key === 'J' ? 1 : -1, true) },
      { keys: [']', '['], does: 'next group or marker, previous one', act: (key) => this.#jump(key === ']' ? 1 : -1) },
      { keys: ['o', 'Enter'], does: 'open or fold the line: group, JSON, match in its place', act: () => this.#open(this.#parts.lines.cursor) },
      { keys: ['y', 'm', 'c'], does: 'copy lines, as Markdown, link', act: (key) => this.#copy(key === 'y' ? 'text' : key === 'm' ? 'markdown' : 'link') },
      { keys: ['w', 'l'], does: 'wrap long lines, line numbers', act: (key) => menu.toggle(key === 'w' ? 'wrap' : 'numbers') },
      { keys: ['s'], does: 'times: none, clock, ago, gaps', act: () => menu.setTimes(TIMES[(TIMES.indexOf(menu.options.times) + 1) % TIMES.length]) },
      { keys: ['r', 'z'], does: 'fold repeated lines, groups', act: (key) => menu.toggle(key === 'r' ? 'repeats' : 'groups') },
      { keys: ['PageUp', 'PageDown'], does: 'a screen up, down', act: (key) => log.scrollBy({ top: (key === 'PageUp' ? -0.9 : 0.9) * log.clientHeight }) },
      { keys: ['t'], does: 'theme: auto, light, dark', act: () => /** @type {HTMLElement} */ (document.querySelector('[data-theme-switch]')).click() },
      { keys: ['Escape'], does: 'let go of what is chosen', act: () => this.#letGo() },
      { keys: ['?'], does: 'these keys', act: () => this.#help.showModal() },
    ], byId('help-keys'));
    bindFind(() => finder.open(selected()));
  }

  #bindButtons() {
    const { reader, log } = this.#parts;
    byId('follow').addEventListener('click', () => this.#toggleFollow());
    const newLines = byId('new-lines');
    newLines.addEventListener('click', () => {
      reader.toEnd();
      this.focusLog();
    });
    // The button lies over the log, so it hands on the wheel.
    newLines.addEventListener('wheel', (event) => log.scrollBy({ top: event.deltaY }), { passive: true });
    byId('help-open').addEventListener('click', () => this.#help.showModal());
    byId('help-close').addEventListener('click', () => this.#help.close());
    this.#help.addEventListener('click', (event) => {
      if (event.target === this.#help) this.#help.close();
    });
    const more = byId('more-menu');
    more.addEventListener('beforetoggle', () => this.#address());
    for (const button of /** @type {NodeListOf<HTMLElement>} */ (more.querySelectorAll('[data-copy]'))) {
      button.addEventListener('click', () => {
        more.hidePopover();
        this.#copy(/** @type {Copied} */ (button.dataset.copy));
      });
    }
    this.#address();
  }

  /** Where the menu's links lead. */
  #address() {
    const { finder, history, toolbar } = this.#parts;
    /** @type {HTMLAnchorElement} */ (byId('raw')).href = '?format=raw';
    const whole = /** @type {HTMLAnchorElement} */ (byId('download'));
    whole.href = '?format=raw';
    whole.download = toolbar.name;
    const matches = /** @type {HTMLAnchorElement} */ (byId('download-matches'));
    const filter = finder.filtering;
    matches.hidden = Object.keys(filter).length === 0;
    matches.href = history.address('text', filter);
  }

  /** @param {MouseEvent} event */
  #click(event) {
    const { window, folds, lines, restyle } = this.#parts;
    const isTouch = event instanceof PointerEvent && event.pointerType === 'touch';
    if (event.button !== 0 || !(event.target instanceof Element) || event.target.closest('a')) return;
    const entry = window.entryOf(event.target);
    if (entry === null || entry.mark !== undefined || entry.element === null) return;
    if (event.target.closest('.more')) {
      window.hold(() => showAll(/** @type {HTMLElement} */ (entry.element)));
    } else if (event.target.closest('.fold')) {
      folds.toggle(entry);
    } else if (event.target.closest('.open')) {
      toggleJson(entry);
    } else if (isBeside(entry.element, event.clientX, isTouch ? TOUCH_PX : 0)) {
      if (event.shiftKey) document.getSelection()?.removeAllRanges();
      if (this.#parts.reader.isFiltering && !event.shiftKey) this.#toContext(entry);
      // A finger has no shift: its second tap makes a range of the first one, a tap on what is chosen lets go of it.
      else if (isTouch && lines.has(entry)) lines.clear();
      else lines.choose(entry, event.shiftKey || isTouch);
    } else {
      return;
    }
    restyle();
  }

  #toggleFollow() {
    const { follow, reader } = this.#parts;
    if (follow.following) follow.pause();
    else reader.toEnd();
  }

  /**
   * @param {(troubles: import('../search/problem-nav.js').Troubles) => Promise<void>} act
   */
  #error(act) {
    const { troubles, demandTroubles } = this.#parts;
    demandTroubles();
    if (troubles.scan.offsets.length > 0) act(troubles);
    else this.say(troubles.scan.complete ? 'No error in this log' : 'No error found so far');
  }

  /** @param {1 | -1} way */
  #warning(way) {
    const { doubts, demandTroubles } = this.#parts;
    demandTroubles();
    if (doubts.scan.offsets.length > 0) doubts.step(way);
    else this.say(doubts.scan.complete ? 'No warning in this log' : 'No warning found so far');
  }

  /**
   * @param {1 | -1} way
   * @param {boolean} [choose]
   */
  #move(way, choose = false) {
    const { window, lines, follow } = this.#parts;
    const cursor = lines.cursor?.element?.isConnected ? lines.cursor : null;
    const row = cursor === null ? this.#rowInSight(way) : window.neighbour(cursor, way);
    if (row === null) return;
    follow.pause();
    if (choose) {
      if (lines.chosen === null) lines.choose(cursor ?? row, false);
      lines.choose(row, true);
    } else {
      lines.moveTo(row);
    }
    this.#show(row);
  }

  /** The row that a cursor comes to first. @param {1 | -1} way */
  #rowInSight(way) {
    const rows = [...this.#parts.window.inSight()].filter((entry) => entry.mark === undefined);
    return /** @type {Row | undefined} */ (way > 0 && !this.#parts.follow.following ? rows[0] : rows[rows.length - 1]) ?? null;
  }

  /** @param {1 | -1} way */
  #jump(way) {
    const { window, lines, follow } = this.#parts;
    const all = [...window.entries()];
    const from = lines.cursor?.element?.isConnected ? lines.cursor : window.first();
    if (from === null) return;
    for (let at = all.indexOf(from) + way; at >= 0 && at < all.length; at += way) {
      const entry = all[at];
      if (entry.element === null || entry.element.hidden) continue;
      if (entry.mark === undefined && entry.note?.group?.opens === undefined) continue;
      follow.pause();
      const row = entry.mark === undefined ? entry : window.neighbour(entry, 1);
      lines.moveTo(row);
      entry.element.scrollIntoView({ block: 'start' });
      this.#sayLine(row);
      return;
    }
    this.say(way > 0 ? 'No further group or marker is loaded' : 'No earlier group or marker is loaded');
  }

  /** @param {Row | null} row */
  #open(row) {
    const { folds, restyle, reader } = this.#parts;
    if (row === null || row.element === null) return;
    if (reader.isFiltering) this.#toContext(row);
    else if (row.note?.group?.opens !== undefined) folds.toggle(row);
    else if (row.element.querySelector('.more')) showAll(row.element);
    else toggleJson(row);
    restyle();
  }

  /** Shows a row that passed the filter among all others. @param {Row} row */
  async #toContext(row) {
    const { finder, lines } = this.#parts;
    lines.choose(row, false);
    finder.current = row.offset;
    finder.leaveFilter();
    const { span, offset } = row;
    lines.moveTo(await this.#parts.reader.reveal({ span, offset }, 'middle'));
  }

  #letGo() {
    const { lines } = this.#parts;
    document.getSelection()?.removeAllRanges();
    lines.clear();
    lines.moveTo(null);
  }

  /** @param {Row} row */
  #show(row) {
    row.element?.scrollIntoView({ block: 'nearest' });
    this.#sayLine(row);
  }

  /** @param {Row | null} row */
  #sayLine(row) {
    if (row?.element) byId('announce').textContent = row.element.textContent;
  }

  /**
   * Says something in passing.
   * @param {string} words
   */
  say(words) {
    const { toolbar } = this.#parts;
    clearTimeout(this.#said);
    toolbar.hint(words);
    this.#said = setTimeout(() => toolbar.hint(''), SAID_MS);
  }

  /** @param {Copied} what */
  async #copy(what) {
    const { link } = this.#parts;
    if (what === 'link') {
      this.say(await copy(link.url) ? 'Link copied' : 'Could not copy');
    } else if (what === 'curl') {
      const url = `${location.origin}${location.pathname.replaceAll("'", '%27')}?tail=1`;
      this.say(await copy(`curl -N '${url}'`) ? 'Command copied' : 'Could not copy');
    } else {
      await this.#copyLines(what === 'markdown');
    }
  }

  /** @param {boolean} isMarkdown */
  async #copyLines(isMarkdown) {
    const { lines, spans, history, toolbar, link } = this.#parts;
    if (lines.chosen === null && lines.cursor !== null) lines.choose(lines.cursor, false);
    const { chosen } = lines;
    if (chosen === null) {
      this.say(matchMedia('(pointer: coarse)').matches ? 'Choose lines first: tap at the beginning of one, then of another' : 'Choose lines first: click beside one, shift-click another');
      return;
    }
    try {
      const { lines: text, complete } = await textOf(history, spans.at(chosen.span).generation, chosen.first.offset, chosen.last.offset);
      const done = await copy(isMarkdown && link.chosen ? markdown(toolbar.name, link.url, link.chosen, text) : text.map((line) => `${line}\n`).join(''));
      const words = complete ? `${counted(text.length, 'line')} copied` : `The first ${counted(COPY_ROWS_MAX, 'line')} copied`;
      this.say(done ? words : 'Could not copy');
    } catch {
      this.say('Could not copy: the lines are no longer there');
    }
  }
}
