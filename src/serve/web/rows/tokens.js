// What stands in a plain line: times, levels, numbers, ids, addresses, paths, quoted text and keys. Pure. Each expression
// is tried once where a word begins and has no nested repetition, so the time grows with the length of the line.

/** Only the beginning of a line is read. */
export const READ_CHARS = 2_000;
/** A level is looked for in the first characters only: further on, such words are those of the message. */
const LEVEL_CHARS = 400;

/**
 * @typedef {'time' | 'error' | 'warning' | 'info' | 'debug' | 'number' | 'id' | 'address' | 'path' | 'string' | 'key'} Kind
 * @typedef {[kind: Kind | '', from: number, to: number]} Token a part of a line; the kind is empty for plain text
 */

/** @type {Kind[]} */
export const KINDS = ['time', 'error', 'warning', 'info', 'debug', 'number', 'id', 'address', 'path', 'string', 'key'];

const MONTH = '(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)';
const CLOCK = String.raw`\d\d?:\d\d:\d\d(?:[.,]\d{1,9})?`;
const ZONE_NAME = 'UTC|GMT|CES?T|EES?T|WES?T|BST|MSK|[ECMP][SD]T|A[EC][SD]T|JST|KST|IST|HKT|SGT';
const ZONE = String.raw`(?: ?(?:Z|[+-]\d\d:?\d\d|${ZONE_NAME})(?![\w:]))?`;
const TIME = sticky([
  String.raw`\d{4}[-/]\d\d[-/]\d\d(?:[T _]${CLOCK}${ZONE})?(?![\w/])`,
  String.raw`\d{8}T\d{6}(?:[.,]\d{1,9})?Z?(?!\w)`,
  String.raw`\d\d?[-/ ]${MONTH}[-/ ]\d{4}[: ]${CLOCK}${ZONE}`,
  String.raw`(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun),? )?${MONTH} {1,2}\d\d?,? (?:\d{4} )?${CLOCK}(?: [AP]M)?(?: \d{4})?(?!\w)`,
  String.raw`${CLOCK}(?: [AP]M|Z)?(?![\w:])`,
].join('|'));
/** Go's klog writes the level as the first letter of the time. */
const KLOG = /([IWEF])(\d{4} \d\d:\d\d:\d\d\.\d{1,6})/y;
/** Seconds, milliseconds, microseconds or nanoseconds since 1970, at the start of a line. */
const EPOCH = /[12]\d{9}(?:\.\d{1,9}|\d{3}|\d{6}|\d{9})?(?![\w.])/y;
/** The kernel's seconds since the start. */
const UPTIME = /\[ {0,8}\d{1,9}\.\d{6}\]/y;
const LINK = /https?:\/\/[^\s"'<>`|]+/iy;
const UUID = /[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}(?![\w-])/iy;
/** Hashes and other hexadecimal names. Bare digits are a number. */
const HEX = /(?:sha\d{1,3}:|0x)?(?=[a-f]*\d)(?=\d*[a-f])[0-9a-f]{7,128}(?![\w-])|0x[0-9a-f]{1,32}(?!\w)/iy;
const IPV4 = /\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}(?::\d{1,5}|\/\d{1,2})?(?![\w.]*\w)/y;
const IPV6 = /(?:\[(?=[^:\]\s]{0,4}:[^:\]\s]{0,4}:)[0-9a-f:]{2,39}(?:%\w{1,15})?\](?::\d{1,5})?|(?=[0-9a-f]{0,4}:)(?=[^:\s]*:[^:\s]*:)[0-9a-f:]{3,39}(?:\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3})?(?:\/\d{1,3})?)(?![\w:.])/iy;
const HOST_PORT = /(?:localhost|[a-z0-9](?:[\w-]{0,62}\.)[a-z0-9][\w.-]{0,200}):\d{2,5}(?![\w:.])/iy;
const PATH = /(?:~|\.{1,2}|[A-Za-z]:(?=\\))?[\/\\][\w.@%+~:,=#$-]*(?:[\/\\][\w.@%+~:,=#$-]*)*/y;
/** A path without a slash before it, and a place in a source file. */
const SOURCE = /[\w.-]{1,80}(?:(?:\/[\w.@+-]{1,80}){2,}|\/[\w-]{1,80}\.[a-z]\w{0,7}(?![\w/]))(?::\d+){0,2}|[\w-]{1,80}\.(?:rs|go|py|js|ts|c|cc|cpp|h|java|kt|rb|php|cs|ex|swift):\d+(?::\d+)?(?!\w)/y;
const NUMBER = /[+-]?\d+(?:[.,]\d+)*(?:e[+-]?\d+)?(?:%|(?:ns|us|µs|ms|s|m|min|h|d|B|[kKMGT]i?B|[kKMGT]|Hz|x)(?!\w))?(?![\w])/y;
const KEY = /[A-Za-z_@][\w.@/-]{0,80}=(?![=>\s]|$)/y;
const WORD = /[\p{L}\p{N}_]+/uy;
const LEVELS = /** @type {[RegExp, Kind][]} */ ([
  [/^(?:E|F|ERR|ERROR|FATAL|CRIT|CRITICAL|ALERT|EMERG|EMERGENCY|PANIC|SEVERE|FAILED|FAILURE)$/i, 'error'],
  [/^(?:W|WRN|WARN|WARNING)$/i, 'warning'],
  [/^(?:I|INF|INFO|INFORMATION|NOTICE|LOG|STATEMENT|HINT|DETAIL)$/i, 'info'],
  [/^(?:D|T|DBG|DEBUG|TRC|TRACE|FINE|FINER|FINEST|VERBOSE)$/i, 'debug'],
]);
const LEVEL_KEY = /^(?:level|lvl|severity|levelname|log\.level|loglevel|priority|l|s)$/i;

const DIGIT = /[0-9]/;
const LETTER = /[A-Za-z_@]/;

/** @param {string} source */
function sticky(source) {
  return new RegExp(source, 'y');
}

/**
 * The parts of a line, in their order. Together they are the line.
 * @param {string} line
 * @returns {Token[]}
 */
export function tokenize(line) {
  return new Reader(line).read();
}

class Reader {
  #line;
  #end;
  /** @type {Token[]} */
  #tokens = [];
  /** Where the plain text begins that is not a token yet. */
  #plain = 0;
  #at = 0;
  /** The quotation marks that do not come any more. @type {Set<string>} */
  #unclosed = new Set();
  /** Whether a value follows that names a level. */
  #isLevelNext = false;

  /** @param {string} line */
  constructor(line) {
    this.#line = line.length > READ_CHARS ? line.slice(0, READ_CHARS) : line;
    this.#end = line.length;
  }

  read() {
    const line = this.#line;
    const priority = /^<\d{1,3}>(?:1 )?/.exec(line);
    if (priority !== null) this.#at = priority[0].length;
    if (!this.#klog()) this.#take(EPOCH, 'time');
    while (this.#at < line.length) this.#step(line[this.#at]);
    if (this.#plain < this.#end) this.#tokens.push(['', this.#plain, this.#end]);
    return this.#tokens;
  }

  /** Reads what begins at the present place. @param {string} first its first character */
  #step(first) {
    // A level stands right behind its key.
    if (this.#isLevelNext && !/[\s:"'A-Za-z]/.test(first)) this.#isLevelNext = false;
    if (first === '"' || first === "'" || first === '`') this.#quoted(first);
    else if (first === '[' || first === '<' || first === '(') this.#bracket(first);
    else if (DIGIT.test(first)) this.#digits();
    else if (LETTER.test(first)) this.#word();
    else if (first === '/' || first === '.' || first === '~' || first === '\\') this.#path();
    else if (first === '-' || first === '+') this.#signed();
    else if (first === ':') this.#colon();
    else if (/[\p{L}\p{N}]/u.test(first)) this.#skipWord();
    else this.#at += 1;
  }

  /** Takes what an expression finds at the present place. @param {RegExp} expression @param {Kind} kind */
  #take(expression, kind) {
    const chars = this.#measure(expression);
    if (chars === 0) return false;
    this.#put(kind, this.#at, this.#at + chars);
    return true;
  }

  /** The length of what an expression finds here. @param {RegExp} expression */
  #measure(expression) {
    expression.lastIndex = this.#at;
    return expression.exec(this.#line)?.[0].length ?? 0;
  }

  /** @param {Kind | ''} kind @param {number} from @param {number} to */
  #put(kind, from, to) {
    // A line that is not read to its end may go on with the same word.
    if (kind !== '' && to === READ_CHARS && this.#end > READ_CHARS) kind = '';
    if (kind !== '') {
      if (this.#plain < from) this.#tokens.push(['', this.#plain, from]);
      this.#tokens.push([kind, from, to]);
      this.#plain = to;
    }
    this.#at = to;
  }

  #skipWord() {
    this.#at += Math.max(1, this.#measure(WORD));
  }

  #klog() {
    KLOG.lastIndex = this.#at;
    const found = KLOG.exec(this.#line);
    if (found === null) return false;
    this.#put(levelOf(found[1]) ?? 'info', this.#at, this.#at + 1);
    this.#put('time', this.#at, this.#at + found[2].length);
    return true;
  }

  #digits() {
    // Digits in a name such as `web-1` are no number.
    if (/[\w.-]/.test(this.#line[this.#at - 1] ?? ' ')) {
      this.#skipWord();
      return;
    }
    const isTaken = this.#take(TIME, 'time') || this.#take(UUID, 'id') || this.#take(IPV4, 'address') || this.#take(IPV6, 'address')
      || this.#take(HEX, 'id') || this.#take(HOST_PORT, 'address') || this.#take(NUMBER, 'number');
    if (!isTaken) this.#skipWord();
  }

  #signed() {
    if (DIGIT.test(this.#line[this.#at + 1] ?? '') && /[\s=:,([{]|^$/.test(this.#line[this.#at - 1] ?? '') && this.#take(NUMBER, 'number')) return;
    this.#at += 1;
  }

  #colon() {
    if (!this.#take(IPV6, 'address')) this.#at += 1;
  }

  #path() {
    const before = this.#line[this.#at - 1] ?? ' ';
    const chars = /[\s"'`=:,([{<>|]/.test(before) ? this.#measure(PATH) : 0;
    // A single slash is a division, or `n/a`.
    if (chars > 2) this.#put('path', this.#at, this.#at + this.#withoutEnd(chars));
    else this.#at += Math.max(1, chars);
  }

  /** The length of a path without the punctuation of the sentence. @param {number} chars */
  #withoutEnd(chars) {
    let end = chars;
    while (end > 1 && /[.,:]/.test(this.#line[this.#at + end - 1])) end -= 1;
    return end;
  }

  #word() {
    const link = this.#measure(LINK);
    if (link > 0) {
      // A link is underlined, and has no colour of its own.
      this.#at += link;
      return;
    }
    if (this.#take(TIME, 'time') || this.#take(UUID, 'id')) return;
    const key = this.#measure(KEY);
    if (key > 0) {
      this.#isLevelNext = LEVEL_KEY.test(this.#line.slice(this.#at, this.#at + key - 1));
      this.#put('key', this.#at, this.#at + key);
      return;
    }
    if (this.#take(IPV6, 'address') || this.#take(HEX, 'id')) return;
    const path = this.#measure(SOURCE) || this.#measure(PATH);
    if (path > 3) {
      this.#put('path', this.#at, this.#at + this.#withoutEnd(path));
      return;
    }
    if (this.#take(HOST_PORT, 'address')) return;
    const chars = Math.max(1, this.#measure(WORD));
    const level = this.#levelHere(this.#line.slice(this.#at, this.#at + chars), this.#line[this.#at + chars] ?? ' ');
    this.#isLevelNext = false;
    this.#put(level ?? '', this.#at, this.#at + chars);
  }

  /**
   * The level that a word names: in capitals as a word, otherwise only where a level is expected.
   * @param {string} word
   * @param {string} next the character behind it
   * @returns {Kind | null}
   */
  #levelHere(word, next) {
    if (this.#isLevelNext) return levelOf(word);
    if (this.#at > LEVEL_CHARS || word.length < 3) return null;
    const before = this.#line[this.#at - 1] ?? ' ';
    if (word === word.toUpperCase()) return /[\w/.-]/.test(before) || /[\w/=-]/.test(next) ? null : levelOf(word);
    return (before === '[' && /[\]: ]/.test(next)) || (before === '<' && next === '>') || (before === ' ' && next === ':') || (this.#at === 0 && next === ':') ? levelOf(word) : null;
  }

  /** @param {string} first */
  #bracket(first) {
    if (first === '[' && (this.#take(UPTIME, 'time') || this.#take(IPV6, 'address'))) return;
    this.#at += 1;
  }

  /** Reads quoted text: the key of a JSON field, one thing such as a time, or a string. @param {string} mark */
  #quoted(mark) {
    const from = this.#at;
    const before = this.#line[from - 1] ?? ' ';
    // An apostrophe is in a word, or ends one.
    const isOpening = mark === '"' || !/[\p{L}\p{N}]/u.test(before);
    const end = isOpening ? this.#closing(mark) : -1;
    if (end < 0) {
      this.#at += 1;
      return;
    }
    if (mark === '"' && this.#line[end + 1] === ':' && end > from + 1) {
      this.#isLevelNext = LEVEL_KEY.test(this.#line.slice(from + 1, end));
      this.#put('key', from, end + 1);
      return;
    }
    const kind = this.#isLevelNext ? levelOf(this.#line.slice(from + 1, end)) : kindOf(this.#line.slice(from + 1, end));
    this.#isLevelNext = false;
    this.#put(kind ?? 'string', from, end + 1);
  }

  /** The place of the mark that ends a quotation; -1 if there is none. @param {string} mark */
  #closing(mark) {
    if (this.#unclosed.has(mark)) return -1;
    for (let at = this.#at + 1; at < this.#line.length; at += 1) {
      const letter = this.#line[at];
      if (letter === '\\') at += 1;
      else if (letter === mark && (mark === '"' || !/[\p{L}\p{N}]/u.test(this.#line[at + 1] ?? ' '))) return at;
    }
    this.#unclosed.add(mark);
    return -1;
  }
}

/** @param {string} word @returns {Kind | null} */
function levelOf(word) {
  return LEVELS.find(([expression]) => expression.test(word))?.[1] ?? null;
}

/** What a quoted text is if it is one thing as a whole. @param {string} text @returns {Kind | null} */
function kindOf(text) {
  if (text.length > 80) return null;
  for (const [expression, kind] of /** @type {[RegExp, Kind][]} */ ([[TIME, 'time'], [UUID, 'id'], [IPV4, 'address'], [IPV6, 'address'], [HEX, 'id'], [HOST_PORT, 'address'], [NUMBER, 'number']])) {
    expression.lastIndex = 0;
    if (expression.exec(text)?.[0].length === text.length && text !== '') return kind;
  }
  return null;
}
