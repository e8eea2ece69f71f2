// The ways of the reader through the merged list: to an end, to a time, to a row. Where it leads to what is not here, the
// rows there are loaded first.

import { failureWords } from '../net/api.js';
import { START } from './place.js';

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
 */

export class Journey {
  /** The row that the reader went to. @type {Entry | null} */
  cursor = null;
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
    // What is here may be about to go.
    if (isHere && !pager.isSeeking) {
      this.cursor = row;
      loader.reveal(row);
    } else if (await pager.seek({ row }) !== null) {
      // Without rows above it, it could not stand in the middle.
      await pager.up();
      this.#show(row, 'middle');
      this.cursor = this.#same(row);
    }
    changed();
  }

  /** Loads the rows at the present place anew, as other rows are wanted there now. What is here is shown meanwhile. */
  async reload() {
    const { loader, pager, follow, rowViewport, changed } = this.#parts;
    const first = follow.following ? null : /** @type {Entry | null} */ (rowViewport.firstInSight());
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
        this.#show(this.#same(now) === null ? first : now ?? first, 'top');
      }
    });
  }

  async toEnd() {
    const { loader, buffer, pager, follow, rowFilter, changed } = this.#parts;
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
    const { loader, buffer, pager, follow, changed } = this.#parts;
    follow.pause();
    if (buffer.paged.atStart && !pager.isSeeking) loader.showStart();
    else await this.#load(async () => {
      if (await pager.seek('start') !== null) loader.showStart();
    });
    changed();
  }

  /** Asks where a time is. Returns what goes there. @param {string} time @param {AbortSignal} signal */
  async findTime(time, signal) {
    const { buffer, loader, pager, rowFilter, changed } = this.#parts;
    const answer = await pager.seek({ time }, signal);
    return async () => {
      if (answer === null) return;
      const first = buffer.paged.rows[0] ?? buffer.after(START, 1, rowFilter())[0] ?? null;
      // Nothing is that late.
      if (answer.rows.length === 0 || first === null) {
        loader.attached = false;
        await this.toEnd();
      } else {
        await pager.up();
        this.cursor = first;
        loader.show(first, 'middle');
      }
      changed();
    };
  }

  /** @param {() => Promise<void>} load */
  async #load(load) {
    const { changed, say } = this.#parts;
    try {
      await load();
    } catch (error) {
      say(`These lines cannot be loaded: ${failureWords(error)}`);
    }
    changed();
  }

  /** The entry of a row in the list, which may have been loaded anew. @param {Entry | null} row */
  #same(row) {
    return row === null ? null : this.#parts.buffer.at(row.log, row.generation, row.logOffset) ?? null;
  }

  /** Shows what is around a row after other rows were loaded. @param {Entry} row @param {'top' | 'middle'} align */
  #show(row, align) {
    this.#parts.loader.show(this.#same(row) ?? row, align);
  }
}
