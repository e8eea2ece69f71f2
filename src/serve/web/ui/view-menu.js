// The View menu. It writes the options to the rows' container, where the style sheet reads them.

import { saveOptions } from './options.js';

export class ViewMenu {
  #log;
  #changed;
  /** @type {NodeListOf<HTMLInputElement>} */
  #inputs = document.querySelectorAll('[data-option]');

  /**
   * @param {HTMLElement} log
   * @param {import('./options.js').Options} options the current options; the menu changes them
   * @param {() => void} changed called after the reader changed an option
   */
  constructor(log, options, changed) {
    this.#log = log;
    this.options = options;
    this.#changed = changed;
    for (const input of this.#inputs) input.addEventListener('change', () => this.#inputChanged(input));
    this.show();
  }

  /** @param {import('./options.js').Switch} option */
  toggle(option) {
    this.options[option] = !this.options[option];
    this.#optionChanged();
  }

  /** @param {import('./options.js').Times} times */
  setTimes(times) {
    this.options.times = times;
    this.#optionChanged();
  }

  show() {
    for (const input of this.#inputs) {
      const option = /** @type {keyof import('./options.js').Options} */ (input.dataset.option);
      input.checked = input.type === 'radio' ? this.options[option] === input.value : this.options[option] === true;
    }
    this.#log.dataset.wrap = String(this.options.wrap);
    this.#log.dataset.numbers = String(this.options.numbers);
    this.#log.dataset.times = this.options.times;
  }

  #optionChanged() {
    saveOptions(this.options);
    this.show();
    this.#changed();
  }

  /** @param {HTMLInputElement} input */
  #inputChanged(input) {
    const option = /** @type {keyof import('./options.js').Options} */ (input.dataset.option);
    if (option === 'times') this.options.times = /** @type {import('./options.js').Times} */ (input.value);
    else this.options[option] = input.checked;
    this.#optionChanged();
  }
}
