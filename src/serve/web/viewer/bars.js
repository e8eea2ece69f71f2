// The bars around the log: its path, the Follow button, the number of new lines, hints, and notes at the edges.

import { byId, setText } from '../ui/dom.js';
import { Hints } from '../ui/hints.js';
import { plural } from '../ui/units.js';

export class ViewerBars {
  /** The log's file name. */
  name = '';
  /** The name by which people know the log: that of a container, or the file name. */
  label = '';
  #path = byId('path');
  #follow = byId('follow');
  #newLines = byId('new-lines');
  #newLinesCount = byId('new-lines-count');
  #older = byId('older');
  #newer = byId('newer');
  /** Short messages over the log. */
  hints = new Hints((words) => {
    byId('hint').hidden = words === '';
    setText(byId('hint-words'), words);
  });

  constructor() {
    byId('hint-close').addEventListener('click', () => this.hints.close());
  }

  /** Whether the log has the name of a container. */
  get isOfContainer() {
    return (this.#path.dataset.name ?? '') !== '';
  }

  /** @param {string} path */
  showPath(path) {
    const cut = path.lastIndexOf('/') + 1;
    this.name = path.slice(cut) || path;
    const known = this.#path.dataset.name ?? '';
    this.label = known || this.name;
    const directory = document.createElement('span');
    directory.className = 'dir';
    // A long directory is truncated at its left by `direction: rtl`; `bdi` keeps its text left to right.
    const isolated = document.createElement('bdi');
    isolated.dir = 'ltr';
    isolated.textContent = known === '' ? path.slice(0, cut) : '';
    directory.append(isolated);
    const file = document.createElement('span');
    file.className = 'name';
    file.textContent = this.label;
    this.#path.replaceChildren(directory, file);
    this.#path.title = path;
  }

  /** @param {boolean} following */
  showFollow(following) {
    // The label names the next action, so there is no `aria-pressed`: label and pressed state must not both change.
    this.#follow.dataset.following = String(following);
    this.#follow.title = following ? 'Pause (f)' : 'Follow the end (f)';
    this.#follow.setAttribute('aria-label', following ? 'Pause' : 'Follow the end');
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
    setText(this.#newLinesCount, lines > 0 ? plural(lines, 'new line') : 'Go to the end');
  }

  /**
   * Shows notes above the first and below the last row; an empty one is hidden.
   * @param {string} older
   * @param {string} newer
   */
  showEdges(older, newer) {
    this.#older.hidden = older === '';
    setText(this.#older, older);
    this.#newer.hidden = newer === '';
    setText(this.#newer, newer);
  }
}
