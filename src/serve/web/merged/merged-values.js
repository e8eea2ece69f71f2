// The values of a field in several logs together. Pure, but for the requests.

import { spanParameters } from '../net/api.js';
import { spanInLog } from './merged-times.js';

/** The most values that a log names. The most frequent ones of all logs are among them, but for rare cases. */
const VALUES_MAX = 1_000;
/** How many are shown. */
const SHOWN = 20;

/** @typedef {import('../net/api.js').FieldValues} FieldValues */

/**
 * The values of several logs as those of one.
 * @param {FieldValues[]} states of each log
 * @returns {FieldValues}
 */
export function sumOf(states) {
  /** @type {Map<string, number>} */
  const rows = new Map();
  for (const { values } of states) for (const [value, count] of values) rows.set(value, (rows.get(value) ?? 0) + count);
  const values = [...rows].sort(([one, a], [other, b]) => b - a || (one < other ? -1 : 1));
  // A log may have values that it does not name.
  const unnamed = states.some((state) => state.isAtLeast || state.distinct > state.values.length);
  return {
    rows: states.reduce((sum, state) => sum + state.rows, 0),
    with_field: states.reduce((sum, state) => sum + state.with_field, 0),
    distinct: Math.max(values.length, ...states.map(({ distinct }) => distinct)),
    values: values.slice(0, SHOWN),
    done: states.every(({ done }) => done),
    complete: states.every(({ complete }) => complete),
    isAtLeast: unnamed,
  };
}

/**
 * Counts the values of a field in several logs.
 * @param {{api: import('../net/api.js').LogApi, shift: number}[]} logs each with what is added to its times
 * @param {string} field
 * @param {Record<string, string>} filter
 * @param {import('../ui/histogram.js').Span | null} span that is counted; null for all of the logs
 * @param {AbortSignal} signal
 * @param {(state: FieldValues) => void} show called with each state of the count
 */
export async function countTogether(logs, field, filter, span, signal, show) {
  /** @type {(FieldValues | null)[]} */
  const states = logs.map(() => null);
  const showAll = () => {
    const known = states.filter((state) => state !== null);
    const sum = sumOf(known);
    const isAll = known.length === states.length;
    show({ ...sum, done: sum.done && isAll, complete: sum.complete && isAll });
  };
  const counts = await Promise.allSettled(logs.map(async ({ api, shift }, at) => {
    const own = spanInLog(span, shift);
    const asked = { ...filter, ...(own !== null && spanParameters(own)) };
    for await (const state of api.fieldValues(field, asked, signal, VALUES_MAX)) {
      signal.throwIfAborted();
      states[at] = state;
      showAll();
    }
  }));
  signal.throwIfAborted();
  const failed = counts.find((count) => count.status === 'rejected');
  if (failed === undefined) return;
  if (states.every((state) => state === null)) throw failed.reason;
  // The others are shown. The list says what is wrong with this one.
  show({ ...sumOf(states.filter((state) => state !== null)), done: true, complete: false });
}
