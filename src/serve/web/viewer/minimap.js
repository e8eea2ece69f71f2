// The minimap at the right: a scrollbar of the whole file in bytes, with marks for matches, errors, warnings and the
// selection. It covers the native scrollbar, whose range is the loaded rows only.

const THUMB_PX_MIN = 28;
const MARK_PX = 2;
const FAINT = 0.3;
/** The lane of each kind of mark, as fractions of the width. @type {Record<string, [number, number]>} */
const LANES = { warning: [0.1, 0.45], error: [0.1, 0.45], found: [0.55, 0.95], selected: [0, 1] };

/**
 * @typedef {{kind: string, offsets: number[]}} Marks offsets in ascending order; later kinds are drawn over earlier ones
 */

export class Minimap {
  #strip;
  #thumb;
  #canvas;
  #seek;
  /** The visible range of the file, as fractions from 0 to 1. */
  #top = 0;
  #bottom = 1;
  #size = 0;
  /** @type {Marks[]} */
  #marks = [];
  /** While the thumb is dragged: the pointer's distance from the thumb's top, in pixels. @type {number | null} */
  #held = null;
  #drawnState = '';
  #markedState = '';

  /**
   * @param {HTMLElement} strip
   * @param {HTMLElement} scroller
   * @param {(part: number) => void} seek called with the requested position in the file, as a fraction from 0 to 1
   */
  constructor(strip, scroller, seek) {
    this.#strip = strip;
    this.#thumb = /** @type {HTMLElement} */ (strip.querySelector('.thumb'));
    this.#canvas = /** @type {HTMLCanvasElement} */ (strip.querySelector('canvas'));
    this.#seek = seek;
    strip.addEventListener('pointerdown', (event) => this.#pointerDown(event));
    strip.addEventListener('pointermove', (event) => this.#pointerMoved(event));
    for (const end of ['pointerup', 'pointercancel']) strip.addEventListener(end, () => this.#pointerUp());
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

  /**
   * @param {number} from offset of the first row in sight
   * @param {number} to offset after the last one
   * @param {number} size of the file
   */
  show(from, to, size) {
    this.#size = size;
    this.#top = size > 0 ? Math.min(1, from / size) : 0;
    this.#bottom = size > 0 ? Math.min(1, Math.max(from, to) / size) : 1;
    if (!this.isHeld) this.#place();
    this.#drawMarks(false);
  }

  /** @param {Marks[]} marks */
  setMarks(marks) {
    const state = marks.map(({ offsets }) => `${offsets.length} ${offsets[0]} ${offsets[offsets.length - 1]}`).join();
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
    this.#strip.setAttribute('aria-valuetext', `${Math.round(this.#bottom * 100)} % of the log`);
  }

  /** @param {PointerEvent} event */
  #pointerDown(event) {
    if (event.button !== 0) return;
    event.preventDefault();
    this.#strip.setPointerCapture(event.pointerId);
    const thumb = this.#thumb.getBoundingClientRect();
    const isOnThumb = event.clientY >= thumb.top && event.clientY < thumb.bottom;
    this.#held = isOnThumb ? event.clientY - thumb.top : thumb.height / 2;
    this.#strip.dataset.held = 'true';
    if (!isOnThumb) this.#pointerMoved(event);
  }

  /** @param {PointerEvent} event */
  #pointerMoved(event) {
    if (this.#held === null) return;
    const strip = this.#strip.getBoundingClientRect();
    const room = strip.height - this.#thumbHeight;
    const thumbTop = Math.min(Math.max(0, event.clientY - strip.top - this.#held), room);
    this.#thumb.style.transform = `translateY(${thumbTop}px)`;
    this.#seek(room > 0 ? thumbTop / room : 1);
  }

  #pointerUp() {
    if (this.#held === null) return;
    this.#held = null;
    delete this.#strip.dataset.held;
    this.#place();
  }

  /** @param {boolean} changed whether more than the size may have changed */
  #drawMarks(changed) {
    const { clientWidth: width, clientHeight: height } = this.#strip;
    const isEmpty = this.#marks.every(({ offsets }) => offsets.length === 0);
    const state = isEmpty ? 'empty' : `${this.#size} ${width} ${height}`;
    if (!changed && state === this.#drawnState) return;
    this.#drawnState = state;
    const scale = devicePixelRatio;
    this.#canvas.width = Math.round(width * scale);
    this.#canvas.height = Math.round(height * scale);
    const context = this.#canvas.getContext('2d');
    if (context === null || this.#size === 0 || isEmpty) return;
    context.scale(scale, scale);
    for (const { kind, offsets } of this.#marks) {
      // A canvas has no CSS variables, so the element computes the colour.
      this.#strip.style.color = `var(--mark-${kind})`;
      context.fillStyle = getComputedStyle(this.#strip).color;
      const [left, right] = LANES[kind] ?? [0, 1];
      /** @type {Map<number, number>} */
      const rows = new Map();
      let most = 1;
      for (const offset of offsets) {
        const y = Math.round((offset / this.#size) * (height - MARK_PX));
        const count = (rows.get(y) ?? 0) + 1;
        rows.set(y, count);
        most = Math.max(most, count);
      }
      // With many marks, opacity shows their density, and the first error has the full width.
      for (const [y, count] of rows) {
        context.globalAlpha = most === 1 ? 1 : FAINT + (1 - FAINT) * (count / most);
        context.fillRect(left * width, y, (right - left) * width, MARK_PX);
      }
      context.globalAlpha = 1;
      if (kind === 'error' && offsets.length > 1) context.fillRect(0, Math.round((offsets[0] / this.#size) * (height - MARK_PX)), width, MARK_PX);
    }
  }
}
