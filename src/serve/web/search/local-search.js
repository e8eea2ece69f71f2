// A search in the rows of the merged page, without the server. A match is named by its place in the list.

/** @typedef {import('../merged/merge-buffer.js').Entry} Entry */

export class LocalSearch {
  /** Places of matching rows, in ascending order. @type {number[]} */
  offsets = [];
  /** A local search is always complete. */
  complete = true;
  running = false;
  /** Why the pattern is invalid. */
  error = '';
  interruption = '';
  /** @type {((entry: import('../rows/tail.js').Row & Entry) => boolean) | null} */
  #test = null;
  /** Earlier results, each valid for one HTML text. @type {WeakMap<Entry, {html: string, passes: boolean}>} */
  #cache = new WeakMap();

  get count() {
    return this.offsets.length;
  }

  /** @param {((entry: import('../rows/tail.js').Row & Entry) => boolean) | null} test null if nothing is searched */
  setTest(test) {
    this.#test = test;
    this.#cache = new WeakMap();
  }

  /** @param {Entry} entry */
  matches(entry) {
    if (this.#test === null || entry.marker !== undefined || entry.isGone) return false;
    const known = this.#cache.get(entry);
    if (known?.html === entry.html) return known.passes;
    const passes = this.#test(entry);
    this.#cache.set(entry, { html: entry.html, passes });
    return passes;
  }

  /** @param {Iterable<Entry>} entries the entries of one log after those of another */
  run(entries) {
    this.offsets = [];
    if (this.#test === null) return;
    for (const entry of entries) if (this.matches(entry)) this.offsets.push(entry.offset);
    this.offsets.sort((a, b) => a - b);
  }
}
