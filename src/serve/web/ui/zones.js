// The zones in which times are shown: universal time, that of the browser, and that of the server, in which times of logs
// are that say no zone.

/** @typedef {'local' | 'utc' | 'server'} ZoneName */

export const ZONES = /** @type {ZoneName[]} */ (['local', 'server', 'utc']);
/** No zone changes its clock within a quarter of an hour. */
const STRETCH_MS = 900_000;

export class Zone {
  #format;
  /** How far the clock of a fixed offset is ahead, in ms. Not every browser knows offsets. @type {number | null} */
  #fixed = null;
  /** How far the clock is ahead of universal time, by stretches. @type {Map<number, number>} */
  #ahead = new Map();

  /**
   * @param {string} label
   * @param {string | null} place the name of a zone, or an offset; null for that of the browser
   * @throws {RangeError} if the browser does not know it
   */
  constructor(label, place) {
    this.label = label;
    const [, sign, hours, minutes = '0'] = /^([+-])(\d\d):?(\d\d)?$/.exec(place ?? '') ?? [];
    if (sign !== undefined) this.#fixed = (sign === '-' ? -60_000 : 60_000) * (60 * Number(hours) + Number(minutes));
    this.#format = place === null || sign !== undefined ? null : new Intl.DateTimeFormat('en-US', {
      timeZone: place, hourCycle: 'h23', year: 'numeric', month: 'numeric', day: 'numeric', hour: 'numeric', minute: 'numeric', second: 'numeric',
    });
  }

  /**
   * How far the clock is ahead of universal time then, in ms.
   * @param {number} at in ms since 1970
   */
  aheadAt(at) {
    if (this.#fixed !== null) return this.#fixed;
    if (this.#format === null) return -new Date(at).getTimezoneOffset() * 60_000;
    const stretch = Math.floor(at / STRETCH_MS);
    let ahead = this.#ahead.get(stretch);
    if (ahead === undefined) {
      const from = stretch * STRETCH_MS;
      const { year, month, day, hour, minute, second } = Object.fromEntries(this.#format.formatToParts(from).map(({ type, value }) => [type, Number(value)]));
      ahead = Date.UTC(year, month - 1, day, hour, minute, second) - from;
      this.#ahead.set(stretch, ahead);
    }
    return ahead;
  }

  /**
   * The instant at which the clock shows this, the first of two.
   * @param {number} shown in ms, as if the clock were that of universal time
   */
  instantOf(shown) {
    const first = shown - this.aheadAt(shown - 86_400_000);
    return first + this.aheadAt(first) === shown ? first : shown - this.aheadAt(first);
  }

  /** The clock as a date whose universal time it shows. @param {number} at */
  #shown(at) {
    return new Date(at + this.aheadAt(at)).toISOString();
  }

  /** Such as `14:02:07.123`. @param {number} at */
  preciseClock(at) {
    return this.#shown(at).slice(-13, -1);
  }

  /** Such as `14:02:07`. @param {number} at */
  clock(at) {
    return this.#shown(at).slice(-13, -5);
  }

  /** Such as `2026-11-28`. @param {number} at */
  date(at) {
    return this.#shown(at).slice(0, -14);
  }
}

const UTC = new Zone('UTC', 'UTC');
export const LOCAL = new Zone('this browser', null);

/** @type {Zone | null | undefined} */
let server;

/** The zone of the server; null if the browser does not know it. */
export function serverZone() {
  if (server === undefined) server = zoneNamed(globalThis.document?.body.dataset.zone ?? '');
  return server;
}

/** @param {string} place @returns {Zone | null} */
function zoneNamed(place) {
  try {
    return place === '' || place === 'local' ? null : new Zone(place.replace(/^Etc\//, ''), place);
  } catch {
    return null;
  }
}

/** The zone for a choice of the reader. @param {ZoneName} choice */
export function zoneOf(choice) {
  return choice === 'utc' ? UTC : choice === 'server' ? serverZone() ?? UTC : LOCAL;
}

/**
 * From when to when, with the second date only where it is another one.
 * @param {number} first
 * @param {number} last
 * @param {Zone} zone
 */
export function spanText(first, last, zone) {
  const date = zone.date(first);
  const begin = `${date} ${zone.clock(first)}`;
  const end = zone.date(last) === date ? zone.clock(last) : `${zone.date(last)} ${zone.clock(last)}`;
  return begin === end || begin === `${date} ${end}` ? begin : `${begin} – ${end}`;
}
