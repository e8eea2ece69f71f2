// What a structured line says, as text that people read: `14:02:07.120 ERROR request failed  user=7 latency=812ms` instead of
// an object of JSON. Pure.

import { parseTime } from './times.js';

/** A longer line stays as it is. */
const LINE_CHARS_MAX = 20_000;
/** A longer value of a column is cut. */
const COLUMN_CHARS_MAX = 40;
const FIELDS_MAX = 200;
/** So many names of fields are offered. */
const NAMES_MAX = 24;
/** Such as `14:02:07.120`. */
const TIME_CHARS = 12;
const DEPTH_MAX = 8;
const TIME_KEYS = ['time', 'ts', 'timestamp', '@timestamp', '@t', 'datetime', 'asctime', 'eventTime', 'Timestamp', 'timeUnixNano', 'date'];
const LEVEL_KEYS = [
  'level', 'severity', 'lvl', 'levelname', 'loglevel', 'log_level', 'log.level', '@l', 'severityText', 'severity_text', 'SeverityText', 'severityNumber', 'SeverityNumber', 'levelno',
];
const MESSAGE_KEYS = ['msg', 'message', '@m', '@mt', 'short_message', 'body', 'event'];
const LOGFMT = /(?<![^\s[({,])([A-Za-z_@][\w.@/-]*)=("(?:[^"\\]|\\.)*"|[^\s"]*)/g;
const SYSLOG_LEVELS = ['FATAL', 'FATAL', 'FATAL', 'ERROR', 'WARN', 'INFO', 'INFO', 'DEBUG'];
/** Whether the browser says how a number is written. */
const HAS_SOURCES = 'rawJSON' in JSON;
const LEVELS = ['TRACE', 'DEBUG', 'INFO', 'WARN', 'ERROR', 'FATAL'];

/**
 * @typedef {[key: string, value: unknown]} Field inner objects have dotted keys
 * @typedef {{before: string, fields: Field[]}} Structured a line: the text before its object, and its fields
 */

/**
 * The fields of a line that is JSON or logfmt; null for any other line.
 * @param {string} line
 * @returns {Structured | null}
 */
export function parseLine(line) {
  if (line.length > LINE_CHARS_MAX) return null;
  const text = line.trimEnd();
  const start = text.indexOf('{');
  if (start >= 0 && text.endsWith('}')) {
    try {
      const value = parseExactly(text.slice(start));
      /** @type {Field[]} */
      const fields = [];
      flatten('', value, fields, 0);
      return fields.length === 0 ? null : { before: text.slice(0, start).trim(), fields };
    } catch {
      // It is no JSON.
    }
  }
  return parseLogfmt(text);
}

/**
 * Parses JSON. Numbers that the browser would write in another way stay texts, so that no digit is lost.
 * @param {string} json
 * @returns {unknown}
 */
function parseExactly(json) {
  const exact = (/** @type {string} */ _, /** @type {unknown} */ value, /** @type {{source?: string} | undefined} */ context) =>
    (typeof value === 'number' && context?.source !== undefined && String(value) !== context.source ? new Written(context.source) : value);
  const value = JSON.parse(json, /** @type {any} */ (exact));
  // An older browser does not say how a number is written.
  if (!HAS_SOURCES && /[:[,]\s*-?[\d.]{16}/.test(json)) throw new SyntaxError('a number may lose digits');
  return value;
}

/** A number as it is written. */
class Written {
  /** @param {string} text */
  constructor(text) {
    this.text = text;
  }

  toString() {
    return this.text;
  }

  /** For `JSON.stringify`, as far as that can write it. */
  toJSON() {
    return 'rawJSON' in JSON ? /** @type {any} */ (JSON).rawJSON(this.text) : this.text;
  }
}

/**
 * A line is logfmt if it has a message or a level, and some other field.
 * @param {string} text
 * @returns {Structured | null}
 */
function parseLogfmt(text) {
  /** @type {Field[]} */
  const fields = [];
  let [before, last, isWhole] = ['', 0, true];
  for (const { index, 0: whole, 1: key, 2: value } of text.matchAll(LOGFMT)) {
    const between = text.slice(last, index).trim();
    if (fields.length === 0) before = between;
    else if (between !== '') isWhole = false;
    fields.push([key, value.startsWith('"') ? unquoted(value) : value]);
    last = index + whole.length;
    if (fields.length > FIELDS_MAX) return null;
  }
  const has = (/** @type {string[]} */ keys) => fields.some(([key]) => keys.includes(key));
  // Words between the fields would be lost.
  if (!isWhole || text.slice(last).trim() !== '' || fields.length < 2 || !(has(MESSAGE_KEYS) || has(LEVEL_KEYS))) return null;
  return { before, fields };
}

/** @param {string} value in quotes */
function unquoted(value) {
  return value.slice(1, -1).replace(/\\(.)/g, (_, escaped) => ({ n: '\n', t: '\t' })[/** @type {'n'} */ (escaped)] ?? escaped);
}

/**
 * @param {string} path the key of the value; empty for the outermost one
 * @param {unknown} value
 * @param {Field[]} fields
 * @param {number} depth
 */
function flatten(path, value, fields, depth) {
  const isObject = typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Written);
  if (isObject && depth < DEPTH_MAX && (depth === 0 || Object.keys(value).length > 0)) {
    for (const [key, inner] of Object.entries(value)) flatten(path === '' ? key : `${path}.${key}`, inner, fields, depth + 1);
  } else if (path !== '' && fields.length < FIELDS_MAX) {
    fields.push([path, value]);
  }
}

/**
 * The fields by their usual places: the first time, level and message that a line has, and the rest.
 * @param {Structured} line
 */
export function arranged({ fields }) {
  const take = (/** @type {string[]} */ keys) => {
    for (const wanted of keys) {
      const found = fields.find(([key, value]) => key === wanted && value !== null && value !== '');
      if (found !== undefined) return found;
    }
    return null;
  };
  const [time, level, message] = [take(TIME_KEYS), take(LEVEL_KEYS), take(MESSAGE_KEYS)];
  return { time, level, message, rest: fields.filter((field) => field !== time && field !== level && field !== message) };
}

/**
 * A line as text. With columns, these stand in place of all other fields.
 * @param {Structured} line
 * @param {import('../ui/zones.js').Zone | null} zone in which its time is shown; null if it stands beside the line
 * @param {import('../ui/zones.js').Zone} own the zone of a time that says none
 * @param {string[]} columns names of fields
 * @param {Map<string, number>} widths of the columns, in characters
 */
export function readableText(line, zone, own, columns, widths) {
  const { time, level, message, rest } = arranged(line);
  const parts = [];
  if (line.before !== '') parts.push(line.before);
  const clock = time === null ? '' : timeText(time[1], zone, own);
  if (clock !== '') parts.push(clock);
  if (level !== null) parts.push(levelText(level).padEnd(5));
  const said = message === null ? '' : typeof message[1] === 'string' ? message[1] : valueText(message[1]);
  if (columns.length > 0) {
    const cells = columns.map((column) => columnText(line, column).padEnd(widths.get(column) ?? 0));
    return [...parts, ...cells, inOneLine(said)].join('  ').trimEnd();
  }
  if (said !== '') parts.push(inOneLine(said));
  const blocks = [said.includes('\n') ? ['', said.slice(said.indexOf('\n') + 1)] : null, ...rest.map(([key, value]) => (isBlock(value) ? [key, value] : null))].filter((block) => block !== null);
  const pairs = rest.filter(([, value]) => !isBlock(value)).map(([key, value]) => `${key}=${valueText(value)}`);
  const head = [parts.join(' '), pairs.join(' ')].filter((part) => part !== '').join('  ');
  return [head, ...blocks.map(([key, value]) => `${key === '' ? '' : `  ${key}:\n`}${indented(String(value))}`)].join('\n');
}

/**
 * The names of the columns, each where that column of a line stands.
 * @param {Structured} line
 * @param {string[]} columns
 * @param {Map<string, number>} widths of the columns, in characters
 * @param {boolean} [isTimed] whether the time of the line stands in it
 */
export function columnHeads(line, columns, widths, isTimed = true) {
  const { time, level, message } = arranged(line);
  return [
    ...(line.before === '' ? [] : [' '.repeat(line.before.length)]),
    ...(time === null || !isTimed ? [] : ['time'.padEnd(TIME_CHARS)]),
    ...(level === null ? [] : ['level']),
    ...columns.map((column) => column.padEnd(widths.get(column) ?? 0)),
    ...(message === null ? [] : [message[0]]),
  ].join('  ');
}

/**
 * The names of the fields of lines, the most frequent ones first, without those of their times.
 * @param {Structured[]} lines
 */
export function fieldNames(lines) {
  /** @type {Map<string, number>} */
  const counts = new Map();
  for (const { fields } of lines) for (const [field] of fields) counts.set(field, (counts.get(field) ?? 0) + 1);
  return [...counts].sort(([, one], [, other]) => other - one).map(([field]) => field).filter((field) => !TIME_KEYS.includes(field) && !/[\s,"]/.test(field)).slice(0, NAMES_MAX);
}

/** The value of a column. @param {Structured} line @param {string} column */
export function columnText({ fields }, column) {
  const found = fields.find(([key]) => key === column);
  if (found === undefined) return '';
  const text = typeof found[1] === 'string' ? inOneLine(found[1]) : valueText(found[1]);
  return text.length > COLUMN_CHARS_MAX ? `${text.slice(0, COLUMN_CHARS_MAX - 1)}…` : text;
}

/** Whether a value has several lines, such as a stack trace. @param {unknown} value */
function isBlock(value) {
  return typeof value === 'string' && value.trimEnd().includes('\n');
}

/** @param {string} text */
function indented(text) {
  return text.trimEnd().split('\n').map((line) => `    ${line.trimEnd()}`).join('\n');
}

/** The first line of a text. @param {string} text */
function inOneLine(text) {
  const end = text.indexOf('\n');
  return end < 0 ? text : text.slice(0, end).trimEnd();
}

/** @param {unknown} value */
function valueText(value) {
  if (value instanceof Written) return value.text;
  if (typeof value !== 'string') return JSON.stringify(value);
  return value === '' || /[\s"=]/.test(value) ? JSON.stringify(value) : value;
}

/**
 * A time of the day, or the text as it is where that is no time.
 * @param {unknown} value
 * @param {import('../ui/zones.js').Zone | null} zone null for nothing where it is a time
 * @param {import('../ui/zones.js').Zone} own
 */
function timeText(value, zone, own) {
  const text = String(value);
  const number = Number(text);
  const at = text.trim() !== '' && Number.isFinite(number) ? sinceEpoch(number) : parseTime(text, Date.now(), own);
  return at === null ? text : zone?.preciseClock(at) ?? '';
}

/** A number of seconds, milliseconds, microseconds or nanoseconds since 1970, in milliseconds. @param {number} number */
function sinceEpoch(number) {
  for (const [most, inMs] of [[1e11, 1e3], [1e14, 1], [1e17, 1e-3], [1e20, 1e-6]]) if (number > 1e8 && number < most) return number * inMs;
  return null;
}

/**
 * Numbers are those of OpenTelemetry, Python, syslog, and pino and bunyan, as the server reads them (docs/fields.md).
 * @param {Field} field
 */
function levelText([key, value]) {
  const text = String(value);
  const number = Number(text);
  if (text.trim() === '' || !Number.isInteger(number)) return text.toUpperCase();
  const scale = (/** @type {number} */ step, /** @type {number} */ first) => LEVELS[Math.min(LEVELS.length - 1, Math.floor((number - first) / step))] ?? text;
  if (/everityNumber$/.test(key)) return scale(4, 1);
  if (key === 'levelno') return number >= 50 ? 'FATAL' : scale(10, 0);
  return number >= 10 ? scale(10, 10) : SYSLOG_LEVELS[number] ?? text;
}
