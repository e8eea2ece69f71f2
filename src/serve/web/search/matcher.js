// Asks a worker what an expression matches, and ends the worker if that takes too long.

import { assetUrl } from '../net/wire.js';

/** One expression may take so long for the rows on the screen. Usual ones take a few milliseconds. */
export const MATCH_MS_MAX = 1_000;
/** The worker's script is loaded when it is needed first. */
const START_MS_MAX = 20_000;

/** The expression took too long. */
export class TooSlow extends Error {}

export class Matcher {
  /** @type {Worker | null} */
  #worker = null;
  /** The end of the questions so far. They are asked one after the other. @type {Promise<unknown>} */
  #last = Promise.resolve();

  /**
   * The matches in each text, as pairs of start and end.
   * @param {{source: string, flags: string}} expression
   * @param {string[]} texts
   * @returns {Promise<import('../matcher/main.js').Places>}
   */
  find({ source, flags }, texts) {
    return this.#ask({ source, flags, texts, isTest: false });
  }

  /**
   * Whether each text has a match, which may be empty.
   * @param {{source: string, flags: string}} expression
   * @param {string[]} texts
   * @returns {Promise<boolean[]>}
   */
  test({ source, flags }, texts) {
    return this.#ask({ source, flags, texts, isTest: true });
  }

  /** @param {import('../matcher/main.js').Question} question @returns {Promise<any>} */
  #ask(question) {
    const answered = this.#last.then(async () => {
      const worker = await this.#start();
      worker.postMessage(question);
      return this.#answer(worker, MATCH_MS_MAX);
    });
    this.#last = answered.catch(() => {});
    return answered;
  }

  async #start() {
    if (this.#worker !== null) return this.#worker;
    const worker = new Worker(assetUrl('matcher/main.js'), { type: 'module' });
    this.#worker = worker;
    await this.#answer(worker, START_MS_MAX);
    return worker;
  }

  /**
   * The next message of the worker. If there is none, the worker is ended, and the next question starts another.
   * @param {Worker} worker
   * @param {number} ms
   * @returns {Promise<any>}
   */
  #answer(worker, ms) {
    return new Promise((resolve, reject) => {
      const end = (/** @type {Error} */ error) => {
        worker.terminate();
        if (this.#worker === worker) this.#worker = null;
        reject(error);
      };
      const timer = setTimeout(() => end(new TooSlow(`it took more than ${ms} ms`)), ms);
      worker.onmessage = ({ data }) => {
        clearTimeout(timer);
        resolve(data);
      };
      worker.onerror = (event) => {
        clearTimeout(timer);
        event.preventDefault();
        end(new Error(event.message || 'its script cannot be loaded'));
      };
    });
  }
}
