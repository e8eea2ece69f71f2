// The search for the errors or warnings of a log, and the button and keys that step through them.

import { plural } from '../ui/units.js';
import { FileSearch, lowerBound } from './file-search.js';

/** A log up to this size is searched when it is opened, a larger one at the reader's request. */
const EAGER_BYTES = 64 * 1024 * 1024;

export class LevelSearch extends FileSearch {
  #level;
  /** @type {{generation: string, ends: import('./file-search.js').FileEnd} | null} */
  #file = null;
  /** Whether the reader has asked for the present search. */
  #isAsked = false;

  /**
   * @param {import('../net/api.js').LogApi} api
   * @param {'error' | 'warning'} level
   * @param {() => void} changed
   */
  constructor(api, level, changed) {
    super(api, changed);
    this.#level = level;
  }

  /** Whether the file is so large that it is searched only when the reader asks for it. */
  get isOnRequest() {
    return this.#file !== null && (this.#isAsked || !this.#isOfFile);
  }

  /** Whether the present file is searched. */
  get #isOfFile() {
    return this.isActive && this.generation === this.#file?.generation;
  }

  /**
   * Must be called when the file changed. Returns whether a new search began.
   * @param {string} generation
   * @param {import('./file-search.js').FileEnd} ends
   * @param {number} near offset of the reader's current row
   */
  update(generation, ends, near) {
    const file = { generation, ends };
    this.#file = file;
    if (this.#isOfFile) {
      this.extend(ends);
      return false;
    }
    this.#isAsked = false;
    return (ends.size <= EAGER_BYTES || this.isActive) && this.#begin(file, near);
  }

  /** Searches the file whatever its size. @param {number} near */
  searchNow(near) {
    if (this.#file === null || this.#isOfFile) return false;
    this.#isAsked = true;
    return this.#begin(this.#file, near);
  }

  /**
   * @param {{generation: string, ends: import('./file-search.js').FileEnd}} file
   * @param {number} near
   */
  #begin({ generation, ends }, near) {
    this.start(generation, { level: this.#level }, near, ends);
    return true;
  }
}

export class ProblemNav {
  /** The place of the error or warning that the reader went to. @type {number | null} */
  current = null;
  /** A step that is made as soon as the older files were searched. @type {-1 | 0 | 1} */
  #pendingStep = 0;
  /** The reader wants the first one, and is taken there when everything has been searched. */
  #isFirstPending = false;
  #level;
  #button;
  #count;
  #goTo;
  #here;
  #searchNow;
  #answer;

  /**
   * @param {'error' | 'warning'} level
   * @param {import('./file-search.js').SearchResult} scan
   * @param {(place: number) => Promise<void>} go
   * @param {() => number} here
   * @param {() => void} [searchNow] begins a search that is waiting
   * @param {(words: string) => void} [answer] tells the reader that there is nothing to go to
   */
  constructor(level, scan, go, here, searchNow = () => {}, answer = () => {}) {
    this.#level = level;
    this.#button = /** @type {HTMLElement} */ (document.getElementById(`${level}s`));
    this.#count = /** @type {HTMLElement} */ (document.getElementById(`${level}s-count`));
    this.scan = scan;
    this.#goTo = go;
    this.#here = here;
    this.#searchNow = searchNow;
    this.#answer = answer;
    this.#button.addEventListener('click', () => this.step(1));
  }

  /**
   * Goes to the next or the previous error or warning.
   * @param {1 | -1} way
   */
  async step(way) {
    if (this.scan.step) {
      await this.scan.step(way);
      return;
    }
    this.#searchNow();
    this.#isFirstPending = false;
    const { offsets } = this.scan;
    const here = this.#here();
    let at = lowerBound(offsets, here);
    if (way < 0) at -= 1;
    else if (offsets[at] === here && this.current !== null) at += 1;
    const mayBeInOlder = offsets.length === 0 || at < 0;
    this.#pendingStep = mayBeInOlder && this.scan.more?.() ? way : 0;
    if (this.#pendingStep !== 0) return;
    if (offsets.length === 0) {
      this.#answer(this.#noneText());
      return;
    }
    this.current = offsets[(at + offsets.length) % offsets.length];
    await this.#goTo(this.current);
  }

  /** Goes to the first error or warning, which often causes the others. */
  async first() {
    this.#searchNow();
    // What was found so far is what is near to the reader.
    this.#isFirstPending = this.scan.running && !this.scan.complete;
    if (this.#isFirstPending) return;
    const [first] = this.scan.offsets;
    if (first === undefined) {
      if (!this.scan.more?.()) this.#answer(this.#noneText());
      return;
    }
    this.current = first;
    await this.#goTo(first);
  }

  /** Why there is nothing to go to. */
  #noneText() {
    const { complete, error, interruption } = this.scan;
    const trouble = error || interruption;
    if (trouble !== '') return `The search for ${this.#level}s is interrupted: ${trouble}`;
    return complete ? `No ${this.#level} in this log` : `No ${this.#level} found so far`;
  }

  /** Must be called when the results changed. */
  show() {
    if (this.#pendingStep !== 0) this.step(this.#pendingStep);
    if (this.#isFirstPending) this.first();
    const { count, complete, running, isOnRequest } = this.scan;
    // None is here, but a step may lead to one elsewhere, or begins the search.
    const isElsewhere = count === 0 && !complete && (this.scan.step !== undefined || isOnRequest === true);
    this.#button.hidden = count === 0 && !isElsewhere;
    const words = isElsewhere ? `Next ${this.#level}` : `${plural(count, this.#level)}${complete || running ? '' : '+'}`;
    if (this.#count.textContent === words) return;
    const [number, word] = words.split(' ');
    const label = document.createElement('span');
    label.className = 'label';
    label.textContent = isElsewhere ? words : ` ${word}`;
    this.#count.replaceChildren(...(isElsewhere ? [] : [number]), label);
    this.#button.classList.toggle('elsewhere', isElsewhere);
    this.#button.setAttribute('aria-label', words);
    this.#button.title = `Next ${this.#level} (${this.#level === 'error' ? 'e), previous (E)' : 'a), previous (A)'}`;
  }
}
