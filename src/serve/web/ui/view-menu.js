// The View menu. It writes the options to the rows' container, where the style sheet reads them.

import { byId } from './dom.js';
import { saveOptions } from './options.js';
import { serverZone, zoneOf, ZONES } from './zones.js';

export class ViewMenu {
  #log;
  #changed;
  #zone = /** @type {HTMLSelectElement} */ (byId('zone-choice'));
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
    this.#zone.append(...offeredZones().map((zone) => new Option(zoneOf(zone).label, zone)));
    this.#zone.addEventListener('change', () => this.setZone(/** @type {import('./zones.js').ZoneName} */ (this.#zone.value)));
    this.show();
  }

  /** @param {import('./options.js').Switch} option */
  toggle(option) {
    this.options[option] = !this.options[option];
    this.#optionChanged();
  }

  /** Shows times in the next zone. */
  nextZone() {
    const zones = offeredZones();
    this.setZone(zones[(zones.indexOf(this.options.zone) + 1) % zones.length]);
  }

  /** @param {import('./zones.js').ZoneName} zone */
  setZone(zone) {
    this.options.zone = zone;
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
      if (input.type === 'text') {
        if (input !== document.activeElement) input.value = this.options.columns;
      } else {
        input.checked = input.type === 'radio' ? this.options[option] === input.value : this.options[option] === true;
      }
    }
    this.#zone.value = this.options.zone;
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
    if (option === 'columns') [this.options.columns, this.options.readable] = [input.value.trim(), this.options.readable || input.value.trim() !== ''];
    else if (option === 'times') this.options.times = /** @type {import('./options.js').Times} */ (input.value);
    else this.options[/** @type {import('./options.js').Switch} */ (option)] = input.checked;
    this.#optionChanged();
  }
}

/** The zones that a reader can choose: without that of the server if the browser does not know it. */
function offeredZones() {
  return ZONES.filter((zone) => zone !== 'server' || serverZone() !== null);
}
