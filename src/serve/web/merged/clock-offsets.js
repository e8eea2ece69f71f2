// The fields for wrong clocks: what is added to the times of each log.

import { formatShift, parseShift } from './log-clock.js';

export class ClockOffsets {
  /**
   * @param {HTMLElement} list
   * @param {string[]} names
   * @param {number[]} shifts in ms
   * @param {(log: number, shift: number) => void} changed
   */
  constructor(list, names, shifts, changed) {
    names.forEach((logName, log) => {
      const label = document.createElement('label');
      label.dataset.log = String(log + 1);
      const words = document.createElement('span');
      words.textContent = logName;
      const field = document.createElement('input');
      field.type = 'text';
      field.placeholder = '+0s';
      field.value = formatShift(shifts[log]);
      field.autocomplete = 'off';
      field.spellcheck = false;
      field.setAttribute('aria-describedby', 'shift-forms');
      field.addEventListener('change', () => {
        const shift = parseShift(field.value);
        field.setAttribute('aria-invalid', String(shift === null));
        if (shift === null || shift === shifts[log]) return;
        shifts[log] = shift;
        field.value = formatShift(shift);
        changed(log, shift);
      });
      // Keys of the page do not act in a field, but Enter should.
      field.addEventListener('keydown', (event) => {
        if (event.key === 'Enter') field.blur();
      });
      label.append(words, field);
      list.append(label);
    });
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
