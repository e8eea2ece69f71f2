// The times of one log's arriving lines. The server says the times of the rows that it loads; from these this page learns
// how far its own reading of the log's stamps is from the server's, as the zone of a stamp may be the server's.

const QUARTER_MS = 15 * 60_000;
/** Zones are at most so far from each other. */
const ZONES_MS_MAX = 27 * 3_600_000;
/** A stamp with fractions that the page does not know may be this far off. */
const SAME_MS = 1_000;
/** How far a stamp may be ahead of the time at which it arrives, and of the line before it. */
const AHEAD_MS_MAX = 60_000;
/** A log says times if one of so many rows of a page does. */
const LOOK_ROWS = 50;
/** A log says times if the page reads one of so many of its dates as the server does. Others agree by chance. */
const MISREADS_PER_TIME = 20;
/** A line without a time that arrives this soon after one with a time continues it, if nothing else is known of the log. */
const TOGETHER_MS = 1_000;

export class LogClock {
  /** What is added to the times of the log, in ms, because its clock is wrong. */
  shift = 0;
  /** Whether the server reads times in the log. */
  isTimedByServer = false;
  /** How much the server's times are later than the page's; null while no row has told. @type {number | null} */
  #distance = null;
  /** How many rows of pages were looked at. */
  #looked = 0;
  /** In how many of them the page reads the same time as the server. */
  #agreed = 0;
  /** In how many of them the server reads a time, and the page none. */
  #unread = 0;
  /** In how many of them it reads another one. */
  #misread = 0;
  /** When the last row arrived that said a time; null if none did. @type {number | null} */
  #saidAt = null;
  #parse;

  /** @param {(html: string, now: number) => number | null} parse the time in a row's text, in ms since 1970 */
  constructor(parse) {
    this.#parse = parse;
  }

  /** Whether lines of the log are known to say times. */
  get isTimed() {
    return this.#agreed * MISREADS_PER_TIME > this.#misread;
  }

  /** Whether nothing is known of the log. */
  get isUnknown() {
    return this.#looked === 0 && this.#saidAt === null;
  }

  /** Whether the server has to be asked for the times of arriving rows: it reads them, and the page does not. */
  get isAsked() {
    return this.isTimedByServer && !this.isTimed && this.#unread + this.#misread > 0;
  }

  /** Whether its dates are known not to be times of lines, or the page cannot read them. */
  get #isUntimed() {
    return !this.isTimed && (this.#misread > 0 || this.#looked >= LOOK_ROWS);
  }

  /**
   * Compares a row of a page with what the server says of it.
   * @param {string} html
   * @param {number | null} told the time by the server, with the shift; that of another line, or of arrival, if the row says none
   * @param {import('../net/wire.js').RowAnnotation} [annotation]
   */
  learn(html, told, annotation) {
    this.#looked += 1;
    if (told === null) return;
    const time = told - this.shift;
    if (annotation?.time !== undefined) {
      if (Math.abs(time - annotation.time) < SAME_MS) this.#agreed += 1;
      return;
    }
    const parsed = this.#parse(html, time);
    if (parsed === null) {
      this.#unread += 1;
      return;
    }
    const distance = time - parsed;
    const quarters = Math.round(distance / QUARTER_MS) * QUARTER_MS;
    const isZone = Math.abs(distance) <= ZONES_MS_MAX && Math.abs(distance - quarters) < SAME_MS;
    if (isZone) {
      this.#agreed += 1;
      this.#distance = quarters;
    } else {
      this.#misread += 1;
    }
  }

  /**
   * The time that an arriving row says, with the shift; null if it says none. A date in a log that says no times is a part
   * of a message.
   * @param {string} html
   * @param {import('../net/wire.js').RowAnnotation | undefined} annotation
   * @param {number} now
   * @returns {number | null}
   */
  timeOf(html, annotation, now) {
    if (annotation?.time !== undefined) return annotation.time + this.shift;
    if (this.#isUntimed || this.isAsked) return null;
    const parsed = this.#parse(html, now);
    return parsed === null ? null : parsed + (this.#distance ?? 0) + this.shift;
  }

  /**
   * Whether an arriving row without a time continues the row before it. One date in a message does not make a log a timed
   * one: its later rows are ordered by arrival.
   * @param {number | null} now the time of arrival; null for what was there before
   */
  continues(now) {
    if (this.isTimed) return true;
    return this.#saidAt !== null && !this.#isUntimed && (now === null || now - this.#saidAt <= TOGETHER_MS);
  }

  /**
   * The key of an arriving row. Its time counts unless it is that of a wrong clock; a row without a time stands with the
   * row before it, and arrival orders a log that says no times.
   * @param {number | null} time that it says
   * @param {number} before the key of the row before it in the log
   * @param {number | null} now the time of arrival; null for what was there before
   */
  keyOf(time, before, now) {
    if (time === null) return now === null || this.continues(now) ? before : Math.max(before, now);
    this.#saidAt = now ?? -Infinity;
    return Math.max(before, Math.min(time, Math.max(now ?? time, before) + AHEAD_MS_MAX));
  }
}

/**
 * A span of time that somebody typed, in ms: `+1.5s`, `-2h`, `-1h 30m`, `250ms`; null if it is none. Nothing is 0.
 * @param {string} typed
 * @returns {number | null}
 */
export function parseShift(typed) {
  const words = typed.trim().toLowerCase().replace(/−/g, '-').replace(/\s+/g, '');
  if (words === '' || words === '0') return 0;
  const found = /^([+-]?)((?:\d+(?:\.\d+)?(?:ms|s|m|h|d))+)$/.exec(words);
  if (found === null) return null;
  const units = /** @type {Record<string, number>} */ ({ ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 });
  let sum = 0;
  for (const [, number, unit] of found[2].matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h|d)/g)) sum += Number(number) * units[unit];
  return Math.round(found[1] === '-' ? -sum : sum);
}

/** @param {number} shift in ms */
export function formatShift(shift) {
  if (shift === 0) return '';
  let rest = Math.abs(shift);
  let words = shift < 0 ? '-' : '+';
  for (const [unit, ms] of /** @type {const} */ ([['d', 86_400_000], ['h', 3_600_000], ['m', 60_000], ['s', 1_000], ['ms', 1]])) {
    const number = Math.floor(rest / ms);
    rest -= number * ms;
    if (number > 0) words += `${number}${unit}`;
  }
  return words;
}
