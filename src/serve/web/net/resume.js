// Where the page is in a log: in the file that is told, and in those before. A writer may stay with a file that was
// rotated away; who comes back says how far it had those as well, or else the bytes that came meanwhile are missed.

import { isSameGeneration } from './wire.js';

/** So long after a turn bytes may still come to the file before: servers hear it for 5 s, unless told otherwise. */
const LATE_MS = 10_000;
/** So many files before are heard by servers. */
const LATE_MAX = 4;

/** @typedef {import('./wire.js').ResumePosition} Position */

export class ResumeState {
  /** After what has been told so far. @type {Position | null} */
  position = null;
  /** Among late bytes: where the present file goes on after them. @type {Position | null} */
  #afterLate = null;
  /** The oldest first. @type {{position: Position, until: number}[]} */
  #late = [];

  /** How far the files before were told, while it matters. @returns {Position[]} */
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
      // Among late bytes: how far it was is kept when they are left, by the new name.
      this.#removeLate(this.position.generation);
      this.position = { ...this.position, generation: message.generation };
    } else if (message.type === 'rows') this.position = { ...this.position, offset: message.next };
  }

  /**
   * The connection is gone: among late bytes it goes on in the present file, and with what is left of them.
   * @returns {Position | null} where it goes back to
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
      // From late bytes it may go on to those of another file.
      if (this.#afterLate === null) this.#afterLate = left;
      else if (!stays) this.#addLate(left);
    } else if (reason !== 'truncated' && !(stays && reason === 'replaced')) {
      // Where a position could not be honoured nothing turned.
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
