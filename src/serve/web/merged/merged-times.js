// Lines, errors and warnings over time, of several logs together. Pure, but for the requests.

/**
 * @typedef {import('../ui/histogram.js').Times} Times
 * @typedef {import('../ui/histogram.js').Span} Span
 * @typedef {{times: Times, shift: number}} OfLog the spans of a log, and what is added to its times
 */

const COUNTS = /** @type {const} */ (['lines', 'errors', 'warnings']);

/**
 * The counts of several logs in common spans. A span of a log that lies in two of these is divided between them.
 * @param {OfLog[]} logs
 * @param {number} wanted how many spans
 * @returns {Times}
 */
export function together(logs, wanted) {
  /** @type {{first: number, last: number, times: Times, shift: number}[]} */
  const timed = [];
  for (const { times, shift } of logs) {
    const { first, last } = times;
    if (first !== null && last !== null && times.buckets.length > 0) timed.push({ first: first + shift, last: last + shift, times, shift });
  }
  if (timed.length === 0) return { first: null, last: null, exact: logs.every(({ times }) => times.exact), buckets: [] };
  const [first, last] = [Math.min(...timed.map((log) => log.first)), Math.max(...timed.map((log) => log.last))];
  // A bar of less than a millisecond would have a part of a line.
  const width = Math.max(1, (last + 1 - first) / wanted);
  const buckets = Array.from({ length: wanted }, (_, at) => ({ time: Math.ceil(first + at * width), lines: 0, errors: 0, warnings: 0 }));
  for (const { times, shift, last: end } of timed) {
    times.buckets.forEach((bucket, nth) => {
      const from = bucket.time + shift - first;
      const to = (times.buckets[nth + 1]?.time ?? end + 1 - shift) + shift - first;
      for (let at = Math.floor(from / width); at < wanted && at * width < to; at += 1) {
        const part = to <= from ? 1 : (Math.min(to, (at + 1) * width) - Math.max(from, at * width)) / (to - from);
        for (const count of COUNTS) buckets[at][count] += bucket[count] * part;
      }
    });
  }
  for (const bucket of buckets) for (const count of COUNTS) bucket[count] = Math.round(bucket[count]);
  return { first, last, exact: logs.every(({ times }) => times.exact), buckets };
}

/**
 * A span of time by the clock of a log.
 * @template {Span | null} T
 * @param {T} span by a right clock
 * @param {number} shift what is added to the times of the log
 * @returns {T}
 */
export function spanInLog(span, shift) {
  return /** @type {T} */ (span === null ? null : { since: span.since - shift, until: span.until - shift });
}

/**
 * Asks for the spans of several logs.
 * @param {{api: import('../net/api.js').LogApi, shift: number}[]} logs
 * @param {Span | null} span null for all of the logs
 * @param {number} wanted
 * @param {AbortSignal} signal
 * @returns {Promise<Times>}
 */
export async function loadTogether(logs, span, wanted, signal) {
  const answers = await Promise.all(logs.map(async ({ api, shift }) => {
    try {
      return { times: await api.times(spanInLog(span, shift), wanted, signal), shift };
    } catch (error) {
      signal.throwIfAborted();
      // The others are shown. The list says what is wrong with this one.
      return { error, shift };
    }
  }));
  /** @type {OfLog[]} */
  const told = [];
  for (const { times, shift } of answers) if (times !== undefined) told.push({ times, shift });
  if (told.length === 0 && answers.length > 0) throw answers[0].error;
  return together(told, wanted);
}
