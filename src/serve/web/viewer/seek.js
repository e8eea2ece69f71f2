// Moves the view to the end, to the start, to a position or to a fraction of the file, and keeps its position when the
// filter changes.

import { positionOf, ROWS_PER_FRAME } from './loader.js';

/**
 * @typedef {import('../rows/generations.js').Position} Position
 * @typedef {import('./loader.js').Align} Align
 *
 * @typedef {object} Parts
 * @property {HTMLElement} scroller
 * @property {import('../rows/generations.js').Generations} generations
 * @property {import('../rows/tail.js').Tail} tail
 * @property {import('../rows/row-viewport.js').RowViewport} rowViewport
 * @property {import('./loader.js').RowLoader} loader
 * @property {import('../rows/follow.js').Follow} follow
 * @property {import('./old-files.js').OldFiles} oldFiles
 * @property {() => import('./strip-layout.js').StripLayout} layout what is where on the strip
 * @property {() => void} changed called when a frame is needed
 */

export class Seek {
  #parts;
  /** The place on the strip to go to next, 0 to 1. @type {number | null} */
  #wantedPart = null;

  /** @param {Parts} parts */
  constructor(parts) {
    this.#parts = parts;
  }

  /** Goes to the live end and follows it. */
  toEnd() {
    const { follow, tail, loader } = this.#parts;
    follow.resume();
    if (!loader.attached) {
      if (loader.isFiltering) loader.load({ before: tail.to.offset }, tail.to.gen, 'end');
      else loader.showTail(ROWS_PER_FRAME);
    }
    this.#parts.changed();
  }

  /** Goes to the first byte of the visible file. */
  async toStart() {
    const { follow, rowViewport, generations } = this.#parts;
    follow.pause();
    const gen = rowViewport.firstInSight()?.gen ?? generations.currentGen;
    await this.reveal({ gen, offset: generations.at(gen)?.from ?? 0 }, 'top');
  }

  /**
   * Scrolls a position into sight. Returns the row there; null if there is none.
   * @param {Position} position
   * @param {Align} align
   * @returns {Promise<import('../rows/tail.js').Row | null>}
   */
  async reveal(position, align) {
    const { follow, rowViewport, loader } = this.#parts;
    follow.pause();
    if (!rowViewport.covers(position) || (loader.isFiltering && rowViewport.rowAt(position)?.offset !== position.offset)) {
      if (!loader.showFromTail(position) && !await loader.load({ from: position.offset }, position.gen, align)) return null;
    }
    const row = rowViewport.rowAt(position) ?? this.#firstRow();
    if (row?.element) this.#scrollTo(row.element, align);
    this.#parts.changed();
    return row;
  }

  /**
   * Moves the view to a place on the strip, 0 to 1. Of several calls during a request only the last counts.
   * @param {number} part
   */
  async toPart(part) {
    const isSeeking = this.#wantedPart !== null;
    this.#wantedPart = part;
    if (isSeeking) return;
    try {
      for (let target = -1; target !== this.#wantedPart;) {
        target = this.#wantedPart;
        await this.#toPlace(target, this.#parts.layout().at(target));
      }
    } finally {
      this.#wantedPart = null;
    }
  }

  /** @param {number} part @param {{gen: number, part: number} | null} place what is there */
  async #toPlace(part, place) {
    const { generations, oldFiles } = this.#parts;
    if (part >= 1 || place === null) {
      this.toEnd();
      return;
    }
    await oldFiles.measure(place.gen);
    const { from, to } = generations.at(place.gen);
    await this.reveal({ gen: place.gen, offset: Math.floor(from + place.part * (to - from)) }, 'top');
  }

  /**
   * Applies or removes a filter, and keeps the visible row in its place.
   * @param {Record<string, string>} filter
   * @param {Position | null} around
   */
  async refilter(filter, around) {
    const { follow, rowViewport, generations, tail, loader } = this.#parts;
    const position = around ?? rowViewport.firstInSight() ?? null;
    loader.filter = filter;
    loader.scanning = null;
    if (follow.following || position === null) {
      loader.attached = false;
      if (loader.isFiltering) loader.replace([], tail.to, tail.to);
      this.toEnd();
      return;
    }
    loader.attached = false;
    loader.replace([], positionOf(position), positionOf(position));
    if (generations.at(position.gen)) await loader.load({ from: position.offset }, position.gen, around === null ? 'top' : 'middle');
    const row = rowViewport.rowAt(position);
    if (row?.element) this.#scrollTo(row.element, around === null ? 'top' : 'middle');
  }

  /** @param {HTMLElement} row @param {Align} align */
  #scrollTo(row, align) {
    const { scroller } = this.#parts;
    const box = scroller.getBoundingClientRect();
    // Only the log's first row keeps the padding above it. More rows will be loaded above any other row.
    const isFirst = this.#firstRow()?.element === row && this.#isStart(this.#parts.rowViewport.from);
    if (isFirst && align === 'top') {
      scroller.scrollTop = 0;
      return;
    }
    const space = align === 'middle' ? Math.max(0, (box.height - row.offsetHeight) / 2.5) : 0;
    scroller.scrollTop += row.getBoundingClientRect().top - box.top - space;
    this.#parts.follow.pin();
  }

  /** Whether a position is the start of the log. @param {Position} position */
  #isStart({ gen, offset }) {
    const { generations } = this.#parts;
    return gen === generations.firstGen && offset <= (generations.at(gen)?.from ?? 0);
  }

  #firstRow() {
    for (const entry of this.#parts.rowViewport.entries()) if (entry.marker === undefined) return entry;
    return null;
  }
}
