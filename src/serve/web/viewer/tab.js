// The browser tab of a hidden page: the title counts new lines and errors, and the icon shows a dot. Both are reset
// when the page is shown. The title says whether the command of the log succeeded.

/** Errors are kept by offset, so that redrawn rows do not count twice. Beyond this number the title says "many". */
const ERRORS_MAX = 1_000;

/** @typedef {'quiet' | 'lines' | 'errors' | 'lost'} News */

/** Fill and radius of the icon's dot. @type {Record<News, [string, number]>} */
const DOTS = { quiet: ['#6fd08c', 2.6], lines: ['#58a6ff', 7], errors: ['#ff5f56', 8], lost: ['#8b949e', 2.6] };

export class TabBadge {
  #lines = 0;
  /** @type {Set<number>} */
  #errors = new Set();
  #levelOf;
  #icon = /** @type {HTMLLinkElement} */ (document.querySelector('link[rel="icon"]'));
  /** @type {News} */
  #shown = 'quiet';

  /** @param {(row: import('../net/wire.js').WireRow) => string} levelOf */
  constructor(levelOf) {
    this.#levelOf = levelOf;
    document.addEventListener('visibilitychange', () => {
      this.#lines = 0;
      this.#errors.clear();
    });
  }

  /**
   * Counts arrived rows, of which the last `fresh` are new.
   * @param {import('../net/wire.js').WireRow[]} rows
   * @param {number} fresh
   */
  countRows(rows, fresh) {
    if (!document.hidden) return;
    this.#lines += fresh;
    // The patch may have completed the row before the new ones.
    for (const row of rows.slice(-fresh - 1)) {
      if (this.#errors.size >= ERRORS_MAX) break;
      if (this.#levelOf(row) === 'error') this.#errors.add(row[0]);
    }
  }

  /**
   * @param {string} logName
   * @param {boolean} isConnected
   * @param {import('../ui/status.js').Finish | null} finish
   */
  show(logName, isConnected, finish) {
    const errors = this.#errors.size;
    const words = [
      this.#lines > 0 ? String(this.#lines) : '',
      errors > 0 ? `${errors >= ERRORS_MAX ? 'many' : errors} error${errors === 1 ? '' : 's'}` : '',
    ].filter((word) => word !== '').join(', ');
    const sign = finish === null || finish.status === null ? '' : finish.status === 0 ? '✓ ' : '✗ ';
    const title = sign + (words === '' ? logName : `(${words}) ${logName}`);
    if (document.title !== title) document.title = title;
    const news = !isConnected && finish === null ? 'lost' : errors > 0 ? 'errors' : this.#lines > 0 ? 'lines' : 'quiet';
    if (news === this.#shown) return;
    this.#shown = news;
    this.#icon.href = icon(news);
    this.#icon.dataset.news = news;
  }
}

/** @param {News} news */
function icon(news) {
  const [fill, radius] = DOTS[news];
  const at = Math.min(25, 31 - radius);
  return `data:image/svg+xml,${encodeURIComponent(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32">
    <rect width="32" height="32" rx="7" fill="#14202b"/>
    <g fill="none" stroke-width="3" stroke-linecap="round"><path d="M8 9.5h11M8 16h7" stroke="#8fa3b5"/><path d="M8 22.5h13" stroke="#e8eef4"/></g>
    <circle cx="${at}" cy="${at - 2.5}" r="${radius}" fill="${fill}" stroke="#14202b" stroke-width="${radius > 3 ? 2 : 0}"/></svg>`)}`;
}
