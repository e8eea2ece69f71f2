// Where the files of a log lie on the strip at its right: each has a part of the strip, from 0 at the top to 1 at the
// bottom, by its share of the bytes. Pure.

/** More files than this share the first segment. */
export const SEGMENTS_MAX = 60;
/** The least part of a segment, so that it can be seen and clicked, and of the present file, in which one reads most. */
const SHARE_MIN = 0.008;
const SHARE_MIN_PRESENT = 0.08;
/** The content of a compressed log is about so many times the file. */
const UNPACKED = 10;

/**
 * @typedef {import('../rows/generations.js').Position} Position
 * @typedef {import('../rows/generations.js').Generation} Generation
 *
 * @typedef {object} Part a generation in its segment
 * @property {number} gen
 * @property {Generation} generation
 * @property {number} bytes an estimate if the size is not known
 * @property {number} before the bytes of its segment before it
 *
 * @typedef {object} Segment
 * @property {Part[]} parts in their order; more than one only where old files are drawn together
 * @property {number} bytes
 * @property {boolean} isKnown whether all sizes are known
 * @property {import('../net/api.js').HistoryFile | null} older the file before it
 * @property {number} top
 * @property {number} bottom
 */

export class StripLayout {
  /** From the top to the bottom. @type {Segment[]} */
  segments = [];
  /** @type {Map<number, [Segment, Part]>} */
  #byGen = new Map();

  /** @param {import('../rows/generations.js').Generations} generations */
  constructor(generations) {
    const parts = partsOf(generations);
    const together = Math.max(0, parts.length - SEGMENTS_MAX) + 1;
    const groups = [parts.slice(0, together), ...parts.slice(together).map((part) => [part])].filter((group) => group.length > 0);
    const sizes = groups.map((group) => group.reduce((sum, { bytes }) => sum + bytes, 0));
    const shares = sharesOf(sizes, groups.map((_, at) => (at === groups.length - 1 ? SHARE_MIN_PRESENT : SHARE_MIN)));
    let begin = 0;
    groups.forEach((group, at) => {
      const bottom = at === groups.length - 1 ? 1 : begin + shares[at];
      const segment = { parts: group, bytes: sizes[at], isKnown: group.every(({ generation }) => generation.to !== Infinity), older: groups[at - 1]?.at(-1)?.generation.file ?? null, top: begin, bottom };
      this.segments.push(segment);
      let before = 0;
      for (const part of group) {
        part.before = before;
        before += part.bytes;
        this.#byGen.set(part.gen, [segment, part]);
      }
      begin = bottom;
    });
  }

  /** The place of a position on the strip, 0 to 1. @param {Position} position */
  placeOf({ gen, offset }) {
    return this.scaleOf(gen)?.(offset) ?? this.segments.find(({ parts }) => parts[0].gen > gen)?.top ?? 1;
  }

  /**
   * Where the offsets of a generation lie on the strip; null if it has no part of it.
   * @param {number} gen
   * @returns {((offset: number) => number) | null}
   */
  scaleOf(gen) {
    const found = this.#byGen.get(gen);
    if (found === undefined) return null;
    const [segment, { generation, before, bytes }] = found;
    const scale = segment.bytes === 0 ? 0 : (segment.bottom - segment.top) / segment.bytes;
    return (offset) => segment.top + scale * (before + Math.min(bytes, Math.max(0, offset - generation.from)));
  }

  /**
   * What is at a place on the strip: the generation, and the part of it that lies before, 0 to 1.
   * @param {number} place
   * @returns {{gen: number, part: number} | null} null if no file is known
   */
  at(place) {
    const segment = this.segmentAt(place);
    if (segment === null) return null;
    const inside = segment.bytes * Math.min(1, Math.max(0, (place - segment.top) / (segment.bottom - segment.top)));
    const { gen, before, bytes } = segment.parts.findLast((one) => one.before <= inside) ?? segment.parts[0];
    return { gen, part: bytes === 0 ? 0 : Math.min(1, (inside - before) / bytes) };
  }

  /** The segment at a place on the strip. @param {number} place */
  segmentAt(place) {
    return this.segments.findLast((segment) => segment.top <= place) ?? this.segments[0] ?? null;
  }
}

/** @param {import('../rows/generations.js').Generations} generations @returns {Part[]} */
function partsOf(generations) {
  /** @type {Part[]} */
  const parts = [];
  for (let gen = generations.firstGen; gen <= generations.currentGen; gen += 1) {
    const generation = generations.at(gen);
    // What was truncated or written anew is no longer in the file.
    const isOverwritten = ['truncated', 'replaced'].includes(generations.at(gen + 1)?.firstMarker?.marker ?? '');
    if (generation.isGone || isOverwritten) continue;
    const bytes = generation.to === Infinity ? UNPACKED * (generation.file?.bytes ?? 0) : generation.to - generation.from;
    parts.push({ gen, generation, bytes, before: 0 });
  }
  return parts;
}

/**
 * Divides 1 by sizes. What would have less than its least share gets that, and the others share the rest.
 * @param {number[]} sizes
 * @param {number[]} least
 */
export function sharesOf(sizes, least) {
  const isLeast = sizes.map(() => false);
  for (;;) {
    const rest = 1 - least.reduce((sum, share, at) => sum + (isLeast[at] ? share : 0), 0);
    const total = sizes.reduce((sum, size, at) => sum + (isLeast[at] ? 0 : size), 0);
    const shares = sizes.map((size, at) => (isLeast[at] ? least[at] : total === 0 ? 0 : rest * size / total));
    const small = shares.findIndex((share, at) => !isLeast[at] && share < least[at]);
    if (small < 0) {
      // All files may be empty.
      const sum = shares.reduce((sum, share) => sum + share, 0);
      return shares.map((share) => share / sum);
    }
    isLeast[small] = true;
  }
}
