// The ways of the reader through the merged list: to an end, to a time, to a row. Where it leads to what is not here, the
// rows there are loaded first.

import { failureWords, Invalid } from '../net/api.js';
import { isWithin, NO_KEY } from './place.js';

/**
 * @typedef {import('./merge-buffer.js').Entry} Entry
 *
 * @typedef {object} Parts
 * @property {import('./merge-buffer.js').MergeBuffer} buffer
 * @property {import('./pager.js').Pager} pager
 * @property {import('./loader.js').MergedLoader} loader
 * @property {import('../rows/follow.js').Follow} follow
 * @property {import('../rows/row-viewport.js').RowViewport} rowViewport
 * @property {() => import('./merge-buffer.js').RowFilter} rowFilter
 * @property {() => void} changed called when a frame is needed
 * @property {(words: string) => void} say
 * @property {(why: string) => boolean} refused takes why a request was not understood; returns whether that is told elsewhere
 */

export class Journey {
  /** The row that the reader went to. @type {Entry | null} */
  cursor = null;
  /** A number for each way that the reader goes: who is still under way to another place gives up. */
  #turn = 0;
  #parts;

  /** @param {Parts} parts */
  constructor(parts) {
    this.#parts = parts;
  }

  /** The current row: the row that the reader went to, if it is visible, else the first visible row. */
  here() {
    const inSight = /** @type {Entry[]} */ ([...this.#parts.rowViewport.inSight()]);
    const isCurrent = this.cursor !== null && inSight.includes(this.cursor);
    return { row: isCurrent ? this.cursor : inSight[0] ?? null, isCurrent };
  }

  /** Goes to a row. @param {Entry} row @param {boolean} isHere whether it is in the list already */
  async goTo(row, isHere) {
    const { loader, pager, changed } = this.#parts;
    const turn = this.#turn += 1;
    // What is here may be about to go.
    if (isHere && !pager.isSeeking) {
      this.cursor = row;
      loader.reveal(row);
    } else if (await pager.seek({ row }) !== null) {
      this.cursor = this.#same(row);
      await this.#arrive(() => this.#same(row) ?? row, 'middle');
      if (this.#turn === turn) this.cursor = this.#same(row);
    }
    changed();
  }

  /** Loads the rows at the present place anew, as other rows are wanted there now. What is here is shown meanwhile. */
  async reload() {
    const { loader, pager, follow, rowViewport, rowFilter, changed } = this.#parts;
    const first = follow.following ? null : /** @type {Entry | null} */ (rowViewport.firstInSight());
    const { span } = rowFilter();
    if (first !== null && span && !isWithin(first, span)) {
      // Nothing that the reader sees is in the span.
      loader.refilter();
      await this.toStart();
      return;
    }
    this.#turn += 1;
    loader.refilter();
    changed();
    await this.#load(async () => {
      if (await pager.seek(first === null ? 'end' : { row: first }) === null) return;
      this.cursor = this.#same(this.cursor);
      if (first === null) {
        loader.showEnd();
      } else if (follow.following) {
        loader.attached = false;
        await this.toEnd();
      } else {
        // The reader may have scrolled meanwhile.
        const now = /** @type {Entry | null} */ (rowViewport.firstInSight());
        const row = this.#same(now) === null ? first : now ?? first;
        await this.#arrive(() => this.#same(row) ?? row, 'top');
      }
    });
  }

  async toEnd() {
    const { loader, buffer, pager, follow, rowFilter, changed } = this.#parts;
    this.#turn += 1;
    follow.resume();
    if (!loader.attached || pager.isSeeking) {
      if (buffer.paged.isJoined && buffer.paged.filter === rowFilter().filter && !pager.isSeeking) loader.showEnd();
      else await this.#load(async () => {
        if (await pager.seek('end') !== null) loader.showEnd();
      });
    }
    changed();
  }

  async toStart() {
    const { loader, buffer, pager, follow, rowFilter, changed } = this.#parts;
    this.#turn += 1;
    follow.pause();
    if (buffer.paged.atStart && buffer.paged.filter === rowFilter().filter && !pager.isSeeking) loader.showStart();
    else await this.#load(async () => {
      if (await pager.seek('start') !== null) loader.showStart();
    });
    changed();
  }

  /** Goes to the first row that is not before a time. Returns what waits until it is there. @param {string} time @param {AbortSignal} signal */
  async findTime(time, signal) {
    const { buffer, loader, pager, rowFilter, changed } = this.#parts;
    const turn = this.#turn += 1;
    const answer = await pager.seek({ time }, signal);
    if (answer === null) return async () => {};
    // Rows of the answer that have arrived are not among those of pages, but they stand at the same place.
    const place = { gen: answer.keys[0] ?? NO_KEY, offset: 0 };
    const row = () => buffer.after(place, 1, rowFilter())[0] ?? null;
    if (answer.rows.length === 0) {
      // Nothing is that late.
      loader.attached = false;
      await this.toEnd();
      return async () => {};
    }
    const arrival = this.#arrive(() => place, 'middle');
    return async () => {
      await arrival;
      if (this.#turn === turn) this.cursor = row();
      changed();
    };
  }

  /** @param {() => Promise<void>} load */
  async #load(load) {
    const { changed, say, refused } = this.#parts;
    try {
      await load();
    } catch (error) {
      if (!(error instanceof Invalid) || !refused(error.message)) say(`These lines cannot be loaded: ${failureWords(error)}`);
    }
    changed();
  }

  /** The entry of a row in the list, which may have been loaded anew. @param {Entry | null} row */
  #same(row) {
    return row === null ? null : this.#parts.buffer.at(row.log, row.generation, row.logOffset) ?? null;
  }

  /**
   * Shows what is around a place, after other rows were loaded. It is shown at once, so that the page shows no other rows
   * than there are, and again when the rows before it are here: without them it could not stand in the middle, and of rows
   * that arrived it is not known yet what stands between them.
   * @param {() => import('./place.js').Place} place
   * @param {'top' | 'middle'} align
   */
  async #arrive(place, align) {
    const { buffer, loader, pager, follow, rowViewport, rowFilter } = this.#parts;
    const turn = this.#turn;
    loader.show(place(), align);
    for (let isFirst = align === 'middle'; isFirst || buffer.isBeforeRun(place(), rowFilter()); isFirst = false) {
      const seen = rowViewport.firstInSight();
      await pager.up();
      // The reader may have gone elsewhere.
      if (this.#turn !== turn || follow.following || rowViewport.firstInSight() !== seen) return;
      loader.show(place(), align);
    }
  }
}
