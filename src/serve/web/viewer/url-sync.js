// Updates the URL when the view changes, and restores the view from a URL.

import { failureWords, Gone } from '../net/api.js';
import { pagePath, pageUrl } from '../net/wire.js';
import { timeOf } from '../rows/columns.js';
import { chosenEncoding } from '../ui/encoding.js';
import { emptyView, formatView, parseView } from '../url/view-hash.js';
import { findTime } from './go-to-time.js';

const SYNC_MS = 250;

/**
 * @typedef {import('../url/view-hash.js').View} View
 * @typedef {import('../ui/colour-rules.js').ColourRule} ColourRule
 * @typedef {import('../url/view-hash.js').LineRange} Wanted
 *
 * @typedef {object} Parts
 * @property {import('../rows/generations.js').Generations} generations
 * @property {import('../rows/row-viewport.js').RowViewport} rowViewport
 * @property {import('./seek.js').Seek} seek
 * @property {import('../net/api.js').LogApi} api
 * @property {import('./old-files.js').OldFiles} oldFiles
 * @property {import('../rows/follow.js').Follow} follow
 * @property {import('./line-selection.js').LineSelection} selection
 * @property {import('../search/find-bar.js').FindBar} findBar
 * @property {import('./times-over-log.js').TimesOverLog} timesOverLog
 * @property {import('../rows/folds.js').Folds} folds
 * @property {import('../ui/view-menu.js').ViewMenu} menu
 * @property {{get: () => ColourRule[], set: (rules: ColourRule[]) => void}} colours the reader's own colours
 * @property {string} encoding that was chosen, or empty
 * @property {(words: string) => void} hint
 */

export class UrlSync {
  #parts;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer = undefined;
  #restoring = new AbortController();
  #isRestored = false;
  #written = '';

  /** @param {Parts} parts */
  constructor(parts) {
    this.#parts = parts;
    window.addEventListener('hashchange', () => this.restore());
  }

  /** @returns {View} */
  get view() {
    const { generations, rowViewport, follow, selection, findBar, folds, menu, colours, encoding, timesOverLog } = this.#parts;
    const firstRow = follow.following ? null : rowViewport.firstInSight();
    const gen = selection.selected?.gen ?? firstRow?.gen ?? generations.currentGen;
    return {
      ...emptyView(),
      lines: this.selectedLines,
      top: firstRow?.offset ?? null,
      generation: generations.at(gen)?.id ?? null,
      follow: follow.following,
      find: findBar.pattern,
      filter: findBar.filter,
      invert: findBar.invert,
      level: findBar.level,
      rules: findBar.rules,
      colours: colours.get(),
      options: menu.options,
      folds: [...folds.toggled],
      span: timesOverLog.only,
      encoding,
    };
  }

  /** The selected lines for the URL: by number if both numbers are known, else by offset. @returns {Wanted | null} */
  get selectedLines() {
    const { selected } = this.#parts.selection;
    if (selected === null) return null;
    const { first, last } = selected;
    if (first.line !== null && last.line !== null) return { kind: 'line', from: first.line, to: last.line };
    return { kind: 'offset', from: first.offset, to: last.offset };
  }

  get url() {
    return `${location.origin}${location.pathname}${location.search}${formatView(this.view)}`;
  }

  /** A link to the time of the selected line, else of the first one in sight that has one; null if there is none. */
  get timeUrl() {
    const { selection, rowViewport } = this.#parts;
    const rows = [selection.cursor, ...rowViewport.inSight()];
    for (const row of rows) {
      const time = row === null || row.marker !== undefined ? null : timeOf(row, Date.now());
      if (time === null) continue;
      return `${location.origin}${location.pathname}${location.search}${formatView({ ...this.view, lines: null, top: null, time: new Date(time).toISOString() })}`;
    }
    return null;
  }

  /** Updates the URL after a change of the view, without a new entry in the browser's history. */
  sync() {
    if (!this.#isRestored || this.#timer !== undefined) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      // The reader changed the URL. The `hashchange` event restores it.
      if (!this.#isRestored || location.hash !== this.#written) return;
      const hash = formatView(this.view);
      this.#written = hash;
      if (hash !== location.hash) globalThis.history.replaceState(globalThis.history.state, '', pageUrl(`${pagePath()}${location.search}${hash}`));
    }, SYNC_MS);
  }

  /** Restores the view that the URL describes. The log must be open. */
  async restore() {
    const view = parseView(location.hash);
    const { menu, findBar, folds, follow, seek, colours, encoding, hint, timesOverLog } = this.#parts;
    if (chosenEncoding(location, view) !== encoding) {
      // All rows are others in another encoding.
      location.reload();
      return;
    }
    this.#restoring.abort();
    this.#restoring = new AbortController();
    this.#isRestored = false;
    Object.assign(menu.options, view.options);
    if (view.span !== null) menu.options.histogram = true;
    timesOverLog.choose(view.span);
    findBar.span = view.span;
    menu.show();
    if (view.colours.length > 0) colours.set(view.colours);
    folds.toggled = new Set(view.folds);
    findBar.set(view.find, view.filter, view.invert, view.rules, view.level);
    try {
      const gen = await this.#generationOf(view);
      if (view.time !== null && view.lines === null && view.top === null) await (await findTime(this.#parts, view.time, this.#restoring.signal))();
      else if (gen === null) hint('The file of this link is no longer there. This is the current file.');
      else if (view.lines !== null) await this.#showLines(view.lines, gen, this.#restoring.signal);
      else if (view.top !== null) await seek.reveal({ gen, offset: view.top }, 'top');
      else if (!view.follow) follow.pause();
    } catch (error) {
      if (!this.#restoring.signal.aborted) hint(`The position of this link cannot be shown: ${failureWords(error)}`);
    }
    this.#written = location.hash;
    this.#isRestored = true;
    this.sync();
  }

  /**
   * The number of a view's generation; null if the server no longer has it.
   * @param {View} view
   */
  async #generationOf(view) {
    const { generation } = view;
    const { generations, api, oldFiles } = this.#parts;
    if (generation === null || (view.lines === null && view.top === null)) return generations.currentGen;
    const known = generations.numberOf(generation);
    if (known !== null) return known;
    try {
      // A generation may have two names. The response contains the name that the stream uses.
      return await oldFiles.numberOf(await api.rows(generation, { from: 0 }, 1, {}));
    } catch (error) {
      if (error instanceof Gone) return null;
      throw error;
    }
  }

  /**
   * @param {Wanted} wanted
   * @param {number} gen
   * @param {AbortSignal} signal
   */
  async #showLines(wanted, gen, signal) {
    const { seek, api, generations, selection, hint } = this.#parts;
    const { id } = generations.at(gen);
    let { from, to } = wanted;
    if (wanted.kind === 'line') {
      const first = await api.offsetOfLine(id, from, signal);
      const last = to === from ? first : await api.offsetOfLine(id, to, signal);
      // For a line beyond the end, the server returns the last line.
      const { lines: [firstLine, lastLine] } = await api.lineNumbers(id, [first.offset, last.offset]);
      if (firstLine !== null && firstLine < from) hint(`The log has ${firstLine.toLocaleString('en-US')} lines.`);
      selection.set({ gen, first: { offset: first.offset, line: firstLine }, last: { offset: last.offset, line: lastLine } });
      from = first.offset;
    } else if (from > generations.at(gen).to) {
      hint('The log is not that long.');
      return;
    }
    const row = await seek.reveal({ gen, offset: from }, 'middle');
    if (wanted.kind === 'offset' && row !== null) {
      selection.set({ gen, first: { offset: row.offset, line: row.line }, last: { offset: Math.max(to, row.offset), line: to <= row.offset ? row.line : null } });
    }
    selection.moveTo(row);
  }
}
