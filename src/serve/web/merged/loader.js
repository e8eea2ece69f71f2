// Draws the merged list: the rows around the place that the reader is at. Near an end of what is here the pager loads more.
// At the end the viewport shows arriving rows, each where its time says; further up those below are only counted.

import { selectedNodes, VIEWPORT_ROWS_MAX } from '../rows/row-viewport.js';
import { redrawRow } from '../rows/row.js';
import { behind, END, isBefore, placeOf } from './place.js';

/** The most rows drawn in one frame. */
const ROWS_PER_FRAME = 300;
/** In a burst only this many of the last rows are drawn: a few screens. */
const ROWS_OF_BURST = 150;
const SCREENS_AHEAD = 2;

/**
 * @typedef {import('./merge-buffer.js').Entry} Entry
 * @typedef {import('./place.js').Place} Place
 *
 * @typedef {object} Parts
 * @property {HTMLElement} scroller
 * @property {import('../rows/row-viewport.js').RowViewport} rowViewport
 * @property {import('./merge-buffer.js').MergeBuffer} buffer
 * @property {import('./pager.js').Pager} pager
 * @property {import('../rows/follow.js').Follow} follow
 * @property {() => import('./merge-buffer.js').RowFilter} rowFilter returns the present filter
 * @property {(entry: Entry) => void} decorate called for each entry that was drawn
 * @property {(entry: Entry) => void} redrawn called for each entry that changed
 */

export class MergedLoader {
  /** Whether the viewport ends where the list ends. */
  attached = true;
  /** Whether the viewport begins where the list begins. */
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
    const { buffer, rowViewport, follow } = this.#parts;
    const missing = this.#redrawChanged();
    buffer.changed.clear();
    if (buffer.isRenumbered) this.#renewEnds();
    buffer.isRenumbered = false;
    if (buffer.isFlooded) this.refilter();
    buffer.isFlooded = false;
    if (this.attached && !buffer.paged.isJoined) this.#detach();
    const more = this.#drawArrived(missing);
    const isFilled = this.#fill();
    buffer.isFollowing = follow.following;
    buffer.trim(rowViewport.from, rowViewport.to);
    return more || isFilled;
  }

  /** Shows the last rows of the list. */
  showEnd(rows = ROWS_PER_FRAME) {
    const { buffer, rowFilter, follow } = this.#parts;
    const entries = buffer.before(END, rows, rowFilter());
    this.#replace(entries, entries[0] ?? END, END);
    this.attached = buffer.paged.isJoined;
    // Otherwise the changed rows would look like a scroll by the reader.
    follow.pin();
  }

  /** Shows the first rows of the list. */
  showStart() {
    const { buffer, rowFilter, scroller, follow } = this.#parts;
    const entries = buffer.after({ gen: -Infinity, offset: 0 }, ROWS_PER_FRAME, rowFilter());
    this.#showRows(entries, entries.length < ROWS_PER_FRAME);
    scroller.scrollTop = 0;
    follow.pin();
  }

  /** Applies a changed filter to what is here, and keeps the visible row in its place. */
  refilter() {
    const { rowViewport, follow } = this.#parts;
    const first = rowViewport.firstInSight();
    if (follow.following || first === null) {
      this.showEnd();
      return;
    }
    const rowElement = this.#showAround(first);
    if (rowElement) this.#scrollTo(rowElement, 0);
  }

  /**
   * Scrolls a row of the list into the middle of the view.
   * @param {Entry} row
   */
  reveal(row) {
    this.#parts.follow.pause();
    this.#scrollInto(row.element ?? this.#showAround(row), 'middle');
  }

  /**
   * Shows what is around a place, and scrolls to the row there.
   * @param {Place} place
   * @param {'top' | 'middle'} align
   */
  show(place, align) {
    this.#parts.follow.pause();
    this.#scrollInto(this.#showAround(place), align);
  }

  /** @param {HTMLElement | null | undefined} element @param {'top' | 'middle'} align */
  #scrollInto(element, align) {
    const { scroller } = this.#parts;
    if (element) this.#scrollTo(element, align === 'top' ? 0 : Math.max(0, (scroller.clientHeight - element.offsetHeight) / 2.5));
  }

  /** Shows the rows around a place. Returns the element of the row there, or of the last. @param {Place} place */
  #showAround(place) {
    const { buffer, rowFilter } = this.#parts;
    const before = buffer.before(place, ROWS_OF_BURST, rowFilter());
    const after = buffer.after(place, ROWS_OF_BURST, rowFilter());
    this.#showRows([...before, ...after], after.length < ROWS_OF_BURST);
    return (after[0] ?? before[before.length - 1])?.element;
  }

  /** @param {Entry[]} entries @param {boolean} isAll whether they reach the end of what is here */
  #showRows(entries, isAll) {
    const { isJoined } = this.#parts.buffer.paged;
    const last = entries.at(-1);
    this.#replace(entries, entries[0] ?? END, isAll && isJoined ? END : last === undefined ? END : behind(last));
    this.attached = isAll && isJoined;
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

  /** Updates rows that changed. Returns those that are missing on the page, as they pass the filter only now. */
  #redrawChanged() {
    const { buffer, rowFilter, redrawn } = this.#parts;
    const choice = rowFilter();
    /** @type {Entry[]} */
    const missing = [];
    for (const entry of buffer.changed) {
      if (entry.marker !== undefined) continue;
      const isShown = buffer.isShown(entry, choice);
      redrawn(entry);
      if (entry.element === null) {
        if (isShown) missing.push(entry);
      } else {
        entry.element.hidden = !isShown;
        redrawRow(entry.element, entry.html);
      }
    }
    return missing;
  }

  /**
   * Draws the rows that are new. Returns whether some are left for the next frame.
   * @param {Entry[]} missing other rows that are to be drawn
   */
  #drawArrived(missing) {
    const { buffer, rowViewport, follow, rowFilter } = this.#parts;
    const choice = rowFilter();
    const isNew = (/** @type {Entry} */ entry) => entry.element === null && buffer.isShown(entry, choice) && buffer.isInRun(entry, choice);
    const entries = [...new Set([...buffer.arrived, ...missing])].filter(isNew);
    buffer.arrived.clear();
    if (follow.following && this.attached && (rowViewport.isEmpty || entries.length > ROWS_PER_FRAME)) {
      if (entries.length > 0) this.showEnd(rowViewport.isEmpty ? ROWS_PER_FRAME : ROWS_OF_BURST);
      return false;
    }
    entries.sort((a, b) => (isBefore(a, b) ? -1 : 1));
    const last = rowViewport.last;
    const isBehind = (/** @type {Entry} */ entry) => this.attached && (last === null || isBefore(last, entry));
    const behindAll = entries.filter(isBehind);
    const between = entries.filter((entry) => !isBehind(entry) && rowViewport.covers(entry));
    const insert = () => rowViewport.insert(between);
    if (between.length > 0) {
      if (follow.following) insert();
      else this.hold(insert);
      this.#drawn(between);
    }
    const now = behindAll.slice(0, ROWS_PER_FRAME);
    if (now.length > 0) {
      rowViewport.patch(END, now, END);
      if (last === null) rowViewport.from = placeOf(now[0]);
      this.#drawn(now);
    }
    for (const entry of behindAll.slice(ROWS_PER_FRAME)) buffer.arrived.add(entry);
    if (follow.following) rowViewport.trimTop(VIEWPORT_ROWS_MAX, selectedNodes());
    else if (rowViewport.length > VIEWPORT_ROWS_MAX && this.attached) this.#detach();
    return behindAll.length > ROWS_PER_FRAME;
  }

  /** Rows that come behind the viewport are not drawn any more. */
  #detach() {
    const { rowViewport } = this.#parts;
    const { last } = rowViewport;
    if (last === null) return;
    rowViewport.to = behind(last);
    this.attached = false;
  }

  /** Names the ends of the viewport by the places of its rows. */
  #renewEnds() {
    const { rowViewport } = this.#parts;
    const { last } = rowViewport;
    if (last === null) return;
    const [first] = /** @type {Generator<Entry>} */ (rowViewport.entries());
    rowViewport.from = placeOf(first);
    if (rowViewport.to !== END) rowViewport.to = behind(last);
  }

  /** @param {Entry[]} entries @param {Place} from @param {Place} to */
  #replace(entries, from, to) {
    this.isAtTop = false;
    this.#parts.rowViewport.replace(entries, placeOf(from), to);
    this.#drawn(entries);
  }

  /** Adds the rows that will soon be in sight. Returns whether another frame is needed. */
  #fill() {
    const { scroller, rowViewport, buffer, pager, rowFilter } = this.#parts;
    if (pager.isSeeking) return false;
    const ahead = SCREENS_AHEAD * scroller.clientHeight;
    const choice = rowFilter();
    let more = false;
    if (!this.isAtTop && scroller.scrollTop < ahead) {
      const entries = buffer.before(rowViewport.from, ROWS_PER_FRAME, choice);
      this.isAtTop = entries.length < ROWS_PER_FRAME && buffer.paged.atStart;
      if (entries.length > 0) {
        rowViewport.prepend(entries, placeOf(entries[0]));
        this.#drawn(entries);
        if (rowViewport.trimBottom(VIEWPORT_ROWS_MAX, selectedNodes())) this.attached = false;
        more = !this.isAtTop;
      } else if (!this.isAtTop) {
        pager.up();
      }
    }
    if (!this.attached && scroller.scrollHeight - scroller.clientHeight - scroller.scrollTop < ahead) {
      const { last } = rowViewport;
      const entries = buffer.after(last === null ? rowViewport.from : behind(last), ROWS_PER_FRAME, choice);
      const isEnd = entries.length < ROWS_PER_FRAME && buffer.paged.isJoined;
      const end = entries.at(-1);
      if (end !== undefined) {
        rowViewport.patch(END, entries, behind(end));
        this.#drawn(entries);
        more = true;
      } else if (!isEnd) {
        pager.down();
      }
      if (isEnd) {
        rowViewport.to = END;
        this.attached = true;
      }
      const first = rowViewport.from;
      rowViewport.trimTop(VIEWPORT_ROWS_MAX, selectedNodes());
      if (rowViewport.from !== first) this.isAtTop = false;
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
