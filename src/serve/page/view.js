// The viewer page: one log, its connection, its rows and the state line, tied together.

import { Connection } from './connection.js';
import { Follow } from './follow.js';
import { Frames } from './frames.js';
import { History } from './history.js';
import { bindKeys } from './keys.js';
import { Menu } from './menu.js';
import { stored } from './options.js';
import { Overview } from './overview.js';
import { Reader } from './reader.js';
import { StateLine } from './state.js';
import { Stream } from './stream.js';
import { counted } from './units.js';
import { Window } from './window.js';

const TICK_MS = 1_000;

/** @param {string} id */
const byId = (id) => /** @type {HTMLElement} */ (document.getElementById(id));

const log = byId('log');
const state = new StateLine();
const stream = new Stream();
const { spans, tail } = stream;
const shown = new Window(byId('rows'), log);
const history = new History(location.pathname);

/** @type {import('./state.js').Facts} */
const facts = {
  phase: { name: 'connecting' }, waiting: null, following: true, empty: true, newLines: 0,
  lostAt: null, openedAt: 0, heardAt: 0, size: null, watch: null,
};
/** Lines that came while the page was hidden. */
let unseen = 0;
let stateIsDue = true;

const frames = new Frames(draw);
const follow = new Follow(log, () => reader.attached, () => {
  facts.following = follow.following;
  log.dataset.following = String(follow.following);
  if (follow.following) facts.newLines = 0;
  showFollow();
  refresh();
});
const reader = new Reader({ scroller: log, spans, tail, window: shown, history, follow, changed: () => frames.request() });
const overview = new Overview(byId('overview'), log, seek);
const menu = new Menu(log, stored(), () => {
  shown.hold(() => menu.show());
  follow.pin();
  refresh();
});
const connection = new Connection(location, heard, connectionChanged);

/** @param {import('./connection.js').Phase} phase */
function connectionChanged(phase) {
  const before = facts.phase.name;
  facts.phase = phase;
  if (facts.phase.name === 'retry' && before === 'open') facts.lostAt = Date.now();
  if (facts.phase.name === 'open') facts.lostAt = null;
  refresh();
}

/**
 * @param {import('./wire.js').Message} message
 * @param {boolean} resuming
 */
function heard(message, resuming) {
  const { fresh, news } = stream.hear(message, resuming);
  facts.waiting = message.type === 'waiting' ? message.reason : null;
  switch (message.type) {
    case 'open':
      facts.openedAt ||= Date.now();
      facts.watch = message.watch;
      showPath(message.path);
      break;
    case 'rows':
      if (news) facts.heardAt = Date.now();
      if (!follow.following) facts.newLines += fresh;
      if (document.hidden) unseen += fresh;
      break;
  }
  facts.size = spans.last?.to ?? facts.size;
  reader.grew();
  refresh();
}

function refresh() {
  stateIsDue = true;
  frames.request();
}

/** One change of the document. Returns whether rows are left for another. */
function draw() {
  const more = reader.draw();
  follow.pin();
  showOverview();
  if (stateIsDue) {
    stateIsDue = false;
    facts.empty = shown.isEmpty && tail.end(1).length === 0;
    state.show(facts);
    showNewLines();
    showEdges();
    document.title = document.hidden && unseen > 0 ? `(${unseen}) ${name}` : name;
  }
  return more;
}

/** The file in sight. */
function spanInSight() {
  return spans.at(shown.first()?.span ?? spans.present);
}

function showOverview() {
  const rows = [...shown.inSight()].filter((entry) => entry.mark === undefined);
  const first = rows[0];
  const last = rows[rows.length - 1];
  if (first === undefined || last === undefined) {
    overview.show(0, facts.size ?? 0, facts.size ?? 0);
    return;
  }
  const span = spans.at(first.span);
  const isEnd = follow.following || (reader.attached && log.scrollHeight - log.clientHeight - log.scrollTop < 2);
  overview.show(log.scrollTop === 0 && reader.top !== '' ? 0 : first.offset, isEnd || last.span !== first.span ? span.to : last.offset, span.to);
}

let seeking = false;
/** @type {number | null} */
let wanted = null;

/**
 * Moves the view to a part of the log; while that is loaded, only the last wish is kept.
 * @param {number} part
 */
async function seek(part) {
  wanted = part;
  if (seeking) return;
  seeking = true;
  while (wanted !== null) {
    const now = wanted;
    wanted = null;
    const span = shown.first()?.span ?? spans.present;
    if (span < 0) break;
    if (now >= 1 && span === spans.present) reader.toEnd();
    else await reader.reveal({ span, offset: Math.floor(now * spans.at(span).to) }, 'top');
  }
  seeking = false;
}

const newLines = byId('new-lines');

function showNewLines() {
  newLines.hidden = follow.following;
  say(byId('new-lines-count'), facts.newLines > 0 ? counted(facts.newLines, 'new line') : 'To the end');
}

/** Says at the edges of the rows what is not there, or is being looked for. */
function showEdges() {
  const older = byId('older');
  const words = reader.top === 'gone' ? 'What came before is in a file that can not be read any more.' : '';
  older.hidden = words === '';
  say(older, words);
}

/**
 * @param {HTMLElement} element
 * @param {string} words
 */
function say(element, words) {
  if (element.textContent !== words) element.textContent = words;
}

let name = '';

/** @param {string} path */
function showPath(path) {
  const cut = path.lastIndexOf('/') + 1;
  name = path.slice(cut) || path;
  const directory = document.createElement('span');
  directory.className = 'dir';
  // A long directory is cut on its left by running right to left; inside, it is isolated from that.
  const isolated = document.createElement('bdi');
  isolated.dir = 'ltr';
  isolated.textContent = path.slice(0, cut);
  directory.append(isolated);
  const file = document.createElement('span');
  file.className = 'name';
  file.textContent = name;
  byId('path').replaceChildren(directory, file);
  byId('path').title = path;
}

const followButton = byId('follow');

function showFollow() {
  const { following } = follow;
  followButton.setAttribute('aria-pressed', String(following));
  followButton.title = following ? 'Stand still (f)' : 'Follow the end (f)';
  followButton.setAttribute('aria-label', 'Follow the end');
  followButton.querySelector('use')?.setAttribute('href', following ? '#icon-pause' : '#icon-follow');
  const label = followButton.querySelector('.label');
  if (label) label.textContent = following ? 'Pause' : 'Follow';
}

/** Lets the reader scroll by keys from the start; the ring is for those who came by key. */
function focusLog() {
  log.focus(/** @type {FocusOptions} */ ({ preventScroll: true, focusVisible: false }));
}

const help = /** @type {HTMLDialogElement} */ (byId('help'));

bindKeys([
  { keys: ['f'], does: 'follow the end, or stand still', act: toggleFollow },
  { keys: ['G', 'End'], does: 'to the end, and follow', act: () => reader.toEnd() },
  { keys: ['g', 'Home'], does: 'to the first byte', act: () => reader.toStart() },
  { keys: ['w'], does: 'wrap long lines', act: () => menu.toggle('wrap') },
  { keys: ['t'], does: 'theme: auto, light, dark', act: () => /** @type {HTMLElement} */ (document.querySelector('[data-theme-switch]')).click() },
  { keys: ['?'], does: 'these keys', act: () => help.showModal() },
], byId('help-keys'));

function toggleFollow() {
  if (follow.following) follow.pause();
  else reader.toEnd();
}

followButton.addEventListener('click', toggleFollow);
newLines.addEventListener('click', () => {
  reader.toEnd();
  focusLog();
});
// The button lies over the log, so it hands on the wheel.
newLines.addEventListener('wheel', (event) => log.scrollBy({ top: event.deltaY }), { passive: true });
log.addEventListener('scroll', () => frames.request(), { passive: true });
byId('retry').addEventListener('click', () => connection.retry());
byId('help-open').addEventListener('click', () => help.showModal());
byId('help-close').addEventListener('click', () => help.close());
help.addEventListener('click', (event) => {
  if (event.target === help) help.close();
});
document.addEventListener('visibilitychange', () => {
  if (!document.hidden) unseen = 0;
  refresh();
});
setInterval(refresh, TICK_MS);

// The server has put the path there, with what does not show or would mislead escaped.
showPath(document.title);
document.title = name;
showFollow();
focusLog();
