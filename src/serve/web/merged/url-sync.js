// The address of the merged page: it is updated when the view changes, and the view is restored from it.

import { failureWords } from '../net/api.js';
import { pagePath, pageUrl } from '../net/wire.js';
import { chosenEncoding } from '../ui/encoding.js';
import { emptyView, formatView, parseView } from '../url/view-hash.js';
import { formatShifts, parseShifts } from './clock-offsets.js';
import { NO_KEY } from './place.js';

/** The address is written this long after the reader stopped somewhere. */
const SYNC_MS = 300;
/** The rows of a link's time are awaited for this long. */
const LINKED_MS = 30_000;

/**
 * @typedef {import('../url/view-hash.js').View} View
 * @typedef {import('../ui/colour-rules.js').ColourRule} ColourRule
 *
 * @typedef {object} Parts
 * @property {import('./source.js').Source[]} sources
 * @property {import('./merge-buffer.js').MergeBuffer} buffer
 * @property {import('./clock-offsets.js').ClockOffsets} clockOffsets
 * @property {import('./journey.js').Journey} journey
 * @property {import('./merged-find.js').MergedFind} mergedFind
 * @property {import('../rows/follow.js').Follow} follow
 * @property {import('../rows/row-viewport.js').RowViewport} rowViewport
 * @property {import('../ui/view-menu.js').ViewMenu} menu
 * @property {import('../viewer/times-over-log.js').TimesOverLog} timesOverLog
 * @property {{get: () => ColourRule[], set: (rules: ColourRule[]) => void}} colours the reader's own colours
 * @property {string} encoding that was chosen, or empty
 * @property {(words: string) => void} trouble
 */

export class MergedUrl {
  #parts;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer = undefined;
  /** Whether the page is as the address says. */
  #isRestored = false;
  /** The fragment that was written last. */
  #written = location.hash;
  /** The time of a link whose rows are not here yet: the address leads there meanwhile. @type {string | null} */
  #linked = null;
  /** Ends the way to the time of an earlier link. */
  #arriving = new AbortController();

  /** @param {Parts} parts */
  constructor(parts) {
    this.#parts = parts;
  }

  /** Takes over what the address says, but for the place. Returns its view. @returns {View} */
  begin() {
    const view = this.#apply();
    if (!view.follow) this.#parts.follow.pause();
    this.#linked = view.time;
    this.#isRestored = true;
    return view;
  }

  /** Must be called when the first rows are here: from then on the page goes to what is put into its address. */
  listen() {
    window.addEventListener('hashchange', () => this.#restore());
  }

  /** Writes the address soon: a scroll has many frames. */
  sync() {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      // The reader changed the address. The `hashchange` event restores it.
      if (location.hash === this.#written) this.update();
    }, SYNC_MS);
  }

  /** Writes the address. */
  update() {
    if (!this.#isRestored) return;
    const hash = this.hashWith(this.#parts.encoding);
    if (hash !== location.hash) history.replaceState(null, '', pageUrl(`${pagePath()}${location.search}${hash}`));
    this.#written = location.hash;
  }

  /** The fragment of the present view, in an encoding. @param {string} encoding */
  hashWith(encoding) {
    const { sources, buffer, mergedFind, follow, menu, timesOverLog, colours } = this.#parts;
    const off = sources.filter(({ on }) => !on).map(({ number }) => number + 1);
    const { wrap, highlight, readable, columns, times, zone, histogram } = menu.options;
    const { pattern, filter, invert, level, rules } = mergedFind.bar;
    const shifts = formatShifts(buffer.clocks.map(({ shift }) => shift));
    const view = formatView({
      ...emptyView(), encoding, follow: follow.following, time: this.#timeHere(), find: pattern, filter, invert, level, rules,
      colours: colours.get(), span: timesOverLog.only, options: { wrap, highlight, readable, columns, times, zone, histogram },
    });
    const parts = [...(off.length > 0 ? [`off=${off.join(',')}`] : []), ...(shifts === '' ? [] : [`shift=${shifts}`]), ...(view === '' ? [] : [view.slice(1)])];
    return parts.length === 0 ? '' : `#${parts.join('&')}`;
  }

  /**
   * Goes to the time of a link. Returns whether it could.
   * @param {string} time as the server takes it
   */
  async goTo(time) {
    const { journey, trouble } = this.#parts;
    this.#arriving.abort();
    this.#arriving = new AbortController();
    const { signal } = this.#arriving;
    this.#linked = time;
    const arrived = () => {
      if (!signal.aborted) this.#linked = null;
    };
    try {
      const arrive = await journey.findTime(time, AbortSignal.any([signal, AbortSignal.timeout(LINKED_MS)]));
      arrive().finally(arrived);
      return true;
    } catch (error) {
      arrived();
      if (!signal.aborted) trouble(`The position of this link cannot be shown: ${failureWords(error)}`);
      return false;
    }
  }

  /** What the address says but for the place. */
  #apply() {
    const { sources, buffer, clockOffsets, mergedFind, menu, timesOverLog, colours } = this.#parts;
    const view = parseView(location.hash);
    const fields = new URLSearchParams(location.hash.replace(/^#/, ''));
    const off = (fields.get('off') ?? '').split(',').map(Number);
    for (const source of sources) source.on = !off.includes(source.number + 1);
    const shifts = parseShifts(fields.get('shift') ?? '', sources.length);
    shifts.forEach((shift, log) => buffer.setShift(log, shift));
    clockOffsets.show(shifts);
    Object.assign(menu.options, view.options);
    if (view.span !== null) menu.options.histogram = true;
    timesOverLog.choose(view.span);
    mergedFind.bar.span = view.span;
    menu.show();
    if (view.colours.length > 0) colours.set(view.colours);
    mergedFind.begin(view);
    return view;
  }

  /** Shows what the reader has put into the address of this page. */
  async #restore() {
    const { journey, follow, encoding } = this.#parts;
    const wanted = parseView(location.hash);
    if (chosenEncoding(location, wanted) !== encoding) {
      // All rows are others in another encoding.
      location.reload();
      return;
    }
    this.#isRestored = false;
    this.#linked = wanted.time;
    this.#apply();
    this.#isRestored = true;
    this.#written = location.hash;
    if (wanted.time !== null) {
      await this.goTo(wanted.time);
      return;
    }
    this.#arriving.abort();
    if (wanted.follow) follow.resume();
    else follow.pause();
    await journey.reload();
  }

  /**
   * The time of the place that a link leads to, which is shown in the middle: that of the row that the reader went to, if it is
   * in sight, else that of the row in the middle.
   */
  #timeHere() {
    const { follow, rowViewport, journey } = this.#parts;
    // The link itself leads there until its row is here.
    if (this.#linked !== null) return this.#linked;
    if (follow.following) return null;
    const rows = /** @type {import('./merge-buffer.js').Entry[]} */ ([...rowViewport.inSight()]);
    const { row, isCurrent } = journey.here();
    const { gen } = (isCurrent ? row : rows[rows.length >> 1]) ?? { gen: NO_KEY };
    return gen <= NO_KEY ? null : new Date(gen).toISOString();
  }
}
