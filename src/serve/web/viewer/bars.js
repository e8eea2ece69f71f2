// The bars around the log: its path, the button that follows, what waits below, and what is not there at the edges.

import { byId, setText } from '../ui/dom.js';
import { plural } from '../ui/units.js';

export class ViewerBars {
  /** The log's file name. */
  name = '';
  #path = byId('path');
  #follow = byId('follow');
  #newLines = byId('new-lines');
  #newLinesCount = byId('new-lines-count');
  #older = byId('older');
  #newer = byId('newer');
  #hint = byId('hint');
  #hintWords = byId('hint-words');

  constructor() {
    byId('hint-close').addEventListener('click', () => this.hint(''));
  }

  /** @param {string} path */
  showPath(path) {
    const cut = path.lastIndexOf('/') + 1;
    this.name = path.slice(cut) || path;
    const directory = document.createElement('span');
    directory.className = 'dir';
    // A long directory is cut on its left by running right to left; inside, it is isolated from that.
    const isolated = document.createElement('bdi');
    isolated.dir = 'ltr';
    isolated.textContent = path.slice(0, cut);
    directory.append(isolated);
    const file = document.createElement('span');
    file.className = 'name';
    file.textContent = this.name;
    this.#path.replaceChildren(directory, file);
    this.#path.title = path;
  }

  /** @param {boolean} following */
  showFollow(following) {
    // Its name says what it does next, so it is no toggle: a name and a pressed state that both change say nothing.
    this.#follow.dataset.following = String(following);
    this.#follow.title = following ? 'Stand still (f)' : 'Follow the end (f)';
    this.#follow.setAttribute('aria-label', following ? 'Pause, stand still' : 'Follow the end');
    this.#follow.querySelector('use')?.setAttribute('href', following ? '#icon-pause' : '#icon-follow');
    const label = this.#follow.querySelector('.label');
    if (label) label.textContent = following ? 'Pause' : 'Follow';
  }

  /**
   * @param {boolean} following
   * @param {number} lines
   */
  showNewLines(following, lines) {
    this.#newLines.hidden = following;
    setText(this.#newLinesCount, lines > 0 ? plural(lines, 'new line') : 'To the end');
  }

  /**
   * Says at the edges of the rows what is not there.
   * @param {string} older
   * @param {string} newer
   */
  showEdges(older, newer) {
    this.#older.hidden = older === '';
    setText(this.#older, older);
    this.#newer.hidden = newer === '';
    setText(this.#newer, newer);
  }

  /**
   * What the reader asked for and can't get, or got otherwise.
   * @param {string} words
   */
  hint(words) {
    this.#hint.hidden = words === '';
    setText(this.#hintWords, words);
  }
}
