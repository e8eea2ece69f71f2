// Where the reader is in merged logs: at the end, which is followed, or further up, where what comes is only counted. All
// that can be looked at is what the medley keeps.

import { redraw } from '../rows/row.js';
import { WINDOW_ROWS_MAX } from '../rows/row-viewport.js';

/** Bounds the work of one frame. */
const ROWS_PER_FRAME = 300;
/** A burst that is followed shows its last rows only, a few screens. */
const ROWS_OF_BURST = 150;
const SCREENS_AHEAD = 2;

/**
 * @typedef {import('./merge-buffer.js').Entry} Entry
 *
 * @typedef {object} Parts
 * @property {HTMLElement} scroller
 * @property {import('../rows/row-viewport.js').Window} window
 * @property {import('./merge-buffer.js').Medley} medley
 * @property {import('../rows/follow.js').Follow} follow
 * @property {() => import('./merge-buffer.js').Choice} choice what is shown
 * @property {(entry: Entry) => void} dress called for each entry that was drawn
 * @property {(entry: Entry) => void} redrawn called for each one that is otherwise than it was
 */

export class MergedReader {
  /** Whether the window ends where the list ends. */
  attached = true;
  /** Whether the first row that is kept is on the page. */
  isAtTop = false;
  #parts;

  /** @param {Parts} parts */
  constructor(parts) {
    this.#parts = parts;
  }

  get isEmpty() {
    return this.#parts.window.isEmpty;
  }

  /** One change of the document. Returns whether another is needed at once. */
  draw() {
    const { medley } = this.#parts;
    let isMissing = false;
    for (const entry of medley.changed) isMissing = this.#redraw(entry) || isMissing;
    medley.changed.clear();
    if (isMissing) this.refilter();
    const more = this.attached && this.#drawEnd();
    return this.#fill() || more;
  }

  /** Begins anew at the end. */
  restart() {
    this.#showEnd(ROWS_PER_FRAME);
  }

  toEnd() {
    this.#parts.follow.resume();
    if (!this.attached) this.#showEnd(ROWS_PER_FRAME);
  }

  toStart() {
    const { follow, medley, scroller, choice } = this.#parts;
    follow.pause();
    const entries = medley.after(0, ROWS_PER_FRAME, choice());
    this.#replace(entries, 0, entries.length < ROWS_PER_FRAME ? medley.next : next(entries));
    this.isAtTop = true;
    scroller.scrollTop = 0;
  }

  /** Shows other rows than before, around the one in sight. */
  refilter() {
    const { window, follow } = this.#parts;
    const first = window.first();
    if (follow.following || first === null) {
      this.#showEnd(ROWS_PER_FRAME);
      return;
    }
    const top = this.#showAround(first.offset);
    if (top) this.#scrollTo(top, 0);
  }

  /**
   * Brings a row that is shown into the middle of the view.
   * @param {number} offset its place
   */
  reveal(offset) {
    const { window, follow, scroller } = this.#parts;
    follow.pause();
    const known = window.rowAt(place(offset));
    const element = known?.offset === offset && known.element ? known.element : this.#showAround(offset);
    if (element) this.#scrollTo(element, Math.max(0, (scroller.clientHeight - element.offsetHeight) / 2.5));
  }

  /** Shows what is around a place. Returns the row there, or the last one. @param {number} offset */
  #showAround(offset) {
    const { medley, choice } = this.#parts;
    const before = medley.before(offset, ROWS_OF_BURST, choice());
    const after = medley.after(offset, ROWS_OF_BURST, choice());
    this.#replace([...before, ...after], before[0]?.offset ?? offset, after.length < ROWS_OF_BURST ? medley.next : next(after));
    return (after[0] ?? before[before.length - 1])?.element;
  }

  /** @param {HTMLElement} row @param {number} space pixels above it */
  #scrollTo(row, space) {
    const { scroller, follow } = this.#parts;
    scroller.scrollTop += row.getBoundingClientRect().top - scroller.getBoundingClientRect().top - space;
    follow.pin();
  }

  /** Changes how rows look, and keeps those in sight where they are. @param {() => void} change */
  hold(change) {
    this.#parts.window.hold(change);
  }

  /** Returns whether the row is not on the page, but is one that should be. @param {Entry} entry */
  #redraw(entry) {
    const { window, choice, redrawn } = this.#parts;
    if (entry.mark !== undefined) return false;
    const { logs, passes } = choice();
    const isShown = !entry.isGone && (passes === null || passes(entry));
    redrawn(entry);
    if (entry.element === null) return passes !== null && isShown && logs.has(entry.log) && window.covers(place(entry.offset));
    entry.element.hidden = !isShown;
    redraw(entry.element, entry.html);
    return false;
  }

  #drawEnd() {
    const { window, medley, follow, choice } = this.#parts;
    const shown = choice();
    const start = window.to.offset;
    const waiting = medley.countAfter(start, shown);
    if (follow.following && waiting > ROWS_PER_FRAME) {
      this.#showEnd(ROWS_OF_BURST);
      return false;
    }
    this.#append(Math.min(waiting, ROWS_PER_FRAME), waiting <= ROWS_PER_FRAME);
    if (follow.following) window.trimTop(WINDOW_ROWS_MAX, selected());
    else if (window.length > WINDOW_ROWS_MAX) this.attached = false;
    return this.attached && waiting > ROWS_PER_FRAME;
  }

  /** @param {number} rows @param {boolean} isAll whether nothing is left behind them */
  #append(rows, isAll) {
    const { window, medley, choice } = this.#parts;
    const entries = medley.after(window.to.offset, rows, choice());
    const to = isAll ? medley.next : next(entries);
    if (entries.length === 0) {
      window.to = place(to);
      return;
    }
    window.patch(window.to, entries, place(to));
    this.#drawn(entries);
  }

  /** @param {number} rows */
  #showEnd(rows) {
    const { medley, choice, follow } = this.#parts;
    const entries = medley.before(medley.next, rows, choice());
    this.#replace(entries, entries[0]?.offset ?? medley.next, medley.next);
    this.attached = true;
    // Else the view would seem to have been scrolled up, where there are other rows than before.
    follow.pin();
  }

  /** @param {Entry[]} entries @param {number} from @param {number} to */
  #replace(entries, from, to) {
    this.isAtTop = false;
    this.#parts.window.replace(entries, place(from), place(to));
    this.attached = to >= this.#parts.medley.next;
    this.#drawn(entries);
  }

  /** Draws what will soon be in sight. Returns whether another frame is needed. */
  #fill() {
    const { scroller, window, medley, choice } = this.#parts;
    const ahead = SCREENS_AHEAD * scroller.clientHeight;
    let more = false;
    if (!this.isAtTop && scroller.scrollTop < ahead) {
      const entries = medley.before(window.from.offset, ROWS_PER_FRAME, choice());
      this.isAtTop = entries.length < ROWS_PER_FRAME;
      if (entries.length > 0) {
        window.prepend(entries, place(entries[0].offset));
        this.#drawn(entries);
        if (window.trimBottom(WINDOW_ROWS_MAX, selected())) this.attached = false;
        more = !this.isAtTop;
      }
    }
    if (!this.attached && scroller.scrollHeight - scroller.clientHeight - scroller.scrollTop < ahead) {
      const waiting = medley.countAfter(window.to.offset, choice());
      this.#append(ROWS_PER_FRAME, waiting <= ROWS_PER_FRAME);
      this.attached = waiting <= ROWS_PER_FRAME;
      const first = window.from.offset;
      window.trimTop(WINDOW_ROWS_MAX, selected());
      if (window.from.offset !== first) this.isAtTop = false;
      more = true;
    }
    return more;
  }

  /** @param {Entry[]} entries */
  #drawn(entries) {
    for (const entry of entries) {
      this.#parts.dress(entry);
      if (entry.isGone && entry.element !== null) entry.element.hidden = true;
    }
  }
}

/** @param {number} offset */
function place(offset) {
  return { span: 0, offset };
}

/** @param {Entry[]} entries */
function next(entries) {
  return (entries[entries.length - 1]?.offset ?? -1) + 1;
}

/** The nodes that a selection ends in, which must stay. */
function selected() {
  const selection = document.getSelection();
  return selection === null || selection.isCollapsed ? [] : [selection.anchorNode, selection.focusNode];
}
