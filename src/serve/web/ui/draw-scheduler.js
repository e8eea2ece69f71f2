// One change of the document a frame. A hidden page has no frames: a slow timer then takes their place, so that
// memory stays bounded and the page is up to date when it is looked at.

const HIDDEN_MS = 500;
/** What arrives all the time is drawn in so many times less time than there is, so that the reader and the machine keep the rest. */
const IDLE_FACTOR = 4;
const DELAY_MS_MAX = 200;

export class DrawScheduler {
  #draw;
  #frame = 0;
  #timer = 0;
  /** Waits for the end of a rest. */
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

  /** What has arrived is to be drawn, as soon as what was drawn before has been paid for. */
  requestThrottled() {
    const wait = this.#delayedUntil - performance.now();
    if (wait <= 0) this.request();
    else if (this.#delayTimer === 0) this.#delayTimer = window.setTimeout(() => this.request(), wait);
  }

  /** What arrives is drawn no earlier than in so many milliseconds. @param {number} ms */
  delay(ms) {
    this.#delayedUntil = Math.max(this.#delayedUntil, performance.now() + ms);
  }

  /** The reader waits for it. */
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
