// The logs of a merged page in its bar: each with its colour, its number, its switch and what it is doing, if that is not
// simply to be live.

import { icon } from '../ui/icon.js';
import { multiLogUrl, MERGED_MAX } from '../url/multi-log.js';

/**
 * @param {HTMLElement} members
 * @param {import('./source.js').Source[]} sources
 * @param {string[]} names
 * @param {(number: number) => void} toggle
 */
export function drawSwitches(members, sources, names, toggle) {
  for (const { log, number } of sources) {
    const member = document.createElement('span');
    member.className = 'source';
    member.dataset.log = String(number + 1);
    const button = document.createElement('button');
    button.type = 'button';
    button.className = 'name';
    button.setAttribute('aria-keyshortcuts', String(number + 1));
    const key = document.createElement('kbd');
    key.setAttribute('aria-hidden', 'true');
    key.textContent = String(number + 1);
    const label = document.createElement('span');
    label.className = 'label';
    label.textContent = names[number];
    const state = document.createElement('span');
    state.className = 'source-state';
    button.append(key, label, state);
    button.addEventListener('click', () => toggle(number));
    const closeLink = document.createElement('a');
    closeLink.className = 'close';
    closeLink.title = 'Leave out';
    closeLink.setAttribute('aria-label', `Leave ${names[number]} out`);
    const others = sources.filter((other) => other.log !== log).map((other) => other.log);
    closeLink.href = others.length > 0 ? multiLogUrl('merged', others) : '/';
    closeLink.append(icon('close'));
    member.append(button, closeLink);
    members.append(member);
  }
  const add = document.createElement('a');
  add.className = 'tool add';
  add.title = 'Choose more logs in the list';
  add.setAttribute('aria-label', 'Choose more logs');
  add.href = `/#${sources.map(({ log }) => `log=${log}`).join('&')}`;
  add.hidden = sources.length >= MERGED_MAX;
  add.append(icon('add'));
  members.after(add);
}

/**
 * @param {HTMLElement} members
 * @param {import('./source.js').Source[]} sources
 * @param {string[]} names
 */
export function showSwitches(members, sources, names) {
  sources.forEach((source, at) => {
    const member = /** @type {HTMLElement} */ (members.children[at]);
    const button = /** @type {HTMLElement} */ (member.firstElementChild);
    const { state, word, detail } = source.status;
    member.dataset.state = state;
    button.setAttribute('aria-pressed', String(source.on));
    button.title = `${names[at]}: ${word}${detail ? ` · ${detail}` : ''} (${at + 1} shows it, or not)`;
    const doing = /** @type {HTMLElement} */ (button.lastElementChild);
    const words = state === 'live' ? '' : word.toLowerCase();
    if (doing.textContent !== words) doing.textContent = words;
  });
}
