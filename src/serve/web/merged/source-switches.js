// The logs of a merged page in its bar: each with its colour, its number, its switch and what it is doing, if that is not
// simply to be live.

import { icon } from '../ui/icon.js';
import { addressOf, MERGED_MAX } from '../url/multi-log.js';

/**
 * @param {HTMLElement} members
 * @param {import('./source.js').Source[]} sources
 * @param {string[]} names
 * @param {(number: number) => void} toggle
 */
export function drawMembers(members, sources, names, toggle) {
  for (const { log, number } of sources) {
    const member = document.createElement('span');
    member.className = 'member';
    member.dataset.log = String(number + 1);
    const button = document.createElement('button');
    button.type = 'button';
    button.className = 'name';
    button.setAttribute('aria-keyshortcuts', String(number + 1));
    const key = document.createElement('kbd');
    key.setAttribute('aria-hidden', 'true');
    key.textContent = String(number + 1);
    const name = document.createElement('span');
    name.className = 'label';
    name.textContent = names[number];
    const state = document.createElement('span');
    state.className = 'doing';
    button.append(key, name, state);
    button.addEventListener('click', () => toggle(number));
    const close = document.createElement('a');
    close.className = 'close';
    close.title = 'Leave out';
    close.setAttribute('aria-label', `Leave ${names[number]} out`);
    const others = sources.filter((other) => other.log !== log).map((other) => other.log);
    close.href = others.length > 0 ? addressOf('merged', others) : '/';
    close.append(icon('close'));
    member.append(button, close);
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
export function showMembers(members, sources, names) {
  sources.forEach((source, at) => {
    const member = /** @type {HTMLElement} */ (members.children[at]);
    const button = /** @type {HTMLElement} */ (member.firstElementChild);
    const { state, word, detail } = source.words;
    member.dataset.state = state;
    button.setAttribute('aria-pressed', String(source.on));
    button.title = `${names[at]}: ${word}${detail ? ` · ${detail}` : ''} (${at + 1} shows it, or not)`;
    const doing = /** @type {HTMLElement} */ (button.lastElementChild);
    const words = state === 'live' ? '' : word.toLowerCase();
    if (doing.textContent !== words) doing.textContent = words;
  });
}
