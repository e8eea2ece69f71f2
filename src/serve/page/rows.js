// The rows on the page: a bounded window of the log. What arrives is held first and enters the document in one
// change a frame; rows that are on the page stay the same nodes, so that a selection in them survives.
//
// Bounds: at most ROWS_MAX rows on the page and as many held. While the view follows, the oldest leave at the top;
// while it stands still nothing that is on the page leaves, and what is held beyond the bound is replaced by a marker.

import { counted } from './units.js';

export const ROWS_MAX = 10_000;
const HELD_MAX = 10_000;
/** Bounds the work of one frame: parsing and layout of this many rows stay well under 100 ms. */
const ROWS_PER_FRAME = 800;

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
   * @param {boolean} following
   */
  patch(patch, newFrom, following) {
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
    this.#bound(following);
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
  }

  /**
   * Moves held rows onto the page, a frame's worth at most. Returns whether more could be moved in another frame.
   * @param {boolean} following whether rows at the top may leave
   */
  apply(following) {
    if (following && this.#heldLength > ROWS_MAX) this.#clear();
    const stale = this.#takeStale();
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
    for (const { element } of stale) element.remove();

    const added = document.createDocumentFragment();
    if (budget > 0 && this.#skipped > 0) {
      this.#append(added, { mark: 'skipped', text: `${counted(this.#skipped, 'line')} skipped while paused` });
      this.#skipped = 0;
    }
    for (; budget > 0 && this.#heldLength > 0; budget -= 1) {
      this.#append(added, this.#held[this.#head]);
      this.#head += 1;
    }
    this.#list.append(added);
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

  /**
   * @param {DocumentFragment} into
   * @param {HeldRow | HeldMark} entry
   */
  #append(into, entry) {
    const element = document.createElement('div');
    if (entry.mark !== undefined) {
      element.className = 'mark';
      element.dataset.mark = entry.mark;
      element.textContent = entry.text;
      this.#shown.push({ offset: undefined, html: '', element });
    } else {
      element.className = 'row';
      element.dataset.offset = String(entry.offset);
      const row = { offset: entry.offset, html: '', element };
      redraw(row, entry.html);
      this.#shown.push(row);
    }
    into.append(element);
  }

  /** @param {boolean} following */
  #bound(following) {
    const most = following ? ROWS_MAX + ROWS_PER_FRAME : HELD_MAX;
    while (this.#heldLength > most) {
      if (this.#held[this.#head].mark === undefined) {
        if (following) this.dropped += 1;
        else this.#skipped += 1;
      }
      this.#head += 1;
      if (following) this.#clear();
    }
    this.#compact();
  }

  /** Nothing on the page is close enough to the end to stay. */
  #clear() {
    this.dropped += this.#skipped;
    this.#skipped = 0;
    if (this.#shown.length === 0) return;
    for (const { offset } of this.#shown) if (offset !== undefined) this.dropped += 1;
    this.#shown = [];
    this.#list.replaceChildren();
  }

  #dropOldest() {
    const excess = this.#shown.length - ROWS_MAX;
    if (excess <= 0) return;
    for (const { element, offset } of this.#shown.splice(0, excess)) {
      element.remove();
      if (offset !== undefined) this.dropped += 1;
    }
  }

  #compact() {
    if (this.#head === this.#held.length) this.#held = [];
    else if (this.#head > HELD_MAX) this.#held = this.#held.slice(this.#head);
    else return;
    this.#head = 0;
  }
}

/**
 * Draws a row's HTML, which the server has escaped. A row that only grew gets what it grew by, so that what is
 * selected in it stays selected.
 * @param {ShownRow} row
 * @param {string} html
 */
function redraw(row, html) {
  const { element } = row;
  if (html === row.html && html !== '') return;
  if (row.html !== '' && html.startsWith(row.html)) {
    element.insertAdjacentHTML('beforeend', html.slice(row.html.length));
  } else if (html === '') {
    // A line break keeps an empty line's height, and its place when it is copied.
    element.replaceChildren(document.createElement('br'));
  } else if (/[<&]/.test(html)) {
    element.innerHTML = html;
  } else {
    element.textContent = html;
  }
  row.html = html;
  element.classList.toggle('tabbed', html.includes('\t'));
  if (!html.includes('<a')) return;
  for (const link of element.querySelectorAll('a')) {
    link.target = '_blank';
    link.rel = 'noopener noreferrer';
  }
}
