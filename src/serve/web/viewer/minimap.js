// The minimap at the right: a scrollbar of the whole log in bytes, with marks for matches, errors, warnings and the
// selection. Where old files stand before the log, each file is a segment of it. It covers the native scrollbar, whose
// range is the loaded rows only.

import { setText } from '../ui/dom.js';
import { formatSize, plural } from '../ui/units.js';
import { LOCAL } from '../ui/zones.js';
import { StripLayout } from './strip-layout.js';

const THUMB_PX_MIN = 28;
const MARK_PX = 2;
/** So close to an end of the strip the pointer is at the end. */
const END_PX = 3;
const FAINT = 0.3;
/** The lane of each kind of mark, as fractions of the width. @type {Record<string, [number, number]>} */
const LANES = { warning: [0.1, 0.45], error: [0.1, 0.45], found: [0.55, 0.95], selected: [0, 1] };

/** The distance between the lines that fill a segment whose size is not known. */
const HATCH_PX = 6;
const TIP_GAP_PX = 8;

/**
 * @typedef {import('./strip-layout.js').Segment} Segment
 * @typedef {{kind: string, gen: number, offsets: number[]}} Marks offsets in ascending order; later kinds are drawn over
 *   earlier ones
 */

export class Minimap {
  #strip;
  #thumb;
  #canvas;
  #seek;
  #tip = document.createElement('span');
  #layout;
  /** In which the tip shows times. */
  zone = LOCAL;
  /** The visible range of the log, as fractions from 0 to 1. */
  #top = 0;
  #bottom = 1;
  /** @type {Marks[]} */
  #marks = [];
  /** While the thumb is dragged: the pointer's distance from the thumb's top, in pixels. @type {number | null} */
  #held = null;
  #drawnState = '';
  #markedState = '';

  /**
   * @param {HTMLElement} strip
   * @param {HTMLElement} scroller
   * @param {StripLayout} layout
   * @param {(part: number) => void} seek called with the requested position in the log, as a fraction from 0 to 1
   */
  constructor(strip, scroller, layout, seek) {
    this.#strip = strip;
    this.#layout = layout;
    this.#tip.className = 'tip';
    this.#tip.hidden = true;
    strip.append(this.#tip);
    this.#thumb = /** @type {HTMLElement} */ (strip.querySelector('.thumb'));
    this.#canvas = /** @type {HTMLCanvasElement} */ (strip.querySelector('canvas'));
    this.#seek = seek;
    strip.addEventListener('pointerdown', (event) => this.#pointerDown(event));
    strip.addEventListener('pointermove', (event) => this.#pointerMoved(event));
    for (const end of ['pointerup', 'pointercancel']) strip.addEventListener(end, () => this.#pointerUp());
    strip.addEventListener('pointerleave', () => {
      this.#tip.hidden = true;
    });
    strip.addEventListener('wheel', (event) => scroller.scrollBy({ top: event.deltaY }), { passive: true });
    new ResizeObserver(() => {
      this.#place();
      this.#drawMarks(true);
    }).observe(strip);
    // The colours of the marks depend on the theme.
    new MutationObserver(() => this.#drawMarks(true)).observe(document.documentElement, { attributes: true });
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => this.#drawMarks(true));
  }

  get isHeld() {
    return this.#held !== null;
  }

  /** What is where on the strip. */
  get layout() {
    return this.#layout;
  }

  /**
   * @param {StripLayout} layout
   * @param {number} from where the rows in sight begin, 0 to 1
   * @param {number} to where they end
   */
  show(layout, from, to) {
    this.#layout = layout;
    this.#top = from;
    this.#bottom = Math.max(from, to);
    if (!this.isHeld) this.#place();
    this.#drawMarks(false);
  }

  /** @param {Marks[]} marks */
  setMarks(marks) {
    const state = marks.map(({ gen, offsets }) => `${gen} ${offsets.length} ${offsets[0]} ${offsets[offsets.length - 1]}`).join();
    this.#marks = marks;
    this.#drawMarks(state !== this.#markedState);
    this.#markedState = state;
  }

  get #thumbHeight() {
    const height = this.#strip.clientHeight;
    return Math.min(height, Math.max(THUMB_PX_MIN, (this.#bottom - this.#top) * height));
  }

  #place() {
    const room = this.#strip.clientHeight - this.#thumbHeight;
    const unseen = 1 - (this.#bottom - this.#top);
    const part = unseen > 0 ? Math.min(1, this.#top / unseen) : 0;
    this.#thumb.style.height = `${this.#thumbHeight}px`;
    this.#thumb.style.transform = `translateY(${part * room}px)`;
    this.#strip.dataset.whole = String(unseen <= 0);
    this.#strip.setAttribute('aria-valuenow', String(Math.round(part * 100)));
    const fileName = this.#layout.segments.length > 1 ? this.#layout.segmentAt(this.#bottom)?.parts[0].generation.file?.name : undefined;
    this.#strip.setAttribute('aria-valuetext', `${Math.round(this.#bottom * 100)} % of the log${fileName === undefined ? '' : `, in ${fileName}`}`);
  }

  /** @param {PointerEvent} event */
  #pointerDown(event) {
    if (event.button !== 0) return;
    event.preventDefault();
    this.#strip.setPointerCapture(event.pointerId);
    const thumb = this.#thumb.getBoundingClientRect();
    const isOnThumb = event.clientY >= thumb.top && event.clientY < thumb.bottom;
    // What is under the pointer is under the thumb, at the place that leads exactly there.
    this.#held = isOnThumb ? event.clientY - thumb.top : thumb.height * this.#placeOf(event);
    this.#strip.dataset.held = 'true';
    if (!isOnThumb) this.#pointerMoved(event);
  }

  /** @param {PointerEvent} event */
  #pointerMoved(event) {
    if (event.pointerType === 'mouse') this.#showTip(event);
    if (this.#held === null) return;
    const strip = this.#strip.getBoundingClientRect();
    const room = strip.height - this.#thumbHeight;
    const wanted = event.clientY - strip.top - this.#held;
    const thumbTop = wanted < END_PX ? 0 : wanted > room - END_PX ? room : wanted;
    this.#thumb.style.transform = `translateY(${thumbTop}px)`;
    this.#seek(room > 0 ? thumbTop / room : 1);
  }

  /** The place of the pointer on the strip, 0 to 1. @param {PointerEvent} event */
  #placeOf(event) {
    const strip = this.#strip.getBoundingClientRect();
    return Math.min(1, Math.max(0, (event.clientY - strip.top) / strip.height));
  }

  /** Says which file is under the pointer. @param {PointerEvent} event */
  #showTip(event) {
    const segment = this.#layout.segmentAt(this.#placeOf(event));
    this.#tip.hidden = segment === null || this.#layout.segments.length < 2;
    if (segment === null || this.#tip.hidden) return;
    const words = segmentWords(segment, this.zone);
    setText(this.#tip, words);
    const strip = this.#strip.getBoundingClientRect();
    const room = strip.height - this.#tip.offsetHeight - TIP_GAP_PX;
    this.#tip.style.top = `${Math.max(TIP_GAP_PX, Math.min(room, event.clientY - strip.top - this.#tip.offsetHeight / 2))}px`;
  }

  #pointerUp() {
    if (this.#held === null) return;
    this.#held = null;
    delete this.#strip.dataset.held;
    this.#place();
  }

  /** @param {boolean} changed whether more than the sizes of the files may have changed */
  #drawMarks(changed) {
    const { clientWidth: width, clientHeight: height } = this.#strip;
    const { segments } = this.#layout;
    const isEmpty = this.#marks.every(({ offsets }) => offsets.length === 0);
    const edges = segments.map((segment) => `${Math.round(segment.top * height)}${segment.isKnown ? '' : '?'}`).join();
    // A growing file moves the marks in it, and the edges of segments only from time to time.
    const sizes = isEmpty ? '' : segments.map(({ bytes }) => bytes).join();
    const state = `${edges} ${sizes} ${width} ${height}`;
    if (!changed && state === this.#drawnState) return;
    this.#drawnState = state;
    const scale = devicePixelRatio;
    this.#canvas.width = Math.round(width * scale);
    this.#canvas.height = Math.round(height * scale);
    const context = this.#canvas.getContext('2d');
    if (context === null || segments.length === 0) return;
    context.scale(scale, scale);
    this.#drawSegments(context, width, height);
    for (const kind of Object.keys(LANES)) this.#drawKind(context, kind, width, height);
  }

  /**
   * @param {CanvasRenderingContext2D} context
   * @param {number} width
   * @param {number} height
   */
  #drawSegments(context, width, height) {
    context.strokeStyle = this.#colour('edge-strong');
    context.fillStyle = context.strokeStyle;
    for (const segment of this.#layout.segments) {
      const [from, to] = [Math.round(segment.top * height), Math.round(segment.bottom * height)];
      if (from > 0) context.fillRect(0, from, width, 1);
      if (segment.isKnown) continue;
      context.save();
      context.beginPath();
      context.rect(0, from, width, to - from);
      context.clip();
      context.beginPath();
      for (let y = from - width; y < to; y += HATCH_PX) {
        context.moveTo(0, y + width);
        context.lineTo(width, y);
      }
      context.globalAlpha = 0.6;
      context.stroke();
      context.restore();
    }
  }

  /**
   * @param {CanvasRenderingContext2D} context
   * @param {string} kind
   * @param {number} width
   * @param {number} height
   */
  #drawKind(context, kind, width, height) {
    const [left, right] = LANES[kind];
    /** The number of marks at each place. @type {Map<number, number>} */
    const rows = new Map();
    let most = 1;
    let first = Infinity;
    let total = 0;
    for (const { gen, offsets } of this.#marks.filter((marks) => marks.kind === kind)) {
      const placeOf = this.#layout.scaleOf(gen);
      if (placeOf === null) continue;
      total += offsets.length;
      for (const offset of offsets) {
        const y = Math.round(placeOf(offset) * (height - MARK_PX));
        const count = (rows.get(y) ?? 0) + 1;
        rows.set(y, count);
        most = Math.max(most, count);
        first = Math.min(first, y);
      }
    }
    if (total === 0) return;
    context.fillStyle = this.#colour(`mark-${kind}`);
    // With many marks, opacity shows their density, and the first error has the full width.
    for (const [y, count] of rows) {
      context.globalAlpha = most === 1 ? 1 : FAINT + (1 - FAINT) * (count / most);
      context.fillRect(left * width, y, (right - left) * width, MARK_PX);
    }
    context.globalAlpha = 1;
    if (kind === 'error' && total > 1) context.fillRect(0, first, width, MARK_PX);
  }

  /** A colour of the theme. A canvas has no CSS variables, so the element computes it. @param {string} colour */
  #colour(colour) {
    this.#strip.style.color = `var(--${colour})`;
    return getComputedStyle(this.#strip).color;
  }
}

/**
 * What the tip says of a segment: the file, its size, and from when to when it was written.
 * @param {Segment} segment
 * @param {import('../ui/zones.js').Zone} zone
 */
export function segmentWords({ parts, bytes, isKnown, older, bottom }, zone) {
  const first = parts[0].generation.file;
  const last = parts[parts.length - 1].generation.file;
  const names = parts.length === 1
    ? first?.name ?? (bottom === 1 ? 'the present file' : 'an earlier file')
    : `${plural(parts.length, 'older file')}: ${first?.name ?? '…'} to ${last?.name ?? '…'}`;
  const disk = parts.reduce((sum, { generation }) => sum + (generation.file?.bytes ?? 0), 0);
  const size = isKnown ? formatSize(bytes) : `${formatSize(disk)} on the disk, not unpacked yet`;
  const from = older?.modified == null ? '' : `from ${zone.date(older.modified)} ${zone.clock(older.modified)}`;
  const until = last === null || last.present || last.modified === null ? '' : `until ${zone.date(last.modified)} ${zone.clock(last.modified)}`;
  return [names, size, [from, until].filter((time) => time !== '').join(' ')].filter((line) => line !== '').join('\n');
}
