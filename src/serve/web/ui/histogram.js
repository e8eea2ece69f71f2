// How many lines, errors and warnings there were when: bars above the log. A click goes to a time; a span that is dragged
// can be enlarged, or shown alone.

import { byId, setText } from './dom.js';
import { ticks } from './ticks.js';
import { spanText, zoneOf } from './zones.js';

const BAR_PX = 4;
const BARS_MAX = 400;
/** The lines stand above this height of the drawing, the errors and warnings hang below it. */
const BASE = 70;
const BELOW = 28;
/** The least heights, in percent, of what is there. */
const LEAST = { lines: 4, problems: 12 };
/** A label of the axis has this much room. */
const LABEL_PX = 90;
/** No label is closer than this to the first and the last time. */
const END_PX = 18;
/** A shorter drag is a click. */
const DRAG_PX_MIN = 4;
const WHOLE = new Intl.NumberFormat('en-US');

/**
 * @typedef {{since: number, until: number}} Span in ms since 1970; `until` is the first time after it
 * @typedef {{time: number, lines: number, errors: number, warnings: number}} Bucket
 * @typedef {{first: number | null, last: number | null, exact: boolean, buckets: Bucket[]}} Times
 *
 * @typedef {object} Callbacks
 * @property {(time: number) => void} goTo
 * @property {() => void} zoomed another span is wanted
 * @property {(span: Span | null) => void} only shows the lines of this span alone; null for all
 */

/**
 * The heights of the bars, in percent: of the lines, and, on a scale of their own, of the errors and with the warnings. So a
 * burst of errors is seen among many lines. What is there is visible.
 * @param {Bucket[]} buckets
 * @returns {{lines: number, warnings: number, errors: number}[]} the bar of the warnings begins where that of the errors ends
 */
export function heights(buckets) {
  const mostLines = Math.max(1, ...buckets.map(({ lines }) => lines));
  const mostProblems = Math.max(1, ...buckets.map(({ errors, warnings }) => errors + warnings));
  const height = (/** @type {number} */ count, /** @type {number} */ most, /** @type {number} */ least) => (count === 0 ? 0 : Math.max(least, (100 * count) / most));
  return buckets.map(({ lines, errors, warnings }) => {
    const red = height(errors, mostProblems, LEAST.problems);
    const yellow = height(errors + warnings, mostProblems, LEAST.problems);
    return { errors: red, warnings: warnings === 0 ? red : Math.min(100, Math.max(yellow, red + LEAST.problems)), lines: height(lines, mostLines, LEAST.lines) };
  });
}

export class Histogram {
  /** The span that the bars show; null for all of the log. @type {Span | null} */
  zoom = null;
  /** The span that is shown alone. @type {Span | null} */
  only = null;
  #element = byId('histogram');
  #bars = /** @type {HTMLElement} */ (byId('histogram-bars'));
  #tip = byId('histogram-tip');
  #tools = byId('histogram-tools');
  #chosen = byId('histogram-span');
  #view = byId('histogram-view');
  #ticks = byId('histogram-ticks');
  #callbacks;
  /** @type {Times} */
  #times = { first: null, last: null, exact: false, buckets: [] };
  /** @type {import('./zones.js').ZoneName} */
  #zone = 'local';
  /** The chosen span. @type {Span | null} */
  #span = null;
  /** Where a drag began, as a fraction of the width. @type {number | null} */
  #held = null;
  /** The bar of the keyboard's cursor. */
  #cursor = 0;

  /** @param {Callbacks} callbacks */
  constructor(callbacks) {
    this.#callbacks = callbacks;
    const bars = this.#bars;
    bars.addEventListener('pointerdown', (event) => {
      if (event.button !== 0 || this.#times.buckets.length === 0) return;
      this.#held = this.#partAt(event);
      bars.setPointerCapture(event.pointerId);
    });
    bars.addEventListener('pointermove', (event) => this.#moved(event));
    bars.addEventListener('pointerup', (event) => this.#released(event));
    bars.addEventListener('pointerleave', () => this.#showTip(null));
    bars.addEventListener('keydown', (event) => this.#key(event));
    byId('histogram-zoom').addEventListener('click', () => this.#zoomIn());
    byId('histogram-only').addEventListener('click', () => this.#toggleOnly());
    byId('histogram-clear').addEventListener('click', () => this.clear());
  }

  get isOpen() {
    return !this.#element.hidden;
  }

  /** How many spans there is room for. */
  get wanted() {
    return Math.max(20, Math.min(BARS_MAX, Math.floor(this.#bars.clientWidth / BAR_PX)));
  }

  /** @param {boolean} isOpen */
  open(isOpen) {
    this.#element.hidden = !isOpen;
    if (isOpen && this.#times.buckets.length === 0) setText(byId('histogram-first'), 'Counting lines…');
  }

  /** Chooses a span that is shown alone, or none, as a link says. @param {Span | null} span */
  choose(span) {
    this.#span = span;
    this.only = span;
    this.#showTools();
  }

  /** Shows all of the log again. */
  clear() {
    const [wasZoomed, wasOnly] = [this.zoom !== null, this.only !== null];
    [this.#span, this.zoom, this.only] = [null, null, null];
    this.#showTools();
    if (wasZoomed) this.#callbacks.zoomed();
    if (wasOnly) this.#callbacks.only(null);
  }

  /** @param {Times} times @param {import('./zones.js').ZoneName} zone */
  show(times, zone) {
    this.#times = times;
    this.#zone = zone;
    this.#cursor = Math.max(0, Math.min(this.#cursor, times.buckets.length - 1));
    const { buckets, first, last } = times;
    const bars = heights(buckets);
    const paths = { lines: '', warnings: '', errors: '' };
    const draw = (/** @type {'lines' | 'warnings' | 'errors'} */ kind, /** @type {number} */ at, /** @type {number} */ from, /** @type {number} */ to) => {
      if (from !== to) paths[kind] += `M${at + 0.1} ${from.toFixed(1)}V${to.toFixed(1)}H${at + 0.9}V${from.toFixed(1)}Z`;
    };
    const below = (/** @type {number} */ part) => 100 - BELOW + (part * BELOW) / 100;
    bars.forEach(({ lines, errors, warnings }, at) => {
      draw('lines', at, BASE, BASE - (lines * BASE) / 100);
      draw('errors', at, below(0), below(errors));
      draw('warnings', at, below(errors), below(warnings));
    });
    const svg = /** @type {Element} */ (this.#bars.querySelector('svg'));
    svg.setAttribute('viewBox', `0 0 ${Math.max(1, buckets.length)} 100`);
    for (const [kind, path] of Object.entries(paths)) svg.querySelector(`.${kind}`)?.setAttribute('d', path);
    this.#element.dataset.exact = String(times.exact);
    const isTimed = first !== null && last !== null;
    setText(byId('histogram-first'), isTimed ? this.#words(first) : 'No line says a time.');
    setText(byId('histogram-last'), isTimed ? this.#words(last) : '');
    this.#showTools();
    this.#showTicks();
  }

  /** Shows round times between the first and the last one. */
  #showTicks() {
    const range = this.#range();
    const width = this.#bars.clientWidth;
    const ends = [byId('histogram-first'), byId('histogram-last')].map((end) => end.offsetWidth + END_PX);
    const all = range === null ? [] : ticks(range.since, range.until, zoneOf(this.#zone), Math.max(1, width / LABEL_PX));
    this.#ticks.replaceChildren(...all.map(([time, label]) => {
      const part = range === null ? 0 : (time - range.since) / (range.until - range.since);
      const tick = document.createElement('span');
      tick.style.left = `${100 * part}%`;
      const room = Math.min(part * width - ends[0], (1 - part) * width - ends[1]);
      if (room > LABEL_PX / 3) tick.textContent = label;
      return tick;
    }));
  }

  /**
   * Shows from when to when the lines on the screen are.
   * @param {number | null} from
   * @param {number | null} to
   */
  showView(from, to) {
    const range = this.#range();
    this.#view.hidden = from === null || to === null || range === null;
    if (from === null || to === null || range === null) return;
    const part = (/** @type {number} */ time) => Math.max(0, Math.min(1, (time - range.since) / (range.until - range.since)));
    this.#view.style.left = `${100 * part(from)}%`;
    this.#view.style.width = `${100 * (part(Math.max(from, to)) - part(from))}%`;
  }

  /** The span of all bars. @returns {Span | null} */
  #range() {
    const { first, last } = this.#times;
    return first === null || last === null ? null : { since: first, until: last + 1 };
  }

  /** @param {PointerEvent} event */
  #partAt(event) {
    const { left, width } = this.#bars.getBoundingClientRect();
    return Math.max(0, Math.min(0.999_999, (event.clientX - left) / width));
  }

  /** The time at a fraction of the width. @param {number} part */
  #timeAt(part) {
    const range = this.#range();
    return range === null ? null : Math.round(range.since + part * (range.until - range.since));
  }

  /** @param {PointerEvent} event */
  #moved(event) {
    const part = this.#partAt(event);
    this.#showTip(part);
    if (this.#held === null || !this.#isDrag(part)) return;
    this.#span = this.#spanBetween(this.#held, part);
    this.#showTools();
  }

  /** @param {number} part */
  #isDrag(part) {
    return this.#held !== null && Math.abs(part - this.#held) * this.#bars.clientWidth >= DRAG_PX_MIN;
  }

  /** The span of all bars between two places. @param {number} one @param {number} other @returns {Span | null} */
  #spanBetween(one, other) {
    const { buckets } = this.#times;
    const range = this.#range();
    if (range === null || buckets.length === 0) return null;
    const [from, to] = [Math.min(one, other), Math.max(one, other)].map((part) => Math.floor(part * buckets.length));
    return { since: buckets[from].time, until: buckets[to + 1]?.time ?? range.until };
  }

  /** @param {PointerEvent} event */
  #released(event) {
    if (this.#held === null) return;
    const part = this.#partAt(event);
    const isDrag = this.#isDrag(part);
    this.#held = null;
    if (isDrag) {
      this.#showTools();
      if (this.only !== null && this.#span !== null) this.#callbacks.only(this.only = this.#span);
      return;
    }
    const time = this.#timeAt(Math.floor(part * this.#times.buckets.length) / this.#times.buckets.length);
    if (time !== null) this.#callbacks.goTo(time);
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    const { buckets } = this.#times;
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (buckets.length === 0 || (step === undefined && event.key !== 'Enter' && event.key !== 'Escape')) return;
    event.preventDefault();
    event.stopPropagation();
    if (event.key === 'Escape') this.clear();
    else if (step === undefined) this.#callbacks.goTo(buckets[this.#cursor].time);
    else {
      this.#cursor = Math.max(0, Math.min(buckets.length - 1, this.#cursor + step));
      this.#showTip((this.#cursor + 0.5) / buckets.length);
      this.#bars.setAttribute('aria-valuetext', this.#tip.textContent ?? '');
    }
  }

  #zoomIn() {
    this.zoom = this.zoom === null || !isSame(this.zoom, this.#span) ? this.#span : null;
    this.#callbacks.zoomed();
    this.#showTools();
  }

  #toggleOnly() {
    this.only = this.only === null ? this.#span : null;
    this.#callbacks.only(this.only);
    this.#showTools();
  }

  /** @param {number | null} part */
  #showTip(part) {
    const { buckets, exact } = this.#times;
    const range = this.#range();
    this.#tip.hidden = part === null || range === null || buckets.length === 0;
    if (part === null || range === null || buckets.length === 0) return;
    const at = Math.min(buckets.length - 1, Math.floor(part * buckets.length));
    const { time, lines, errors, warnings } = buckets[at];
    const counts = [[errors, 'error'], [warnings, 'warning']].filter(([count]) => count !== 0).map(([count, noun]) => `, ${counted(Number(count), String(noun))}`);
    setText(this.#tip, `${this.#words(time)}: ${exact ? '' : 'about '}${counted(lines, 'line')}${counts.join('')}`);
    this.#tip.style.left = `${100 * part}%`;
    this.#tip.dataset.side = part > 0.5 ? 'left' : 'right';
  }

  #showTools() {
    const span = this.#span;
    const range = this.#range();
    this.#tools.hidden = span === null && this.zoom === null;
    this.#chosen.hidden = span === null || range === null;
    byId('histogram-zoom').setAttribute('aria-pressed', String(this.zoom !== null && isSame(this.zoom, span)));
    byId('histogram-only').setAttribute('aria-pressed', String(this.only !== null));
    if (span === null) return;
    setText(byId('histogram-words'), spanText(span.since, span.until, zoneOf(this.#zone)));
    if (range === null) return;
    const part = (/** @type {number} */ time) => Math.max(0, Math.min(1, (time - range.since) / (range.until - range.since)));
    this.#chosen.style.left = `${100 * part(span.since)}%`;
    this.#chosen.style.width = `${100 * (part(span.until) - part(span.since))}%`;
  }

  /** A time in words: with its date where the bars are of several days. @param {number} time */
  #words(time) {
    const zone = zoneOf(this.#zone);
    const { first, last } = this.#times;
    const isOneDay = first !== null && last !== null && zone.date(first) === zone.date(last) && zone.date(time) === zone.date(first);
    return isOneDay ? zone.clock(time) : `${zone.date(time)} ${zone.clock(time)}`;
  }
}

/** @param {Span} one @param {Span | null} other */
function isSame(one, other) {
  return other !== null && one.since === other.since && one.until === other.until;
}

/** @param {number} count @param {string} noun */
function counted(count, noun) {
  return `${WHOLE.format(count)} ${noun}${count === 1 ? '' : 's'}`;
}
