// The display options of rows. The browser stores the reader's options; the options of a link are not stored.

import { ZONES } from './zones.js';

const STORE = 'tailcast.options';
/** The key that earlier versions used. */
const WRAP_STORE = 'tailcast.wrap';
export const COLUMNS_CHARS_MAX = 200;

/**
 * @typedef {'off' | 'clock' | 'ago' | 'gap'} Times
 * @typedef {{wrap: boolean, highlight: boolean, numbers: boolean, times: Times, zone: import('./zones.js').ZoneName, repeats: boolean, groups: boolean,
 *   readable: boolean, histogram: boolean, columns: string}} Options `columns` are names of fields, with spaces between them
 * @typedef {'wrap' | 'highlight' | 'readable' | 'histogram' | 'numbers' | 'repeats' | 'groups'} Switch an option that is on or off
 */

/** @type {Options} */
export const DEFAULTS = { wrap: true, highlight: true, numbers: false, times: 'off', zone: 'local', repeats: false, groups: false, readable: false, histogram: false, columns: '' };
export const SWITCHES = /** @type {Switch[]} */ (['wrap', 'highlight', 'readable', 'histogram', 'numbers', 'repeats', 'groups']);
export const TIMES = /** @type {Times[]} */ (['off', 'clock', 'ago', 'gap']);

/** @returns {Options} */
export function loadOptions() {
  try {
    const kept = JSON.parse(localStorage.getItem(STORE) ?? '{}');
    return validate({ wrap: localStorage.getItem(WRAP_STORE) !== 'false', ...kept });
  } catch {
    return { ...DEFAULTS };
  }
}

/** @param {Options} options */
export function saveOptions(options) {
  try {
    localStorage.setItem(STORE, JSON.stringify(options));
  } catch {
    // Without storage the options last as long as the page.
  }
}

/** @param {Record<string, unknown>} kept @returns {Options} */
function validate(kept) {
  const options = { ...DEFAULTS };
  for (const option of SWITCHES) {
    const value = kept[option];
    if (typeof value === 'boolean') options[option] = value;
  }
  const times = /** @type {Times} */ (kept.times);
  if (TIMES.includes(times)) options.times = times;
  if (typeof kept.columns === 'string') options.columns = kept.columns.slice(0, COLUMNS_CHARS_MAX);
  options.zone = ZONES.find((zone) => zone === kept.zone) ?? options.zone;
  return options;
}
