// The generations of the log (the files that had its name), in the order in which this page received them. `gen` is a
// generation's number in that order; a position is a `gen` and an offset. Positions have the order of the stream, also
// across rotations.

/**
 * @typedef {{gen: number, offset: number}} Position
 * @typedef {{offset: number, marker: string, text: string}} MarkerInfo an event at an offset
 * @typedef {object} Generation
 * @property {string} id
 * @property {number} from its first offset that belongs to the log
 * @property {number} to the offset after its last known byte; infinite while the size of a compressed file is not known
 * @property {MarkerInfo | null} firstMarker the reason why it began; null for the first generation
 * @property {MarkerInfo[]} markers gaps and other events inside it
 * @property {boolean} isGone whether the server can no longer read it
 * @property {import('../net/api.js').HistoryFile | null} file what the server last said about its file; null if nothing
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
   * Adds a generation from before this page was opened, before all others. Returns its number.
   * @param {string} generation
   * @param {number} size infinite if it is not known
   * @param {import('../net/api.js').HistoryFile | null} file
   */
  addEarlier(generation, size, file) {
    this.#earlier.push({ id: generation, from: 0, to: size, firstMarker: null, markers: [], isGone: false, file });
    return this.firstGen;
  }

  /**
   * Sets what is said between a generation from before this page was opened and the next one.
   * @param {number} gen
   * @param {string} marker
   * @param {string} text
   */
  markEnd(gen, marker, text) {
    const next = this.at(gen + 1);
    if (next) next.firstMarker = { offset: next.from, marker, text };
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
      id: String(generation), from, to, firstMarker: begins && { offset: from, ...begins }, markers: [], isGone: false, file: null,
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
   * The number of the latest generation with this name; null if there is none.
   * @param {string} generation
   * @param {(one: string, other: string) => boolean} [isSame]
   */
  numberOf(generation, isSame = (one, other) => one === other) {
    for (let gen = this.currentGen; gen >= this.firstGen; gen -= 1) if (isSame(this.at(gen).id, generation)) return gen;
    return null;
  }
}
