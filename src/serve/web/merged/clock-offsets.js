// The fields for wrong clocks: what is added to the times of each log.

import { formatShift, parseShift } from './log-clock.js';

export class ClockOffsets {
  /** In ms. @type {number[]} */
  #shifts;
  /** @type {HTMLInputElement[]} */
  #fields = [];

  /**
   * @param {HTMLElement} list
   * @param {string[]} names
   * @param {(log: number, shift: number) => void} changed
   */
  constructor(list, names, changed) {
    this.#shifts = names.map(() => 0);
    names.forEach((logName, log) => {
      const label = document.createElement('label');
      label.dataset.log = String(log + 1);
      const words = document.createElement('span');
      words.textContent = logName;
      const field = document.createElement('input');
      field.type = 'text';
      field.placeholder = '+0s';
      field.autocomplete = 'off';
      field.spellcheck = false;
      field.setAttribute('aria-describedby', 'shift-forms');
      field.addEventListener('change', () => {
        const shift = parseShift(field.value);
        field.setAttribute('aria-invalid', String(shift === null));
        if (shift === null || shift === this.#shifts[log]) return;
        this.#show(log, shift);
        changed(log, shift);
      });
      // Keys of the page do not act in a field, but Enter should.
      field.addEventListener('keydown', (event) => {
        if (event.key === 'Enter') field.blur();
      });
      label.append(words, field);
      list.append(label);
      this.#fields.push(field);
    });
  }

  /** @param {number[]} shifts of all logs, in ms */
  show(shifts) {
    shifts.forEach((shift, log) => this.#show(log, shift));
  }

  /** @param {number} log @param {number} shift */
  #show(log, shift) {
    this.#shifts[log] = shift;
    this.#fields[log].value = formatShift(shift);
    this.#fields[log].setAttribute('aria-invalid', 'false');
  }
}

/**
 * The offsets in a fragment: `1:1500,3:-3600000`, each with the number of its log, in ms.
 * @param {string} text
 * @param {number} logs
 * @returns {number[]}
 */
export function parseShifts(text, logs) {
  const shifts = Array.from({ length: logs }, () => 0);
  for (const [, log, shift] of text.matchAll(/(?:^|,)(\d+):(-?\d{1,12})(?=,|$)/g)) if (shifts[Number(log) - 1] !== undefined) shifts[Number(log) - 1] = Number(shift);
  return shifts;
}

/** @param {number[]} shifts */
export function formatShifts(shifts) {
  return shifts.flatMap((shift, log) => (shift === 0 ? [] : [`${log + 1}:${shift}`])).join(',');
}
