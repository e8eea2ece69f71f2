// Where the page is in a log: in the file that is told, and in the one before. A writer may stay with a file that was
// rotated away; who comes back says how far it had that one as well, or else the bytes that came meanwhile are missed.

/** So long after a turn bytes may still come to the file before: servers hear it for 5 s, unless told otherwise. */
const LATE_MS = 10_000;

/** @typedef {import('./wire.js').Position} Position */

export class Whereabouts {
  /** After what has been told so far. @type {Position | null} */
  position = null;
  /** Among late bytes: where the present file goes on after them. @type {Position | null} */
  #home = null;
  /** @type {{position: Position, until: number} | null} */
  #late = null;

  /** How far the file before was told, while it matters. @returns {Position | null} */
  get late() {
    return this.#late !== null && Date.now() < this.#late.until ? this.#late.position : null;
  }

  /** @param {import('./wire.js').Message} message */
  advance(message) {
    if (message.type === 'open') {
      this.position = { generation: message.generation, offset: message.from };
    } else if (message.type === 'reset') {
      this.#turn({ generation: message.generation, offset: message.from }, message.reason);
    } else if (this.position === null) return;
    else if (message.type === 'gap' && message.to !== null) {
      this.position = { generation: message.generation, offset: message.to };
    } else if (message.type === 'signed') this.position = { ...this.position, generation: message.generation };
    else if (message.type === 'rows') this.position = { ...this.position, offset: message.next };
  }

  /**
   * The connection is gone: among late bytes it goes on in the present file, and with what is left of them.
   * @returns {Position | null} where it goes back to
   */
  part() {
    const home = this.#home;
    if (home === null) return null;
    this.#keep(this.position);
    this.position = home;
    this.#home = null;
    return home;
  }

  /**
   * @param {Position} position
   * @param {string} reason
   */
  #turn(position, reason) {
    const left = this.position;
    if (reason === 'late') this.#home ??= left;
    else if (reason !== 'truncated') {
      const isSame = left?.generation === position.generation;
      this.#home = null;
      // Where a position could not be honoured nothing turned.
      if (!isSame || reason !== 'replaced') this.#keep(isSame ? null : left);
    }
    this.position = position;
  }

  /** @param {Position | null} position */
  #keep(position) {
    this.#late = position && { position, until: Date.now() + LATE_MS };
  }
}
