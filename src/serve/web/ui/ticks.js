// Round times on an axis of time, at a distance at which their labels can be read. Pure.

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const STEPS = [1, 5, 15, 30].map((seconds) => seconds * SECOND)
  .concat([1, 5, 15, 30].map((minutes) => minutes * MINUTE), [1, 3, 6, 12].map((hours) => hours * HOUR), [1, 2, 7, 14, 28, 84, 364].map((days) => days * DAY));

/**
 * The round times within a span, by the clock of a zone, with their labels: `14:30`, `14:30:05`, or the date at midnight.
 * @param {number} first in ms since 1970
 * @param {number} last
 * @param {import('./zones.js').Zone} zone
 * @param {number} most how many there is room for
 * @returns {[time: number, label: string][]}
 */
export function ticks(first, last, zone, most) {
  const step = STEPS.find((step) => (last - first) / step <= most);
  if (step === undefined || last <= first) return [];
  /** @type {[number, string][]} */
  const found = [];
  const end = last + zone.aheadAt(last);
  for (let shown = Math.ceil((first + zone.aheadAt(first)) / step) * step; shown <= end; shown += step) {
    const time = zone.instantOf(shown);
    // Where the clock is changed, a time may be missing or come twice.
    if (time < first || time > last || time <= (found.at(-1)?.[0] ?? -Infinity)) continue;
    const isMidnight = shown % DAY === 0;
    found.push([time, isMidnight ? zone.date(time) : zone.clock(time).slice(0, step < MINUTE ? 8 : 5)]);
  }
  return found;
}
