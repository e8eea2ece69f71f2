// The page's address kept up to the view, and the view made from an address.

import { emptyView, format, parse } from '../url/view-hash.js';
import { Gone } from '../net/api.js';

const SYNC_MS = 250;

/**
 * @typedef {import('../url/view-hash.js').View} View
 * @typedef {import('../url/view-hash.js').Lines} Wanted
 *
 * @typedef {object} Parts
 * @property {import('../rows/generations.js').Spans} spans
 * @property {import('../rows/row-viewport.js').Window} window
 * @property {import('./loader.js').Reader} reader
 * @property {import('../net/api.js').History} history
 * @property {import('../rows/follow.js').Follow} follow
 * @property {import('./line-selection.js').Lines} lines
 * @property {import('../search/find-bar.js').Finder} finder
 * @property {import('../rows/folds.js').Folds} folds
 * @property {import('../ui/view-menu.js').Menu} menu
 * @property {(words: string) => void} hint
 */

export class Link {
  #parts;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer = undefined;
  #turn = new AbortController();
  #isRestored = false;
  #written = '';

  /** @param {Parts} parts */
  constructor(parts) {
    this.#parts = parts;
    window.addEventListener('hashchange', () => this.restore());
  }

  /** @returns {View} */
  get view() {
    const { spans, window, follow, lines, finder, folds, menu } = this.#parts;
    const top = follow.following ? null : window.first();
    const span = lines.chosen?.span ?? top?.span ?? spans.present;
    return {
      ...emptyView(),
      lines: this.chosen,
      top: top?.offset ?? null,
      generation: spans.at(span)?.generation ?? null,
      follow: follow.following,
      find: finder.pattern,
      filter: finder.filter,
      invert: finder.invert,
      level: finder.level,
      rules: finder.rules,
      options: menu.options,
      folds: [...folds.turned],
    };
  }

  /** The chosen lines as an address says them: by number where both are known. @returns {Wanted | null} */
  get chosen() {
    const { chosen } = this.#parts.lines;
    if (chosen === null) return null;
    const { first, last } = chosen;
    if (first.line !== null && last.line !== null) return { kind: 'line', from: first.line, to: last.line };
    return { kind: 'offset', from: first.offset, to: last.offset };
  }

  get url() {
    return `${location.origin}${location.pathname}${location.search}${format(this.view)}`;
  }

  /** The view changed: the address follows, without a step in the browser's history. */
  sync() {
    if (!this.#isRestored || this.#timer !== undefined) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      // An address that the reader has just changed is about to be followed.
      if (!this.#isRestored || location.hash !== this.#written) return;
      const hash = format(this.view);
      this.#written = hash;
      if (hash !== location.hash) globalThis.history.replaceState(globalThis.history.state, '', `${location.pathname}${location.search}${hash}`);
    }, SYNC_MS);
  }

  /** Makes the view that the address asks for. The log must have been opened. */
  async restore() {
    const view = parse(location.hash);
    const { menu, finder, folds, follow, reader, hint } = this.#parts;
    this.#turn.abort();
    this.#turn = new AbortController();
    this.#isRestored = false;
    Object.assign(menu.options, view.options);
    menu.show();
    folds.turned = new Set(view.folds);
    finder.set(view.find, view.filter, view.invert, view.rules, view.level);
    try {
      const span = await this.#span(view);
      if (span === null) hint('This link leads into a file that is no longer there. This is the present one.');
      else if (view.lines !== null) await this.#reveal(view.lines, span, this.#turn.signal);
      else if (view.top !== null) await reader.reveal({ span, offset: view.top }, 'top');
      else if (!view.follow) follow.pause();
    } catch (error) {
      if (!this.#turn.signal.aborted) hint(`The place of this link can not be shown: ${error instanceof Error ? error.message : error}`);
    }
    this.#written = location.hash;
    this.#isRestored = true;
    this.sync();
  }

  /**
   * The file that a view is of; null if there is none any more.
   * @param {View} view
   */
  async #span({ generation, lines, top }) {
    const { spans, history } = this.#parts;
    if (generation === null || (lines === null && top === null)) return spans.present;
    const known = spans.find(generation);
    if (known >= 0) return known;
    try {
      // A generation may have two texts; the answer has the one that the stream has, too.
      const answer = await history.rows(generation, { from: 0 }, 1, {});
      if (answer.generation === spans.last?.generation) return spans.present;
      return spans.precede(answer.generation, answer.size);
    } catch (error) {
      if (error instanceof Gone) return null;
      throw error;
    }
  }

  /**
   * @param {Wanted} wanted
   * @param {number} span
   * @param {AbortSignal} signal
   */
  async #reveal(wanted, span, signal) {
    const { reader, history, spans, lines, hint } = this.#parts;
    const { generation } = spans.at(span);
    let { from, to } = wanted;
    if (wanted.kind === 'line') {
      const first = await history.offsetOf(generation, from, signal);
      const last = to === from ? first : await history.offsetOf(generation, to, signal);
      // Beyond the end, the last line is given.
      const { lines: [firstLine, lastLine] } = await history.numbers(generation, [first.offset, last.offset]);
      if (firstLine !== null && firstLine < from) hint(`The log has ${firstLine.toLocaleString('en-US')} lines only.`);
      lines.set({ span, first: { offset: first.offset, line: firstLine }, last: { offset: last.offset, line: lastLine } });
      from = first.offset;
    } else if (from > spans.at(span).to) {
      hint('The log has not come that far.');
      return;
    }
    const row = await reader.reveal({ span, offset: from }, 'middle');
    if (wanted.kind === 'offset' && row !== null) {
      lines.set({ span, first: { offset: row.offset, line: row.line }, last: { offset: Math.max(to, row.offset), line: to <= row.offset ? row.line : null } });
    }
    lines.moveTo(row);
  }
}
