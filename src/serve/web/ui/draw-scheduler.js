// Draws at most once a frame. A hidden page has no frames, so a slow timer draws it: memory stays bounded, and the page
// is up to date when it is shown again.

const HIDDEN_MS = 500;
/** Drawing arriving rows takes at most 1/IDLE_FACTOR of the time; the rest is left for input and other work. */
const IDLE_FACTOR = 4;
const DELAY_MS_MAX = 200;

export class DrawScheduler {
  #draw;
  #frame = 0;
  #timer = 0;
  /** The timer of a throttled request. */
  #delayTimer = 0;
  #delayedUntil = 0;

  /** @param {() => boolean} draw returns whether another frame is needed */
  constructor(draw) {
    this.#draw = draw;
    document.addEventListener('visibilitychange', () => {
      if (this.#frame === 0 && this.#timer === 0) return;
      this.#cancel();
      this.request();
    });
  }

  /** Draws arrived rows as soon as the delay after the last frame is over. */
  requestThrottled() {
    const wait = this.#delayedUntil - performance.now();
    if (wait <= 0) this.request();
    else if (this.#delayTimer === 0) this.#delayTimer = window.setTimeout(() => this.request(), wait);
  }

  /** Delays throttled drawing by at least this many milliseconds. @param {number} ms */
  delay(ms) {
    this.#delayedUntil = Math.max(this.#delayedUntil, performance.now() + ms);
  }

  /** Draws in the next frame, for a change that the reader waits for. */
  request() {
    if (this.#frame !== 0 || this.#timer !== 0) return;
    if (document.hidden) this.#timer = window.setTimeout(() => this.#run(), HIDDEN_MS);
    else this.#frame = requestAnimationFrame(() => this.#run());
  }

  #run() {
    this.#frame = 0;
    this.#timer = 0;
    clearTimeout(this.#delayTimer);
    this.#delayTimer = 0;
    const began = performance.now();
    const more = this.#draw();
    const ended = performance.now();
    this.delay(Math.min(DELAY_MS_MAX, (IDLE_FACTOR - 1) * (ended - began)));
    if (more) this.request();
  }

  #cancel() {
    cancelAnimationFrame(this.#frame);
    clearTimeout(this.#timer);
    this.#frame = 0;
    this.#timer = 0;
  }
}
