// The selected lines, for links and for copying, and the line cursor.

/**
 * @typedef {import('../rows/tail.js').Row} Row
 * @typedef {import('../rows/tail.js').Entry} Entry
 * @typedef {{offset: number, line: number | null}} LineEnd
 * @typedef {{gen: number, first: LineEnd, last: LineEnd}} SelectedLines both ends included
 */

export class LineSelection {
  /** @type {SelectedLines | null} */
  selected = null;
  /** @type {Row | null} */
  cursor = null;
  /** The fixed end of a range that is being extended. @type {LineEnd | null} */
  #anchor = null;
  #changed;
  /** Rows with the class of the selection or of the cursor. @type {Set<HTMLElement>} */
  #marked = new Set();

  /** @param {() => void} changed */
  constructor(changed) {
    this.#changed = changed;
  }

  /**
   * @param {Row} row
   * @param {boolean} extend extends the present range to this row
   */
  select(row, extend) {
    const end = endOf(row);
    if (extend && this.#anchor !== null && this.selected?.gen === row.gen) {
      const [first, last] = this.#anchor.offset <= end.offset ? [this.#anchor, end] : [end, this.#anchor];
      this.selected = { gen: row.gen, first, last };
    } else if (!extend && this.selected?.gen === row.gen && this.selected.first.offset === row.offset && this.selected.last.offset === row.offset) {
      this.clear();
      return;
    } else {
      this.#anchor = end;
      this.selected = { gen: row.gen, first: end, last: end };
    }
    this.cursor = row;
    this.#changed();
  }

  /** Whether a row is selected. @param {Entry} entry */
  has({ gen, offset }) {
    return this.selected !== null && gen === this.selected.gen && offset >= this.selected.first.offset && offset <= this.selected.last.offset;
  }

  /** @param {SelectedLines} chosen */
  set(chosen) {
    this.selected = chosen;
    this.#anchor = chosen.first;
    this.#changed();
  }

  clear() {
    this.selected = null;
    this.#anchor = null;
    this.#changed();
  }

  /** @param {Row | null} row */
  moveTo(row) {
    this.cursor = row;
    this.#changed();
  }

  /** Whether a line number of the selection is missing. */
  get wantsNumbers() {
    return this.selected !== null && (this.selected.first.line === null || this.selected.last.line === null);
  }

  /**
   * Sets the classes of the rows in sight.
   * @param {Entry[]} entries
   */
  show(entries) {
    /** @type {Set<HTMLElement>} */
    const dressed = new Set();
    for (const entry of entries) {
      if (entry.marker !== undefined || entry.element === null) continue;
      const isChosen = this.has(entry);
      const isCursor = this.cursor !== null && entry.gen === this.cursor.gen && entry.offset === this.cursor.offset;
      if (isChosen) this.#learnNumber(entry);
      if (isCursor) this.cursor = entry;
      if (!isChosen && !isCursor) continue;
      entry.element.classList.toggle('selected', isChosen);
      entry.element.classList.toggle('cursor', isCursor);
      dressed.add(entry.element);
    }
    for (const element of this.#marked) if (!dressed.has(element)) element.classList.remove('selected', 'cursor');
    this.#marked = dressed;
  }

  /** Copies a line number that arrived after the row was selected. @param {Row} row */
  #learnNumber(row) {
    if (this.selected === null || row.line === null) return;
    for (const end of [this.selected.first, this.selected.last]) {
      if (end.offset === row.offset && end.line === null) {
        end.line = row.line;
        this.#changed();
      }
    }
  }
}

/** @param {Row} row @returns {LineEnd} */
export function endOf({ offset, line }) {
  return { offset, line };
}
