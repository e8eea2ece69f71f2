// The dialog of the reader's own colours. A change counts as soon as the expression is right.

import { byId, setText } from './dom.js';
import { COLOUR_RULES_MAX, colourProblem, COLOURS, colourRule, saveColourRules } from './colour-rules.js';

const TYPING_MS = 300;

/**
 * @typedef {import('./colour-rules.js').ColourRule} ColourRule
 * @typedef {object} Parts
 * @property {() => ColourRule[]} rules the present rules
 * @property {(rules: ColourRule[]) => void} changed called with the new ones
 * @property {(rule: ColourRule) => string} troubleOf why a rule is off
 * @property {() => void} closed
 */

export class ColourDialog {
  #parts;
  #dialog = /** @type {HTMLDialogElement} */ (byId('colours'));
  #list = byId('colour-list');
  #add = /** @type {HTMLButtonElement} */ (byId('colour-add'));
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #typing = undefined;

  /** @param {Parts} parts */
  constructor(parts) {
    this.#parts = parts;
    byId('colours-open').addEventListener('click', () => {
      byId('view-menu').hidePopover();
      this.open();
    });
    this.#add.addEventListener('click', () => this.#addRow({ text: '', colour: COLOURS[this.#list.childElementCount % COLOURS.length] }).focus());
    byId('colours-close').addEventListener('click', () => this.#dialog.close());
    this.#dialog.addEventListener('click', (event) => {
      if (event.target === this.#dialog) this.#dialog.close();
    });
    this.#dialog.addEventListener('close', () => {
      this.#apply();
      parts.closed();
    });
  }

  open() {
    this.#list.replaceChildren();
    const rules = this.#parts.rules();
    for (const rule of rules) this.#addRow(rule);
    if (rules.length === 0) this.#addRow({ text: '', colour: COLOURS[0] });
    this.#dialog.showModal();
    this.#list.querySelector('input')?.focus();
  }

  /** Shows which rules are off. */
  refresh() {
    if (this.#dialog.open) for (const row of this.#rows()) this.#showProblem(row);
  }

  #rows() {
    return /** @type {HTMLElement[]} */ ([...this.#list.children]);
  }

  /** @param {ColourRule} rule @returns {HTMLInputElement} its field */
  #addRow(rule) {
    const row = document.createElement('li');
    const field = document.createElement('input');
    const number = this.#list.childElementCount + 1;
    Object.assign(field, { type: 'text', value: rule.text, placeholder: 'order-\\d+', spellcheck: false, autocomplete: 'off' });
    field.setAttribute('aria-label', `Regular expression ${number}`);
    field.setAttribute('autocapitalize', 'off');
    const colour = document.createElement('select');
    colour.setAttribute('aria-label', `Colour ${number}`);
    colour.append(...COLOURS.map((one) => new Option(one, one, one === rule.colour, one === rule.colour)));
    const remove = document.createElement('button');
    Object.assign(remove, { type: 'button', className: 'tool', textContent: 'Remove' });
    remove.setAttribute('aria-label', `Remove ${number}`);
    const problem = document.createElement('p');
    problem.className = 'problem';
    problem.setAttribute('role', 'alert');
    row.append(field, colour, remove, problem);
    this.#list.append(row);
    field.addEventListener('input', () => {
      clearTimeout(this.#typing);
      this.#typing = setTimeout(() => this.#apply(), TYPING_MS);
    });
    field.addEventListener('keydown', (event) => {
      if (event.key === 'Enter') this.#apply();
    });
    colour.addEventListener('change', () => this.#apply());
    remove.addEventListener('click', () => {
      row.remove();
      this.#apply();
      this.#add.focus();
    });
    this.#showProblem(row);
    return field;
  }

  /** @param {HTMLElement} row @returns {[HTMLInputElement, HTMLSelectElement]} */
  #fieldsOf(row) {
    return [/** @type {HTMLInputElement} */ (row.querySelector('input')), /** @type {HTMLSelectElement} */ (row.querySelector('select'))];
  }

  /** Takes the rules that are right. */
  #apply() {
    clearTimeout(this.#typing);
    const rules = this.#rows().map((row) => {
      const [{ value }, colour] = this.#fieldsOf(row);
      return colourProblem(value) === '' ? colourRule(colour.value, value) : null;
    }).filter((rule) => rule !== null);
    if (JSON.stringify(rules) !== JSON.stringify(this.#parts.rules())) {
      saveColourRules(rules);
      this.#parts.changed(rules);
    }
    for (const row of this.#rows()) this.#showProblem(row);
  }

  /** @param {HTMLElement} row */
  #showProblem(row) {
    const [field, colour] = this.#fieldsOf(row);
    const rule = colourRule(colour.value, field.value);
    const words = colourProblem(field.value) || (rule === null ? '' : this.#parts.troubleOf(rule));
    setText(/** @type {HTMLElement} */ (row.querySelector('.problem')), words);
    field.setAttribute('aria-invalid', String(words !== ''));
    row.dataset.colour = colour.value;
    this.#add.disabled = this.#list.childElementCount >= COLOUR_RULES_MAX;
  }
}
