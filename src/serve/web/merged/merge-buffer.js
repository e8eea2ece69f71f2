// The merged list: rows of several logs by their own times. Earlier rows come in pages from the server, and later ones
// arrive over the stream of each log. Each row has a place in the list, so a late line stands where its time says.
//
// A row keeps its place when it changes, unless it is the last one of its log and says a time only now.

import { LiveLog } from './live-log.js';
import { LogClock } from './log-clock.js';
import { PAGED_MAX, PagedRows } from './paged-rows.js';
import { behind, END, isBefore, isWithin, LIVE_FROM, NO_KEY, offsetOf, START } from './place.js';

/**
 * An entry of the list, in the form that the viewport needs: `gen` and `offset` are its place in the list, `logOffset` is
 * its offset in that generation of its log. `told` is its time as the server reads it. `isTold` says whether it is placed
 * by a time of its log and not by its arrival, `isPaged` whether the server gave it in a page, and `isAwaited` whether it is not
 * shown yet, as the server has to say where it stands.
 * @typedef {import('../rows/tail.js').Entry & {log: number, logOffset: number, generation: string, isTold: boolean, told?: number | null, isGone?: boolean, isPaged?: boolean, isAwaited?: boolean}} Entry
 *
 * @typedef {object} RowFilter what is shown
 * @property {Set<number>} logs
 * @property {import('../ui/histogram.js').Span | null} [span] the only span of time that is shown
 * @property {((entry: Entry) => boolean) | null} passes whether a row passes; null without a filter; markers always do
 * @property {string} filter the parameters of the filter; rows that were loaded with it have passed
 */

/** The most rows that wait to be drawn one by one. */
const ARRIVED_MAX = 10_000;

export class MergeBuffer {
  /** Entries that changed since they were drawn. @type {Set<Entry>} */
  changed = new Set();
  /** Entries that are new since the list was drawn. @type {Set<Entry>} */
  arrived = new Set();
  /** Whether more rows are new than are told apart: what is drawn has to be drawn anew. */
  isFlooded = false;
  /** Whether rows have got other places in the same order: the ends of what is drawn have to be named anew. */
  isRenumbered = false;
  /** A number that increases with each change. */
  version = 0;
  /** @type {LogClock[]} */
  clocks;
  /** @type {LiveLog[]} */
  live;
  /** @type {PagedRows} */
  paged;
  /** Whether the reader follows the end, so that earlier rows are dropped first. */
  isFollowing = true;

  /**
   * @param {number} logs
   * @param {(html: string, now: number) => number | null} parse the time in a row's text, in ms since 1970
   */
  constructor(logs, parse) {
    this.clocks = Array.from({ length: logs }, () => new LogClock(parse));
    this.live = Array.from({ length: logs }, (_, log) => new LiveLog(log));
    this.paged = new PagedRows(logs);
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
    const strand = this.live[log];
    /** @type {Map<number, Entry>} */
    const stale = new Map(strand.from(patch.from).map((entry) => [entry.logOffset, entry]));
    let fresh = 0;
    for (const [at, html, note] of patch.rows) {
      const known = stale.get(at);
      if (known !== undefined && known.marker === undefined) {
        stale.delete(at);
        if (known.html !== html || known.isGone) this.#change(strand, known, html, note, now);
      } else if (at > strand.last) {
        strand.last = at;
        this.#add(strand, { generation, logOffset: at, html, note, now });
        fresh += 1;
      }
    }
    for (const entry of stale.values()) if (entry.marker === undefined && !entry.isGone) this.#remove(strand, entry);
    this.#bound(strand);
    return fresh;
  }

  /**
   * @param {LiveLog} strand
   * @param {{generation: string, logOffset: number, html: string, note: import('../net/wire.js').RowAnnotation | undefined, now: number | null}} row
   */
  #add(strand, { generation, logOffset, html, note, now }) {
    const { log } = strand;
    const clock = this.clocks[log];
    const said = clock.timeOf(html, note, now ?? Date.now());
    strand.key = clock.keyOf(said, strand.key, now);
    const isTold = said !== null || clock.continues(now);
    /** @type {import('../rows/tail.js').Row & Entry} */
    const entry = {
      gen: strand.key, offset: strand.nextOffset(), log, logOffset, generation, html, annotation: note ?? null, line: null, time: note?.time ?? now,
      told: said ?? (isTold && strand.key !== NO_KEY ? strand.key : undefined), isTold, element: null,
    };
    if (said === null && (clock.isAsked || clock.isUnknown)) strand.await(entry);
    strand.add(entry);
    this.arrived.add(entry);
  }

  /**
   * Rows of which the server has said where they stand are shown.
   * @param {number} log
   * @param {Entry[]} rows
   * @param {Map<number, import('../rows/told-times.js').Told>} told by the offset of the row; what is missing stands where it arrived
   */
  tell(log, rows, told) {
    /** @type {Map<Entry, number>} */
    const keys = new Map();
    for (const row of rows) {
      const { time, key } = told.get(row.logOffset) ?? { time: undefined, key: null };
      if (time !== undefined) row.told = time;
      if (key === null || !row.isAwaited) continue;
      row.isTold = true;
      keys.set(row, key);
    }
    const strand = this.live[log];
    strand.place(keys);
    this.release(log, rows);
    // Markers stand right behind the row before them.
    const { awaited } = strand;
    const next = awaited.findIndex(({ entry }) => entry.marker === undefined);
    this.release(log, awaited.slice(0, next < 0 ? awaited.length : next).map(({ entry }) => entry));
  }

  /** Rows that were waited with are shown. @param {number} log @param {Entry[]} rows */
  release(log, rows) {
    this.live[log].release(new Set(rows));
    for (const row of rows) this.arrived.add(row);
    this.version += 1;
  }

  /**
   * Appends a marker to a log. Earlier rows of the log are then final.
   * @param {number} log
   * @param {string} marker
   * @param {string} text
   * @param {boolean} isOther whether the next rows are of another file, or repeat earlier offsets
   * @param {number} now
   */
  addMarker(log, marker, text, isOther, now) {
    const strand = this.live[log];
    this.version += 1;
    // The rows behind it may be placed before its arrival.
    if (!this.clocks[log].isAsked) strand.key = this.clocks[log].keyOf(null, strand.key, now);
    /** @type {Entry} */
    const entry = { gen: strand.key, offset: strand.nextOffset(), log, logOffset: -1, generation: '', marker, text, isTold: true, element: null };
    if (strand.awaited.length > 0) strand.await(entry);
    strand.add(entry);
    this.arrived.add(entry);
    if (isOther) strand.last = -1;
    strand.finalize();
  }

  /** Takes other pages instead of the present ones, of which nothing is drawn any more. @param {PagedRows} paged */
  replacePages(paged) {
    for (const row of this.paged.rows) {
      this.arrived.delete(row);
      this.changed.delete(row);
    }
    this.paged = paged;
  }

  /** Lets go of the rows of a log that will arrive again. @param {number} log */
  giveWay(log) {
    const comesAgain = (/** @type {Entry} */ row) => row.log === log && this.live[log].has(row.generation, row.logOffset);
    const gone = this.paged.rows.filter(comesAgain);
    if (gone.length === 0) return;
    for (const row of gone) this.#forget(row);
    this.paged.rows = this.paged.rows.filter((row) => !comesAgain(row));
    // They may be drawn already.
    this.isFlooded = true;
    this.version += 1;
  }

  /** Changes by how much the clock of a log is thought to be wrong. The pages have to be loaded anew. @param {number} log @param {number} shift */
  setShift(log, shift) {
    const clock = this.clocks[log];
    this.live[log].shift(shift - clock.shift);
    clock.shift = shift;
    this.version += 1;
  }

  /**
   * The entries from a place on.
   * @param {import('./place.js').Place} place
   * @param {number} max
   * @param {RowFilter} choice
   * @returns {Entry[]}
   */
  after(place, max, choice) {
    const floor = this.#floor(choice);
    const ceiling = this.#ceiling();
    const heads = this.#runs(choice).map((run) => ({ run, at: run.find(isBefore(place, floor) ? floor : place) }));
    /** @type {Entry[]} */
    const taken = [];
    while (taken.length < max) {
      let first = null;
      for (const head of heads) {
        while (this.#isSkipped(head.run.at(head.at), choice)) head.at += 1;
        const entry = head.run.at(head.at);
        if (entry !== undefined && (first === null || isBefore(entry, first.run.at(first.at)))) first = head;
      }
      const entry = first?.run.at(first.at);
      if (first === null || !isBefore(entry, ceiling)) break;
      taken.push(entry);
      first.at += 1;
    }
    return taken;
  }

  /**
   * The entries right before a place.
   * @param {import('./place.js').Place} place
   * @param {number} max
   * @param {RowFilter} choice
   * @returns {Entry[]}
   */
  before(place, max, choice) {
    const floor = this.#floor(choice);
    const ceiling = this.#ceiling();
    const heads = this.#runs(choice).map((run) => ({ run, at: run.find(isBefore(ceiling, place) ? ceiling : place) - 1 }));
    /** @type {Entry[]} */
    const taken = [];
    while (taken.length < max) {
      let last = null;
      for (const head of heads) {
        while (this.#isSkipped(head.run.at(head.at), choice)) head.at -= 1;
        const entry = head.run.at(head.at);
        if (entry !== undefined && (last === null || isBefore(last.run.at(last.at), entry))) last = head;
      }
      const entry = last?.run.at(last.at);
      if (last === null || isBefore(entry, floor)) break;
      taken.push(entry);
      last.at -= 1;
    }
    return taken.reverse();
  }

  /** Whether an entry is shown. @param {Entry} entry @param {RowFilter} choice */
  isShown(entry, choice) {
    return choice.logs.has(entry.log) && !this.#isSkipped(entry, choice) && !(entry.marker === undefined && entry.isGone);
  }

  /** Whether an entry is in the part of the list that is without gaps. @param {Entry} entry @param {RowFilter} choice */
  isInRun(entry, choice) {
    return !this.isBeforeRun(entry, choice) && isBefore(entry, this.#ceiling());
  }

  /** Whether rows may be missing between a place and the part of the list that is without gaps. @param {import('./place.js').Place} place @param {RowFilter} choice */
  isBeforeRun(place, choice) {
    return isBefore(place, this.#floor(choice));
  }

  /** The entries before one in its log, the nearest first. @param {Entry} entry @param {number} max @returns {Generator<Entry>} */
  * backInLog(entry, max) {
    const strand = this.live[entry.log];
    let left = max;
    let index = strand.find(entry);
    const isLive = strand.at(index) === entry;
    for (; isLive && index > 0 && left > 0; left -= 1) {
      index -= 1;
      yield strand.at(index);
    }
    const { rows } = this.paged;
    for (let at = isLive ? rows.length : this.paged.find(entry); at > 0 && left > 0;) {
      at -= 1;
      if (rows[at].log !== entry.log) continue;
      left -= 1;
      yield rows[at];
    }
  }

  /** The entry after one in its log. @param {Entry} entry @returns {Entry | undefined} */
  afterInLog(entry) {
    const strand = this.live[entry.log];
    const index = strand.find(entry);
    if (strand.at(index) === entry) return strand.at(index + 1);
    const { rows } = this.paged;
    for (let at = this.paged.find(entry) + 1; at < rows.length; at += 1) if (rows[at].log === entry.log) return rows[at];
    return this.paged.isJoined ? strand.at(0) : undefined;
  }

  /** All entries that are here, one log after another. @param {Set<number>} logs */
  * entries(logs) {
    for (const row of this.paged.rows) if (logs.has(row.log)) yield row;
    for (const strand of this.live) if (logs.has(strand.log)) yield* strand.entries();
  }

  /**
   * The entry at a position of a log, if it is here.
   * @param {number} log
   * @param {string} generation
   * @param {number} offset
   */
  at(log, generation, offset) {
    const isIt = (/** @type {Entry} */ entry) => entry.log === log && entry.logOffset === offset && entry.generation === generation;
    return this.paged.rows.find(isIt) ?? this.live[log].entries().find(isIt);
  }

  /** Lets go of what is too much. @param {import('./place.js').Place} from of the viewport @param {import('./place.js').Place} to */
  trim(from, to) {
    const startOf = (/** @type {number} */ log) => this.live[log].start;
    if (this.isFollowing) this.paged.trimTop(from, startOf);
    else this.paged.trimBottom(to, startOf);
  }

  /** Rows before this place are not shown, since others may be missing between them. @param {RowFilter} choice */
  #floor({ logs, passes }) {
    const { paged } = this;
    if (passes !== null || paged.atStart) return START;
    if (paged.rows.length > 0) return paged.rows[0];
    /** @type {import('./place.js').Place} */
    let floor = START;
    for (const strand of this.live) {
      const from = strand.at(0) ?? { gen: strand.key, offset: offsetOf(strand.log, LIVE_FROM) };
      if (logs.has(strand.log) && strand.start !== null && isBefore(floor, from)) floor = from;
    }
    return floor;
  }

  #ceiling() {
    const last = this.paged.rows.at(-1);
    return this.paged.isJoined ? END : last === undefined ? START : behind(last);
  }

  /** @param {RowFilter} choice */
  #runs({ logs }) {
    const { paged } = this;
    const pages = { find: (/** @type {import('./place.js').Place} */ place) => paged.find(place), at: (/** @type {number} */ index) => paged.rows[index] };
    return [pages, ...this.live.filter(({ log }) => logs.has(log))];
  }

  /** @param {Entry | undefined} entry @param {RowFilter} choice */
  #isSkipped(entry, { logs, span, passes, filter }) {
    if (entry === undefined) return false;
    if (!logs.has(entry.log) || entry.isAwaited) return true;
    // The server has filtered the rows of pages.
    if (entry.isPaged && this.paged.filter === filter) return false;
    if (span && !isWithin(entry, span)) return true;
    return entry.marker === undefined && passes !== null && !passes(entry);
  }

  /** @param {LiveLog} strand */
  #bound(strand) {
    if (this.arrived.size > ARRIVED_MAX) {
      this.arrived.clear();
      this.isFlooded = true;
    }
    const gone = strand.bound();
    if (gone.length === 0) return;
    if (strand.awaited.length > 0) strand.release(new Set(gone));
    // A hidden page draws nothing, and nothing is trimmed there.
    if (this.paged.rows.length > 2 * PAGED_MAX) this.trim(END, START);
    if (this.paged.isJoined) {
      this.paged.takeOver(gone.filter((entry) => entry.marker !== undefined || !entry.isGone));
      this.isRenumbered = true;
    } else for (const entry of gone) this.#forget(entry);
  }

  /** @param {Entry} entry */
  #forget(entry) {
    this.arrived.delete(entry);
    if (entry.element === null) this.changed.delete(entry);
  }

  /**
   * @param {LiveLog} strand
   * @param {import('../rows/tail.js').Row & Entry} entry
   * @param {string} html
   * @param {import('../net/wire.js').RowAnnotation | undefined} note
   * @param {number | null} now
   */
  #change(strand, entry, html, note, now) {
    strand.chars += html.length - entry.html.length;
    entry.html = html;
    entry.annotation = note ?? null;
    entry.isGone = false;
    const said = this.clocks[entry.log].timeOf(html, note, now ?? Date.now());
    if (said !== null && entry.told !== said && strand.isLast(entry)) {
      strand.key = this.clocks[entry.log].keyOf(said, entry.gen, now);
      if (entry.element === null) entry.gen = strand.key;
    }
    if (said !== null) entry.told = said;
    this.changed.add(entry);
  }

  /** @param {LiveLog} strand @param {import('../rows/tail.js').Row & Entry} entry */
  #remove(strand, entry) {
    strand.chars -= entry.html.length;
    entry.html = '';
    entry.isGone = true;
    this.changed.add(entry);
  }
}
