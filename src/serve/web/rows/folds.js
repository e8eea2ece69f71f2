// Folding of repeated rows and of groups, which the log delimits by CI markers. A folded row is hidden and stays on the
// page. The first row of a group shows the number of rows, their duration and the number of errors.

import { plural } from '../ui/units.js';
import { timeOf } from './columns.js';
import { appendControl } from './row.js';
import { formatAgo } from './times.js';

/**
 * @typedef {import('./tail.js').Row} Row
 * @typedef {import('./tail.js').Entry} Entry
 * @typedef {object} Group
 * @property {Row} head
 * @property {number} level
 * @property {boolean} isFolded
 * @property {number} rows
 * @property {number} errors
 * @property {Row | null} last
 * @property {boolean} isClosed
 */

/** The end marker of a group in a row's HTML. The server annotates it only if it has also read the group's start. */
const END = /(?:^|[\s>])(?:::endgroup::|##\[endgroup\])\s*(?:<|$)/;

export class Folds {
  /** Offsets of groups that the reader opened or folded against their default. @type {Set<number>} */
  toggled = new Set();
  #levels;
  /** The groups whose first row is on the page, by its offset. @type {Map<number, Group>} */
  #groups = new Map();
  #foldedRepeats = false;

  /** @param {import('./levels.js').Levels} levels */
  constructor(levels) {
    this.#levels = levels;
  }

  get isEmpty() {
    return this.#groups.size === 0;
  }

  /** @param {Row} head */
  toggle(head) {
    const group = this.#groups.get(head.offset);
    if (group === undefined) return;
    const isFolded = !group.isFolded;
    if (isFolded === this.#isFoldedByDefault(group)) this.toggled.delete(head.offset);
    else this.toggled.add(head.offset);
    // A group with an error opens by itself. If the reader folds it again, it stays folded.
    if (isFolded && group.errors > 0) this.#foldedByReader.add(head.offset);
    else this.#foldedByReader.delete(head.offset);
  }

  /** @type {Set<number>} */
  #foldedByReader = new Set();

  /**
   * Hides or shows each row on the page.
   * @param {Iterable<Entry>} entries all entries on the page
   * @param {import('../ui/options.js').Options} options
   */
  update(entries, options) {
    const rows = [...entries];
    this.#options = options;
    const hasGroups = rows.some((entry) => entry.marker === undefined && entry.annotation?.group !== undefined);
    if (!hasGroups && this.#groups.size === 0 && !options.repeats && !this.#foldedRepeats) return;
    const groups = this.#findGroups(rows);
    const hidden = this.#hiddenRows(rows, groups);
    if (options.repeats || this.#foldedRepeats) foldRepeats(rows, hidden, options.repeats);
    this.#foldedRepeats = options.repeats;
    for (const entry of rows) {
      const element = /** @type {HTMLElement} */ (entry.element);
      const isHidden = hidden.has(entry);
      if (element.hidden !== isHidden) element.hidden = isHidden;
      if (isHidden && element.nextElementSibling?.matches('.opened')) element.nextElementSibling.remove();
    }
    for (const group of groups.values()) this.#showSummary(group);
    this.#groups = groups;
  }

  /** Updates the durations of groups that have not ended. */
  tick() {
    for (const group of this.#groups.values()) if (!group.isClosed && group.head.element !== null) this.#showSummary(group);
  }

  /** @type {import('../ui/options.js').Options | undefined} */
  #options = undefined;

  /** @param {Group} group */
  #isFoldedByDefault(group) {
    return this.#options?.groups === true || group.head.annotation?.group?.collapsed === true;
  }

  /** @param {Entry[]} rows */
  #findGroups(rows) {
    /** @type {Map<number, Group>} */
    const groups = new Map();
    /** @type {Group[]} */
    let openGroups = [];
    for (const entry of rows) {
      if (entry.marker !== undefined) {
        if (entry.marker !== 'gap') openGroups = [];
        continue;
      }
      const note = entry.annotation?.group;
      const closes = note?.closes ?? (note === undefined && openGroups.length > 0 && END.test(entry.html) ? openGroups[openGroups.length - 1].level : undefined);
      if (closes !== undefined && note?.opens !== undefined) openGroups = closeGroups(openGroups, closes, null);
      for (const group of openGroups) {
        group.rows += 1;
        group.last = entry;
        if (this.#levels.of(entry) === 'error') group.errors += 1;
      }
      if (closes !== undefined && note?.opens === undefined) openGroups = closeGroups(openGroups, closes, entry);
      if (note?.opens !== undefined) {
        const group = { head: entry, level: note.level ?? 1, isFolded: false, rows: 0, errors: 0, last: null, isClosed: false };
        openGroups = [...closeGroups(openGroups, group.level, null), group];
        groups.set(entry.offset, group);
      }
    }
    for (const group of groups.values()) {
      const isTurned = this.toggled.has(group.head.offset);
      group.isFolded = this.#isFoldedByDefault(group) !== isTurned;
      if (group.errors > 0 && !isTurned && !this.#foldedByReader.has(group.head.offset)) group.isFolded = false;
    }
    return groups;
  }

  /**
   * @param {Entry[]} rows
   * @param {Map<number, Group>} groups
   */
  #hiddenRows(rows, groups) {
    /** @type {Set<Entry>} */
    const hidden = new Set();
    /** @type {Group[]} */
    let folded = [];
    for (const entry of rows) {
      if (entry.marker !== undefined) continue;
      const note = entry.annotation?.group;
      const closes = note?.closes ?? (note?.opens !== undefined ? note.level ?? 1 : folded.length > 0 && END.test(entry.html) ? folded[folded.length - 1].level : undefined);
      if (closes !== undefined && note?.opens !== undefined) folded = folded.filter(({ level }) => level < Math.min(closes, note.level ?? 1));
      if (folded.length > 0) hidden.add(entry);
      if (closes !== undefined && note?.opens === undefined) folded = folded.filter(({ level }) => level < closes);
      const group = groups.get(entry.offset);
      if (group?.head === entry && group.isFolded) folded.push(group);
    }
    return hidden;
  }

  /** Shows the summary of a group on its first row. @param {Group} group */
  #showSummary({ head, isFolded, rows, errors, last, isClosed }) {
    const element = /** @type {HTMLElement} */ (head.element);
    let button = /** @type {HTMLButtonElement | null} */ (element.querySelector('button.fold'));
    if (button === null) {
      button = document.createElement('button');
      button.type = 'button';
      button.className = 'fold';
      appendControl(element, button);
      element.classList.add('head');
    }
    const now = Date.now();
    const from = timeOf(head, now);
    const to = last === null ? null : timeOf(last, now);
    const took = from === null || to === null || to < from ? '' : formatDuration(to - from);
    const words = [
      isFolded ? plural(rows, 'line') : '',
      took === '' ? '' : isClosed ? took : `${took}…`,
      errors > 0 ? plural(errors, 'error') : '',
    ].filter((part) => part !== '').join(' · ');
    if (button.dataset.words !== words) button.dataset.words = words;
    button.dataset.errors = String(errors > 0);
    button.setAttribute('aria-expanded', String(!isFolded));
    button.setAttribute('aria-label', `${head.annotation?.group?.opens ?? 'group'}: ${words || 'open'}`);
  }
}

/**
 * @param {Group[]} openGroups
 * @param {number} level
 * @param {Row | null} last
 */
function closeGroups(openGroups, level, last) {
  for (const group of openGroups) {
    if (group.level < level) continue;
    group.isClosed = true;
    if (last !== null) group.last = last;
  }
  return openGroups.filter((group) => group.level < level);
}

/** @param {number} ms */
function formatDuration(ms) {
  if (ms < 10_000) return `${(ms / 1000).toFixed(1)} s`;
  return ms < 3_600_000 && ms >= 60_000 ? `${Math.floor(ms / 60_000)} min ${Math.floor((ms % 60_000) / 1000)} s` : formatAgo(ms);
}

/**
 * Hides rows that repeat the row before, and shows their number on that row.
 * @param {Entry[]} rows
 * @param {Set<Entry>} hidden
 * @param {boolean} isOn
 */
function foldRepeats(rows, hidden, isOn) {
  /** @type {Row | null} */
  let first = null;
  let times = 1;
  const count = () => {
    const sign = first?.element?.querySelector('.repeat') ?? null;
    if (first?.element == null || times === 1) {
      sign?.remove();
      return;
    }
    const shown = /** @type {HTMLElement} */ (sign ?? document.createElement('span'));
    shown.className = 'repeat';
    shown.dataset.words = `×${times.toLocaleString('en-US')}`;
    if (sign === null) appendControl(first.element, shown);
  };
  for (const entry of rows) {
    const isSame = isOn && entry.marker === undefined && first !== null && entry.html === first.html && entry.gen === first.gen
      && entry.annotation?.group === undefined && entry.html !== '';
    if (isSame) {
      times += 1;
      hidden.add(entry);
      entry.element?.querySelector('.repeat')?.remove();
      continue;
    }
    count();
    first = entry.marker === undefined && !hidden.has(entry) ? entry : null;
    times = 1;
  }
  count();
}
