// Structured lines as text that people read, for the rows in and near sight. A row that has styles of its own stays as it is.

import { serverZone, LOCAL, zoneOf } from '../ui/zones.js';
import { replaceText, restoreRow } from './row.js';
import { byId, setText } from '../ui/dom.js';
import { columnHeads, columnText, fieldNames, parseLine, readableText } from './structure.js';

/** With more rows than this, those that are no longer on the page are forgotten. */
const SHOWN_MAX = 20_000;
/** An element other than a link. */
const STYLED = /<(?!\/?a\b)/;

/** @typedef {import('./tail.js').Entry} Entry */

export class ReadableRows {
  /** The lines of rows; null for those that stay as they are. @type {WeakMap<Entry, {html: string, line: import('./structure.js').Structured | null}>} */
  #lines = new WeakMap();
  /** What the rows show, with what that depends on. @type {Map<HTMLElement, string>} */
  #shown = new Map();
  /** The widths of the columns so far. They only grow, so that rows do not jump. @type {Map<string, number>} */
  #widths = new Map();
  #columns = '';
  #scratch = document.createElement('template');
  #heads = byId('column-heads');

  /**
   * @param {Entry[]} entries in sight
   * @param {import('../ui/options.js').Options} options
   */
  show(entries, options) {
    const { readable, columns } = options;
    if (readable) {
      this.#draw(entries, columns.split(/[\s,]+/).filter((column) => column !== ''), options);
    } else if (this.#shown.size > 0) {
      for (const element of this.#shown.keys()) restoreRow(element);
      this.#shown.clear();
    }
    if (!readable || columns === '') this.#heads.hidden = true;
    // Rows that scrolled out of sight keep what they show: heights above the view do not change.
    if (this.#shown.size > SHOWN_MAX) for (const element of this.#shown.keys()) if (!element.isConnected) this.#shown.delete(element);
  }

  /**
   * @param {Entry[]} entries
   * @param {string[]} columns
   * @param {import('../ui/options.js').Options} options
   */
  #draw(entries, columns, options) {
    if (this.#columns !== options.columns) this.#widths.clear();
    this.#columns = options.columns;
    /** @type {[HTMLElement, string, import('./structure.js').Structured][]} */
    const lines = [];
    for (const entry of entries) {
      const { element } = entry;
      if (entry.marker !== undefined || element === null) continue;
      const line = this.#lineOf(entry);
      if (line === null) continue;
      lines.push([element, entry.html, line]);
      for (const column of columns) this.#widths.set(column, Math.max(this.#widths.get(column) ?? column.length, columnText(line, column).length));
    }
    const widths = [...this.#widths.values()].join();
    // The column of times has it already.
    const zone = options.times === 'clock' ? null : zoneOf(options.zone);
    for (const [element, html, line] of lines) {
      const key = `${zone === null ? '' : options.zone}|${options.columns}|${widths}|${html}`;
      const known = this.#shown.get(element);
      this.#shown.set(element, key);
      if (known !== key || !element.classList.contains('readable')) {
        replaceText(element, readableText(line, zone, serverZone() ?? LOCAL, columns, this.#widths));
      }
    }
    if (columns.length > 0) this.#showHeads(lines, columns, zone !== null);
  }

  /**
   * Shows the names of the columns above the rows, where those of the first line begin.
   * @param {[HTMLElement, string, import('./structure.js').Structured][]} lines
   * @param {string[]} columns
   * @param {boolean} isTimed whether the times of the lines stand in them
   */
  #showHeads(lines, columns, isTimed) {
    const first = lines.find(([element, , line]) => line.before === '' && element.isConnected) ?? lines.find(([element]) => element.isConnected);
    this.#heads.hidden = first === undefined;
    if (first === undefined) return;
    const [element, , line] = first;
    setText(/** @type {HTMLElement} */ (this.#heads.firstElementChild), columnHeads(line, columns, this.#widths, isTimed));
    const { paddingLeft, textIndent } = getComputedStyle(element);
    this.#heads.style.paddingLeft = `${parseFloat(paddingLeft) + parseFloat(textIndent)}px`;
    this.#heads.scrollLeft = element.closest('#log')?.scrollLeft ?? 0;
  }

  /**
   * The names of the fields that these rows have, the most frequent ones first.
   * @param {Iterable<Entry>} entries
   */
  fieldsOf(entries) {
    /** @type {import('./structure.js').Structured[]} */
    const lines = [];
    for (const entry of entries) {
      const line = entry.marker === undefined ? this.#lineOf(entry) : null;
      if (line !== null) lines.push(line);
    }
    return fieldNames(lines);
  }

  /** @param {Entry & {html: string}} entry */
  #lineOf(entry) {
    const known = this.#lines.get(entry);
    if (known?.html === entry.html) return known.line;
    let line = null;
    if (!STYLED.test(entry.html)) {
      this.#scratch.innerHTML = entry.html;
      line = parseLine(this.#scratch.content.textContent ?? '');
    }
    this.#lines.set(entry, { html: entry.html, line });
    return line;
  }
}
