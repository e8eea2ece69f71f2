// A search of the present file that goes on in the files before it. Its results are places: positions as numbers, in the
// order of the log (`Generations.placeOf`). The older files are searched one after the other, the newest first: at once
// if all of them are small, else when the reader steps beyond the first match. To search a compressed one, the server
// has to unpack it.

import { Gone } from '../net/api.js';
import { FileSearch } from './file-search.js';

/** Older files are searched without being asked for if they have at most so many bytes together, on the disk. */
const EAGER_BYTES = 16 * 1024 * 1024;
/** The pause after a failure, before the reader's step is tried again. */
const RETRY_MS = 1_000;

/**
 * @typedef {import('./file-search.js').SearchResult} SearchResult
 * @typedef {{gen: number, search: FileSearch}} OlderFile
 */

/** @implements {SearchResult} */
export class HistorySearch {
  #api;
  #present;
  #generations;
  #oldFiles;
  #changed;
  #isEager;
  /** The older files that were begun, the oldest first. @type {OlderFile[]} */
  #older = [];
  /**
   * How far the older files are searched. `unknown`: nobody has asked. `waiting`: there are more, for when the reader
   * wants them.
   * @type {'unknown' | 'running' | 'waiting' | 'done'}
   */
  #state = 'unknown';
  #interruption = '';
  #turn = new AbortController();
  /** The search of the present file to which the results belong. */
  #version = -1;
  /** @type {number[] | null} */
  #places = null;

  /**
   * @param {import('../net/api.js').LogApi} api
   * @param {FileSearch} present the search of the present file, which its owner starts
   * @param {import('../rows/generations.js').Generations} generations
   * @param {import('../viewer/old-files.js').OldFiles} oldFiles
   * @param {boolean} isEager whether small files are searched without being asked for
   * @param {() => void} changed
   */
  constructor(api, present, generations, oldFiles, isEager, changed) {
    this.#api = api;
    this.#present = present;
    this.#generations = generations;
    this.#oldFiles = oldFiles;
    this.#isEager = isEager;
    this.#changed = changed;
  }

  /** The places of rows that match, in their order. */
  get offsets() {
    this.#follow();
    this.#places ??= [...this.#older, { gen: this.#generations.currentGen, search: this.#present }].flatMap(({ gen, search }) => {
      return search.offsets.map((offset) => this.#generations.placeOf({ gen, offset }));
    });
    return this.#places;
  }

  get count() {
    this.#follow();
    return this.#older.reduce((sum, { search }) => sum + search.count, this.#present.count);
  }

  get complete() {
    this.#follow();
    return this.#present.complete && this.#state !== 'running' && this.#older.every(({ search }) => search.complete);
  }

  get running() {
    this.#follow();
    return this.#present.running || this.#state === 'running';
  }

  get isOnRequest() {
    return this.#present.isOnRequest;
  }

  get error() {
    return this.#present.error;
  }

  get interruption() {
    this.#follow();
    const older = this.#older.find(({ search }) => search.interruption !== '');
    return this.#present.interruption || older?.search.interruption || this.#interruption;
  }

  /** Whether there are older files that were not searched. */
  get hasUnsearched() {
    this.#follow();
    return this.#state === 'waiting';
  }

  /** The offsets of matching rows, file by file. @param {string} kind of the marks on the strip */
  marks(kind) {
    this.#follow();
    return [...this.#older, { gen: this.#generations.currentGen, search: this.#present }].map(({ gen, search }) => ({ kind, gen, offsets: search.offsets }));
  }

  /** Must be called when the search of the present file has changed. */
  presentChanged() {
    this.#follow();
    this.#places = null;
    if (this.#state === 'unknown' && this.#isEager && this.#isPresentSearched) this.#begin(true);
  }

  /**
   * Goes on in the older files, up to the next one that has matches. Returns whether there may be more matches.
   */
  more() {
    this.#follow();
    if (!this.#isPresentSearched) return this.#present.running;
    if (this.#state === 'unknown' || this.#state === 'waiting') this.#begin(false);
    return this.#state === 'running';
  }

  get #isPresentSearched() {
    return this.#present.isActive && this.#present.complete && this.#present.error === '';
  }

  /** Forgets everything if the present file is searched for something else. */
  #follow() {
    if (this.#version === this.#present.version) return;
    this.#version = this.#present.version;
    this.#turn.abort();
    for (const { search } of this.#older) search.stop();
    this.#older = [];
    this.#state = 'unknown';
    this.#interruption = '';
    this.#places = null;
  }

  /** @param {boolean} isUnasked */
  async #begin(isUnasked) {
    this.#state = 'running';
    this.#turn = new AbortController();
    const { signal } = this.#turn;
    /** @type {'waiting' | 'done'} */
    let state = 'waiting';
    try {
      state = isUnasked && (await this.#oldFiles.bytes(signal)) > EAGER_BYTES ? 'waiting' : await this.#searchOlder(isUnasked, signal);
    } catch (error) {
      if (error instanceof Gone) {
        // What lies before a file that is gone cannot be reached.
        state = 'done';
      } else if (!isUnasked && !signal.aborted) {
        this.#interruption = 'the older files cannot be searched now';
        this.#changed();
        await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
      }
    }
    if (signal.aborted) return;
    this.#state = state;
    this.#places = null;
    this.#changed();
  }

  /**
   * @param {boolean} isAll whether to go on behind a file with matches
   * @param {AbortSignal} signal
   * @returns {Promise<'waiting' | 'done'>}
   */
  async #searchOlder(isAll, signal) {
    const generations = this.#generations;
    for (let gen = this.#older[0]?.gen ?? generations.currentGen; ; gen -= 1) {
      const isThere = await this.#oldFiles.reach(gen, signal);
      signal.throwIfAborted();
      if (!isThere) {
        this.#interruption = '';
        return 'done';
      }
      this.#interruption = '';
      const { id, from, to } = generations.at(gen - 1);
      const count = await this.#searchFile(gen - 1, id, to, signal);
      signal.throwIfAborted();
      if (!isAll && count > 0 && from < to) return 'waiting';
    }
  }

  /**
   * Searches one file to its end. Returns the number of matching rows.
   * @param {number} gen
   * @param {string} id
   * @param {number} size
   * @param {AbortSignal} signal
   * @returns {Promise<number>}
   */
  #searchFile(gen, id, size, signal) {
    return new Promise((resolve) => {
      const search = new FileSearch(this.#api, () => {
        if (signal.aborted) return;
        this.#places = null;
        this.#changed();
        // A file that is gone meanwhile has no more matches.
        if (!search.running) resolve(search.count);
      });
      this.#older.unshift({ gen, search });
      signal.addEventListener('abort', () => resolve(0), { once: true });
      search.start(id, this.#present.parameters, size, { size, lastRow: size });
    });
  }
}
