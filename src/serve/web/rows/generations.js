// The generations of the log (the files that had its name), in the order in which this page received them. `gen` is a
// generation's number in that order; a position is a `gen` and an offset. Positions have the order of the stream, also
// across rotations.

/**
 * @typedef {{gen: number, offset: number}} Position
 * @typedef {{offset: number, marker: string, text: string}} MarkerInfo an event at an offset
 * @typedef {object} Generation
 * @property {string} id
 * @property {number} from its first offset that belongs to the log
 * @property {number} to the offset after its last known byte
 * @property {MarkerInfo | null} firstMarker the reason why it began; null for the first generation
 * @property {MarkerInfo[]} markers gaps and other events inside it
 * @property {boolean} isGone whether the server can no longer read it
 */

/** A place is a position as one number, in the order of positions: no offset reaches this. */
const OFFSETS_MAX = 2 ** 44;
/** Markers kept for one generation. The bound keeps memory small for a log that is all gaps. */
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
  /**
   * Earlier generations, from links and from the log's old files. Their numbers are -1, -2 and so on.
   * @type {Generation[]}
   */
  #earlier = [];

  /** The number of the current generation; -1 before there is one. */
  get currentGen() {
    return this.#seen.length - 1;
  }

  /** The number of the earliest generation. */
  get firstGen() {
    return -this.#earlier.length;
  }

  /**
   * A position as one number. It is good until another generation begins.
   * @param {Position} position
   */
  placeOf({ gen, offset }) {
    return (gen - this.currentGen) * OFFSETS_MAX + offset;
  }

  /** The position that a number stands for. @param {number} place @returns {Position} */
  positionAt(place) {
    const before = Math.floor(place / OFFSETS_MAX);
    return { gen: this.currentGen + before, offset: place - before * OFFSETS_MAX };
  }

  /** @param {number} number */
  at(number) {
    return number < 0 ? this.#earlier[-1 - number] : this.#seen[number];
  }

  /**
   * Adds a generation from before this page was opened. Returns its number.
   * @param {string} generation
   * @param {number} size
   * @param {string} [words] what is said between it and the generation after it
   */
  addEarlier(generation, size, words = 'rotated: a new file begins') {
    const next = this.at(this.firstGen);
    this.#earlier.push({ id: generation, from: 0, to: size, firstMarker: null, markers: [], isGone: false });
    if (next) next.firstMarker ??= { offset: next.from, marker: 'rotated', text: words };
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
   * Renames the current generation. Its signature grows with the file.
   * @param {string | number} generation
   */
  renameCurrent(generation) {
    if (this.current) this.current.id = String(generation);
  }

  /**
   * Extends the current generation to this offset.
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
   * The number of the latest generation with this name; -1 if there is none.
   * @param {string} generation
   */
  indexOf(generation) {
    return this.#seen.findLastIndex((gen) => gen.id === generation);
  }
}
