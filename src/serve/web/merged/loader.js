// Loads the rows of the merged viewport from the merge buffer. At the end the viewport shows arriving rows; further up
// they are only counted.

import { selectedNodes, VIEWPORT_ROWS_MAX } from '../rows/row-viewport.js';
import { redrawRow } from '../rows/row.js';

/** The most rows drawn in one frame. */
const ROWS_PER_FRAME = 300;
/** In a burst only this many of the last rows are drawn: a few screens. */
const ROWS_OF_BURST = 150;
const SCREENS_AHEAD = 2;

/**
 * @typedef {import('./merge-buffer.js').Entry} Entry
 *
 * @typedef {object} Parts
 * @property {HTMLElement} scroller
 * @property {import('../rows/row-viewport.js').RowViewport} rowViewport
 * @property {import('./merge-buffer.js').MergeBuffer} buffer
 * @property {import('../rows/follow.js').Follow} follow
 * @property {() => import('./merge-buffer.js').RowFilter} rowFilter returns the present filter
 * @property {(entry: Entry) => void} decorate called for each entry that was drawn
 * @property {(entry: Entry) => void} redrawn called for each entry that changed
 */

export class MergedLoader {
  /** Whether the viewport ends where the list ends. */
  attached = true;
  /** Whether the first row of the buffer is on the page. */
  isAtTop = false;
  #parts;

  /** @param {Parts} parts */
  constructor(parts) {
    this.#parts = parts;
  }

  get isEmpty() {
    return this.#parts.rowViewport.isEmpty;
  }

  /** Draws one frame. Returns whether another is needed at once. */
  draw() {
    const { buffer } = this.#parts;
    let isMissing = false;
    for (const entry of buffer.changed) isMissing = this.#redraw(entry) || isMissing;
    buffer.changed.clear();
    if (isMissing) this.refilter();
    const more = this.attached && this.#drawEnd();
    return this.#fill() || more;
  }

  /** Restarts at the end of the list. */
  restart() {
    this.#showEnd(ROWS_PER_FRAME);
  }

  toEnd() {
    this.#parts.follow.resume();
    if (!this.attached) this.#showEnd(ROWS_PER_FRAME);
  }

  toStart() {
    const { follow, buffer, scroller, rowFilter } = this.#parts;
    follow.pause();
    const entries = buffer.after(0, ROWS_PER_FRAME, rowFilter());
    this.#replace(entries, 0, entries.length < ROWS_PER_FRAME ? buffer.next : next(entries));
    this.isAtTop = true;
    scroller.scrollTop = 0;
  }

  /** Applies a changed filter and keeps the visible row in its place. */
  refilter() {
    const { rowViewport, follow } = this.#parts;
    const first = rowViewport.firstInSight();
    if (follow.following || first === null) {
      this.#showEnd(ROWS_PER_FRAME);
      return;
    }
    const rowElement = this.#showAround(first.offset);
    if (rowElement) this.#scrollTo(rowElement, 0);
  }

  /**
   * Scrolls a row into the middle of the view.
   * @param {number} offset its place in the list
   */
  reveal(offset) {
    const { rowViewport, follow, scroller } = this.#parts;
    follow.pause();
    const known = rowViewport.rowAt(place(offset));
    const element = known?.offset === offset && known.element ? known.element : this.#showAround(offset);
    if (element) this.#scrollTo(element, Math.max(0, (scroller.clientHeight - element.offsetHeight) / 2.5));
  }

  /** Shows the rows around a place. Returns the element of the row there, or of the last. @param {number} offset */
  #showAround(offset) {
    const { buffer, rowFilter } = this.#parts;
    const before = buffer.before(offset, ROWS_OF_BURST, rowFilter());
    const after = buffer.after(offset, ROWS_OF_BURST, rowFilter());
    this.#replace([...before, ...after], before[0]?.offset ?? offset, after.length < ROWS_OF_BURST ? buffer.next : next(after));
    return (after[0] ?? before[before.length - 1])?.element;
  }

  /** @param {HTMLElement} row @param {number} space distance from the top of the view, in pixels */
  #scrollTo(row, space) {
    const { scroller, follow } = this.#parts;
    scroller.scrollTop += row.getBoundingClientRect().top - scroller.getBoundingClientRect().top - space;
    follow.pin();
  }

  /** Makes a change and keeps the visible rows in their place. @param {() => void} change */
  hold(change) {
    this.#parts.rowViewport.keepInPlace(change);
  }

  /** Updates a row. Returns whether the row has to be added to the page. @param {Entry} entry */
  #redraw(entry) {
    const { rowViewport, rowFilter, redrawn } = this.#parts;
    if (entry.marker !== undefined) return false;
    const { logs, passes } = rowFilter();
    const isShown = !entry.isGone && (passes === null || passes(entry));
    redrawn(entry);
    if (entry.element === null) return passes !== null && isShown && logs.has(entry.log) && rowViewport.covers(place(entry.offset));
    entry.element.hidden = !isShown;
    redrawRow(entry.element, entry.html);
    return false;
  }

  #drawEnd() {
    const { rowViewport, buffer, follow, rowFilter } = this.#parts;
    const shown = rowFilter();
    const start = rowViewport.to.offset;
    const waiting = buffer.countAfter(start, shown);
    if (follow.following && waiting > ROWS_PER_FRAME) {
      this.#showEnd(ROWS_OF_BURST);
      return false;
    }
    this.#append(Math.min(waiting, ROWS_PER_FRAME), waiting <= ROWS_PER_FRAME);
    if (follow.following) rowViewport.trimTop(VIEWPORT_ROWS_MAX, selectedNodes());
    else if (rowViewport.length > VIEWPORT_ROWS_MAX) this.attached = false;
    return this.attached && waiting > ROWS_PER_FRAME;
  }

  /** @param {number} rows @param {boolean} isAll whether they reach the end of the list */
  #append(rows, isAll) {
    const { rowViewport, buffer, rowFilter } = this.#parts;
    const entries = buffer.after(rowViewport.to.offset, rows, rowFilter());
    const to = isAll ? buffer.next : next(entries);
    if (entries.length === 0) {
      rowViewport.to = place(to);
      return;
    }
    rowViewport.patch(rowViewport.to, entries, place(to));
    this.#drawn(entries);
  }

  /** @param {number} rows */
  #showEnd(rows) {
    const { buffer, rowFilter, follow } = this.#parts;
    const entries = buffer.before(buffer.next, rows, rowFilter());
    this.#replace(entries, entries[0]?.offset ?? buffer.next, buffer.next);
    this.attached = true;
    // Otherwise the changed rows would look like a scroll by the reader.
    follow.pin();
  }

  /** @param {Entry[]} entries @param {number} from @param {number} to */
  #replace(entries, from, to) {
    this.isAtTop = false;
    this.#parts.rowViewport.replace(entries, place(from), place(to));
    this.attached = to >= this.#parts.buffer.next;
    this.#drawn(entries);
  }

  /** Adds the rows that will soon be in sight. Returns whether another frame is needed. */
  #fill() {
    const { scroller, rowViewport, buffer, rowFilter } = this.#parts;
    const ahead = SCREENS_AHEAD * scroller.clientHeight;
    let more = false;
    if (!this.isAtTop && scroller.scrollTop < ahead) {
      const entries = buffer.before(rowViewport.from.offset, ROWS_PER_FRAME, rowFilter());
      this.isAtTop = entries.length < ROWS_PER_FRAME;
      if (entries.length > 0) {
        rowViewport.prepend(entries, place(entries[0].offset));
        this.#drawn(entries);
        if (rowViewport.trimBottom(VIEWPORT_ROWS_MAX, selectedNodes())) this.attached = false;
        more = !this.isAtTop;
      }
    }
    if (!this.attached && scroller.scrollHeight - scroller.clientHeight - scroller.scrollTop < ahead) {
      const waiting = buffer.countAfter(rowViewport.to.offset, rowFilter());
      this.#append(ROWS_PER_FRAME, waiting <= ROWS_PER_FRAME);
      this.attached = waiting <= ROWS_PER_FRAME;
      const first = rowViewport.from.offset;
      rowViewport.trimTop(VIEWPORT_ROWS_MAX, selectedNodes());
      if (rowViewport.from.offset !== first) this.isAtTop = false;
      more = true;
    }
    return more;
  }

  /** @param {Entry[]} entries */
  #drawn(entries) {
    for (const entry of entries) {
      this.#parts.decorate(entry);
      if (entry.isGone && entry.element !== null) entry.element.hidden = true;
    }
  }
}

/** @param {number} offset */
function place(offset) {
  return { gen: 0, offset };
}

/** @param {Entry[]} entries */
function next(entries) {
  return (entries[entries.length - 1]?.offset ?? -1) + 1;
}
