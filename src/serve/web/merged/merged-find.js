// Finding and filtering in merged logs: the find bar, the errors and the warnings, and which rows pass.

import { plainText } from '../rows/levels.js';
import { FindBar } from '../search/find-bar.js';
import { LocalSearch } from '../search/local-search.js';
import { Matcher } from '../search/matcher.js';
import { compile, expressionOf, parameters } from '../search/pattern.js';
import { ProblemNav } from '../search/problem-nav.js';
import { ServerTest } from '../search/server-test.js';
import { WorkerTest } from '../search/worker-test.js';
import { filterName } from './pager.js';
import { Traces } from './traces.js';

/** Arriving rows are searched in batches. */
const SEARCH_MS = 250;

/**
 * @typedef {import('./merge-buffer.js').Entry} Entry
 * @typedef {import('../url/view-hash.js').Pattern} Pattern
 *
 * @typedef {object} Parts
 * @property {import('./merge-buffer.js').MergeBuffer} buffer
 * @property {import('./pager.js').Pager} pager
 * @property {import('./journey.js').Journey} journey
 * @property {import('../rows/levels.js').Levels} levels
 * @property {import('../net/api.js').LogApi[]} apis of each log
 * @property {() => Set<number>} logsOn
 * @property {() => void} changed called when the pattern, the filter or the highlights changed
 * @property {() => void} reload called when other rows are wanted
 * @property {() => void} draw called when a frame is needed
 * @property {(words: string) => void} say
 * @property {() => void} closed called when the find bar was closed
 */

export class MergedFind {
  #parts;
  #search;
  #errors;
  #warnings;
  #errorNav;
  #warningNav;
  #matcher = new Matcher();
  /** The pattern that is searched, as JSON. */
  #searched = '';
  /** The filter with which rows were asked for last. */
  #wanted = '';
  #isReady = false;
  /** The version of the list at the last search. */
  #version = -1;
  #searchedAt = 0;

  /** @param {Parts} parts */
  constructor(parts) {
    this.#parts = parts;
    this.#search = this.#searchFor(() => this.bar.searchParameters ?? {});
    this.#errors = this.#searchFor(() => this.#levelParameters('error'));
    this.#warnings = this.#searchFor(() => this.#levelParameters('warning'));
    this.traces = new Traces(parts.buffer, parts.levels, (entry) => this.#errors.matches(entry));
    /** @type {FindBar} */
    this.bar = new FindBar(this.#search, { changed: () => this.#changed(), goTo: async () => {}, here: () => 0, closed: parts.closed });
    this.#errorNav = new ProblemNav('error', this.#errors, async () => {}, () => 0);
    this.#warningNav = new ProblemNav('warning', this.#warnings, async () => {}, () => 0);
  }

  /** @param {() => Record<string, string>} asked what the server is asked for */
  #searchFor(asked) {
    const { buffer, pager, journey, say } = this.#parts;
    return new LocalSearch({
      buffer, pager, journey, say, rowFilter: () => this.rowFilter, parameters: asked,
      decided: (rows) => this.#decided(rows),
      refused: () => this.#refused(),
    });
  }

  /** Begins with what a link says. @param {import('../url/view-hash.js').View} view */
  begin(view) {
    this.bar.set(view.find, view.filter, view.invert, view.rules, view.level);
    this.#isReady = true;
  }

  get isFiltering() {
    return this.#filtersText || this.bar.level !== '';
  }

  /** The filter as parameters for the server. @returns {Record<string, string>} */
  get parameters() {
    return this.#isReady ? this.bar.filterParameters : {};
  }

  /** @returns {import('./merge-buffer.js').RowFilter} */
  get rowFilter() {
    return { logs: this.#parts.logsOn(), span: this.bar.span, passes: this.isFiltering ? this.#passes : null, filter: filterName(this.parameters) };
  }

  /** Whether the pattern of the find bar filters rows. */
  get #filtersText() {
    return this.bar.filter && this.bar.pattern !== null && this.#search.error === '';
  }

  /** What the server is asked for when a row of a level is sought among those that are shown. @param {string} level */
  #levelParameters(level) {
    return { ...(this.bar.invert ? this.bar.spanParameters : this.parameters), level };
  }

  /** Whether an entry is shown: by itself, or as a part of the stack trace of an error. @param {Entry} entry */
  #passes = (entry) => {
    const isMatch = this.#passesAlone(entry);
    if (!this.#filtersText || !this.bar.invert) return isMatch || this.traces.errorsOf(entry).some((error) => this.#passesAlone(error));
    // Of what a pattern leaves out, the trace is left out, too, whatever its text.
    const first = this.traces.errorsOf(entry).at(-1);
    return first === undefined ? isMatch : this.#passesAlone(first);
  };

  /** @param {Entry} entry */
  #passesAlone(entry) {
    if (this.#filtersText && this.#search.verdict(entry) !== !this.bar.invert) return false;
    const { level } = this.bar;
    return level === '' || this.#errors.matches(entry) || (level === 'warning' && this.#warnings.matches(entry));
  }

  #changed() {
    const { pattern } = this.bar;
    const searched = JSON.stringify(pattern);
    if (searched !== this.#searched) {
      this.#searched = searched;
      this.#search.error = '';
      this.#search.setTest(pattern === null ? null : this.#testOf(pattern));
    }
    this.#version = -1;
    this.run();
    this.#load();
    this.#parts.changed();
  }

  /** How rows are tested for a pattern. @param {Pattern} pattern @returns {import('../search/local-search.js').Test} */
  #testOf(pattern) {
    if (!pattern.regex && !pattern.fields) {
      const expression = /** @type {RegExp} */ (compile(pattern));
      return ({ html }) => plainText(html).search(expression) >= 0;
    }
    const server = new ServerTest(this.#parts.apis, parameters(pattern));
    // The server knows some expressions that this browser does not know.
    const expression = expressionOf(pattern);
    if (expression === null) return server;
    return new WorkerTest(this.#matcher, expression, server, (why) => this.#parts.say(`${pattern.text} ${why}, so the server searches the lines`));
  }

  /** Loads other rows if the filter wants them. */
  #load() {
    const wanted = filterName(this.parameters);
    if (wanted !== this.#parts.buffer.paged.filter || wanted !== this.#wanted) this.#parts.reload();
    this.#wanted = wanted;
  }

  /** @param {Entry[]} rows that match now and did not before, or the other way round */
  #decided(rows) {
    if (this.#filtersText && rows.length > 0) {
      const { buffer, logsOn } = this.#parts;
      // Other rows may have been loaded instead meanwhile.
      const here = new Set(buffer.entries(logsOn()));
      for (const row of rows) {
        if (!here.has(row)) continue;
        buffer.changed.add(row);
        for (const next of this.traces.behind(row)) buffer.changed.add(next);
      }
    }
    this.#version = -1;
    this.#parts.draw();
  }

  /** Called when it turned out that the pattern is invalid. */
  #refused() {
    this.bar.resultsChanged();
    this.#load();
  }

  /** Takes what the server said of a request; returns whether it was about the pattern. @param {string} why */
  refuse(why) {
    if (this.bar.pattern === null || this.#search.error !== '') return false;
    this.#search.error = why;
    this.#refused();
    return true;
  }

  /** Must be called when other rows are wanted. */
  restart() {
    this.#version = -1;
  }

  /** Searches the rows that arrived. */
  run() {
    const { buffer, journey, draw } = this.#parts;
    const rest = this.#searchedAt + SEARCH_MS - performance.now();
    if (buffer.version === this.#version) return;
    if (this.#version >= 0 && rest > 0) {
      setTimeout(draw, rest);
      return;
    }
    this.#version = buffer.version;
    this.#searchedAt = performance.now();
    for (const one of [this.#search, this.#errors, this.#warnings]) one.run();
    const { current, complete, rows } = this.#search;
    const at = current === null || current !== journey.cursor ? -1 : rows.indexOf(current);
    this.bar.current = complete && at >= 0 ? at : null;
    this.bar.resultsChanged();
    this.#errorNav.show();
    this.#warningNav.show();
  }

  /** Must be called when the rules of levels have arrived. */
  levelsLoaded() {
    const { levels } = this.#parts;
    for (const [level, search] of /** @type {const} */ ([['error', this.#errors], ['warning', this.#warnings]])) {
      search.setTest(({ logOffset, html, annotation }) => levels.ofWire([logOffset, html, annotation ?? undefined]) === level);
    }
    this.traces.clear();
    this.#version = -1;
  }

  /** @param {1 | -1} way */
  stepError(way) {
    this.#errorNav.step(way);
  }

  /** @param {1 | -1} way */
  stepWarning(way) {
    this.#warningNav.step(way);
  }
}
