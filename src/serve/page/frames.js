// One change of the document a frame. A hidden page has no frames: a slow timer then takes their place, so that
// memory stays bounded and the page is up to date when it is looked at.

const HIDDEN_MS = 500;

export class Frames {
  #draw;
  #frame = 0;
  #timer = 0;

  /** @param {() => boolean} draw returns whether another frame is needed */
  constructor(draw) {
    this.#draw = draw;
    document.addEventListener('visibilitychange', () => {
      if (this.#frame === 0 && this.#timer === 0) return;
      this.#cancel();
      this.request();
    });
  }

  request() {
    if (this.#frame !== 0 || this.#timer !== 0) return;
    if (document.hidden) this.#timer = window.setTimeout(() => this.#run(), HIDDEN_MS);
    else this.#frame = requestAnimationFrame(() => this.#run());
  }

  #run() {
    this.#frame = 0;
    this.#timer = 0;
    if (this.#draw()) this.request();
  }

  #cancel() {
    cancelAnimationFrame(this.#frame);
    clearTimeout(this.#timer);
    this.#frame = 0;
    this.#timer = 0;
  }
}
