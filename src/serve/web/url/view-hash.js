// The view as the URL's fragment: position, pattern, filter, highlights and options. A fragment is never sent to the
// server, and changing it does not reload the page. A position includes its generation, so that a link into a rotated
// file never shows lines of another file.

import { colourRule, COLOUR_RULES_MAX } from '../ui/colour-rules.js';
import { COLUMNS_CHARS_MAX, DEFAULTS, SWITCHES, TIMES } from '../ui/options.js';
import { ZONES } from '../ui/zones.js';

/**
 * @typedef {{kind: 'line' | 'offset', from: number, to: number}} LineRange the selected lines, both ends included
 * @typedef {{text: string, regex: boolean, case: boolean, word: boolean, fields?: boolean}} Pattern with `fields`, the
 *   text is conditions on the fields of JSON and logfmt
 * @typedef {'' | 'error' | 'warning'} Level all rows, errors, or errors and warnings
 * @typedef {object} View
 * @property {LineRange | null} lines
 * @property {number | null} top offset of the first row in sight of a paused view
 * @property {string | null} generation the generation of `lines` and `top`
 * @property {string | null} time the view begins with the first line that is not before it, as the server takes it
 * @property {boolean} follow
 * @property {Pattern | null} find
 * @property {boolean} filter
 * @property {boolean} invert
 * @property {Level} level the log levels that are shown
 * @property {Pattern[]} rules
 * @property {import('../ui/colour-rules.js').ColourRule[]} colours the reader's own colours
 * @property {Partial<import('../ui/options.js').Options>} options
 * @property {number[]} folds offsets of the groups that the reader opened or folded against the options
 * @property {import('../ui/histogram.js').Span | null} span the span of time whose lines are shown alone
 * @property {string} encoding the chosen encoding; empty for the one that the first bytes say
 */

export const RULES_MAX = 6;
export const LEVELS = /** @type {Level[]} */ (['', 'warning', 'error']);
const FOLDS_MAX = 100;
const FLAGS = /** @type {('regex' | 'case' | 'word' | 'fields')[]} */ (['regex', 'case', 'word', 'fields']);

/** @returns {View} */
export function emptyView() {
  return { lines: null, top: null, generation: null, time: null, follow: true, find: null, filter: false, invert: false, level: '', rules: [], colours: [], options: {}, folds: [], span: null, encoding: '' };
}

/**
 * Parses a fragment. Unknown parts are ignored: a newer page or a person may have written them.
 * @param {string} hash
 * @returns {View}
 */
export function parseView(hash) {
  const view = emptyView();
  for (const part of hash.replace(/^#/, '').split('&')) {
    const cut = part.indexOf('=');
    const key = cut < 0 ? part : part.slice(0, cut);
    const value = cut < 0 ? '' : decode(part.slice(cut + 1));
    const lines = cut < 0 ? parseLineRange(part) : null;
    if (lines !== null) view.lines = lines;
    else if (key === 'top') view.top = parseNumber(value);
    else if (key === 't' && value !== '') view.time = value;
    else if (key === 'g') view.generation = value;
    else if (key === 'follow') view.follow = value !== '0';
    else if (key === 'find') view.find = parsePattern(value);
    else if (key === 'filter') [view.filter, view.invert] = [value === '1' || value === 'not', value === 'not'];
    else if (key === 'level') view.level = LEVELS.find((level) => level === value) ?? '';
    else if (key === 'mark' && view.rules.length < RULES_MAX) view.rules.push(...[parsePattern(value)].filter((rule) => rule !== null));
    else if (key === 'colour' && view.colours.length < COLOUR_RULES_MAX) view.colours.push(...[parseColour(value)].filter((rule) => rule !== null));
    else if (key === 'fold') view.folds = value.split(',').map(parseNumber).filter((offset) => offset !== null).slice(0, FOLDS_MAX);
    else if (key === 'span') view.span = parseSpan(value);
    else if (key === 'encoding') view.encoding = encodingName(value);
    else if (key === 'times') view.options.times = TIMES.find((times) => times === value);
    else if (key === 'columns') view.options.columns = value.slice(0, COLUMNS_CHARS_MAX);
    else if (key === 'zone') view.options.zone = ZONES.find((zone) => zone === value);
    else for (const option of SWITCHES) if (key === option) view.options[option] = value !== '0';
  }
  if (view.options.times === undefined) delete view.options.times;
  if (view.options.zone === undefined) delete view.options.zone;
  if (view.lines !== null || view.top !== null || view.time !== null) view.follow = false;
  return view;
}

/**
 * @param {View} view
 * @returns {string} with the `#`, or empty for the default view
 */
export function formatView(view) {
  /** @type {string[]} */
  const parts = [];
  if (view.lines !== null) parts.push(formatLineRange(view.lines));
  if (view.top !== null && view.lines === null && !view.follow) parts.push(`top=${view.top}`);
  if (view.time !== null && parts.length === 0) parts.push(`t=${encode(view.time)}`);
  else if (view.generation !== null && parts.length > 0) parts.push(`g=${encode(view.generation)}`);
  if (!view.follow && parts.length === 0) parts.push('follow=0');
  if (view.find !== null) parts.push(`find=${formatPattern(view.find)}`);
  if (view.filter) parts.push(view.invert ? 'filter=not' : 'filter=1');
  if (view.level !== '') parts.push(`level=${view.level}`);
  for (const rule of view.rules) parts.push(`mark=${formatPattern(rule)}`);
  for (const { colour, text } of view.colours) parts.push(`colour=${encode(`${colour}:${text}`)}`);
  for (const option of SWITCHES) {
    const value = view.options[option];
    if (value !== undefined && value !== DEFAULTS[option]) parts.push(`${option}=${value ? 1 : 0}`);
  }
  if (view.options.columns) parts.push(`columns=${encode(view.options.columns)}`);
  if (view.options.times !== undefined && view.options.times !== DEFAULTS.times) parts.push(`times=${view.options.times}`);
  if (view.options.zone !== undefined && view.options.zone !== DEFAULTS.zone) parts.push(`zone=${view.options.zone}`);
  if (view.span !== null) parts.push(`span=${view.span.since}-${view.span.until}`);
  if (view.encoding !== '') parts.push(`encoding=${view.encoding}`);
  if (view.folds.length > 0) parts.push(`fold=${view.folds.slice(0, FOLDS_MAX).join(',')}`);
  return parts.length === 0 ? '' : `#${parts.join('&')}`;
}

/**
 * The name of the encoding with this label; empty for one that the server would refuse.
 * @param {string} label
 */
export function encodingName(label) {
  try {
    const { encoding } = new TextDecoder(label);
    return label === '' || encoding === 'iso-2022-jp' ? '' : encoding;
  } catch {
    return '';
  }
}

/** @param {LineRange} lines */
export function formatLineRange({ kind, from, to }) {
  const sign = kind === 'line' ? 'L' : '@';
  return from === to ? `${sign}${from}` : `${sign}${from}-${sign}${to}`;
}

/**
 * @param {string} text
 * @returns {LineRange | null}
 */
function parseLineRange(text) {
  const found = /^(?:L(\d{1,15})(?:-L?(\d{1,15}))?|@(\d{1,15})(?:-@?(\d{1,15}))?)$/.exec(text);
  if (found === null) return null;
  const kind = found[1] === undefined ? 'offset' : 'line';
  const first = Number(found[1] ?? found[3]);
  const last = Number(found[2] ?? found[4] ?? first);
  if (kind === 'line' && Math.min(first, last) < 1) return null;
  return { kind, from: Math.min(first, last), to: Math.max(first, last) };
}

/**
 * Flags and a colon come before the text, as in `r:pan(ic)?`, so that the text can be anything.
 * @param {string} value
 * @returns {Pattern | null}
 */
function parsePattern(value) {
  const cut = value.indexOf(':');
  if (cut < 0 || !/^[rcwf]*$/.test(value.slice(0, cut)) || value.length === cut + 1) return null;
  const flags = value.slice(0, cut);
  return { text: value.slice(cut + 1), regex: flags.includes('r'), case: flags.includes('c'), word: flags.includes('w'), ...(flags.includes('f') && { fields: true }) };
}

/** The colour and a colon come before the expression. @param {string} value */
function parseColour(value) {
  const cut = value.indexOf(':');
  return colourRule(value.slice(0, Math.max(0, cut)), value.slice(cut + 1));
}

/** @param {Pattern} pattern */
function formatPattern(pattern) {
  return encode(`${FLAGS.filter((flag) => pattern[flag]).map((flag) => flag[0]).join('')}:${pattern.text}`);
}

/** @param {string} value @returns {import('../ui/histogram.js').Span | null} */
function parseSpan(value) {
  const [, since, until] = /^(\d{1,15})-(\d{1,15})$/.exec(value) ?? [];
  return since !== undefined && Number(since) < Number(until) ? { since: Number(since), until: Number(until) } : null;
}

/** @param {string} value */
function parseNumber(value) {
  return /^\d{1,15}$/.test(value) ? Number(value) : null;
}

/** @param {string} value */
function encode(value) {
  return encodeURIComponent(value.toWellFormed?.() ?? value).replaceAll('%3A', ':').replaceAll('%2C', ',').replaceAll('%20', '+');
}

/** @param {string} value */
function decode(value) {
  try {
    return decodeURIComponent(value.replaceAll('+', '%20'));
  } catch {
    return value;
  }
}
