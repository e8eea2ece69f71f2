// The search for the errors, or the warnings, of a whole file: of a small one from the start, of a large one when it is asked for.

import { Scan } from './file-search.js';

/** A log up to this size is searched as soon as it is opened. */
const EAGER_BYTES = 64 * 1024 * 1024;

export class LevelScan extends Scan {
  #level;
  /** @type {{generation: string, ends: import('./file-search.js').Ends} | null} */
  #file = null;

  /**
   * @param {import('../net/api.js').History} history
   * @param {'error' | 'warning'} level
   * @param {() => void} changed
   */
  constructor(history, level, changed) {
    super(history, changed);
    this.#level = level;
  }

  /**
   * The present file, and how far it goes. Returns whether a search of it began.
   * @param {string} generation
   * @param {import('./file-search.js').Ends} ends
   * @param {number} near where the reader is
   */
  look(generation, ends, near) {
    this.#file = { generation, ends };
    if (this.isOn && this.generation === generation) this.extend(ends);
    else if (ends.size <= EAGER_BYTES || this.isOn) return this.demand(near);
    return false;
  }

  /** Searches the file, however large it is. @param {number} near */
  demand(near) {
    if (this.#file === null || (this.isOn && this.generation === this.#file.generation)) return false;
    this.start(this.#file.generation, { level: this.#level }, near, this.#file.ends);
    return true;
  }
}
