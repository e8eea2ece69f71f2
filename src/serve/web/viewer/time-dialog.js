// The dialog that goes to a time: what a reader may type, and the way to the first line that is not before it.

import { failureWords } from '../net/api.js';
import { byId, setText } from '../ui/dom.js';
import { LOCAL, serverZone, zoneOf } from '../ui/zones.js';

const DAY_MS = 86_400_000;
const UNIT_MS = { w: 7 * DAY_MS, d: DAY_MS, h: 3_600_000, m: 60_000, s: 1_000 };
const DATE = /^(\d{4})-(\d\d)-(\d\d)(?:[ Tt](\d\d):(\d\d)(?::(\d\d)(\.\d{1,9})?)?)?$/;
const UNKNOWN = 'Write a time such as 14:02, -10m, yesterday 9:30 or 2026-11-28 14:02:07';

/**
 * @typedef {object} Parts
 * @property {(time: string, signal: AbortSignal) => Promise<() => unknown>} find asks the server for a time; returns what goes to
 *   the first line there, when the dialog is closed
 * @property {() => import('../ui/options.js').Options} options the display options: they say whose clock the rows show
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

/**
 * The instant of a time as the server takes it, in ms since 1970; null where only the server knows it.
 * @param {string} wanted
 * @param {Date} now
 * @param {import('../ui/zones.js').Zone | null} zone of a time that says none; null if the browser does not know it
 * @returns {number | null}
 */
export function instantMeant(wanted, now, zone) {
  if (/^(\d+[wdhms])+$/.test(wanted)) {
    return [...wanted.matchAll(/(\d+)([wdhms])/g)].reduce((at, [, number, unit]) => at - Number(number) * UNIT_MS[/** @type {'s'} */ (unit)], now.getTime());
  }
  const date = DATE.exec(wanted);
  if (date === null) {
    const at = /^\d{9,}(\.\d+)?$/.test(wanted) ? Number(wanted) * 1000 : /\d[Tt]\d.*([Zz]|[+-]\d\d:\d\d)$/.test(wanted) ? Date.parse(wanted) : NaN;
    return Number.isFinite(at) ? at : null;
  }
  if (zone === null) return null;
  const [year, month, day, hour = 0, minute = 0, second = 0] = date.slice(1, 7).map((part) => (part === undefined ? undefined : Number(part)));
  const shown = Date.UTC(/** @type {number} */ (year), /** @type {number} */ (month) - 1, day, hour, minute, second) + Number(date[7] ?? 0) * 1000;
  return Number.isFinite(shown) ? zone.instantOf(shown) : null;
}

export class TimeDialog {
  #parts;
  #dialog = /** @type {HTMLDialogElement} */ (byId('go-to-time'));
  #field = /** @type {HTMLInputElement} */ (byId('time-wanted'));
  #choice = /** @type {HTMLSelectElement} */ (byId('time-zone-choice'));
  /** Cancels the request when the dialog is closed. */
  #asking = new AbortController();

  /** @param {Parts} parts */
  constructor(parts) {
    this.#parts = parts;
    byId('time-open').addEventListener('click', () => {
      byId('view-menu').hidePopover();
      this.open();
    });
    byId('shown-times').addEventListener('click', () => this.open());
    byId('time-go').addEventListener('click', () => this.#go());
    this.#field.addEventListener('keydown', (event) => {
      if (event.key === 'Enter') this.#go();
    });
    this.#field.addEventListener('input', () => this.#showMeant());
    this.#choice.addEventListener('change', () => this.#showMeant());
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
    this.#offerZones();
    this.#dialog.showModal();
    this.#field.select();
    this.#showMeant();
  }

  /** Offers the zones in which a time may be meant; at first that of the times which the reader sees beside the rows or in them. */
  #offerZones() {
    const { readable, times, zone } = this.#parts.options();
    /** @type {[import('../ui/zones.js').ZoneName, string][]} */
    const zones = [['server', `the log${serverZone() === null ? '' : ` (${serverZone()?.label})`}`], ['local', 'this browser'], ['utc', 'UTC']];
    this.#choice.replaceChildren(...zones.map(([choice, label]) => new Option(label, choice)));
    this.#choice.value = readable || times === 'clock' ? zone : 'server';
    const now = Date.now();
    const isOne = serverZone()?.aheadAt(now) === 0 && LOCAL.aheadAt(now) === 0;
    byId('time-zone').hidden = isOne;
  }

  /** What the server is asked for; null if the field has no time. @param {Date} now */
  #wanted(now) {
    if (this.#choice.value === 'server') return timeWanted(this.#field.value, now);
    const zone = zoneOf(/** @type {import('../ui/zones.js').ZoneName} */ (this.#choice.value));
    const time = timeWanted(this.#field.value, now, zone);
    // The server would read a time without a zone as one of the log.
    const at = time !== null && DATE.test(time) ? instantMeant(time, now, zone) : null;
    return at === null ? time : new Date(at).toISOString();
  }

  /** Says which time is meant, by the clocks of the log and of the browser. */
  #showMeant() {
    const now = new Date();
    const time = this.#wanted(now);
    const at = time === null ? null : instantMeant(time, now, serverZone());
    const own = serverZone();
    if (at === null || Math.abs(at) > 8e15) {
      setText(byId('time-meant'), '');
      return;
    }
    const here = `${own?.date(at) === LOCAL.date(at) ? '' : `${LOCAL.date(at)} `}${LOCAL.clock(at)} in this browser`;
    const words = own === null ? [here] : [`${own.date(at)} ${own.clock(at)} ${own.label}`, ...(own.aheadAt(at) === LOCAL.aheadAt(at) ? [] : [here])];
    setText(byId('time-meant'), words.join(' · '));
  }

  async #go() {
    const time = this.#wanted(new Date());
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
