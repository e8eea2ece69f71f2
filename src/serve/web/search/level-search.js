// The search for the errors, or the warnings, of a whole file: of a small one from the start, of a large one when it is asked for.

import { FileSearch } from './file-search.js';

/** A log up to this size is searched as soon as it is opened. */
const EAGER_BYTES = 64 * 1024 * 1024;

export class LevelSearch extends FileSearch {
  #level;
  /** @type {{generation: string, ends: import('./file-search.js').FileEnd} | null} */
  #file = null;

  /**
   * @param {import('../net/api.js').LogApi} api
   * @param {'error' | 'warning'} level
   * @param {() => void} changed
   */
  constructor(api, level, changed) {
    super(api, changed);
    this.#level = level;
  }

  /**
   * The present file, and how far it goes. Returns whether a search of it began.
   * @param {string} generation
   * @param {import('./file-search.js').FileEnd} ends
   * @param {number} near where the reader is
   */
  update(generation, ends, near) {
    this.#file = { generation, ends };
    if (this.isActive && this.generation === generation) this.extend(ends);
    else if (ends.size <= EAGER_BYTES || this.isActive) return this.searchNow(near);
    return false;
  }

  /** Searches the file, however large it is. @param {number} near */
  searchNow(near) {
    if (this.#file === null || (this.isActive && this.generation === this.#file.generation)) return false;
    this.start(this.#file.generation, { level: this.#level }, near, this.#file.ends);
    return true;
  }
}
