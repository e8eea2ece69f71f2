// The k-way merge of several logs: one list in the order in which the lines arrived. It keeps the last rows of each
// log, so that a busy log does not push out a quiet one.
//
// A row keeps its place in the list when it changes. The history of all logs arrives at once, so it is sorted by the
// times in its lines.

/** The most rows of one log that are kept. */
export const ROWS_MAX = 4_000;
/** Bounds the memory of long rows. */
const CHARS_MAX = 4 * 1024 * 1024;

/**
 * An entry of the list, in the form that the viewport needs: `offset` is its place in the list, and `logOffset` is its
 * offset in that generation of its log.
 * @typedef {import('../rows/tail.js').Entry & {log: number, logOffset: number, generation: string, isGone?: boolean}} Entry
 *
 * @typedef {object} RowFilter what is shown
 * @property {Set<number>} logs
 * @property {((entry: Entry) => boolean) | null} passes whether a row passes; null without a filter; markers always do
 */

export class MergeBuffer {
  /** Entries that changed since they were drawn. @type {Set<Entry>} */
  changed = new Set();
  /** The place of the next entry. */
  next = 0;
  /** A number that increases with each change. */
  version = 0;
  /** @type {LogBuffer[]} */
  #logs = [];
  /** Whether the history is still arriving. */
  #gathering = true;
  #timeOf;

  /**
   * @param {number} logs
   * @param {(html: string) => number | null} timeOf the time in a row's text, in ms since 1970
   */
  constructor(logs, timeOf) {
    this.#timeOf = timeOf;
    this.#logs = Array.from({ length: logs }, (_, log) => new LogBuffer(log));
  }

  get isGathering() {
    return this.#gathering;
  }

  /**
   * Applies a patch of a log. Returns the number of new rows.
   * @param {number} log
   * @param {import('../net/wire.js').Patch} patch
   * @param {string} generation
   * @param {number | null} now time of arrival; null for history
   */
  patch(log, patch, generation, now) {
    this.version += 1;
    const strand = this.#logs[log];
    /** @type {Map<number, Entry>} */
    const stale = new Map(strand.from(patch.from).map((entry) => [entry.logOffset, entry]));
    let fresh = 0;
    for (const [at, html, note] of patch.rows) {
      const known = stale.get(at);
      if (known !== undefined && known.marker === undefined) {
        stale.delete(at);
        if (known.html !== html || known.isGone) this.#change(strand, known, html, false);
      } else if (at > strand.last) {
        strand.last = at;
        strand.add({ gen: 0, offset: this.next, log, logOffset: at, generation, html, annotation: note ?? null, line: null, time: note?.time ?? now, element: null });
        this.next += 1;
        fresh += 1;
      }
    }
    for (const entry of stale.values()) if (entry.marker === undefined && !entry.isGone) this.#change(strand, entry, '', true);
    strand.bound(this.changed);
    return fresh;
  }

  /**
   * Appends a marker to a log. Earlier rows of the log are then final.
   * @param {number} log
   * @param {string} marker
   * @param {string} text
   * @param {boolean} isOther whether the next rows are of another file, or repeat earlier offsets
   */
  addMarker(log, marker, text, isOther) {
    const strand = this.#logs[log];
    this.version += 1;
    strand.add({ gen: 0, offset: this.next, log, logOffset: -1, generation: '', marker, text, element: null });
    this.next += 1;
    if (isOther) strand.last = -1;
    strand.finalize();
  }

  /** Sorts the history. Rows that arrive later come after it. */
  sortHistory() {
    this.#gathering = false;
    /** @type {{key: number, entry: Entry}[]} */
    const all = [];
    for (const strand of this.#logs) {
      let key = -Infinity;
      for (const entry of strand.entries()) {
        const time = entry.marker === undefined ? this.#timeOf(entry.html) ?? -Infinity : -Infinity;
        // The lines of one log keep their order, also if a line has no time or an earlier one.
        key = Math.max(key, time);
        all.push({ key, entry });
      }
    }
    all.sort((a, b) => (a.key === b.key ? 0 : a.key - b.key));
    all.forEach(({ entry }, at) => {
      entry.offset = at;
    });
    this.next = all.length;
    this.version += 1;
  }

  /**
   * The entries from a place on.
   * @param {number} place
   * @param {number} max
   * @param {RowFilter} choice
   * @returns {Entry[]}
   */
  after(place, max, choice) {
    const strands = this.#shownLogs(choice).map((strand) => ({ strand, at: strand.find(place) }));
    /** @type {Entry[]} */
    const taken = [];
    while (taken.length < max) {
      let first = null;
      for (const head of strands) {
        while (isSkipped(head.strand.at(head.at), choice)) head.at += 1;
        const entry = head.strand.at(head.at);
        if (entry !== undefined && (first === null || entry.offset < first.strand.at(first.at).offset)) first = head;
      }
      if (first === null) break;
      taken.push(first.strand.at(first.at));
      first.at += 1;
    }
    return taken;
  }

  /**
   * The entries right before a place.
   * @param {number} place
   * @param {number} max
   * @param {RowFilter} choice
   * @returns {Entry[]}
   */
  before(place, max, choice) {
    const strands = this.#shownLogs(choice).map((strand) => ({ strand, at: strand.find(place) - 1 }));
    /** @type {Entry[]} */
    const taken = [];
    while (taken.length < max) {
      let last = null;
      for (const head of strands) {
        while (isSkipped(head.strand.at(head.at), choice)) head.at -= 1;
        const entry = head.strand.at(head.at);
        if (entry !== undefined && (last === null || entry.offset > last.strand.at(last.at).offset)) last = head;
      }
      if (last === null) break;
      taken.push(last.strand.at(last.at));
      last.at -= 1;
    }
    return taken.reverse();
  }

  /** @param {number} place @param {RowFilter} choice */
  countAfter(place, choice) {
    let count = 0;
    for (const strand of this.#shownLogs(choice)) {
      const first = strand.find(place);
      if (choice.passes === null) count += strand.length - first;
      else for (let at = first; at < strand.length; at += 1) if (!isSkipped(strand.at(at), choice)) count += 1;
    }
    return count;
  }

  /** The entries before one in its log, the nearest first. @param {Entry} entry @param {number} max @returns {Generator<Entry>} */
  * backInLog(entry, max) {
    const strand = this.#logs[entry.log];
    const at = strand.find(entry.offset);
    for (let back = 1; back <= Math.min(max, at); back += 1) yield strand.at(at - back);
  }

  /** The entry after one in its log. @param {Entry} entry @returns {Entry | undefined} */
  afterInLog(entry) {
    const strand = this.#logs[entry.log];
    return strand.at(strand.find(entry.offset) + 1);
  }

  /** All entries, one log after another. @param {Set<number>} logs */
  * entries(logs) {
    for (const strand of this.#logs) if (logs.has(strand.log)) yield* strand.entries();
  }

  /** @param {RowFilter} choice */
  #shownLogs({ logs }) {
    return this.#logs.filter(({ log }) => logs.has(log));
  }

  /**
   * The logs with dropped rows.
   * @param {Set<number>} logs
   */
  truncated(logs) {
    return this.#logs.filter(({ log, hasDropped }) => hasDropped && logs.has(log)).map(({ log }) => log);
  }

  /**
   * @param {LogBuffer} strand
   * @param {import('../rows/tail.js').Row & Entry} entry
   * @param {string} html
   * @param {boolean} isGone
   */
  #change(strand, entry, html, isGone) {
    strand.chars += html.length - entry.html.length;
    entry.html = html;
    entry.isGone = isGone;
    this.changed.add(entry);
  }
}

/** @param {Entry | undefined} entry @param {RowFilter} choice */
function isSkipped(entry, { passes }) {
  return entry !== undefined && entry.marker === undefined && passes !== null && !passes(entry);
}

/** The last entries of one log. */
class LogBuffer {
  log;
  chars = 0;
  /** Whether entries were dropped. */
  hasDropped = false;
  /** The greatest offset of a row. */
  last = -1;
  /** @type {Entry[]} */
  #entries = [];
  /** Entries before this index are dropped. The array is compacted from time to time. */
  #head = 0;
  /** Entries before this index are final. */
  #finalBefore = 0;

  /** @param {number} log */
  constructor(log) {
    this.log = log;
  }

  get length() {
    return this.#entries.length - this.#head;
  }

  /** @param {number} index */
  at(index) {
    return index < 0 ? /** @type {any} */ (undefined) : this.#entries[this.#head + index];
  }

  entries() {
    return this.#entries.slice(this.#head);
  }

  /** @param {Entry} entry */
  add(entry) {
    this.#entries.push(entry);
    if (entry.marker === undefined) this.chars += entry.html.length;
  }

  finalize() {
    this.#finalBefore = this.#entries.length;
  }

  /**
   * The entries at or after an offset of the log that can still change.
   * @param {number} offset
   */
  from(offset) {
    let first = this.#entries.length;
    while (first > Math.max(this.#finalBefore, this.#head) && this.#entries[first - 1].logOffset >= offset) first -= 1;
    return this.#entries.slice(first);
  }

  /** The index of the first entry at or after a place of the list. @param {number} place */
  find(place) {
    let low = 0;
    let high = this.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.at(middle).offset < place) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** @param {Set<Entry>} changed loses the dropped entries that are not on the page */
  bound(changed) {
    while (this.length > ROWS_MAX || (this.chars > CHARS_MAX && this.length > 1)) {
      const gone = this.#entries[this.#head];
      if (gone.marker === undefined) this.chars -= gone.html.length;
      if (gone.element === null) changed.delete(gone);
      this.#head += 1;
      this.hasDropped = true;
    }
    if (this.#head <= ROWS_MAX) return;
    this.#entries = this.#entries.slice(this.#head);
    this.#finalBefore = Math.max(0, this.#finalBefore - this.#head);
    this.#head = 0;
  }
}
