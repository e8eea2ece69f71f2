// The files that had the log's name before this page was opened. They are added to the generations one after the other,
// the newest first, when the reader scrolls up to them or a search goes through them.

import { isSameGeneration } from '../net/wire.js';
import { formatDateTime, formatSize } from '../ui/units.js';

export class OldFiles {
  #api;
  #generations;
  /** A file that is being added. @type {Promise<boolean> | null} */
  #adding = null;

  /**
   * @param {import('../net/api.js').LogApi} api
   * @param {import('../rows/generations.js').Generations} generations
   */
  constructor(api, generations) {
    this.#api = api;
    this.#generations = generations;
  }

  /**
   * Sees to it that the generation before this one is known. Returns whether there is one.
   * @param {number} gen
   * @param {AbortSignal} signal
   */
  async reach(gen, signal) {
    const generations = this.#generations;
    for (;;) {
      if (gen > generations.firstGen) return true;
      if (this.#adding === null) break;
      // Who began it hears of its failure.
      await this.#adding.catch(() => false);
      signal.throwIfAborted();
    }
    const first = generations.at(gen);
    if (first === undefined) return false;
    const adding = this.#add(first.id, signal);
    this.#adding = adding;
    try {
      return await adding;
    } finally {
      this.#adding = null;
    }
  }

  /** The bytes on the disk of all files before the present one. @param {AbortSignal} signal */
  async bytes(signal) {
    const files = await this.#api.history(signal);
    return files.filter(({ present }) => !present).reduce((sum, { bytes }) => sum + bytes, 0);
  }

  /**
   * Adds the file that had the log's name before this one. Returns whether there is such a file.
   * @param {string} generation
   * @param {AbortSignal} signal
   */
  async #add(generation, signal) {
    const files = await this.#api.history(signal);
    const at = files.findIndex((file) => isSameGeneration(file.generation, generation));
    const older = files[at - 1];
    if (older === undefined) return false;
    // Only the server knows how much is in a compressed file.
    const { size, notice } = await this.#api.rows(older.generation, { before: Number.MAX_SAFE_INTEGER }, 1, {}, signal);
    signal.throwIfAborted();
    const written = older.modified === null ? '' : `, written until ${formatDateTime(older.modified)}`;
    const part = notice === undefined ? '' : `; ${notice.message}`;
    this.#generations.addEarlier(older.generation, size, `end of ${older.name} (${formatSize(size)}${written})${part} · ${files[at].name} begins`);
    return true;
  }
}
