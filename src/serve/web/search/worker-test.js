// Tests rows against a regular expression of the reader in a worker. One that takes too long is given to the server, whose
// expressions do not.

import { plainText } from '../rows/levels.js';
import { MATCH_MS_MAX, TooSlow } from './matcher.js';

/** So much text is tested at once: usual expressions take a few milliseconds for it. */
const BATCH_CHARS = 200_000;

/**
 * @typedef {import('./server-test.js').RowEntry} RowEntry
 * @typedef {import('./server-test.js').SlowTest} SlowTest
 */

/** @implements {SlowTest} */
export class WorkerTest {
  #matcher;
  #expression;
  #server;
  #given;
  #isGiven = false;

  /**
   * @param {import('./matcher.js').Matcher} matcher
   * @param {{source: string, flags: string}} expression
   * @param {SlowTest} server tests the same
   * @param {(why: string) => void} given called when the server takes over
   */
  constructor(matcher, expression, server, given) {
    this.#matcher = matcher;
    this.#expression = expression;
    this.#server = server;
    this.#given = given;
  }

  get interruption() {
    return this.#isGiven ? this.#server.interruption : '';
  }

  /** @param {RowEntry[]} rows @param {AbortSignal} signal @returns {Promise<(boolean | null)[]>} */
  async ask(rows, signal) {
    /** @type {boolean[]} */
    const known = [];
    while (!this.#isGiven && known.length < rows.length) {
      const texts = batch(rows, known.length);
      try {
        known.push(...await this.#matcher.test(this.#expression, texts));
      } catch (error) {
        this.#isGiven = true;
        if (!signal.aborted) this.#given(error instanceof TooSlow ? `takes more than ${MATCH_MS_MAX / 1_000} s in this browser` : 'cannot be tested in this browser');
      }
      signal.throwIfAborted();
    }
    const rest = rows.slice(known.length);
    return rest.length === 0 ? known : [...known, ...await this.#server.ask(rest, signal)];
  }
}

/**
 * The texts of rows that are tested at once: those of one row at least.
 * @param {RowEntry[]} rows
 * @param {number} from
 */
function batch(rows, from) {
  /** @type {string[]} */
  const texts = [];
  for (let [at, chars] = [from, 0]; at < rows.length && (chars < BATCH_CHARS || texts.length === 0); at += 1) {
    const text = plainText(rows[at].html);
    chars += text.length;
    texts.push(text);
  }
  return texts;
}
