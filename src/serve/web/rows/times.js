// Times of rows: parsed from a line's text, and formatted for the column before it.

import { LOCAL } from '../ui/zones.js';

const MONTHS = ['jan', 'feb', 'mar', 'apr', 'may', 'jun', 'jul', 'aug', 'sep', 'oct', 'nov', 'dec'];
/** Only the beginning of a line is searched for its time. */
const LOOK_CHARS = 200;
const DAY_MS = 86_400_000;
/** Shorter gaps are not shown. */
const GAP_MS_MIN = 100;
const LONG_GAP_MS = 1_000;

const ISO = /(?<!\d)(\d{4})[-/](\d\d)[-/](\d\d)[T _](\d\d):(\d\d):(\d\d)(?:[.,](\d{1,9}))?\s?(Z|UTC|[+-]\d\d:?\d\d(?!\d))?/;
const ACCESS = /(?<!\d)(\d\d)\/([A-Z][a-z]{2})\/(\d{4}):(\d\d):(\d\d):(\d\d) ([+-]\d{4})/;
const SYSLOG = /^(?:<\d{1,3}>)?([A-Z][a-z]{2}) {1,2}(\d{1,2}) (\d\d):(\d\d):(\d\d)(?:\.(\d{1,6}))?(?!\d)/;
const KLOG = /^[IWEF](\d\d)(\d\d) (\d\d):(\d\d):(\d\d)\.(\d{1,6})/;
const EPOCH = /^[[({]?"?(1[5-9]\d{8}|[2-3]\d{9})(?:\.(\d{1,9})|(\d{3}))?(?![\d.])/;
const FIELD = /"(?:time|ts|timestamp|@timestamp)"\s*:\s*"?(1[5-9]\d{8}|[2-3]\d{9})(?:\.(\d{1,9})|(\d{3}))?(?![\d.])/;
const CLOCK = /^\[?(\d\d):(\d\d):(\d\d)(?:[.,](\d{1,9}))?(?![\d:])/;

/**
 * The time in a line's text, in milliseconds since 1970; null if there is none.
 * @param {string} text
 * @param {number} now a time without a year or a day is taken as the latest such time before this one
 * @param {import('../ui/zones.js').Zone} [zone] of a time that says none
 * @returns {number | null}
 */
export function parseTime(text, now, zone = LOCAL) {
  const head = text.slice(0, LOOK_CHARS);
  let found = ISO.exec(head);
  if (found) return timestamp(found[1], Number(found[2]) - 1, found[3], found.slice(4, 7), found[7], found[8] ?? zone);
  found = EPOCH.exec(head) ?? FIELD.exec(head);
  if (found) return Number(found[1]) * 1000 + (found[3] === undefined ? fraction(found[2]) : Number(found[3]));
  found = ACCESS.exec(head);
  if (found) return timestamp(found[3], monthIndexOf(found[2]), found[1], found.slice(4, 7), undefined, found[7]);
  const year = Number(zone.date(now).slice(0, 4));
  const syslog = SYSLOG.exec(head);
  if (syslog) return latestPast(now, (back) => timestamp(String(year - back), monthIndexOf(syslog[1]), syslog[2], syslog.slice(3, 6), syslog[6], zone));
  const klog = KLOG.exec(head);
  if (klog) return latestPast(now, (back) => timestamp(String(year - back), Number(klog[1]) - 1, klog[2], klog.slice(3, 6), klog[6], zone));
  const clock = CLOCK.exec(head);
  if (clock === null) return null;
  return latestPast(now, (back) => {
    const [year, month, day] = zone.date(now - back * DAY_MS).split('-');
    return timestamp(year, Number(month) - 1, day, clock.slice(1, 4), clock[4], zone);
  });
}

/** @param {number} ms */
export function formatAgo(ms) {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86_400)} d`;
}

/**
 * The time since the previous row; empty if it is short.
 * @param {number} ms
 */
export function formatTimeGap(ms) {
  if (Math.abs(ms) < GAP_MS_MIN) return '';
  const sign = ms < 0 ? '−' : '+';
  const tenths = Math.round(Math.abs(ms) / 100) / 10;
  if (tenths < 60) return `${sign}${tenths.toFixed(1)} s`;
  const seconds = Math.round(Math.abs(ms) / 1000);
  if (seconds < 3600) return `${sign}${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, '0')} min`;
  return `${sign}${formatAgo(Math.abs(ms))}`;
}

/** @param {number} ms */
export function isLongGap(ms) {
  return Math.abs(ms) >= LONG_GAP_MS;
}

/**
 * The latest of these times that is not in the future. Up to one hour ahead is accepted, because clocks differ.
 * @param {number} now
 * @param {(back: number) => number | null} at
 */
function latestPast(now, at) {
  const first = at(0);
  return first === null || first <= now + DAY_MS / 24 ? first : at(1);
}

/**
 * @param {string} year
 * @param {number} monthIndex
 * @param {string} day
 * @param {string[]} clock hours, minutes, seconds
 * @param {string | undefined} rest digits of the fraction of a second
 * @param {string | import('../ui/zones.js').Zone} zone as the line says it, or of a line that says none
 */
function timestamp(year, monthIndex, day, [hours, minutes, seconds], rest, zone) {
  const parts = /** @type {const} */ ([Number(year), monthIndex, Number(day), Number(hours), Number(minutes), Number(seconds), fraction(rest)]);
  if (monthIndex < 0 || monthIndex > 11 || parts[2] > 31 || parts[2] < 1 || parts[3] > 24 || parts[4] > 59 || parts[5] > 60) return null;
  if (typeof zone !== 'string') return zone.instantOf(Date.UTC(...parts));
  const offset = /^([+-])(\d\d):?(\d\d)$/.exec(zone);
  const shift = offset === null ? 0 : (offset[1] === '-' ? -1 : 1) * (Number(offset[2]) * 60 + Number(offset[3])) * 60_000;
  return Date.UTC(...parts) - shift;
}

/** @param {string | undefined} digits */
function fraction(digits) {
  return digits === undefined ? 0 : Math.floor(Number(`0.${digits}`) * 1000 + 1e-6);
}

/** @param {string} monthName */
function monthIndexOf(monthName) {
  return MONTHS.indexOf(monthName.toLowerCase());
}
