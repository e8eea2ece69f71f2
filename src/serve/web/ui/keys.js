// Keyboard shortcuts. Each page has one table of its keys, with their actions and the texts of the help dialog; that
// of the viewer is in `viewer/controls.js`.

import { byId } from './dom.js';

/**
 * @typedef {object} Key
 * @property {string[]} keys values of `KeyboardEvent.key`
 * @property {string} does
 * @property {(key: string) => void} act
 */

/**
 * @param {Key[]} table
 * @param {HTMLElement} listing a `dl` to fill
 */
export function bindKeys(table, listing) {
  for (const { keys, does } of table) {
    const term = document.createElement('dt');
    for (const key of keys) {
      const cap = document.createElement('kbd');
      cap.textContent = key;
      term.append(cap);
    }
    const meaning = document.createElement('dd');
    meaning.textContent = does;
    const group = document.createElement('div');
    group.append(term, meaning);
    listing.append(group);
  }
  document.addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented || event.isComposing) return;
    if (event.target instanceof Element && event.target.closest('input, textarea, select, dialog')) return;
    // Enter activates the focused link or button.
    if (event.key === 'Enter' && event.target instanceof Element && event.target.closest('a, button')) return;
    const entry = table.find(({ keys }) => keys.includes(event.key));
    if (entry === undefined) return;
    event.preventDefault();
    entry.act(event.key);
  });
}

/** Ctrl-F opens the find bar; a second Ctrl-F opens the browser's own find. @param {() => void} openFindBar */
export function bindFindKey(openFindBar) {
  document.addEventListener('keydown', (event) => {
    if (!(event.ctrlKey || event.metaKey) || event.altKey || event.shiftKey || event.key.toLowerCase() !== 'f') return;
    if (document.activeElement?.id === 'find-text') return;
    event.preventDefault();
    openFindBar();
  });
}

/** Opens and closes the help dialog by its buttons. Returns what opens it. */
export function bindHelp() {
  const help = /** @type {HTMLDialogElement} */ (byId('help'));
  const show = () => help.showModal();
  byId('help-open').addEventListener('click', show);
  byId('help-close').addEventListener('click', () => help.close());
  help.addEventListener('click', (event) => {
    if (event.target === help) help.close();
  });
  return show;
}

/** The selected text as a pattern to find; undefined if it spans several lines. */
export function selectedText() {
  const text = document.getSelection()?.toString() ?? '';
  return text !== '' && text.length < 200 && !text.includes('\n') ? text : undefined;
}
