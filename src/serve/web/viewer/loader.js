// Where the reader is in the log, and what the page holds for it. Near an edge of the window more rows are loaded: from the tail as
// long as it has them, from the server otherwise. At the live end the window takes what the tail gets; further up it is
// detached, and what comes is only counted.

import { Gone } from '../net/api.js';
import { compare } from '../rows/generations.js';
import { WINDOW_ROWS_MAX } from '../rows/row-viewport.js';

/** Bounds the work of one frame: parsing and layout of this many rows take a few milliseconds. */
const ROWS_PER_FRAME = 300;
/** A burst that is followed shows its last rows only, those in sight and some more; it is none below so many rows a frame. */
const BURST_SPARE = 1.2;
const BURST_ROWS_MIN = 100;
const ROW_PX_MIN = 15;
const ROWS_AROUND = 150;
/** So long after a burst the rows that it left out are drawn above. */
const CALM_MS = 400;
const ROWS_PER_LOAD = 250;
/** So many screens are loaded beyond the one in sight. */
const SCREENS_AHEAD = 3;
const FOLDED_ROWS_MAX = 4 * WINDOW_ROWS_MAX;
const RETRY_MS = 1_000;

/**
 * @typedef {import('../rows/generations.js').Place} Place
 * @typedef {import('../rows/tail.js').Entry} Entry
 * @typedef {'top' | 'middle'} Align
 *
 * @typedef {object} Parts
 * @property {HTMLElement} scroller
 * @property {import('../rows/generations.js').Spans} spans
 * @property {import('../rows/tail.js').Tail} tail
 * @property {import('../rows/row-viewport.js').Window} window
 * @property {import('../net/api.js').History} history
 * @property {import('../rows/follow.js').Follow} follow
 * @property {() => void} changed a frame is needed
 */

export class Reader {
  /** Whether the window ends where the log ends. */
  attached = true;
  /** Whether nothing before the window can be loaded any more. @type {'' | 'start' | 'gone'} */
  top = '';
  /** Parameters of the filter; none shows every row. @type {Record<string, string>} */
  filter = {};
  /** How far a search for rows that pass the filter has come. @type {Place | null} */
  scanning = null;
  #parts;
  /** Ends what is being loaded for a window that is no more. */
  #turn = new AbortController();
  #loadingUp = false;
  #loadingDown = false;
  #grown = false;
  #calmAt = 0;
  /** @type {number | null} */
  #wish = null;

  /** @param {Parts} parts */
  constructor(parts) {
    this.#parts = parts;
  }

  get isFiltering() {
    return Object.keys(this.filter).length > 0;
  }

  /** Whether rows come too fast to be read, so that most are left out. */
  get isBursting() {
    return performance.now() < this.#calmAt;
  }

  /** One change of the document. Returns whether another is needed at once. */
  draw() {
    const more = this.isFiltering ? this.#drawFiltered() : this.attached && this.#drawTail();
    return this.#fill() || more;
  }

  /** To the live end, which is followed from there. */
  toEnd() {
    const { follow, tail } = this.#parts;
    follow.resume();
    if (!this.attached) {
      if (this.isFiltering) this.#load({ before: tail.to.offset }, tail.to.span, 'end');
      else this.#showTail(ROWS_PER_FRAME);
    }
    this.#parts.changed();
  }

  /** To the first byte of the file in sight. */
  async toStart() {
    const { follow, window, spans } = this.#parts;
    follow.pause();
    const span = window.first()?.span ?? spans.present;
    await this.reveal({ span, offset: spans.at(span)?.from ?? 0 }, 'top');
  }

  /**
   * Brings a place into sight. Returns the row that is there, if there is one.
   * @param {Place} place
   * @param {Align} align
   * @returns {Promise<import('../rows/tail.js').Row | null>}
   */
  async reveal(place, align) {
    const { follow, window } = this.#parts;
    follow.pause();
    if (!window.covers(place) || (this.isFiltering && window.rowAt(place)?.offset !== place.offset)) {
      if (!this.#showOfTail(place) && !await this.#load({ from: place.offset }, place.span, align)) return null;
    }
    const row = window.rowAt(place) ?? this.#firstRow();
    if (row?.element) this.#scrollTo(row.element, align);
    this.#parts.changed();
    return row;
  }

  /**
   * Moves the view to a part of the file in sight, 0 to 1. While that is loaded, only the last wish is kept.
   * @param {number} part
   */
  async seek(part) {
    const { window, spans } = this.#parts;
    const isSeeking = this.#wish !== null;
    this.#wish = part;
    if (isSeeking) return;
    for (let wish = -1; wish !== this.#wish;) {
      wish = this.#wish;
      const span = window.first()?.span ?? spans.present;
      const { from, to } = spans.at(span) ?? { from: 0, to: 0 };
      if (wish >= 1 && span === spans.present) this.toEnd();
      else await this.reveal({ span, offset: Math.floor(from + wish * (to - from)) }, 'top');
    }
    this.#wish = null;
  }

  /** The file grew, or goes on elsewhere. */
  grew() {
    this.#grown = true;
  }

  /**
   * Shows what passes the filter, or everything again, around the row in sight.
   * @param {Record<string, string>} filter
   * @param {Place | null} around
   */
  async refilter(filter, around) {
    const { follow, window, spans, tail } = this.#parts;
    const place = around ?? window.first() ?? null;
    this.filter = filter;
    this.scanning = null;
    if (follow.following || place === null) {
      this.attached = false;
      if (this.isFiltering) this.#show([], tail.to, tail.to);
      this.toEnd();
      return;
    }
    this.attached = false;
    this.#show([], placeOf(place), placeOf(place));
    if (spans.at(place.span)) await this.#load({ from: place.offset }, place.span, around === null ? 'top' : 'middle');
    const row = window.rowAt(place);
    if (row?.element) this.#scrollTo(row.element, around === null ? 'top' : 'middle');
  }

  /** @param {HTMLElement} row @param {Align} align */
  #scrollTo(row, align) {
    const { scroller } = this.#parts;
    const box = scroller.getBoundingClientRect();
    // Only the first row of all keeps the space above it: before any other one there will be rows, of which none was in sight.
    const isFirst = this.#firstRow()?.element === row && this.#isStart(this.#parts.window.from);
    if (isFirst && align === 'top') {
      scroller.scrollTop = 0;
      return;
    }
    const space = align === 'middle' ? Math.max(0, (box.height - row.offsetHeight) / 2.5) : 0;
    scroller.scrollTop += row.getBoundingClientRect().top - box.top - space;
    this.#parts.follow.pin();
  }

  /** Whether nothing is before a place. @param {Place} place */
  #isStart({ span, offset }) {
    const { spans } = this.#parts;
    return span === spans.first && offset <= (spans.at(span)?.from ?? 0);
  }

  #firstRow() {
    for (const entry of this.#parts.window.entries()) if (entry.mark === undefined) return entry;
    return null;
  }

  /** @returns {boolean} whether more is to be drawn in another frame */
  #drawTail() {
    const { tail, window, follow, scroller } = this.#parts;
    if (tail.from === null) return false;
    const { cut } = tail;
    tail.cut = null;
    const start = cut !== null && compare(cut, window.to) < 0 ? later(cut, window.from) : window.to;
    const waiting = tail.covers(start) ? tail.countAfter(start) : Infinity;
    if (waiting === Infinity || (follow.following && waiting > BURST_ROWS_MIN)) {
      if (!window.isEmpty) this.#calmAt = performance.now() + CALM_MS;
      if (follow.following || window.isEmpty) this.#showTail(window.isEmpty ? ROWS_PER_FRAME : Math.ceil(BURST_SPARE * scroller.clientHeight / ROW_PX_MIN));
      else this.attached = false;
      return false;
    }
    if (waiting > 0 || compare(start, window.to) < 0) {
      this.#append(start, tail.after(start, ROWS_PER_FRAME), waiting > ROWS_PER_FRAME ? null : tail.to);
    } else {
      window.to = tail.to;
    }
    if (follow.following) window.trimTop(WINDOW_ROWS_MAX, this.#selected());
    else if (window.length > WINDOW_ROWS_MAX) this.attached = false;
    return this.attached && waiting > ROWS_PER_FRAME;
  }

  #drawFiltered() {
    if (this.#grown && this.attached && !this.#loadingDown) {
      this.#grown = false;
      const { tail, window } = this.#parts;
      const { cut } = tail;
      tail.cut = null;
      // Rows that were drawn over may pass the filter no more, and others may.
      if (cut !== null && compare(cut, window.to) < 0) window.to = later(cut, window.from);
      this.#loadDown();
    }
    return false;
  }

  /**
   * Shows the last rows of the log.
   * @param {number} rows
   */
  #showTail(rows) {
    const { tail } = this.#parts;
    const entries = tail.end(rows);
    const first = entries[0];
    this.#show(entries, first === undefined ? tail.to : placeOf(first), tail.to);
    tail.cut = null;
    this.attached = true;
  }

  /**
   * Shows what is around a place if the tail has it. Returns whether it does.
   * @param {Place} place
   */
  #showOfTail(place) {
    const { tail, window } = this.#parts;
    if (this.isFiltering || !tail.covers(place) || compare(place, tail.to) >= 0) return false;
    const before = tail.before(place, ROWS_AROUND);
    const after = tail.after(place, ROWS_AROUND);
    this.#show([...before, ...after], placeOf(before[0] ?? after[0]), tail.to);
    this.attached = tail.countAfter(place) <= after.length;
    if (!this.attached) window.to = placeOf(tail.after(place, after.length + 1)[after.length]);
    return true;
  }

  /**
   * @param {Entry[]} entries
   * @param {Place} from
   * @param {Place} to
   */
  #show(entries, from, to) {
    this.#turn.abort();
    this.#turn = new AbortController();
    this.#loadingUp = false;
    this.#loadingDown = false;
    this.top = '';
    this.scanning = null;
    this.#parts.window.replace(entries, from, to);
  }

  /**
   * @param {Place} cut
   * @param {Entry[]} entries
   * @param {Place | null} to null: there is more, and it begins behind the last of these
   */
  #append(cut, entries, to) {
    const { window, tail } = this.#parts;
    if (to === null) {
      const last = entries[entries.length - 1];
      const next = tail.after(last, ROWS_PER_FRAME).find((entry) => compare(entry, last) > 0);
      to = next === undefined ? tail.to : placeOf(next);
    }
    window.patch(cut, entries, to);
  }

  /** Loads what will soon be in sight. Returns whether another frame is needed. */
  #fill() {
    const { scroller, window, tail, follow } = this.#parts;
    if (tail.from === null) return false;
    // Rows that are folded away take no room, so that all of a log could be loaded for one screen.
    if (window.length > FOLDED_ROWS_MAX) return false;
    const ahead = SCREENS_AHEAD * scroller.clientHeight;
    let more = false;
    const isNearTop = scroller.scrollTop < ahead;
    if (!(this.isBursting && follow.following) && (isNearTop || (this.attached && !this.isFiltering && window.length < WINDOW_ROWS_MAX - ROWS_PER_LOAD))) more = this.#loadUp(isNearTop);
    if (!this.attached && scroller.scrollHeight - scroller.clientHeight - scroller.scrollTop < ahead) more = this.#loadDown() || more;
    return more;
  }

  /**
   * @param {boolean} needed whether to ask the server if the tail does not have it
   * @returns {boolean} whether something was drawn
   */
  #loadUp(needed) {
    const { window, tail } = this.#parts;
    if (this.#loadingUp || this.top !== '') return false;
    if (!this.isFiltering && tail.covers(window.from)) {
      const entries = tail.before(window.from, ROWS_PER_LOAD);
      if (entries.length > 0) {
        window.prepend(entries, placeOf(entries[0]));
        this.#trimBottom();
        return true;
      }
    }
    if (!needed) return false;
    this.#loadingUp = true;
    this.#fetchUp(this.#turn.signal);
    return false;
  }

  /** @param {AbortSignal} signal */
  async #fetchUp(signal) {
    const { window, spans, history } = this.#parts;
    await this.#settled(signal, 'up', async () => {
      let { span, offset } = window.from;
      const present = spans.at(span);
      if (present === undefined) return;
      if (offset <= present.from) {
        if (span === spans.first) {
          this.top = 'start';
          return;
        }
        const first = window.entries().next().value;
        const mark = this.#beginning(span);
        const isThere = first?.mark !== undefined && compare(first, mark) === 0;
        window.prepend(isThere ? [] : [mark], { span: span - 1, offset: spans.at(span - 1).to });
        return;
      }
      const answer = await history.rows(present.generation, { before: offset }, ROWS_PER_LOAD, this.filter, signal);
      const entries = this.#entries(answer, span).filter((entry) => entry.offset < offset);
      const from = answer.at_start ? present.from : Math.max(present.from, Math.min(answer.from, offset));
      window.prepend(entries, { span, offset: from });
      this.scanning = entries.length === 0 && from > present.from ? { span, offset: from } : null;
      this.#trimBottom();
    }, () => {
      this.top = 'gone';
    });
  }

  /** @returns {boolean} whether something was drawn */
  #loadDown() {
    const { window, tail } = this.#parts;
    if (this.#loadingDown) return false;
    if (!this.isFiltering && tail.covers(window.to)) {
      const waiting = tail.countAfter(window.to);
      this.#append(window.to, tail.after(window.to, ROWS_PER_LOAD), waiting > ROWS_PER_LOAD ? null : tail.to);
      this.attached = waiting <= ROWS_PER_LOAD;
      window.trimTop(WINDOW_ROWS_MAX, this.#selected());
      this.top = '';
      return true;
    }
    this.#loadingDown = true;
    this.#fetchDown(this.#turn.signal);
    return false;
  }

  /** @param {AbortSignal} signal */
  async #fetchDown(signal) {
    const { window, spans, history } = this.#parts;
    const { span, offset } = window.to;
    await this.#settled(signal, 'down', async () => {
      const present = spans.at(span);
      if (present === undefined) return;
      const answer = await history.rows(present.generation, { from: offset }, ROWS_PER_LOAD, this.filter, signal);
      this.#join(answer, span, { span, offset });
      if (window.length > WINDOW_ROWS_MAX) this.top = '';
      window.trimTop(WINDOW_ROWS_MAX, this.#selected());
    }, () => {
      const gone = spans.at(span);
      if (gone === undefined || span === spans.present) return;
      gone.gone = true;
      const mark = { span, offset, mark: 'gap', text: 'the rest of this file can not be read any more', element: null };
      window.patch({ span, offset }, [mark], { span, offset: Math.max(gone.to, offset + 1) });
      this.#cross(span);
    });
  }

  /**
   * Appends an answer, up to where the tail or the next file goes on.
   * @param {import('../net/api.js').Rows} answer
   * @param {number} span
   * @param {Place} at the place that was asked for
   */
  #join(answer, span, at) {
    const { window, spans, tail } = this.#parts;
    const isPresent = span === spans.present;
    let entries = this.#entries(answer, span);
    let next = Math.max(answer.next, at.offset);
    if (!isPresent) {
      const { to } = spans.at(span);
      entries = entries.filter((entry) => entry.offset < to);
      next = Math.min(next, to);
    }
    if (!this.isFiltering && tail.from?.span === span && next >= tail.from.offset) {
      // The tail may have come while the answer was on its way, and begin before what was asked for.
      const end = later(tail.from, window.from).offset;
      entries = entries.filter((entry) => entry.offset < end);
      next = end;
    }
    const first = entries[0];
    const cut = first !== undefined && compare(first, at) < 0 ? placeOf(first) : at;
    window.patch(cut, entries, { span, offset: next });
    this.scanning = entries.length === 0 && !answer.at_end ? { span, offset: next } : null;
    const { to } = spans.at(span);
    if (!isPresent && (next >= to || answer.at_end)) this.#cross(span);
    else if (this.isFiltering) this.attached = answer.at_end;
  }

  /** Goes on from the end of one file to the beginning of the next. @param {number} span */
  #cross(span) {
    const { window, spans } = this.#parts;
    const mark = this.#beginning(span + 1);
    window.patch(window.to, [mark], { span: span + 1, offset: spans.at(span + 1).from });
  }

  /**
   * A new window around an offset.
   * @param {import('../net/api.js').Where} where
   * @param {number} span
   * @param {Align | 'end'} align
   * @returns {Promise<boolean>} whether it is there
   */
  async #load(where, span, align) {
    const { window, spans, tail, history, scroller, follow, changed } = this.#parts;
    this.#turn.abort();
    this.#turn = new AbortController();
    const { signal } = this.#turn;
    const generation = spans.at(span)?.generation ?? null;
    this.#loadingUp = true;
    this.#loadingDown = true;
    // Else what comes at the end would be drawn in its place meanwhile.
    this.attached = false;
    tail.cut = null;
    try {
      const answer = await history.rows(generation, where, ROWS_PER_LOAD, this.filter, signal);
      signal.throwIfAborted();
      let at = answer.from;
      let before = null;
      if (align === 'middle' && !answer.at_start && at > spans.at(span).from) {
        before = await history.rows(generation, { before: at }, ROWS_PER_LOAD / 2, this.filter, signal);
        signal.throwIfAborted();
      }
      // The tail may have come meanwhile; then the window goes on in it.
      if ('from' in where && this.#showOfTail({ span, offset: where.from })) return true;
      if ('before' in where) at = where.before;
      this.#show([], { span, offset: answer.from }, { span, offset: answer.from });
      this.attached = false;
      this.#join(answer, span, { span, offset: answer.from });
      if (align === 'end') {
        this.attached = true;
        window.to = { span, offset: at };
        this.#grown = true;
      } else {
        scroller.scrollTop = 0;
      }
      if (before !== null) window.prepend(this.#entries(before, span), { span, offset: before.from });
      if (follow.following) follow.pin();
      return true;
    } catch (error) {
      if (signal.aborted) return false;
      if (!(error instanceof Gone)) console.warn(`rows: ${error}`);
      if (window.isEmpty && !this.isFiltering) this.attached = true;
      return false;
    } finally {
      if (!signal.aborted || signal === this.#turn.signal) {
        this.#loadingUp = false;
        this.#loadingDown = false;
      }
      changed();
    }
  }

  /**
   * The rows of an answer, with what is known to have happened between them.
   * @param {import('../net/api.js').Rows} answer
   * @param {number} span
   * @returns {Entry[]}
   */
  #entries(answer, span) {
    /** @type {Entry[]} */
    const entries = answer.rows.map(([offset, html, note], at) => ({
      span, offset, html, note: note ?? null, line: answer.lines?.[at] ?? null, time: note?.time ?? answer.times?.[at] ?? null, element: null,
    }));
    const { notes, from } = this.#parts.spans.at(span);
    for (const { offset, mark, text } of notes) {
      if (offset < answer.from || offset >= answer.next) continue;
      const at = entries.findIndex((entry) => entry.offset >= offset);
      entries.splice(at < 0 ? entries.length : at, 0, { span, offset, mark, text, element: null });
    }
    return entries.filter(({ offset }) => offset >= from);
  }

  /** @param {number} span @returns {import('../rows/tail.js').Mark} */
  #beginning(span) {
    const { begins, from } = this.#parts.spans.at(span);
    return { span, offset: from, mark: begins?.mark ?? 'reset', text: begins?.text ?? '', element: null };
  }

  #trimBottom() {
    const { window } = this.#parts;
    if (window.trimBottom(WINDOW_ROWS_MAX, this.#selected())) this.attached = false;
  }

  /** The nodes that a selection ends in, which must stay. */
  #selected() {
    const selection = document.getSelection();
    return selection === null || selection.isCollapsed ? [] : [selection.anchorNode, selection.focusNode];
  }

  /**
   * @param {AbortSignal} signal
   * @param {'up' | 'down'} way
   * @param {() => Promise<void>} load
   * @param {() => void} gone
   */
  async #settled(signal, way, load, gone) {
    let wait = 0;
    try {
      await load();
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof Gone) gone();
      else wait = RETRY_MS;
    }
    if (signal.aborted) return;
    const end = () => {
      if (signal.aborted) return;
      if (way === 'up') this.#loadingUp = false;
      else this.#loadingDown = false;
      this.#parts.changed();
    };
    if (wait > 0) setTimeout(end, wait);
    else end();
  }
}

/** @param {Place} place @returns {Place} */
function placeOf({ span, offset }) {
  return { span, offset };
}

/** @param {Place} a @param {Place} b */
function later(a, b) {
  return compare(a, b) < 0 ? b : a;
}
