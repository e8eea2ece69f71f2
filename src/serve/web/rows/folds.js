// What is folded up: groups that the log opens and closes by its markers, and rows that only repeat the one before. A folded row stays
// where it is and is hidden; the first row of a group says how many there are, how long they took, and whether an error is among them.

import { timeOf } from './columns.js';
import { attach } from './row.js';
import { agoWords } from './times.js';
import { counted } from '../ui/units.js';

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

/** An end that the server read without its beginning is not noted, as it reads rows that lie far from the end of a log. */
const END = /(?:^|[\s>])(?:::endgroup::|##\[endgroup\])\s*(?:<|$)/;

export class Folds {
  /** Offsets of groups that the reader opened or folded against what is usual for them. @type {Set<number>} */
  turned = new Set();
  #levels;
  /** Heads of groups that are on the page, by offset. @type {Map<number, Group>} */
  #groups = new Map();
  #wasRepeats = false;

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
    if (isFolded === this.#usual(group)) this.turned.delete(head.offset);
    else this.turned.add(head.offset);
    // An error opens what is folded by itself; folding that again is the reader's wish.
    if (isFolded && group.errors > 0) this.#wished.add(head.offset);
    else this.#wished.delete(head.offset);
  }

  /** @type {Set<number>} */
  #wished = new Set();

  /**
   * Hides and shows what is on the page.
   * @param {Iterable<Entry>} entries all that are
   * @param {import('../ui/options.js').Options} options
   */
  update(entries, options) {
    const rows = [...entries];
    this.#options = options;
    const hasGroups = rows.some((entry) => entry.mark === undefined && entry.note?.group !== undefined);
    if (!hasGroups && this.#groups.size === 0 && !options.repeats && !this.#wasRepeats) return;
    const groups = this.#find(rows);
    const hidden = this.#hidden(rows, groups);
    if (options.repeats || this.#wasRepeats) repeat(rows, hidden, options.repeats);
    this.#wasRepeats = options.repeats;
    for (const entry of rows) {
      const element = /** @type {HTMLElement} */ (entry.element);
      const isHidden = hidden.has(entry);
      if (element.hidden !== isHidden) element.hidden = isHidden;
      if (isHidden && element.nextElementSibling?.matches('.opened')) element.nextElementSibling.remove();
    }
    for (const group of groups.values()) this.#sign(group);
    this.#groups = groups;
  }

  /** How long the groups that are open take goes on. */
  tick() {
    for (const group of this.#groups.values()) if (!group.isClosed && group.head.element !== null) this.#sign(group);
  }

  /** @type {import('../ui/options.js').Options | undefined} */
  #options = undefined;

  /** @param {Group} group */
  #usual(group) {
    return this.#options?.groups === true || group.head.note?.group?.collapsed === true;
  }

  /** @param {Entry[]} rows */
  #find(rows) {
    /** @type {Map<number, Group>} */
    const groups = new Map();
    /** @type {Group[]} */
    let open = [];
    for (const entry of rows) {
      if (entry.mark !== undefined) {
        if (entry.mark !== 'gap') open = [];
        continue;
      }
      const note = entry.note?.group;
      const closes = note?.closes ?? (note === undefined && open.length > 0 && END.test(entry.html) ? open[open.length - 1].level : undefined);
      if (closes !== undefined && note?.opens !== undefined) open = close(open, closes, null);
      for (const group of open) {
        group.rows += 1;
        group.last = entry;
        if (this.#levels.of(entry) === 'error') group.errors += 1;
      }
      if (closes !== undefined && note?.opens === undefined) open = close(open, closes, entry);
      if (note?.opens !== undefined) {
        const group = { head: entry, level: note.level ?? 1, isFolded: false, rows: 0, errors: 0, last: null, isClosed: false };
        open = [...close(open, group.level, null), group];
        groups.set(entry.offset, group);
      }
    }
    for (const group of groups.values()) {
      const isTurned = this.turned.has(group.head.offset);
      group.isFolded = this.#usual(group) !== isTurned;
      if (group.errors > 0 && !isTurned && !this.#wished.has(group.head.offset)) group.isFolded = false;
    }
    return groups;
  }

  /**
   * @param {Entry[]} rows
   * @param {Map<number, Group>} groups
   */
  #hidden(rows, groups) {
    /** @type {Set<Entry>} */
    const hidden = new Set();
    /** @type {Group[]} */
    let folded = [];
    for (const entry of rows) {
      if (entry.mark !== undefined) continue;
      const note = entry.note?.group;
      const closes = note?.closes ?? (note?.opens !== undefined ? note.level ?? 1 : folded.length > 0 && END.test(entry.html) ? folded[folded.length - 1].level : undefined);
      if (closes !== undefined && note?.opens !== undefined) folded = folded.filter(({ level }) => level < Math.min(closes, note.level ?? 1));
      if (folded.length > 0) hidden.add(entry);
      if (closes !== undefined && note?.opens === undefined) folded = folded.filter(({ level }) => level < closes);
      const group = groups.get(entry.offset);
      if (group?.head === entry && group.isFolded) folded.push(group);
    }
    return hidden;
  }

  /** Says on a group's first row what is in it. @param {Group} group */
  #sign({ head, isFolded, rows, errors, last, isClosed }) {
    const element = /** @type {HTMLElement} */ (head.element);
    let button = /** @type {HTMLButtonElement | null} */ (element.querySelector('button.fold'));
    if (button === null) {
      button = document.createElement('button');
      button.type = 'button';
      button.className = 'fold';
      attach(element, button);
      element.classList.add('head');
    }
    const now = Date.now();
    const from = timeOf(head, now);
    const to = last === null ? null : timeOf(last, now);
    const took = from === null || to === null || to < from ? '' : tookWords(to - from);
    const words = [
      isFolded ? counted(rows, 'line') : '',
      took === '' ? '' : isClosed ? took : `${took}…`,
      errors > 0 ? counted(errors, 'error') : '',
    ].filter((part) => part !== '').join(' · ');
    if (button.dataset.words !== words) button.dataset.words = words;
    button.dataset.errors = String(errors > 0);
    button.setAttribute('aria-expanded', String(!isFolded));
    button.setAttribute('aria-label', `${head.note?.group?.opens ?? 'group'}: ${words || 'open'}`);
  }
}

/**
 * @param {Group[]} open
 * @param {number} level
 * @param {Row | null} last
 */
function close(open, level, last) {
  for (const group of open) {
    if (group.level < level) continue;
    group.isClosed = true;
    if (last !== null) group.last = last;
  }
  return open.filter((group) => group.level < level);
}

/** @param {number} ms */
function tookWords(ms) {
  if (ms < 10_000) return `${(ms / 1000).toFixed(1)} s`;
  return ms < 3_600_000 && ms >= 60_000 ? `${Math.floor(ms / 60_000)} min ${Math.floor((ms % 60_000) / 1000)} s` : agoWords(ms);
}

/**
 * Hides rows that only repeat the one before, and counts them on that.
 * @param {Entry[]} rows
 * @param {Set<Entry>} hidden
 * @param {boolean} isOn
 */
function repeat(rows, hidden, isOn) {
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
    if (sign === null) attach(first.element, shown);
  };
  for (const entry of rows) {
    const isSame = isOn && entry.mark === undefined && first !== null && entry.html === first.html && entry.span === first.span
      && entry.note?.group === undefined && entry.html !== '';
    if (isSame) {
      times += 1;
      hidden.add(entry);
      entry.element?.querySelector('.repeat')?.remove();
      continue;
    }
    count();
    first = entry.mark === undefined && !hidden.has(entry) ? entry : null;
    times = 1;
  }
  count();
}
