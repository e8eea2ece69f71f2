// The files that had the log's name before this page was opened. The server lists them, so all of them are generations,
// in their order, before any is read. The size of a compressed file is known only when the server has unpacked it, which
// happens when the reader, a search or a link comes to it.

import { isSameGeneration } from '../net/wire.js';
import { formatDateTime, formatSize } from '../ui/units.js';

/** What is said behind a file that the server reads but does not list. */
const STRAY = 'lines may be missing here: the file before is not among the old files of this log';

/**
 * @typedef {import('../net/api.js').HistoryFile} HistoryFile
 * @typedef {{size: number, notice?: {message: string}}} Known what an answer says about a file
 */

export class OldFiles {
  #api;
  #generations;
  /** A list that was asked for. @type {Promise<void> | null} */
  #listing = null;
  /** The files whose sizes were asked for. @type {Map<number, Promise<void>>} */
  #measuring = new Map();
  /** What has to be said about files. @type {Map<number, string>} */
  #notices = new Map();
  /** The files at whose ends this says what begins there. @type {Set<number>} */
  #marked = new Set();

  /**
   * @param {import('../net/api.js').LogApi} api
   * @param {import('../rows/generations.js').Generations} generations
   */
  constructor(api, generations) {
    this.#api = api;
    this.#generations = generations;
  }

  /** Asks the server for the files, and adds those that are not known. */
  list() {
    this.#listing ??= this.#list().finally(() => {
      this.#listing = null;
    });
    return this.#listing;
  }

  /**
   * Sees to it that the generation before this one and its size are known. Returns whether there is one.
   * @param {number} gen
   * @param {AbortSignal} signal
   */
  async reach(gen, signal) {
    const generations = this.#generations;
    if (gen <= generations.firstGen) await this.list();
    signal.throwIfAborted();
    if (gen <= generations.firstGen) return false;
    await this.measure(gen - 1);
    signal.throwIfAborted();
    return true;
  }

  /**
   * Sees to it that the size of a file is known. The server may have to unpack it.
   * @param {number} gen
   */
  async measure(gen) {
    const generation = this.#generations.at(gen);
    if (generation === undefined || generation.to !== Infinity) return;
    let measuring = this.#measuring.get(gen);
    if (measuring === undefined) {
      measuring = this.#api.rows(generation.id, { before: Number.MAX_SAFE_INTEGER }, 1, {})
        .then((answer) => this.learn(gen, answer)).finally(() => this.#measuring.delete(gen));
      this.#measuring.set(gen, measuring);
    }
    await measuring;
  }

  /**
   * Takes note of what an answer says about a file whose size was not known.
   * @param {number} gen
   * @param {Known} known
   */
  learn(gen, { size, notice }) {
    const generation = this.#generations.at(gen);
    if (generation === undefined || generation.to !== Infinity) return;
    generation.to = size;
    if (notice !== undefined) this.#notices.set(gen, notice.message);
    this.#mark(gen);
  }

  /**
   * The number of the generation of an answer, whether or not the page knew it.
   * @param {Known & {generation: string}} answer
   */
  async numberOf(answer) {
    const generations = this.#generations;
    let gen = generations.numberOf(answer.generation, isSameGeneration);
    if (gen === null) {
      await this.list();
      gen = generations.numberOf(answer.generation, isSameGeneration);
    }
    if (gen === null) {
      gen = generations.addEarlier(answer.generation, answer.size, null);
      if (generations.at(gen + 1).firstMarker === null) generations.markEnd(gen, 'gap', STRAY);
    }
    this.learn(gen, answer);
    return gen;
  }

  /** The bytes on the disk of all files before the present one. @param {AbortSignal} signal */
  async bytes(signal) {
    const files = await this.#api.history(signal);
    return files.filter(({ present }) => !present).reduce((sum, { bytes }) => sum + bytes, 0);
  }

  async #list() {
    const generations = this.#generations;
    const files = await this.#api.history();
    const first = generations.at(generations.firstGen);
    if (first === undefined) return;
    for (let gen = generations.firstGen; gen <= generations.currentGen; gen += 1) {
      const generation = generations.at(gen);
      generation.file = files.find((file) => isSameGeneration(file.generation, generation.id)) ?? generation.file;
    }
    const at = files.findIndex((file) => isSameGeneration(file.generation, first.id));
    for (const file of files.slice(0, Math.max(0, at)).reverse()) {
      const gen = generations.addEarlier(file.generation, file.compressed === null ? file.bytes : file.size ?? Infinity, file);
      if (file.notice !== undefined) this.#notices.set(gen, file.notice.message);
      if (generations.at(gen + 1).firstMarker === null) this.#marked.add(gen);
      this.#mark(gen);
    }
  }

  /** Says which file ends and which begins behind a generation. @param {number} gen */
  #mark(gen) {
    const { file, to } = this.#generations.at(gen);
    const next = this.#generations.at(gen + 1)?.file;
    if (!this.#marked.has(gen) || file === null || !next) return;
    const facts = [
      to === Infinity ? '' : formatSize(to),
      file.modified === null ? '' : `written until ${formatDateTime(file.modified)}`,
    ].filter((fact) => fact !== '').join(', ');
    const notice = this.#notices.get(gen);
    const words = `end of ${file.name}${facts === '' ? '' : ` (${facts})`}${notice === undefined ? '' : `; ${notice}`} · ${next.name} begins`;
    this.#generations.markEnd(gen, 'rotated', words);
  }
}
