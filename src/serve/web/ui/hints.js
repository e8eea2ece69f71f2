// Which of several short messages is shown over the rows, and for how long.

const HINT_MS = 2_500;

/**
 * Three kinds, so that none of them hides one that matters more:
 * - an answer to what the reader did is shown at once, for a short time;
 * - trouble that nobody asked about waits for the end of an answer, and is then shown for the same time;
 * - a notice is shown while there is neither, until the reader closes it.
 */
export class Hints {
  #draw;
  #answer = '';
  #trouble = '';
  #notice = '';
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer = undefined;

  /** @param {(words: string) => void} draw shows the words; hides the place of them if they are empty */
  constructor(draw) {
    this.#draw = draw;
  }

  /** @param {string} words */
  answer(words) {
    this.#answer = words;
    this.#show();
  }

  /** @param {string} words */
  trouble(words) {
    this.#trouble = words;
    if (this.#answer === '') this.#show();
  }

  /** @param {string} words */
  notice(words) {
    this.#notice = words;
    if (this.#answer === '' && this.#trouble === '') this.#show();
  }

  /** Hides all of them. */
  close() {
    this.#answer = this.#trouble = this.#notice = '';
    this.#show();
  }

  #show() {
    clearTimeout(this.#timer);
    const passing = this.#answer || this.#trouble;
    this.#draw(passing || this.#notice);
    if (passing !== '') this.#timer = setTimeout(() => this.#next(), HINT_MS);
  }

  #next() {
    if (this.#answer !== '') this.#answer = '';
    else this.#trouble = '';
    this.#show();
  }
}
