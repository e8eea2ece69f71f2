// The times of the rows on the screen as the server reads them: it knows more forms than the page, and which of them the
// log has. They are asked for when the reader looks at rows; for rows that only pass by, the page's own reading counts.

import { textOf } from '../rows/row.js';
import { parseTime } from '../rows/times.js';
import { askTimes } from '../rows/told-times.js';
import { serverZone } from '../ui/zones.js';

/** The least time between two questions while the view stands still, and while it follows a log. */
const PAUSED_MS = 250;
const FOLLOWING_MS = 2_000;
const ROWS_MAX = 300;

/**
 * @typedef {import('../rows/tail.js').Row} Row
 * @typedef {import('../rows/tail.js').Entry} Entry
 */

export class ToldTimes {
  #ask;
  #generations;
  #changed;
  /** The rows that were asked for. A row that changes is another one. @type {WeakSet<Row>} */
  #asked = new WeakSet();
  #isAsking = false;
  /** A page that has just been opened has more urgent questions. */
  #askedAt = performance.now();

  /**
   * @param {(place: import('../merged/merged-api.js').FilePlace, count: number) => Promise<import('../merged/merged-api.js').MergedRows>} ask
   *   the rows from a place on, with their times
   * @param {import('../rows/generations.js').Generations} generations
   * @param {() => void} changed called when times have arrived
   */
  constructor(ask, generations, changed) {
    this.#ask = ask;
    this.#generations = generations;
    this.#changed = changed;
  }

  /**
   * @param {Entry[]} entries in sight
   * @param {boolean} isFollowing
   */
  show(entries, isFollowing) {
    if (this.#isAsking || performance.now() - this.#askedAt < (isFollowing ? FOLLOWING_MS : PAUSED_MS)) return;
    const rows = /** @type {Row[]} */ (entries.filter((entry) => entry.marker === undefined));
    const first = rows.find((row) => !this.#asked.has(row) && (!isFollowing || !isRead(row)));
    if (first !== undefined) this.#request(first, rows.slice(rows.indexOf(first)).filter(({ gen }) => gen === first.gen).slice(0, ROWS_MAX));
  }

  /** @param {Row} first @param {Row[]} rows from that row on */
  async #request(first, rows) {
    this.#isAsking = true;
    this.#askedAt = performance.now();
    // What the answer does not have, such as rows far behind a filtered one, keeps the page's reading.
    for (const row of rows) this.#asked.add(row);
    try {
      const place = { generation: this.#generations.at(first.gen).id, offset: first.offset };
      const told = await askTimes(this.#ask, place, rows.length, (generation) => this.#generations.numberOf(generation) === first.gen);
      for (const row of rows) row.told = told.get(row.offset)?.time;
    } catch {
      // The page's reading is shown. Other rows are asked for with the next view.
    }
    this.#isAsking = false;
    this.#changed();
  }
}

/** Whether the page reads a time in a row. @param {Row} row */
function isRead(row) {
  return row.element === null || row.annotation?.time !== undefined || parseTime(textOf(row.element), row.time ?? Date.now(), serverZone() ?? undefined) !== null;
}
