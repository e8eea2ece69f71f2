// The find bar: its fields for finding, filtering and highlighting, and the count of matches. The page runs the search.

import { spanParameters } from '../net/api.js';
import { byId } from '../ui/dom.js';
import { LEVELS, RULES_MAX } from '../url/view-hash.js';
import { lowerBound } from './file-search.js';
import { parameters } from './pattern.js';

const TYPING_MS = 200;
/** The label of the View button. @type {Record<Level, string>} */
const LEVEL_WORDS = { '': 'View', error: 'Errors only', warning: 'Errors, warnings' };
const WHOLE = new Intl.NumberFormat('en-US');
const SWITCHES = /** @type {('case' | 'word' | 'regex' | 'fields')[]} */ (['case', 'word', 'regex', 'fields']);
const CONDITIONS_EXAMPLE = 'status>=500 path:/api';

/**
 * @typedef {import('../url/view-hash.js').Pattern} Pattern
 * @typedef {import('../url/view-hash.js').Level} Level
 *
 * @typedef {object} Callbacks callbacks to the page
 * @property {() => void} changed the pattern, the filter or the highlights changed
 * @property {(place: number) => Promise<void>} goTo goes to the row at this place
 * @property {() => number} here the place of the reader's current row
 * @property {() => void} closed the bar was closed
 */

export class FindBar {
  isOpen = false;
  filter = false;
  invert = false;
  /** @type {Level} */
  level = '';
  /** The span of time whose lines are shown alone. @type {import('../ui/histogram.js').Span | null} */
  span = null;
  /** @type {Pattern[]} */
  rules = [];
  /** The place of the row that the reader went to. @type {number | null} */
  current = null;
  /** @type {Pattern} */
  #pattern = { text: '', regex: false, case: false, word: false };
  /** A step that is made as soon as there is a match. @type {-1 | 0 | 1} */
  #pendingStep = 0;
  #callbacks;
  #bar = byId('find');
  #text = /** @type {HTMLInputElement} */ (byId('find-text'));
  #placeholder = this.#text.placeholder;
  #count = byId('find-count');
  #openButton = byId('find-open');
  #rules = byId('rules');
  #levelInputs = /** @type {NodeListOf<HTMLInputElement>} */ (document.querySelectorAll('input[name="level"]'));
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #typing = undefined;

  /**
   * @param {import('./file-search.js').SearchResult} scan the search for the pattern; the page starts it
   * @param {Callbacks} asked
   */
  constructor(scan, asked) {
    this.scan = scan;
    this.#callbacks = asked;
    this.#text.addEventListener('input', () => {
      clearTimeout(this.#typing);
      this.#typing = setTimeout(() => this.#typed(), TYPING_MS);
    });
    this.#bar.addEventListener('keydown', (event) => this.#key(event));
    for (const option of SWITCHES) {
      this.#switch(option).addEventListener('click', () => {
        this.#typed();
        this.#pattern = switched(this.#pattern, option);
        this.#change();
        this.#text.focus();
      });
    }
    byId('find-next').addEventListener('click', () => this.step(1));
    byId('find-previous').addEventListener('click', () => this.step(-1));
    byId('find-close').addEventListener('click', () => this.close());
    byId('filter').addEventListener('click', () => this.toggleFilter());
    byId('invert').addEventListener('click', () => {
      this.#typed();
      this.invert = !this.invert;
      this.#change();
    });
    for (const input of this.#levelInputs) input.addEventListener('change', () => this.setLevel(/** @type {Level} */ (input.value)));
    byId('rule-add').addEventListener('click', () => this.#addRule());
    this.#openButton.addEventListener('click', () => (this.isOpen ? this.close() : this.open()));
  }

  /** Must be called when there are more results. */
  resultsChanged() {
    this.#showCount();
    if (this.#pendingStep !== 0 && this.scan.offsets.length > 0) this.step(this.#pendingStep);
  }

  /** The pattern to find; null if there is none. */
  get pattern() {
    return this.#pattern.text === '' ? null : this.#pattern;
  }

  /** The filter as parameters for the server; empty without a filter. @returns {Record<string, string>} */
  get filterParameters() {
    const level = { ...levelParameters(this.level), ...this.spanParameters };
    if (this.filter && this.pattern !== null && this.scan.error === '') return { ...parameters(this.pattern), ...level, filter: '1', ...(this.invert && { invert: '1' }) };
    return this.level === '' ? this.spanParameters : { ...level, filter: '1' };
  }

  /** The conditions on fields of the rows that are shown; null if the filter has none, or shows other rows. */
  get fieldConditions() {
    return this.filter && !this.invert && this.pattern?.fields ? this.pattern.text : null;
  }

  /** The search as parameters for the server. @returns {Record<string, string> | null} */
  get searchParameters() {
    return this.pattern === null ? null : { ...parameters(this.pattern), ...levelParameters(this.level), ...this.spanParameters };
  }

  /** The span of time as parameters for the server; empty for all of the log. @returns {Record<string, string>} */
  get spanParameters() {
    return this.span === null ? {} : spanParameters(this.span);
  }

  /** @param {import('../ui/histogram.js').Span | null} span */
  setSpan(span) {
    this.span = span;
    this.#change();
  }

  /** @param {Level} level */
  setLevel(level) {
    this.level = level;
    this.#change();
  }

  /** Cycles through all rows, errors and warnings, errors only. */
  nextLevel() {
    this.setLevel(LEVELS[(LEVELS.indexOf(this.level) + 1) % LEVELS.length]);
  }

  /**
   * Shows only the lines whose fields fit these conditions.
   * @param {string} conditions
   */
  filterFields(conditions) {
    this.open();
    this.#pattern = { text: conditions, regex: false, case: false, word: false, fields: true };
    [this.filter, this.invert, this.current] = [true, false, null];
    this.#change();
  }

  /** @param {string} [text] pattern to find */
  open(text) {
    this.isOpen = true;
    this.#bar.hidden = false;
    this.#openButton.setAttribute('aria-expanded', 'true');
    if (text) {
      this.#pattern = { ...this.#pattern, text };
      this.#change();
    }
    this.#text.focus();
    this.#text.select();
  }

  close() {
    clearTimeout(this.#typing);
    this.isOpen = false;
    this.#bar.hidden = true;
    this.#openButton.setAttribute('aria-expanded', 'false');
    this.#pattern = { ...this.#pattern, text: '' };
    this.filter = false;
    this.current = null;
    this.#change();
    this.#callbacks.closed();
  }

  /**
   * @param {Pattern | null} pattern
   * @param {boolean} filter
   * @param {boolean} invert
   * @param {Pattern[]} rules
   * @param {Level} level
   */
  set(pattern, filter, invert, rules, level) {
    this.level = level;
    this.#pattern = pattern ?? { ...this.#pattern, text: '' };
    this.filter = filter && pattern !== null;
    this.invert = invert;
    this.rules = rules;
    if (pattern !== null || rules.length > 0) {
      this.isOpen = true;
      this.#bar.hidden = false;
      this.#openButton.setAttribute('aria-expanded', 'true');
    }
    this.#change();
  }

  toggleFilter() {
    if (!this.isOpen) this.open();
    this.#typed();
    this.filter = !this.filter;
    this.#change();
  }

  /** Shows all rows again and keeps the pattern. */
  leaveFilter() {
    this.filter = false;
    this.level = '';
    this.#change();
  }

  /**
   * Goes to the next or the previous match; wraps around at the ends.
   * @param {1 | -1} way
   */
  async step(way) {
    if (this.scan.step) {
      if (this.pattern !== null) await this.scan.step(way);
      return;
    }
    const { offsets } = this.scan;
    const here = this.current ?? this.#callbacks.here();
    let at = lowerBound(offsets, here);
    if (way < 0) at -= 1;
    else if (offsets[at] === this.current) at += 1;
    const mayBeInOlder = offsets.length === 0 || at < 0;
    this.#pendingStep = mayBeInOlder && (this.scan.more?.() ?? (offsets.length === 0 && this.scan.running)) ? way : 0;
    if (this.#pendingStep !== 0 || offsets.length === 0) {
      this.#showCount();
      return;
    }
    this.current = offsets[(at + offsets.length) % offsets.length];
    this.#showCount();
    await this.#callbacks.goTo(this.current);
  }

  /** Applies the text of the field at once. */
  #typed() {
    clearTimeout(this.#typing);
    if (this.#text.value === this.#pattern.text) return;
    this.#pattern = { ...this.#pattern, text: this.#text.value };
    this.current = null;
    this.#change();
  }

  #change() {
    if (this.pattern === null) this.filter = false;
    this.show();
    this.#callbacks.changed();
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    if (event.isComposing) return;
    if (event.key === 'Enter' && event.target === this.#text) {
      event.preventDefault();
      this.#typed();
      this.step(event.shiftKey ? -1 : 1);
    } else if (event.key === 'Escape') {
      event.preventDefault();
      this.close();
    }
  }

  #addRule() {
    this.#typed();
    if (this.pattern === null || this.pattern.fields || this.rules.length >= RULES_MAX) return;
    this.rules = [...this.rules, { ...this.pattern }];
    this.#pattern = { ...this.#pattern, text: '' };
    this.#change();
    this.#text.focus();
  }

  show() {
    if (this.#text.value !== this.#pattern.text) this.#text.value = this.#pattern.text;
    for (const option of SWITCHES) this.#switch(option).setAttribute('aria-pressed', String(this.#pattern[option] ?? false));
    this.#text.placeholder = this.#pattern.fields ? CONDITIONS_EXAMPLE : this.#placeholder;
    byId('filter').setAttribute('aria-pressed', String(this.filter));
    byId('invert').setAttribute('aria-pressed', String(this.invert));
    byId('invert').hidden = !this.filter;
    for (const input of this.#levelInputs) input.checked = input.value === this.level;
    const view = byId('view-open');
    view.dataset.level = this.level;
    // On a narrow screen the label is hidden, and the title is the button's name.
    view.title = this.level === '' ? 'Display options' : `${LEVEL_WORDS[this.level]}: how rows are shown`;
    const label = view.querySelector('.label');
    if (label) label.textContent = LEVEL_WORDS[this.level];
    /** @type {HTMLButtonElement} */ (byId('rule-add')).disabled = this.pattern === null || this.pattern.fields === true || this.rules.length >= RULES_MAX;
    this.#rules.replaceChildren(...this.rules.map((rule, at) => this.#chip(rule, at)));
    this.#showCount();
  }

  /**
   * @param {Pattern} rule
   * @param {number} at
   */
  #chip(rule, at) {
    const item = document.createElement('span');
    item.setAttribute('role', 'listitem');
    const chip = document.createElement('button');
    chip.type = 'button';
    chip.className = 'chip';
    chip.dataset.rule = String(at);
    chip.textContent = rule.text;
    chip.title = `Remove the highlight of ${rule.text}`;
    chip.setAttribute('aria-label', chip.title);
    chip.addEventListener('click', () => {
      this.rules = this.rules.filter((one) => one !== rule);
      this.#change();
      this.#text.focus();
    });
    item.append(chip);
    return item;
  }

  #showCount() {
    const words = this.#countText();
    if (this.#count.textContent !== words) this.#count.textContent = words;
    this.#count.dataset.state = this.scan.error !== '' ? 'error' : '';
    this.#text.setAttribute('aria-invalid', String(this.scan.error !== ''));
  }

  #countText() {
    const { error, interruption, count, offsets, complete, running } = this.scan;
    if (this.pattern === null) return '';
    if (error !== '') return error;
    if (interruption !== '') return `interrupted: ${interruption}`;
    if (!complete && running && count === 0) return 'searching…';
    // Older files that were not searched may have more.
    const more = running && !complete ? ' so far' : complete && !this.scan.hasUnsearched ? '' : '+';
    if (count === 0) return more === '' ? 'no matches' : 'no matches so far';
    const at = this.current === null ? -1 : lowerBound(offsets, this.current);
    const total = `${WHOLE.format(count)}${more}`;
    if (at >= 0 && offsets[at] === this.current) return `${WHOLE.format(at + 1)} of ${total}`;
    if (more === ' so far') return total;
    return `${total} ${count === 1 && more === '' ? 'line' : 'lines'}`;
  }

  /** @param {string} option */
  #switch(option) {
    return /** @type {HTMLElement} */ (this.#bar.querySelector(`[data-find="${option}"]`));
  }
}

/**
 * A pattern with one option the other way. Conditions on fields have no other options.
 * @param {Pattern} pattern
 * @param {'case' | 'word' | 'regex' | 'fields'} option
 * @returns {Pattern}
 */
function switched(pattern, option) {
  const isOn = !pattern[option];
  if (option === 'fields') return { text: pattern.text, regex: false, case: false, word: false, ...(isOn && { fields: true }) };
  const { fields: _, ...others } = pattern;
  return { ...others, [option]: isOn };
}

/** @param {Level} level @returns {Record<string, string>} */
function levelParameters(level) {
  return level === '' ? {} : { level: level === 'error' ? 'error' : 'error,warning' };
}
