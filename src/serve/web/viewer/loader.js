// Loads the rows of the viewport. Near an edge it adds more rows, from the tail if it has them, else from the server.
// At the live end the viewport is attached and shows arriving rows; further up it is detached, and arriving rows are
// only counted.

import { failureWords, Gone } from '../net/api.js';
import { compare } from '../rows/generations.js';
import { selectedNodes, VIEWPORT_ROWS_MAX } from '../rows/row-viewport.js';

/** The most rows drawn in one frame. Their parsing and layout take a few milliseconds. */
export const ROWS_PER_FRAME = 300;
/** In a burst only the last rows are drawn: the visible ones and some more. */
const BURST_SPARE = 1.2;
const BURST_ROWS_MIN = 100;
const ROW_PX_MIN = 15;
const ROWS_AROUND = 150;
/** The rows that a burst left out are drawn this long after it. */
const CALM_MS = 400;
const ROWS_PER_LOAD = 250;
/** The number of screens loaded beyond the one in sight. */
const SCREENS_AHEAD = 3;
const FOLDED_ROWS_MAX = 4 * VIEWPORT_ROWS_MAX;
const RETRY_MS = 1_000;

/**
 * @typedef {import('../rows/generations.js').Position} Position
 * @typedef {import('../rows/tail.js').Entry} Entry
 * @typedef {'top' | 'middle'} Align the place in the view to which a row is scrolled
 *
 * @typedef {object} Parts
 * @property {HTMLElement} scroller
 * @property {import('../rows/generations.js').Generations} generations
 * @property {import('../rows/tail.js').Tail} tail
 * @property {import('../rows/row-viewport.js').RowViewport} rowViewport
 * @property {import('../net/api.js').LogApi} api
 * @property {import('../rows/follow.js').Follow} follow
 * @property {import('./old-files.js').OldFiles} oldFiles
 * @property {() => void} changed called when a frame is needed
 * @property {(words: string) => void} failed called when the rows at a place that the reader wants can't be loaded
 */

export class RowLoader {
  /** Whether the viewport ends where the log ends. */
  attached = true;
  /** The reason why no earlier row can be loaded; empty if one can. @type {'' | 'start' | 'gone'} */
  top = '';
  /** Why the last request for rows above, or below, failed; empty if it did not. It is repeated. */
  failure = { up: '', down: '' };
  /** The parameters of the filter; empty without a filter. @type {Record<string, string>} */
  filter = {};
  /** The position that the search for matching rows has reached. @type {Position | null} */
  scanning = null;
  #parts;
  /** Aborts the requests of a viewport that was replaced. */
  #turn = new AbortController();
  #loadingUp = false;
  #loadingDown = false;
  #grown = false;
  #calmAt = 0;

  /** @param {Parts} parts */
  constructor(parts) {
    this.#parts = parts;
  }

  get isFiltering() {
    return Object.keys(this.filter).length > 0;
  }

  /** Whether rows arrive too fast to be read, so that most are not drawn. */
  get isBursting() {
    return performance.now() < this.#calmAt;
  }

  /** Draws one frame. Returns whether another is needed at once. */
  draw() {
    const more = this.isFiltering ? this.#drawFiltered() : this.attached && this.#drawTail();
    return this.#fill() || more;
  }

  /** Must be called when the log grew or was rotated. */
  grew() {
    this.#grown = true;
  }

  /** @returns {boolean} whether rows are left for another frame */
  #drawTail() {
    const { tail, rowViewport, follow, scroller } = this.#parts;
    if (tail.from === null) return false;
    const { changedFrom } = tail;
    tail.changedFrom = null;
    const start = changedFrom !== null && compare(changedFrom, rowViewport.to) < 0 ? laterOf(changedFrom, rowViewport.from) : rowViewport.to;
    const waiting = tail.covers(start) ? tail.countAfter(start) : Infinity;
    if (waiting === Infinity || (follow.following && waiting > BURST_ROWS_MIN)) {
      if (!rowViewport.isEmpty) this.#calmAt = performance.now() + CALM_MS;
      if (follow.following || rowViewport.isEmpty) this.showTail(rowViewport.isEmpty ? ROWS_PER_FRAME : Math.ceil(BURST_SPARE * scroller.clientHeight / ROW_PX_MIN));
      else this.attached = false;
      return false;
    }
    if (waiting > 0 || compare(start, rowViewport.to) < 0) {
      this.#append(start, tail.after(start, ROWS_PER_FRAME), waiting > ROWS_PER_FRAME ? null : tail.to);
    } else {
      rowViewport.to = tail.to;
    }
    if (follow.following) rowViewport.trimTop(VIEWPORT_ROWS_MAX, selectedNodes());
    else if (rowViewport.length > VIEWPORT_ROWS_MAX) this.attached = false;
    return this.attached && waiting > ROWS_PER_FRAME;
  }

  #drawFiltered() {
    if (this.#grown && this.attached && !this.#loadingDown) {
      this.#grown = false;
      const { tail, rowViewport } = this.#parts;
      const { changedFrom } = tail;
      tail.changedFrom = null;
      // Changed rows may match now, or match no longer.
      if (changedFrom !== null && compare(changedFrom, rowViewport.to) < 0) rowViewport.to = laterOf(changedFrom, rowViewport.from);
      this.#loadDown();
    }
    return false;
  }

  /**
   * Shows the last rows of the log.
   * @param {number} rows
   */
  showTail(rows) {
    const { tail } = this.#parts;
    const entries = tail.last(rows);
    const first = entries[0];
    this.replace(entries, first === undefined ? tail.to : positionOf(first), tail.to);
    tail.changedFrom = null;
    this.attached = true;
  }

  /**
   * Shows the rows around a position if the tail has it. Returns whether it does.
   * @param {Position} place
   */
  showFromTail(place) {
    const { tail, rowViewport } = this.#parts;
    if (this.isFiltering || !tail.covers(place) || compare(place, tail.to) >= 0) return false;
    const before = tail.before(place, ROWS_AROUND);
    const after = tail.after(place, ROWS_AROUND);
    this.replace([...before, ...after], positionOf(before[0] ?? after[0]), tail.to);
    this.attached = tail.countAfter(place) <= after.length;
    if (!this.attached) rowViewport.to = positionOf(tail.after(place, after.length + 1)[after.length]);
    return true;
  }

  /**
   * @param {Entry[]} entries
   * @param {Position} from
   * @param {Position} to
   */
  replace(entries, from, to) {
    this.#turn.abort();
    this.#turn = new AbortController();
    this.#loadingUp = false;
    this.#loadingDown = false;
    this.top = '';
    this.failure = { up: '', down: '' };
    this.scanning = null;
    this.#parts.rowViewport.replace(entries, from, to);
  }

  /**
   * @param {Position} cut
   * @param {Entry[]} entries
   * @param {Position | null} to the position after the entries; null if it is that of the tail's next entry
   */
  #append(cut, entries, to) {
    const { rowViewport, tail } = this.#parts;
    if (to === null) {
      const last = entries[entries.length - 1];
      const next = tail.after(last, ROWS_PER_FRAME).find((entry) => compare(entry, last) > 0);
      to = next === undefined ? tail.to : positionOf(next);
    }
    rowViewport.patch(cut, entries, to);
  }

  /** Loads the rows that will soon be in sight. Returns whether another frame is needed. */
  #fill() {
    const { scroller, rowViewport, tail, follow } = this.#parts;
    if (tail.from === null || this.#isAwaiting) return false;
    // Folded rows have no height, so without this limit one screen could need the whole log.
    if (rowViewport.length > FOLDED_ROWS_MAX) return false;
    const ahead = SCREENS_AHEAD * scroller.clientHeight;
    let more = false;
    const isNearTop = scroller.scrollTop < ahead;
    if (!(this.isBursting && follow.following) && (isNearTop || (this.attached && !this.isFiltering && rowViewport.length < VIEWPORT_ROWS_MAX - ROWS_PER_LOAD))) more = this.#loadUp(isNearTop);
    if (!this.attached && scroller.scrollHeight - scroller.clientHeight - scroller.scrollTop < ahead) more = this.#loadDown() || more;
    return more;
  }

  /** Whether the first rows are on their way: the view is empty, so all rows before them would seem to be in sight. */
  get #isAwaiting() {
    const { rowViewport, tail, generations } = this.#parts;
    if (!rowViewport.isEmpty || !this.attached || this.isFiltering || tail.from === null) return false;
    return compare(tail.from, tail.to) === 0 && compare(tail.to, { gen: generations.currentGen, offset: generations.current?.to ?? 0 }) < 0;
  }

  /**
   * @param {boolean} needed whether to request rows from the server that the tail does not have
   * @returns {boolean} whether something was drawn
   */
  #loadUp(needed) {
    const { rowViewport, tail } = this.#parts;
    if (this.#loadingUp || this.top !== '') return false;
    if (!this.isFiltering && tail.covers(rowViewport.from)) {
      const entries = tail.before(rowViewport.from, ROWS_PER_LOAD);
      if (entries.length > 0) {
        rowViewport.prepend(entries, positionOf(entries[0]));
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
    const { rowViewport, generations, api, oldFiles } = this.#parts;
    await this.#settled(signal, 'up', async () => {
      let { gen, offset } = rowViewport.from;
      const present = generations.at(gen);
      if (present === undefined) return;
      if (offset <= present.from) {
        if (!(await oldFiles.reach(gen, signal))) {
          this.top = 'start';
          return;
        }
        signal.throwIfAborted();
        const first = rowViewport.entries().next().value;
        const mark = this.#beginning(gen);
        const isThere = first?.marker !== undefined && compare(first, mark) === 0;
        rowViewport.prepend(isThere ? [] : [mark], { gen: gen - 1, offset: generations.at(gen - 1).to });
        return;
      }
      const answer = await api.rows(present.id, { before: offset }, ROWS_PER_LOAD, this.filter, signal);
      oldFiles.learn(gen, answer);
      const entries = this.#entries(answer, gen).filter((entry) => entry.offset < offset);
      const from = answer.at_start ? present.from : Math.max(present.from, Math.min(answer.from, offset));
      rowViewport.prepend(entries, { gen, offset: from });
      this.scanning = entries.length === 0 && from > present.from ? { gen, offset: from } : null;
      this.#trimBottom();
    }, () => {
      this.top = 'gone';
    });
  }

  /** @returns {boolean} whether something was drawn */
  #loadDown() {
    const { rowViewport, tail } = this.#parts;
    if (this.#loadingDown) return false;
    if (!this.isFiltering && tail.covers(rowViewport.to)) {
      const waiting = tail.countAfter(rowViewport.to);
      this.#append(rowViewport.to, tail.after(rowViewport.to, ROWS_PER_LOAD), waiting > ROWS_PER_LOAD ? null : tail.to);
      this.attached = waiting <= ROWS_PER_LOAD;
      rowViewport.trimTop(VIEWPORT_ROWS_MAX, selectedNodes());
      this.top = '';
      return true;
    }
    this.#loadingDown = true;
    this.#fetchDown(this.#turn.signal);
    return false;
  }

  /** @param {AbortSignal} signal */
  async #fetchDown(signal) {
    const { rowViewport, generations, api, oldFiles } = this.#parts;
    const { gen, offset } = rowViewport.to;
    await this.#settled(signal, 'down', async () => {
      const present = generations.at(gen);
      if (present === undefined) return;
      const answer = await api.rows(present.id, { from: offset }, ROWS_PER_LOAD, this.filter, signal);
      oldFiles.learn(gen, answer);
      this.#join(answer, gen, { gen, offset });
      if (rowViewport.length > VIEWPORT_ROWS_MAX) this.top = '';
      rowViewport.trimTop(VIEWPORT_ROWS_MAX, selectedNodes());
    }, () => {
      const gone = generations.at(gen);
      if (gone === undefined || gen === generations.currentGen) return;
      gone.isGone = true;
      if (gone.to === Infinity) gone.to = offset;
      const marker = { gen, offset, marker: 'gap', text: 'the rest of this file can no longer be read', element: null };
      rowViewport.patch({ gen, offset }, [marker], { gen, offset: Math.max(gone.to, offset + 1) });
      this.#cross(gen);
    });
  }

  /**
   * Appends the rows of a response, up to the start of the tail or of the next generation.
   * @param {import('../net/api.js').Rows} answer
   * @param {number} gen
   * @param {Position} at the requested position
   */
  #join(answer, gen, at) {
    const { rowViewport, generations, tail } = this.#parts;
    const isPresent = gen === generations.currentGen;
    let entries = this.#entries(answer, gen);
    let next = Math.max(answer.next, at.offset);
    if (!isPresent) {
      const { to } = generations.at(gen);
      entries = entries.filter((entry) => entry.offset < to);
      next = Math.min(next, to);
    }
    if (!this.isFiltering && tail.from?.gen === gen && next >= tail.from.offset) {
      // The tail may have arrived during the request, and it may begin before the requested position.
      const end = laterOf(tail.from, rowViewport.from).offset;
      entries = entries.filter((entry) => entry.offset < end);
      next = end;
    }
    const first = entries[0];
    const cut = first !== undefined && compare(first, at) < 0 ? positionOf(first) : at;
    rowViewport.patch(cut, entries, { gen, offset: next });
    this.scanning = entries.length === 0 && !answer.at_end ? { gen, offset: next } : null;
    const { to } = generations.at(gen);
    if (!isPresent && (next >= to || answer.at_end)) this.#cross(gen);
    else if (this.isFiltering) this.attached = answer.at_end;
  }

  /** Continues from the end of one generation at the beginning of the next. @param {number} gen */
  #cross(gen) {
    const { rowViewport, generations } = this.#parts;
    const mark = this.#beginning(gen + 1);
    rowViewport.patch(rowViewport.to, [mark], { gen: gen + 1, offset: generations.at(gen + 1).from });
  }

  /**
   * Loads new rows around an offset.
   * @param {import('../net/api.js').Where} where
   * @param {number} gen
   * @param {Align | 'end'} align
   * @returns {Promise<boolean>} whether the rows were loaded
   */
  async load(where, gen, align) {
    const { rowViewport, generations, tail, api, scroller, follow, oldFiles, changed } = this.#parts;
    this.#turn.abort();
    this.#turn = new AbortController();
    const { signal } = this.#turn;
    const generation = generations.at(gen)?.id ?? null;
    this.#loadingUp = true;
    this.#loadingDown = true;
    // Otherwise rows that arrive during the request would be drawn here.
    this.attached = false;
    tail.changedFrom = null;
    try {
      const answer = await api.rows(generation, where, ROWS_PER_LOAD, this.filter, signal);
      signal.throwIfAborted();
      oldFiles.learn(gen, answer);
      let at = answer.from;
      let before = null;
      if (align === 'middle' && !answer.at_start && at > generations.at(gen).from) {
        before = await api.rows(generation, { before: at }, ROWS_PER_LOAD / 2, this.filter, signal);
        signal.throwIfAborted();
      }
      // If the tail has arrived meanwhile, its rows are used.
      if ('from' in where && this.showFromTail({ gen, offset: where.from })) return true;
      if ('before' in where) at = where.before;
      this.replace([], { gen, offset: answer.from }, { gen, offset: answer.from });
      this.attached = false;
      this.#join(answer, gen, { gen, offset: answer.from });
      if (align === 'end') {
        this.attached = true;
        rowViewport.to = { gen, offset: at };
        this.#grown = true;
      } else {
        scroller.scrollTop = 0;
      }
      if (before !== null) rowViewport.prepend(this.#entries(before, gen), { gen, offset: before.from });
      if (follow.following) follow.pin();
      return true;
    } catch (error) {
      if (signal.aborted) return false;
      this.#parts.failed(`These lines cannot be loaded: ${failureWords(error)}`);
      if (rowViewport.isEmpty && !this.isFiltering) this.attached = true;
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
   * The rows of a response, with the markers between them.
   * @param {import('../net/api.js').Rows} answer
   * @param {number} gen
   * @returns {Entry[]}
   */
  #entries(answer, gen) {
    /** @type {Entry[]} */
    const entries = answer.rows.map(([offset, html, annotation], at) => ({
      gen, offset, html, annotation: annotation ?? null, line: answer.lines?.[at] ?? null, time: annotation?.time ?? answer.times?.[at] ?? null, element: null,
    }));
    const { markers, from } = this.#parts.generations.at(gen);
    for (const { offset, marker, text } of markers) {
      if (offset < answer.from || offset >= answer.next) continue;
      const at = entries.findIndex((entry) => entry.offset >= offset);
      entries.splice(at < 0 ? entries.length : at, 0, { gen, offset, marker, text, element: null });
    }
    return entries.filter(({ offset }) => offset >= from);
  }

  /** @param {number} gen @returns {import('../rows/tail.js').Marker} */
  #beginning(gen) {
    const { firstMarker, from } = this.#parts.generations.at(gen);
    return { gen, offset: from, marker: firstMarker?.marker ?? 'reset', text: firstMarker?.text ?? '', element: null };
  }

  #trimBottom() {
    const { rowViewport } = this.#parts;
    if (rowViewport.trimBottom(VIEWPORT_ROWS_MAX, selectedNodes())) this.attached = false;
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
      if (!signal.aborted) this.failure[way] = '';
    } catch (error) {
      if (signal.aborted) return;
      this.failure[way] = error instanceof Gone ? '' : failureWords(error);
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
    if (wait > 0) {
      setTimeout(end, wait);
      this.#parts.changed();
    } else {
      end();
    }
  }
}

/** @param {Position} place @returns {Position} */
export function positionOf({ gen, offset }) {
  return { gen, offset };
}

/** @param {Position} a @param {Position} b */
function laterOf(a, b) {
  return compare(a, b) < 0 ? b : a;
}
