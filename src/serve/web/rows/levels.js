// The log level of a row, from the server's annotation, else from the rules for its text; and whether a row continues the
// message before it, as those of a stack trace do. The server sends the rules.

import { errorText, failureWords } from '../net/api.js';
import { serverUrl } from '../net/wire.js';
import { textOf } from './row.js';

/** Only the beginning of a line is searched for its level. */
const LOOK_CHARS = 4_000;
const ANSWER_MS_MAX = 10_000;
const RETRY_MS = 5_000;

/** A level for a pattern, or for each of its named groups. @typedef {{level?: string, pattern: string}} Rule */
/** @typedef {{level?: string, expression: RegExp}} CompiledRule */
/** @typedef {{prefix: RegExp, trace: RegExp, other: RegExp, cause: RegExp}} TraceRules */

export class Levels {
  /** @type {CompiledRule[]} */
  #rules = [];
  /** @type {TraceRules | null} */
  #traces = null;
  /** @type {WeakMap<import('./tail.js').Row, string>} */
  #cache = new WeakMap();

  /**
   * Loads the rules, and repeats that until they have arrived. Without rules only annotations give a level.
   * @param {() => void} changed called when the rules have arrived
   * @param {(words: string) => void} failed called at the first failure
   */
  async load(changed, failed) {
    for (let attempt = 0; ; attempt += 1) {
      try {
        const { levels, traces } = await requestRules();
        this.#rules = compileRules(levels);
        const [prefix, trace, other, cause] = [traces.prefix, traces.trace, traces.other, traces.cause].map((rule) => new RegExp(rule, 'u'));
        this.#traces = { prefix, trace, other, cause };
        this.#cache = new WeakMap();
        changed();
        return;
      } catch (error) {
        if (attempt === 0) failed(`Errors and warnings are not marked yet: ${failureWords(error)}`);
        await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
      }
    }
  }

  /**
   * @param {import('./tail.js').Row} row a row on the page
   * @returns {string} `error`, `warning` and so on; empty if it has none
   */
  of(row) {
    let level = this.#cache.get(row);
    if (level === undefined) {
      level = row.annotation?.level ?? levelOf(this.#rules, row.element === null ? '' : textOf(row.element));
      this.#cache.set(row, level);
    }
    return level;
  }

  /**
   * The level of a row that is not on the page.
   * @param {import('../net/wire.js').WireRow} row
   */
  ofWire([, html, note]) {
    return note?.level ?? (this.#rules.length > 0 ? levelOf(this.#rules, plainText(html)) : '');
  }

  /** Whether a text is an error, by the rules alone. @param {string} text */
  isError(text) {
    return levelOf(this.#rules, text) === 'error';
  }

  /**
   * How a row goes on with a message before it: it does if the result is greater than the message's `indent`. 0 if it begins a
   * message of its own, infinite if it is a line of a stack trace.
   * @param {string} text
   */
  continuation(text) {
    if (this.#traces === null) return 0;
    const { trace, other, cause } = this.#traces;
    const line = this.#withoutPrefix(text);
    const indent = indentOf(line);
    const isTrace = trace.test(line);
    if (indent === line.length || (!isTrace && indent === 0) || other.test(line)) return 0;
    if (!cause.test(line) && levelOf(this.#rules, line) !== '') return 0;
    return isTrace ? Infinity : indent;
  }

  /** How many blanks a row begins with. @param {string} text */
  indent(text) {
    return indentOf(this.#withoutPrefix(text));
  }

  /** Whether a row names what caused the error before it. @param {string} text */
  isCause(text) {
    return this.#traces?.cause.test(text) ?? false;
  }

  /** @param {string} text */
  #withoutPrefix(text) {
    const line = text.slice(0, LOOK_CHARS);
    return this.#traces === null ? line : line.replace(this.#traces.prefix, '');
  }

  /** Must be called when the row changed. @param {import('./tail.js').Row} row */
  forget(row) {
    this.#cache.delete(row);
  }

  /** @param {import('./tail.js').Entry[]} entries in sight */
  show(entries) {
    for (const entry of entries) {
      if (entry.marker !== undefined || entry.element === null) continue;
      const level = this.of(entry);
      if ((entry.element.dataset.level ?? '') === level) continue;
      if (level === '') delete entry.element.dataset.level;
      else entry.element.dataset.level = level;
    }
  }
}

/** @param {string} line */
function indentOf(line) {
  return line.length - line.trimStart().length;
}

/** @returns {Promise<{levels: Rule[], traces: Record<'prefix' | 'trace' | 'other' | 'cause', string>}>} */
async function requestRules() {
  const answer = await fetch(serverUrl('/_/rules.json'), { signal: AbortSignal.timeout(ANSWER_MS_MAX) });
  if (!answer.ok) throw new Error(await errorText(answer));
  return answer.json();
}

/** @type {Record<string, string>} */
const ENTITIES = { '&lt;': '<', '&gt;': '>', '&quot;': '"', '&#39;': "'", '&amp;': '&' };

/** The text of a row's HTML, as the server writes it. @param {string} html */
export function plainText(html) {
  return html.replace(/<[^>]*>/g, '').replace(/&(?:lt|gt|quot|#39|amp);/g, (entity) => ENTITIES[entity]);
}

/** @param {Rule[]} rules */
export function compileRules(rules) {
  return rules.map(({ level, pattern }) => ({ level, expression: new RegExp(pattern, 'u') }));
}

/**
 * The level of the first rule that matches the text, if it is one that the page shows.
 * @param {CompiledRule[]} rules
 * @param {string} text
 */
export function levelOf(rules, text) {
  const head = text.slice(0, LOOK_CHARS);
  for (const { level, expression } of rules) {
    const match = expression.exec(head);
    if (match === null) continue;
    const group = Object.entries(match.groups ?? {}).find(([, matched]) => matched !== undefined);
    const found = level ?? group?.[0].replace(/\d+$/, '');
    return found === 'error' || found === 'warning' ? found : '';
  }
  return '';
}
