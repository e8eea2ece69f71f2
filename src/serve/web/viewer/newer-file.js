// The note on the page of an earlier day's file: a newer file is being written, with links to it and to all of them.

import { byId, setText } from '../ui/dom.js';

/** How often the page asks whether a newer file has come. */
const CHECK_MS = 30_000;
/** What may be a date in the name of a file. The server knows better. */
const DATE = /(19|2[01])\d\d[-_.]?[01]\d/;

export class NewerFile {
  #api;
  #note = byId('newer-file');
  #newest = /** @type {HTMLAnchorElement} */ (byId('newest-file'));
  #pattern = /** @type {HTMLAnchorElement} */ (byId('newest-pattern'));
  #isChecking = false;

  /**
   * @param {import('../net/api.js').LogApi} api
   * @param {string} pathname the log's path, percent-encoded
   */
  constructor(api, pathname) {
    this.#api = api;
    if (!DATE.test(pathname.slice(pathname.lastIndexOf('/')))) return;
    this.check();
    setInterval(() => {
      if (!document.hidden) this.check();
    }, CHECK_MS);
    document.addEventListener('visibilitychange', () => {
      if (!document.hidden) this.check();
    });
  }

  async check() {
    if (this.#isChecking) return;
    this.#isChecking = true;
    try {
      const { newest, pattern } = await this.#api.newer();
      this.#note.hidden = newest === null || pattern === null;
      show(this.#newest, newest);
      show(this.#pattern, pattern);
    } catch {
      // The status bar says what is wrong with the server. The next check may succeed.
    } finally {
      this.#isChecking = false;
    }
  }
}

/**
 * @param {HTMLAnchorElement} link
 * @param {import('../net/api.js').LogLink} log
 */
function show(link, log) {
  if (log === null) return;
  setText(link, log.path.slice(log.path.lastIndexOf('/') + 1));
  link.title = log.path;
  link.href = log.href;
}
