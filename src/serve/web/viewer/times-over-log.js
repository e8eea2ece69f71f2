// Keeps the histogram above the log up to date: asks the server for the spans of time, until they are exact, and again when the
// log has grown.

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
 * @property {(time: number) => void} goTo
 * @property {(span: import('../ui/histogram.js').Span | null) => void} only
 * @property {(error: unknown) => void} failed
 */

export class TimesOverLog {
  #parts;
  #histogram;
  #asking = new AbortController();
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
      goTo: parts.goTo,
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
      this.#parts.failed(error);
      this.#later(GROWN_MS);
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
