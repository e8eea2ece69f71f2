// The status bar and the source switches of the merged page. The status bar shows the common state of all logs, or the
// state of the first one with a problem.

import { linkTo } from '../net/wire.js';
import { byId, icon, setText } from '../ui/dom.js';
import { SPAN_OPEN, SPAN_OVER } from '../ui/status.js';
import { formatAge, plural } from '../ui/units.js';
import { MERGED_MAX, multiLogUrl } from '../url/multi-log.js';

const ANNOUNCE_MS_MIN = 3_000;

/**
 * @typedef {object} Facts
 * @property {boolean} following
 * @property {number} newLines lines that arrived below a paused view
 * @property {number} unseen lines that arrived while the page was hidden
 * @property {boolean} isGathering whether the first rows are still awaited
 * @property {boolean} isEmpty whether no row is shown
 * @property {boolean} isFiltering whether a filter hides rows
 * @property {import('../ui/status.js').SpanState} span whether a span of time is shown alone
 * @property {boolean} isLoading whether more rows are on their way
 * @property {string} failure why they could not be loaded; empty if they could
 * @property {string} missing why rows of some logs are missing; empty if none are
 */

let announced = '';
let announcedAt = 0;

/**
 * @param {import('./source.js').Source[]} sources
 * @param {string[]} names
 * @param {Facts} facts
 */
export function showStatus(sources, names, facts) {
  const { following, newLines, unseen, span } = facts;
  showSwitches(byId('sources'), sources, names);
  const words = sources.map((source) => source.status);
  const live = words.filter(({ state }) => state === 'live').length;
  const over = ['ended', 'finished', 'failed'];
  const troubled = words.findIndex(({ state }) => state !== 'live' && !over.includes(state));
  const state = byId('state');
  const members = plural(sources.length, 'log');
  let [stateName, glyph, word, detail] = ['live', 'live', 'Live', span === 'open' ? `${members}, ${SPAN_OPEN}` : members];
  if (troubled >= 0) {
    const one = words[troubled];
    [stateName, glyph] = [one.state, one.glyph];
    word = live > 0 ? `${live} of ${sources.length} live` : one.word;
    detail = `${names[troubled]}: ${live > 0 ? one.word.toLowerCase() : one.detail ?? ''}`.replace(/: $/, '');
  } else if (span === 'over') {
    [stateName, glyph, word, detail] = [SPAN_OVER.state, SPAN_OVER.glyph, SPAN_OVER.word, SPAN_OVER.detail ?? ''];
  } else if (!following) {
    [stateName, glyph, word, detail] = ['paused', 'paused', 'Paused', newLines > 0 ? `${plural(newLines, 'new line')} below` : ''];
  } else if (words.every(({ state: one }) => over.includes(one))) {
    const failed = words.filter(({ state: one }) => one === 'failed').length;
    [stateName, glyph, word, detail] = words.some(({ state: one }) => one === 'ended')
      ? ['ended', 'ended', 'Ended', 'no more lines will come']
      : failed > 0 ? ['failed', 'refused', 'Finished', `${failed} of ${sources.length} failed`] : ['finished', 'ended', 'Finished', ''];
  }
  state.dataset.state = stateName;
  state.querySelector('use')?.setAttribute('href', `#glyph-${glyph}`);
  setText(byId('state-word'), word);
  setText(byId('state-detail'), detail);
  byId('retry').hidden = !words.some(({ retry }) => retry);
  const heardAt = Math.max(0, ...sources.map((source) => source.heardAt));
  setText(byId('age'), heardAt > 0 ? `last line ${formatAge(Date.now() - heardAt)}` : '');
  showEdges(sources, words, facts);
  announceChange(troubled >= 0 ? `${names[troubled]}: ${words[troubled].announce ?? words[troubled].word}` : word);
  const title = names.join(' + ');
  document.title = document.hidden && unseen > 0 ? `(${unseen}) ${title}` : title;
}

/**
 * @param {import('./source.js').Source[]} sources
 * @param {import('../ui/status.js').StatusText[]} words
 * @param {Facts} facts
 */
function showEdges(sources, words, { following, newLines, isGathering, isEmpty, isFiltering, span, isLoading, failure, missing }) {
  byId('new-lines').hidden = following || isGathering;
  setText(byId('new-lines-count'), newLines > 0 ? plural(newLines, 'new line') : 'Go to the end');
  byId('older').hidden = failure === '' && missing === '';
  setText(byId('older'), failure !== '' ? `More lines cannot be loaded now: ${failure}` : `Lines are missing here: ${missing}`);
  byId('notice').hidden = !isEmpty || isGathering;
  const [title, text] = isFiltering && isLoading ? ['Searching all of these logs…', ''] : emptyText(sources, words, isFiltering, span);
  setText(byId('notice-title'), title);
  setText(byId('notice-text'), text);
}

/**
 * The text for an empty list: the reason why no row is shown.
 * @param {import('./source.js').Source[]} sources
 * @param {import('../ui/status.js').StatusText[]} words
 * @param {boolean} isFiltering
 * @param {import('../ui/status.js').SpanState} span
 * @returns {[title: string, text: string]}
 */
function emptyText(sources, words, isFiltering, span) {
  if (sources.length === 0) return ['No logs selected', 'Select some in the list of logs.'];
  if (sources.every(({ on }) => !on)) return ['All logs are hidden', 'Click their names above, or press 0, to show them again.'];
  const refused = words.find(({ state }) => ['signed-out', 'forbidden', 'not-found'].includes(state));
  const notice = (refused ?? words.find((one) => one.notice !== undefined))?.notice;
  if (span === 'over' && !refused && SPAN_OVER.notice) return isFiltering ? ['No line of this span passes the filter', SPAN_OVER.notice[1]] : SPAN_OVER.notice;
  if (isFiltering && !refused) return ['No line passes the filter', 'New lines that pass appear here.'];
  return notice ?? ['No lines yet', ''];
}

/** @param {boolean} following */
export function showFollowButton(following) {
  const button = byId('follow');
  // The label names the action of the button, so it has no `aria-pressed`.
  button.dataset.does = following ? 'pause' : 'follow';
  button.title = following ? 'Pause (f)' : 'Follow the end (f)';
  button.setAttribute('aria-label', following ? 'Pause' : 'Follow');
  button.querySelector('use')?.setAttribute('href', following ? '#icon-pause' : '#icon-follow');
  setText(/** @type {HTMLElement} */ (button.querySelector('.label')), following ? 'Pause' : 'Follow');
}

/** @param {string} words */
function announceChange(words) {
  if (words === announced || Date.now() - announcedAt < ANNOUNCE_MS_MIN) return;
  announced = words;
  announcedAt = Date.now();
  byId('announce').textContent = words;
}

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
    closeLink.title = 'Remove';
    closeLink.setAttribute('aria-label', `Remove ${names[number]}`);
    const others = sources.filter((other) => other.log !== log).map((other) => other.log);
    closeLink.href = linkTo(others.length > 0 ? multiLogUrl('merged', others) : '/');
    closeLink.append(icon('close'));
    member.append(button, closeLink);
    members.append(member);
  }
  const add = document.createElement('a');
  add.className = 'tool add';
  add.title = 'Select more logs in the list';
  add.setAttribute('aria-label', 'Select more logs');
  add.href = linkTo(`/#${sources.map(({ log }) => `log=${log}`).join('&')}`);
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
    button.title = `${names[at]}: ${word}${detail ? ` · ${detail}` : ''} (${at + 1} shows or hides it)`;
    const doing = /** @type {HTMLElement} */ (button.lastElementChild);
    const words = state === 'live' ? '' : word.toLowerCase();
    if (doing.textContent !== words) doing.textContent = words;
  });
}
