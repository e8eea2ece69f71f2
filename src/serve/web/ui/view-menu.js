// The View menu. It writes the options to the rows' container, where the style sheet reads them.

import { byId } from './dom.js';
import { showFieldChips } from './field-chips.js';
import { COLUMNS_CHARS_MAX, saveOptions } from './options.js';
import { serverZone, zoneOf, ZONES } from './zones.js';

export class ViewMenu {
  #log;
  #changed;
  #isMerged;
  #zone = /** @type {HTMLSelectElement} */ (byId('zone-choice'));
  /** @type {NodeListOf<HTMLInputElement>} */
  #inputs = document.querySelectorAll('[data-option]');

  /**
   * @param {HTMLElement} log
   * @param {import('./options.js').Options} options the current options; the menu changes them
   * @param {() => void} changed called after the reader changed an option
   * @param {() => string[]} fields the names of fields that are offered as columns
   * @param {boolean} [isMerged] whether the lines are those of several logs
   */
  constructor(log, options, changed, fields, isMerged = false) {
    this.#isMerged = isMerged;
    this.#log = log;
    this.options = options;
    this.#changed = changed;
    for (const input of this.#inputs) input.addEventListener('change', () => this.#inputChanged(input));
    this.#zone.append(...offeredZones().map((zone) => new Option(zoneOf(zone).label, zone)));
    this.#zone.addEventListener('change', () => this.setZone(/** @type {import('./zones.js').ZoneName} */ (this.#zone.value)));
    byId('view-menu').addEventListener('beforetoggle', (event) => {
      if (/** @type {ToggleEvent} */ (event).newState === 'open') this.#showFields(fields());
    });
    this.show();
  }

  /**
   * The options as they are carried out. Readable lines of merged logs have their times in a column, as all others do: their own
   * would be of another clock than the stamps of the lines that are shown as they were written.
   * @returns {import('./options.js').Options}
   */
  get effective() {
    const { readable, times } = this.options;
    return this.#isMerged && readable && times === 'off' ? { ...this.options, times: 'clock' } : this.options;
  }

  /** Offers fields as columns: a click adds one, or removes it. @param {string[]} names */
  #showFields(names) {
    const chosen = this.options.columns.split(/[\s,]+/).filter((field) => field !== '');
    showFieldChips(byId('column-fields'), [...new Set([...chosen, ...names])], chosen, (field) => {
      const columns = chosen.includes(field) ? chosen.filter((other) => other !== field) : [...chosen, field];
      this.#setColumns(columns.join(' '));
      this.#optionChanged();
      this.#showFields(names);
    });
  }

  /** @param {string} columns */
  #setColumns(columns) {
    if (columns.length > COLUMNS_CHARS_MAX) return;
    this.options.columns = columns;
    this.options.readable ||= columns !== '';
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
    this.#log.dataset.times = this.effective.times;
  }

  #optionChanged() {
    saveOptions(this.options);
    this.show();
    this.#changed();
  }

  /** @param {HTMLInputElement} input */
  #inputChanged(input) {
    const option = /** @type {keyof import('./options.js').Options} */ (input.dataset.option);
    if (option === 'columns') this.#setColumns(input.value.trim());
    else if (option === 'times') this.options.times = /** @type {import('./options.js').Times} */ (input.value);
    else this.options[/** @type {import('./options.js').Switch} */ (option)] = input.checked;
    this.#optionChanged();
  }
}

/** The zones that a reader can choose: without that of the server if the browser does not know it. */
function offeredZones() {
  return ZONES.filter((zone) => zone !== 'server' || serverZone() !== null);
}
