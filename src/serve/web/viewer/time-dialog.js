// The dialog that goes to a time: what a reader may type, and the way to the first line that is not before it.

import { failureWords } from '../net/api.js';
import { byId, setText } from '../ui/dom.js';
import { LOCAL, serverZone } from '../ui/zones.js';

const DAY_MS = 86_400_000;
const UNKNOWN = 'Write a time such as 14:02, -10m, yesterday 9:30 or 2026-11-28 14:02:07';

/**
 * @typedef {object} Parts
 * @property {(time: string, signal: AbortSignal) => Promise<() => unknown>} find asks the server for a time; returns what goes to
 *   the first line there, when the dialog is closed
 * @property {() => void} closed
 */

/**
 * What the server is asked for when a reader types this; null if it is no time. A time of day is the last one before now.
 * Times without a zone are those of the log's zone.
 * @param {string} typed
 * @param {Date} now
 * @param {import('../ui/zones.js').Zone} [zone] in which the server reads times that say none
 * @returns {string | null}
 */
export function timeWanted(typed, now, zone = serverZone() ?? LOCAL) {
  const words = typed.trim().toLowerCase().replace(/\s+/g, ' ');
  if (/^-? ?(\d+ ?[wdhms] ?)+$/.test(words)) return words.replace(/[- ]/g, '');
  const [, day, clock] = /^(?:(today|yesterday)(?: at)? )?(\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?)$/.exec(words) ?? [];
  if (clock !== undefined) {
    const [hour, minute, second = '0'] = clock.replace(',', '.').split(':');
    if (Number(hour) > 23 || Number(minute) > 59 || Number(second) >= 61) return null;
    const time = `${hour.padStart(2, '0')}:${minute}:${second.padStart(2, '0')}`;
    const isAhead = day === undefined && time > zone.clock(now.getTime());
    return `${zone.date(now.getTime() - (day === 'yesterday' || isAhead ? DAY_MS : 0))} ${time}`;
  }
  if (words === 'today' || words === 'yesterday') return `${zone.date(now.getTime() - (words === 'yesterday' ? DAY_MS : 0))} 00:00:00`;
  // The server knows the forms of a whole date, and says what is wrong with another one.
  return /^\d{4}-\d|^\d{9,}(\.\d+)?$/.test(words) ? typed.trim() : null;
}

export class TimeDialog {
  #parts;
  #dialog = /** @type {HTMLDialogElement} */ (byId('go-to-time'));
  #field = /** @type {HTMLInputElement} */ (byId('time-wanted'));
  /** Cancels the request when the dialog is closed. */
  #asking = new AbortController();

  /** @param {Parts} parts */
  constructor(parts) {
    this.#parts = parts;
    byId('time-open').addEventListener('click', () => {
      byId('view-menu').hidePopover();
      this.open();
    });
    byId('time-go').addEventListener('click', () => this.#go());
    this.#field.addEventListener('keydown', (event) => {
      if (event.key === 'Enter') this.#go();
    });
    byId('time-close').addEventListener('click', () => this.#dialog.close());
    this.#dialog.addEventListener('click', (event) => {
      if (event.target === this.#dialog) this.#dialog.close();
    });
    this.#dialog.addEventListener('close', () => {
      this.#asking.abort();
      this.#parts.closed();
    });
  }

  open() {
    this.#say('');
    this.#dialog.showModal();
    this.#field.select();
  }

  async #go() {
    const time = timeWanted(this.#field.value, new Date());
    if (time === null) {
      this.#say(UNKNOWN);
      return;
    }
    this.#asking.abort();
    this.#asking = new AbortController();
    const { signal } = this.#asking;
    try {
      const go = await this.#parts.find(time, signal);
      this.#dialog.close();
      await go();
    } catch (error) {
      if (!signal.aborted) this.#say(failureWords(error));
    }
  }

  /** @param {string} problem what is wrong; empty for nothing */
  #say(problem) {
    setText(byId('time-problem'), problem);
    this.#field.setAttribute('aria-invalid', String(problem !== ''));
  }
}
