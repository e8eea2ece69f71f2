// The dialog that counts the values of a field, over the whole log or over what the filter shows.

import { failureWords } from '../net/api.js';
import { byId, setText } from '../ui/dom.js';
import { showFieldChips } from '../ui/field-chips.js';

const WHOLE = new Intl.NumberFormat('en-US');
/** A longer value is cut by the server, so no condition can be made of it. */
const VALUE_BYTES_MAX = 256;

/**
 * @typedef {import('../net/api.js').FieldValues} FieldValues
 *
 * @typedef {object} Parts
 * @property {(field: string, signal: AbortSignal, show: (state: FieldValues) => void) => Promise<void>} count counts the values of a
 *   field; `show` is called with each state of the count
 * @property {() => string[]} fields the names of fields that are offered
 * @property {() => string | null} conditions the present conditions on fields, if these are the filter
 * @property {(conditions: string) => void} show shows the lines that fit these conditions
 * @property {() => void} closed
 */

/**
 * The condition that a field has this value.
 * @param {string} field
 * @param {string} value
 */
export function conditionOf(field, value) {
  const word = (/** @type {string} */ text) => (/^[^\s"\\=!<>:~][^\s=!<>:~"]*$/.test(text) ? text : `"${text.replace(/["\\]/g, '\\$&')}"`);
  return `${word(field)}=${value === '' ? '""' : word(value)}`;
}

export class ValuesDialog {
  #parts;
  #dialog = /** @type {HTMLDialogElement} */ (byId('values'));
  #field = /** @type {HTMLInputElement} */ (byId('values-field'));
  #list = byId('values-list');
  /** The names of fields that are offered. @type {string[]} */
  #fields = [];
  /** Cancels the count when the dialog is closed. */
  #counting = new AbortController();

  /** @param {Parts} parts */
  constructor(parts) {
    this.#parts = parts;
    byId('values-open').addEventListener('click', () => {
      byId('view-menu').hidePopover();
      this.open();
    });
    byId('values-go').addEventListener('click', () => this.#count());
    this.#field.addEventListener('keydown', (event) => {
      if (event.key === 'Enter' && !event.isComposing) this.#count();
    });
    byId('values-close').addEventListener('click', () => this.#dialog.close());
    this.#dialog.addEventListener('click', (event) => {
      if (event.target === this.#dialog) this.#dialog.close();
    });
    this.#dialog.addEventListener('close', () => {
      this.#counting.abort();
      parts.closed();
    });
  }

  open() {
    this.#fields = this.#parts.fields();
    this.#dialog.showModal();
    this.#field.select();
    this.#showFields();
    // What was counted before may be old.
    if (this.#field.value.trim() !== '') this.#count();
  }

  /** Offers the fields, with the one that is counted as the chosen one. */
  #showFields() {
    showFieldChips(byId('values-fields'), this.#fields, [this.#field.value.trim()], (field) => {
      this.#field.value = field;
      this.#count();
    });
  }

  async #count() {
    const field = this.#field.value.trim();
    this.#showFields();
    this.#say(field === '' ? 'Write the name of a field' : '');
    if (field === '') return;
    this.#counting.abort();
    this.#counting = new AbortController();
    const { signal } = this.#counting;
    try {
      await this.#parts.count(field, signal, (counted) => {
        if (!signal.aborted) this.#show(field, counted);
      });
    } catch (error) {
      if (!signal.aborted) this.#say(failureWords(error));
    }
  }

  /** @param {string} field @param {FieldValues} counted */
  #show(field, { rows, with_field: withField, distinct, values, done, complete, isAtLeast }) {
    const progress = complete ? '' : done ? ' (not of all lines)' : ' so far';
    const lines = `${WHOLE.format(withField)} of ${WHOLE.format(rows)} lines have it${progress}`;
    setText(byId('values-count'), withField === 0 ? `No line has this field${progress}` : `${lines}, with ${isAtLeast ? 'at least ' : ''}${WHOLE.format(distinct)} ${distinct === 1 ? 'value' : 'values'}`);
    const focused = document.activeElement?.closest('#values-list li button')?.textContent;
    this.#list.replaceChildren(...values.map(([value, count]) => this.#item(field, value, count, withField)));
    for (const button of this.#list.querySelectorAll('button')) if (button.textContent === focused) button.focus();
  }

  /** @param {string} field @param {string} value @param {number} count @param {number} all */
  #item(field, value, count, all) {
    const item = document.createElement('li');
    item.style.setProperty('--share', `${(100 * count) / all}%`);
    const button = document.createElement('button');
    button.type = 'button';
    button.textContent = value === '' ? '(empty)' : value;
    button.disabled = new TextEncoder().encode(value).length >= VALUE_BYTES_MAX;
    button.title = button.disabled ? 'This value is too long for a filter' : 'Show its lines';
    button.addEventListener('click', () => {
      const before = this.#parts.conditions();
      this.#dialog.close();
      this.#parts.show([...(before === null ? [] : [before]), conditionOf(field, value)].join(' '));
    });
    const number = document.createElement('span');
    number.textContent = WHOLE.format(count);
    item.append(button, number);
    return item;
  }

  /** @param {string} problem what is wrong; empty for nothing */
  #say(problem) {
    setText(byId('values-problem'), problem);
    this.#field.setAttribute('aria-invalid', String(problem !== ''));
  }
}
