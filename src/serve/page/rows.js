// The rows on the page: a bounded window of the log. What arrives is held first and enters the document in one
// change a frame; rows that are on the page stay the same nodes, so that a selection in them survives.
//
// Bounds: at most ROWS_MAX rows on the page and as many held. While the view follows, the oldest leave at the top;
// while it stands still nothing that is on the page leaves, and what is held beyond the bound is replaced by a marker.

import { counted } from './units.js';

export const ROWS_MAX = 10_000;
/** Bounds the work of one frame: parsing and layout of this many rows stay well under 100 ms. */
const ROWS_PER_FRAME = 300;
/** Rows stand in blocks, which the browser skips as a whole while they are out of sight, and which leave as a whole. */
const BLOCK_ROWS = 250;

/**
 * @typedef {{offset: number, html: string, mark?: undefined}} HeldRow
 * @typedef {{mark: string, text: string}} HeldMark a marker: rows before it are final
 * @typedef {{offset: number, html: string, element: HTMLElement}} ShownRow
 * @typedef {{offset: undefined, html: '', element: HTMLElement}} ShownMark
 */

export class Rows {
  /** Rows that were on the page, or would have been, and left at the top. */
  dropped = 0;
  #list;
  /** @type {(ShownRow | ShownMark)[]} */
  #shown = [];
  /** @type {(HeldRow | HeldMark)[]} */
  #held = [];
  /** Held entries before this index are gone; the array is compacted now and then, not for each. */
  #head = 0;
  /** Rows on the page from this offset on, after the last marker, are to be replaced. */
  #cut = Infinity;
  #skipped = 0;
  #last = -1;

  /** @param {HTMLElement} list */
  constructor(list) {
    this.#list = list;
  }

  get isEmpty() {
    return this.#shown.length === 0 && this.#heldLength === 0;
  }

  get #heldLength() {
    return this.#held.length - this.#head;
  }

  /**
   * Takes a patch: rows at `from` or later are replaced by these. Returns how many of the rows start at `newFrom` or
   * later and were not known before, so that a redrawn row is not counted twice.
   * @param {import('./wire.js').Patch} patch
   * @param {number} newFrom
   */
  patch(patch, newFrom) {
    while (this.#heldLength > 0) {
      const last = this.#held[this.#held.length - 1];
      if (last.mark !== undefined || last.offset < patch.from) break;
      this.#held.pop();
    }
    if (this.#heldLength === 0 && this.#skipped === 0) this.#cut = Math.min(this.#cut, patch.from);
    let fresh = 0;
    for (const [offset, html] of patch.rows) {
      this.#held.push({ offset, html });
      if (offset > this.#last) {
        this.#last = offset;
        if (offset >= newFrom) fresh += 1;
      }
    }
    this.#bound();
    return fresh;
  }

  /**
   * Ends what can still change: rows before the marker are final.
   * @param {string} mark
   * @param {string} text
   */
  mark(mark, text) {
    this.#held.push({ mark, text });
    this.#last = -1;
    this.#bound();
  }

  /**
   * Moves held rows onto the page, a frame's worth at most. Returns whether more could be moved in another frame.
   * @param {boolean} following whether rows at the top may leave
   */
  apply(following) {
    let stale = this.#takeStale();
    if (following && this.#heldLength >= ROWS_MAX) {
      this.#clear();
      // They come again, so they have not left.
      stale = [];
    }
    const room = following ? Infinity : ROWS_MAX - this.#shown.length;
    let budget = Math.min(ROWS_PER_FRAME, room);

    while (stale.length > 0 && this.#heldLength > 0 && budget > 0) {
      const row = this.#held[this.#head];
      const first = stale[0];
      if (row.mark !== undefined || row.offset !== first.offset) break;
      redraw(first, row.html);
      this.#shown.push(first);
      stale.shift();
      this.#head += 1;
      budget -= 1;
    }
    for (const { element } of stale) this.#remove(element);

    if (budget > 0 && this.#skipped > 0) {
      this.#append([{ mark: 'skipped', text: `${counted(this.#skipped, 'line')} skipped, to keep this page small` }]);
      this.#skipped = 0;
    }
    const entries = this.#held.slice(this.#head, this.#head + Math.max(0, budget));
    this.#head += entries.length;
    this.#append(entries);
    if (following) this.#dropOldest();
    this.#compact();
    return this.#heldLength > 0 && (following || this.#shown.length < ROWS_MAX);
  }

  /** The rows after the last marker that the cut reaches, taken off the end of what is shown. */
  #takeStale() {
    let first = this.#shown.length;
    while (first > 0) {
      const { offset } = this.#shown[first - 1];
      if (offset === undefined || offset < this.#cut) break;
      first -= 1;
    }
    this.#cut = Infinity;
    return /** @type {ShownRow[]} */ (this.#shown.splice(first));
  }

  /** @param {(HeldRow | HeldMark)[]} entries */
  #append(entries) {
    const elements = draw(entries);
    entries.forEach((entry, at) => {
      const element = elements[at];
      if (entry.mark !== undefined) this.#shown.push({ offset: undefined, html: '', element });
      else this.#shown.push({ offset: entry.offset, html: entry.html, element });
      this.#lastBlock().append(element);
    });
  }

  #bound() {
    for (; this.#heldLength > ROWS_MAX; this.#head += 1) {
      if (this.#held[this.#head].mark === undefined) this.#skipped += 1;
    }
    this.#compact();
  }

  /** As many rows are held as the page keeps, so none of those before them stays. */
  #clear() {
    this.dropped += this.#skipped;
    this.#skipped = 0;
    for (const { offset } of this.#shown) if (offset !== undefined) this.dropped += 1;
    this.#shown = [];
    this.#list.replaceChildren();
  }

  #dropOldest() {
    while (this.#shown.length > ROWS_MAX && this.#list.firstElementChild !== null) {
      const block = this.#list.firstElementChild;
      for (const { offset } of this.#shown.splice(0, block.childElementCount)) if (offset !== undefined) this.dropped += 1;
      block.remove();
    }
  }

  /** The block that takes the next row. */
  #lastBlock() {
    const last = this.#list.lastElementChild;
    if (last !== null && last.childElementCount < BLOCK_ROWS) return last;
    const block = document.createElement('div');
    block.className = 'block';
    this.#list.append(block);
    return block;
  }

  /** @param {HTMLElement} element */
  #remove(element) {
    const block = element.parentElement;
    element.remove();
    if (block?.childElementCount === 0) block.remove();
  }

  #compact() {
    if (this.#head === this.#held.length) this.#held = [];
    else if (this.#head > ROWS_MAX) this.#held = this.#held.slice(this.#head);
    else return;
    this.#head = 0;
  }
}

/**
 * The elements of these entries. One parse serves them all; should a row's HTML not be whole after all, each is parsed
 * alone, so that it cannot reach into the next one.
 * @param {(HeldRow | HeldMark)[]} entries
 */
function draw(entries) {
  const template = document.createElement('template');
  template.innerHTML = entries.map((entry) => (entry.mark === undefined ? `<div>${content(entry.html)}</div>` : '<div></div>')).join('');
  const whole = template.content.childElementCount === entries.length;
  const parsed = /** @type {HTMLElement[]} */ ([...template.content.children]);
  return entries.map((entry, at) => {
    const element = whole ? parsed[at] : document.createElement('div');
    if (entry.mark !== undefined) {
      element.className = 'mark';
      element.dataset.mark = entry.mark;
      element.textContent = entry.text;
    } else {
      if (!whole) element.innerHTML = content(entry.html);
      element.className = 'row';
      element.dataset.offset = String(entry.offset);
      finish(element, entry.html);
    }
    return element;
  });
}

/**
 * Draws a row again. A row that only grew gets what it grew by, so that what is selected in it stays selected.
 * @param {ShownRow} row
 * @param {string} html
 */
function redraw(row, html) {
  const { element } = row;
  if (html === row.html) return;
  if (row.html !== '' && html.startsWith(row.html)) element.insertAdjacentHTML('beforeend', html.slice(row.html.length));
  else element.innerHTML = content(html);
  row.html = html;
  finish(element, html);
}

/**
 * A line break keeps an empty line's height, and its place when it is copied.
 * @param {string} html which the server has escaped
 */
function content(html) {
  return html === '' ? '<br>' : html;
}

/**
 * @param {HTMLElement} element
 * @param {string} html
 */
function finish(element, html) {
  element.classList.toggle('tabbed', html.includes('\t'));
  if (!html.includes('<a')) return;
  for (const link of element.querySelectorAll('a')) {
    link.target = '_blank';
    link.rel = 'noopener noreferrer';
  }
}
