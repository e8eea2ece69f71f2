// The chosen lines and the line cursor: what a link points to, and what is copied.

/**
 * @typedef {import('../rows/tail.js').Row} Row
 * @typedef {import('../rows/tail.js').Entry} Entry
 * @typedef {{offset: number, line: number | null}} End
 * @typedef {{span: number, first: End, last: End}} Chosen both ends are in it
 */

export class Lines {
  /** @type {Chosen | null} */
  chosen = null;
  /** @type {Row | null} */
  cursor = null;
  /** Where a range that is made larger began. @type {End | null} */
  #anchor = null;
  #changed;
  /** Rows that carry a class of ours. @type {Set<HTMLElement>} */
  #dressed = new Set();

  /** @param {() => void} changed */
  constructor(changed) {
    this.#changed = changed;
  }

  /**
   * @param {Row} row
   * @param {boolean} extend the range that is there, to this row
   */
  choose(row, extend) {
    const end = endOf(row);
    if (extend && this.#anchor !== null && this.chosen?.span === row.span) {
      const [first, last] = this.#anchor.offset <= end.offset ? [this.#anchor, end] : [end, this.#anchor];
      this.chosen = { span: row.span, first, last };
    } else if (!extend && this.chosen?.span === row.span && this.chosen.first.offset === row.offset && this.chosen.last.offset === row.offset) {
      this.clear();
      return;
    } else {
      this.#anchor = end;
      this.chosen = { span: row.span, first: end, last: end };
    }
    this.cursor = row;
    this.#changed();
  }

  /** Whether a row is chosen. @param {Entry} entry */
  has({ span, offset }) {
    return this.chosen !== null && span === this.chosen.span && offset >= this.chosen.first.offset && offset <= this.chosen.last.offset;
  }

  /** @param {Chosen} chosen */
  set(chosen) {
    this.chosen = chosen;
    this.#anchor = chosen.first;
    this.#changed();
  }

  clear() {
    this.chosen = null;
    this.#anchor = null;
    this.#changed();
  }

  /** @param {Row | null} row */
  moveTo(row) {
    this.cursor = row;
    this.#changed();
  }

  /** Whether numbers of the chosen rows are still to be found. */
  get wantsNumbers() {
    return this.chosen !== null && (this.chosen.first.line === null || this.chosen.last.line === null);
  }

  /**
   * Marks the rows in sight.
   * @param {Entry[]} entries
   */
  show(entries) {
    /** @type {Set<HTMLElement>} */
    const dressed = new Set();
    for (const entry of entries) {
      if (entry.mark !== undefined || entry.element === null) continue;
      const isChosen = this.has(entry);
      const isCursor = this.cursor !== null && entry.span === this.cursor.span && entry.offset === this.cursor.offset;
      if (isChosen) this.#learn(entry);
      if (isCursor) this.cursor = entry;
      if (!isChosen && !isCursor) continue;
      entry.element.classList.toggle('chosen', isChosen);
      entry.element.classList.toggle('cursor', isCursor);
      dressed.add(entry.element);
    }
    for (const element of this.#dressed) if (!dressed.has(element)) element.classList.remove('chosen', 'cursor');
    this.#dressed = dressed;
  }

  /** The number of a row may come later than the row. @param {Row} row */
  #learn(row) {
    if (this.chosen === null || row.line === null) return;
    for (const end of [this.chosen.first, this.chosen.last]) {
      if (end.offset === row.offset && end.line === null) {
        end.line = row.line;
        this.#changed();
      }
    }
  }
}

/** @param {Row} row @returns {End} */
export function endOf({ offset, line }) {
  return { offset, line };
}
