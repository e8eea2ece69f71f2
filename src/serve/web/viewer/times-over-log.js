// Keeps the histogram above the log up to date: asks the server for the spans of time, until they are exact, and again when the
// log has grown.

import { failureWords } from '../net/api.js';
import { Histogram } from '../ui/histogram.js';

/** An estimate is followed by the next question after this time. */
const EXACT_MS = 600;
/** A log that grows is counted again after this time. */
const GROWN_MS = 5_000;

/**
 * @typedef {object} Parts
 * @property {(span: import('../ui/histogram.js').Span | null, buckets: number, signal: AbortSignal) => Promise<import('../ui/histogram.js').Times>} load
 * @property {() => unknown} size changes when the log has grown
 * @property {() => import('../ui/zones.js').ZoneName} zone
 * @property {(time: string, signal: AbortSignal) => Promise<() => unknown>} find asks the server for a time; returns what goes to
 *   the first line there
 * @property {(span: import('../ui/histogram.js').Span | null) => void} only
 * @property {(words: string) => void} failed
 */

export class TimesOverLog {
  #parts;
  #histogram;
  #asking = new AbortController();
  /** Cancels going to a time. */
  #going = new AbortController();
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer = undefined;
  /** The state that the last question was about. @type {unknown} */
  #askedOf = null;
  #isExact = false;
  /** @type {import('../ui/histogram.js').Times | null} */
  #times = null;
  #shownZone = '';

  /** @param {Parts} parts */
  constructor(parts) {
    this.#parts = parts;
    this.#histogram = new Histogram({
      goTo: (time) => this.#goTo(time),
      zoomed: () => this.#ask(),
      only: (span) => parts.only(span),
    });
    window.addEventListener('resize', () => this.#later(GROWN_MS / 10));
  }

  /** The span that is shown alone. */
  get only() {
    return this.#histogram.only;
  }

  /** Shows a span alone, or all of the log, as a link says. @param {import('../ui/histogram.js').Span | null} span */
  choose(span) {
    this.#histogram.choose(span);
  }

  /** @param {boolean} isOpen */
  open(isOpen) {
    if (isOpen === this.#histogram.isOpen) return;
    this.#histogram.open(isOpen);
    if (isOpen) {
      this.#ask();
    } else {
      this.#asking.abort();
      clearTimeout(this.#timer);
      this.#timer = undefined;
      this.#histogram.clear();
    }
  }

  /** Called when something may have changed. */
  refresh() {
    if (!this.#histogram.isOpen) return;
    if (this.#times !== null && this.#shownZone !== this.#parts.zone()) this.#show(this.#times);
    // An enlarged span of the past does not change.
    if (this.#askedOf !== this.#parts.size() && this.#timer === undefined && this.#histogram.zoom === null) this.#later(GROWN_MS);
  }

  /** @param {number | null} from @param {number | null} to */
  showView(from, to) {
    if (this.#histogram.isOpen) this.#histogram.showView(from, to);
  }

  /** @param {number} ms */
  #later(ms) {
    if (!this.#histogram.isOpen) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#ask(), ms);
  }

  async #ask() {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#asking.abort();
    this.#asking = new AbortController();
    const { signal } = this.#asking;
    if (!this.#histogram.isOpen) return;
    this.#askedOf = this.#parts.size();
    try {
      const times = await this.#parts.load(this.#histogram.zoom, this.#histogram.wanted, signal);
      if (signal.aborted) return;
      this.#show(times);
      if (!this.#isExact) this.#later(EXACT_MS);
    } catch (error) {
      if (signal.aborted) return;
      this.#parts.failed(failureWords(error));
      this.#later(GROWN_MS);
    }
  }

  /**
   * Goes to the first line that is not before a time.
   * @param {number} time in ms since 1970
   */
  async #goTo(time) {
    this.#going.abort();
    this.#going = new AbortController();
    const { signal } = this.#going;
    try {
      const go = await this.#parts.find(String(time / 1000), signal);
      await go();
    } catch (error) {
      if (!signal.aborted) this.#parts.failed(failureWords(error));
    }
  }

  /** @param {import('../ui/histogram.js').Times} times */
  #show(times) {
    this.#times = times;
    this.#isExact = times.exact;
    this.#shownZone = this.#parts.zone();
    this.#histogram.show(times, this.#parts.zone());
  }
}
