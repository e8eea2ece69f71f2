// The errors of the whole log: how many there are, and the way from one to the next.

import { Scan } from './scan.js';
import { counted } from './units.js';

/** A log up to this size is searched for errors as soon as it is opened; a larger one when it is asked for. */
const EAGER_BYTES = 64 * 1024 * 1024;

export class Troubles {
  /** Offset of the error that the reader was brought to. @type {number | null} */
  current = null;
  #button = /** @type {HTMLElement} */ (document.getElementById('errors'));
  #words = /** @type {HTMLElement} */ (document.getElementById('errors-count'));
  /** @type {{generation: string, ends: import('./scan.js').Ends} | null} */
  #file = null;
  #go;
  #here;

  /**
   * @param {import('./history.js').History} history
   * @param {() => void} changed
   * @param {(offset: number) => Promise<void>} go
   * @param {() => number} here
   */
  constructor(history, changed, go, here) {
    this.#go = go;
    this.#here = here;
    this.scan = new Scan(history, () => {
      this.#show();
      changed();
    });
    this.#button.addEventListener('click', () => this.step(1));
  }

  /**
   * The present file, and how far it goes.
   * @param {string} generation
   * @param {import('./scan.js').Ends} ends
   */
  look(generation, ends) {
    this.#file = { generation, ends };
    if (this.scan.isOn && this.scan.generation === generation) this.scan.extend(ends);
    else if (ends.size <= EAGER_BYTES || this.scan.isOn) this.demand();
  }

  /** Searches the file, however large it is. */
  demand() {
    if (this.#file === null || (this.scan.isOn && this.scan.generation === this.#file.generation)) return;
    this.current = null;
    this.scan.start(this.#file.generation, { level: 'error' }, this.#here(), this.#file.ends);
  }

  /**
   * To the next error, or the previous one.
   * @param {1 | -1} way
   */
  async step(way) {
    const { offsets } = this.scan;
    if (offsets.length === 0) return;
    const here = this.#here();
    let at = this.scan.indexOf(here);
    if (way < 0) at -= 1;
    else if (offsets[at] === here && this.current !== null) at += 1;
    this.current = offsets[(at + offsets.length) % offsets.length];
    await this.#go(this.current);
  }

  /** To the first one, which is often the cause of the others. */
  async first() {
    const [first] = this.scan.offsets;
    if (first === undefined) return;
    this.current = first;
    await this.#go(first);
  }

  #show() {
    const { count, complete, running } = this.scan;
    this.#button.hidden = count === 0;
    const words = `${counted(count, 'error')}${complete || running ? '' : '+'}`;
    if (this.#words.textContent === words) return;
    const [number, word] = words.split(' ');
    const label = document.createElement('span');
    label.className = 'label';
    label.textContent = ` ${word}`;
    this.#words.replaceChildren(number, label);
    this.#button.setAttribute('aria-label', words);
    this.#button.title = 'Next error (e), previous (E), first (1)';
  }
}
