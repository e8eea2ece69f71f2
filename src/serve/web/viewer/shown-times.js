// The times in the status bar: from when to when the lines on the screen are, and when the line under the pointer was
// written. A button shows them in another zone.

import { timeOf } from '../rows/columns.js';
import { byId, setText } from '../ui/dom.js';
import { serverZone, spanText, zoneOf } from '../ui/zones.js';

/**
 * @typedef {import('../rows/tail.js').Row} Row
 * @typedef {import('../rows/tail.js').Entry} Entry
 */

export class ShownTimes {
  #rowViewport;
  #span = byId('shown-times');
  #pointed = byId('pointed-time');
  #zone = byId('zone');
  /** What the pointer is over. @type {Element | null} */
  #under = null;

  /**
   * @param {HTMLElement} log
   * @param {import('../rows/row-viewport.js').RowViewport} rowViewport
   * @param {() => void} nextZone called when the reader wants another zone
   * @param {() => void} changed called when the pointer is over another line
   */
  constructor(log, rowViewport, nextZone, changed) {
    this.#rowViewport = rowViewport;
    this.#zone.addEventListener('click', nextZone);
    log.addEventListener('pointermove', (event) => {
      const under = event.pointerType === 'mouse' && event.target instanceof Element ? event.target.closest('.row') : null;
      if (under === this.#under) return;
      this.#under = under;
      changed();
    }, { passive: true });
    log.addEventListener('pointerleave', () => {
      this.#under = null;
      changed();
    });
  }

  /**
   * @param {Entry[]} entries in sight
   * @param {import('../ui/zones.js').ZoneName} choice
   * @returns {[first: number | null, last: number | null]} the times of the lines on the screen
   */
  show(entries, choice) {
    const now = Date.now();
    const zone = zoneOf(choice);
    const times = entries.map((entry) => (entry.marker === undefined ? timeOf(entry, now) : null)).filter((time) => time !== null);
    const [first, last] = [times[0], times[times.length - 1]];
    setText(this.#span, first === undefined || last === undefined ? '' : spanText(first, last, zone));
    this.#zone.hidden = first === undefined;
    setText(this.#zone, choice === 'local' ? 'local' : zone.label);
    const next = serverZone() === null ? 'this browser, UTC' : 'this browser, the server, UTC';
    this.#zone.title = `Times are those of ${zone.label}. Change (u): ${next}`;
    const entry = this.#under?.isConnected ? this.#rowViewport.entryOf(this.#under) : null;
    const time = entry === null || entry.marker !== undefined ? null : timeOf(entry, now);
    this.#pointed.hidden = time === null;
    if (time !== null) setText(this.#pointed, `${zone.date(time)} ${zone.preciseClock(time)}`);
    return [first ?? null, last ?? null];
  }
}
