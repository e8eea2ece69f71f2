// The positions from which a page resumes: in the current file, and in recently rotated files. Writers may still append
// to rotated files; a page that sends its positions in them misses no late bytes.

import { isSameGeneration } from './wire.js';

/** Late bytes are expected for this long after a rotation. Servers follow the old file for 5 s by default. */
const LATE_MS = 10_000;
/** Servers follow at most this many rotated files. */
const LATE_MAX = 4;

/** @typedef {import('./wire.js').ResumePosition} Position */

export class ResumeState {
  /** The position after the last byte received. @type {Position | null} */
  position = null;
  /** While late bytes arrive: the position at which the current file continues. @type {Position | null} */
  #afterLate = null;
  /** The oldest first. @type {{position: Position, until: number}[]} */
  #late = [];

  /** The positions reached in rotated files that may still get late bytes. @returns {Position[]} */
  get late() {
    return this.#late.filter(({ until }) => Date.now() < until).map(({ position }) => position);
  }

  /** @param {import('./wire.js').Message} message */
  advance(message) {
    if (message.type === 'open') {
      this.position = { generation: message.generation, offset: message.from };
    } else if (message.type === 'reset') {
      this.#switchTo({ generation: message.generation, offset: message.from }, message.reason);
    } else if (this.position === null) return;
    else if (message.type === 'gap' && message.to !== null) {
      this.position = { generation: message.generation, offset: message.to };
    } else if (message.type === 'signed') {
      // During late bytes this renames the generation of their position.
      this.#removeLate(this.position.generation);
      this.position = { ...this.position, generation: message.generation };
    } else if (message.type === 'rows') this.position = { ...this.position, offset: message.next };
  }

  /**
   * Called when the connection was lost. If late bytes were arriving, the position in the current file is restored.
   * @returns {Position | null} that position; null if no late bytes were arriving
   */
  disconnect() {
    const home = this.#afterLate;
    if (home === null) return null;
    this.#addLate(this.position);
    this.position = home;
    this.#afterLate = null;
    return home;
  }

  /**
   * @param {Position} position
   * @param {string} reason
   */
  #switchTo(position, reason) {
    const left = this.position;
    const stays = isSameGeneration(left?.generation, position.generation);
    if (reason === 'late') {
      // The late bytes of one file may be followed by late bytes of another.
      if (this.#afterLate === null) this.#afterLate = left;
      else if (!stays) this.#addLate(left);
    } else if (reason !== 'truncated' && !(stays && reason === 'replaced')) {
      // A reset to the same generation means that the position was not recovered. No file was rotated.
      this.#removeLate(position.generation);
      if (!isSameGeneration(this.#afterLate?.generation, position.generation)) this.#addLate(this.#afterLate);
      this.#afterLate = null;
      if (!stays) this.#addLate(left);
    }
    this.position = position;
  }

  /** @param {Position | null} position */
  #addLate(position) {
    if (position === null) return;
    this.#removeLate(position.generation);
    this.#late = [...this.#late, { position, until: Date.now() + LATE_MS }].slice(-LATE_MAX);
  }

  /** @param {string | number} generation */
  #removeLate(generation) {
    this.#late = this.#late.filter(({ position }) => !isSameGeneration(position.generation, generation));
  }
}
