// The files that were behind the log's name, in the order in which this page saw them. A position is a span with an
// offset in it; positions are ordered as their bytes came, also over rotations.

/**
 * @typedef {{span: number, offset: number}} Place
 * @typedef {{offset: number, mark: string, text: string}} Note what happened at an offset
 * @typedef {object} Span
 * @property {string} generation
 * @property {number} from the first offset of it that belongs here
 * @property {number} to the offset after the last byte that was heard of
 * @property {Note | null} begins how it began, if another one was before it
 * @property {Note[]} notes gaps and the like inside it
 * @property {boolean} gone whether the server can't read it any more
 */

/** Notes of a span that are kept, so that a log which is all gaps grows no memory. */
const NOTES_MAX = 500;

/**
 * @param {Place} a
 * @param {Place} b
 */
export function compare(a, b) {
  return a.span - b.span || a.offset - b.offset;
}

export class Spans {
  /** @type {Span[]} */
  #spans = [];
  /** Files from before the first one, which a link led to; the first of them has the number -1. @type {Span[]} */
  #earlier = [];

  /** The number of the present span; -1 before the first. */
  get present() {
    return this.#spans.length - 1;
  }

  /** The number of the first span there is. */
  get first() {
    return -this.#earlier.length;
  }

  /** @param {number} number */
  at(number) {
    return number < 0 ? this.#earlier[-1 - number] : this.#spans[number];
  }

  /**
   * A file that was behind the name before this page was opened. Returns its number.
   * @param {string} generation
   * @param {number} size
   */
  precede(generation, size) {
    this.#earlier.push({ generation, from: 0, to: size, begins: null, notes: [], gone: false });
    const [present] = this.#spans;
    if (present) present.begins ??= { offset: present.from, mark: 'rotated', text: 'rotated: a new file begins' };
    return this.first;
  }

  /** @returns {Span | undefined} */
  get last() {
    return this.#spans[this.present];
  }

  /**
   * @param {string | number} generation
   * @param {number} from
   * @param {number} to
   * @param {{mark: string, text: string} | null} [begins]
   */
  begin(generation, from, to, begins = null) {
    this.#spans.push({
      generation: String(generation), from, to, begins: begins && { offset: from, ...begins }, notes: [], gone: false,
    });
  }

  /**
   * The generation has another text.
   * @param {string | number} generation
   */
  rename(generation) {
    if (this.last) this.last.generation = String(generation);
  }

  /**
   * Bytes up to here have been heard of.
   * @param {number} offset
   */
  advance(offset) {
    if (this.last && offset > this.last.to) this.last.to = offset;
  }

  /**
   * @param {Note} note
   */
  note(note) {
    if (this.last && this.last.notes.length < NOTES_MAX) this.last.notes.push(note);
  }

  /**
   * The span of a generation that a link names: the latest of that name.
   * @param {string} generation
   */
  find(generation) {
    return this.#spans.findLastIndex((span) => span.generation === generation);
  }
}
