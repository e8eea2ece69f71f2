// A search through the rows that the page itself holds, of several logs: which of them pass, by their places in the list.

/** @typedef {import('../merged/merge-buffer.js').Entry} Entry */

export class LocalSearch {
  /** Places of rows that pass, in ascending order. @type {number[]} */
  offsets = [];
  /** All that is held is looked at, at once. */
  complete = true;
  running = false;
  /** Why the pattern is none, in words. */
  error = '';
  /** @type {((entry: import('../rows/tail.js').Row & Entry) => boolean) | null} */
  #test = null;
  /** What was judged, as it was then. @type {WeakMap<Entry, {html: string, passes: boolean}>} */
  #cache = new WeakMap();

  get count() {
    return this.offsets.length;
  }

  /** @param {((entry: import('../rows/tail.js').Row & Entry) => boolean) | null} test null lets nothing pass */
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

  /** @param {Iterable<Entry>} entries of one log after another */
  run(entries) {
    this.offsets = [];
    if (this.#test === null) return;
    for (const entry of entries) if (this.matches(entry)) this.offsets.push(entry.offset);
    this.offsets.sort((a, b) => a - b);
  }
}
