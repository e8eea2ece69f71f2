// The files that were behind the log's name, in the order in which this page saw them. A position is a gen with an
// offset in it; positions are ordered as their bytes came, also over rotations.

/**
 * @typedef {{gen: number, offset: number}} Position
 * @typedef {{offset: number, marker: string, text: string}} MarkerInfo what happened at an offset
 * @typedef {object} Generation
 * @property {string} id
 * @property {number} from the first offset of it that belongs here
 * @property {number} to the offset after the last byte that was heard of
 * @property {MarkerInfo | null} firstMarker how it began, if another one was before it
 * @property {MarkerInfo[]} markers gaps and the like inside it
 * @property {boolean} isGone whether the server can't read it any more
 */

/** Notes of a gen that are kept, so that a log which is all gaps grows no memory. */
const MARKERS_MAX = 500;

/**
 * @param {Position} a
 * @param {Position} b
 */
export function compare(a, b) {
  return a.gen - b.gen || a.offset - b.offset;
}

export class Generations {
  /** @type {Generation[]} */
  #seen = [];
  /** Files from before the first one, which a link led to; the first of them has the number -1. @type {Generation[]} */
  #earlier = [];

  /** The number of the present gen; -1 before the first. */
  get currentGen() {
    return this.#seen.length - 1;
  }

  /** The number of the first gen there is. */
  get firstGen() {
    return -this.#earlier.length;
  }

  /** @param {number} number */
  at(number) {
    return number < 0 ? this.#earlier[-1 - number] : this.#seen[number];
  }

  /**
   * A file that was behind the name before this page was opened. Returns its number.
   * @param {string} generation
   * @param {number} size
   */
  addEarlier(generation, size) {
    this.#earlier.push({ id: generation, from: 0, to: size, firstMarker: null, markers: [], isGone: false });
    const [present] = this.#seen;
    if (present) present.firstMarker ??= { offset: present.from, marker: 'rotated', text: 'rotated: a new file begins' };
    return this.firstGen;
  }

  /** @returns {Generation | undefined} */
  get current() {
    return this.#seen[this.currentGen];
  }

  /**
   * @param {string | number} generation
   * @param {number} from
   * @param {number} to
   * @param {{marker: string, text: string} | null} [begins]
   */
  add(generation, from, to, begins = null) {
    this.#seen.push({
      id: String(generation), from, to, firstMarker: begins && { offset: from, ...begins }, markers: [], isGone: false,
    });
  }

  /**
   * The generation has another text.
   * @param {string | number} generation
   */
  renameCurrent(generation) {
    if (this.current) this.current.id = String(generation);
  }

  /**
   * Bytes up to here have been heard of.
   * @param {number} offset
   */
  extendTo(offset) {
    if (this.current && offset > this.current.to) this.current.to = offset;
  }

  /**
   * @param {MarkerInfo} marker
   */
  addMarker(marker) {
    if (this.current && this.current.markers.length < MARKERS_MAX) this.current.markers.push(marker);
  }

  /**
   * The gen of a generation that a link names: the latest of that name.
   * @param {string} generation
   */
  indexOf(generation) {
    return this.#seen.findLastIndex((gen) => gen.id === generation);
  }
}
