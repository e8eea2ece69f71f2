// The viewer page: one log, its connection, its rows and the state line, tied together.

import { Connection } from './connection.js';
import { Follow } from './follow.js';
import { Frames } from './frames.js';
import { bindKeys } from './keys.js';
import { ROWS_MAX, Rows } from './rows.js';
import { StateLine } from './state.js';
import { clock, counted, size } from './units.js';

const WRAP_STORE = 'tailcast.wrap';
const TICK_MS = 1_000;
const COPIED_MS = 1_600;

/** @param {string} id */
const byId = (id) => /** @type {HTMLElement} */ (document.getElementById(id));

const log = byId('log');
const rows = new Rows(byId('rows'));
const state = new StateLine();

/** @type {import('./state.js').Facts} */
const facts = {
  phase: { name: 'connecting' }, waiting: null, following: true, empty: true, newLines: 0,
  lostAt: null, openedAt: 0, heardAt: 0, size: null, watch: null,
};
/** Lines that came while the page was hidden. */
let unseen = 0;
/** Rows from this offset on are news; earlier ones were there when the stream began. */
let newsFrom = Infinity;
let startsLate = false;
let stateIsDue = true;

const frames = new Frames(draw);
const follow = new Follow(log, () => {
  facts.following = follow.following;
  log.dataset.following = String(follow.following);
  if (follow.following) facts.newLines = 0;
  showFollow();
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
  switch (message.type) {
    case 'open':
      facts.waiting = null;
      facts.openedAt ||= Date.now();
      facts.size = message.size;
      facts.watch = message.watch;
      showPath(message.path);
      if (resuming && message.recovered) {
        newsFrom = 0;
        break;
      }
      newsFrom = message.size;
      if (resuming) rows.mark('not-resumed', `could not resume at ${clock(Date.now())}: lines may be missing here, or repeat`);
      else startsLate = message.from > 0;
      break;
    case 'rows': {
      facts.waiting = null;
      const fresh = rows.patch(message, newsFrom);
      if (message.next > newsFrom || fresh > 0) facts.heardAt = Date.now();
      facts.size = Math.max(facts.size ?? 0, message.next);
      if (!follow.following) facts.newLines += fresh;
      if (document.hidden) unseen += fresh;
      break;
    }
    case 'gap':
      rows.mark(
        'gap',
        message.to === null
          ? `bytes from ${message.from} on left out`
          : `${size(message.to - message.from)} left out (bytes ${message.from} to ${message.to})`,
      );
      break;
    case 'reset':
      facts.waiting = null;
      facts.size = message.from;
      newsFrom = 0;
      rows.mark(message.reason, resetWords(message.reason));
      break;
    case 'waiting':
      facts.waiting = message.reason;
      break;
  }
  refresh();
}

/** @param {string} reason */
function resetWords(reason) {
  const at = clock(Date.now());
  switch (reason) {
    case 'rotated': return `rotated at ${at}: a new file begins`;
    case 'truncated': return `truncated at ${at}: the file begins again`;
    case 'replaced': return `replaced at ${at}: another file begins`;
    case 'late': return 'late lines of the file that was rotated away';
    case 'back': return 'back to the present file';
    default: return `${reason} at ${at}`;
  }
}

function refresh() {
  stateIsDue = true;
  frames.request();
}

/** One change of the document. Returns whether rows are left for another. */
function draw() {
  const more = rows.apply(follow.following);
  follow.pin();
  if (stateIsDue) {
    stateIsDue = false;
    facts.empty = rows.isEmpty;
    state.show(facts);
    showNewLines();
    showOlder();
    document.title = document.hidden && unseen > 0 ? `(${unseen}) ${name}` : name;
  }
  return more;
}

const newLines = byId('new-lines');

function showNewLines() {
  newLines.hidden = follow.following;
  const words = facts.newLines > 0 ? counted(facts.newLines, 'new line') : 'To the end';
  const count = byId('new-lines-count');
  if (count.textContent !== words) count.textContent = words;
}

const older = byId('older');
const rawHref = '?format=raw';

/** Says at the top what the page does not hold. */
function showOlder() {
  older.hidden = !(startsLate || rows.dropped > 0);
  if (older.hidden) return;
  const words = rows.dropped > 0 ? `${counted(rows.dropped, 'earlier line')} left this page, which keeps the last ${ROWS_MAX.toLocaleString('en-US')}.` : 'The log begins earlier.';
  if (older.dataset.words === words) return;
  older.dataset.words = words;
  const whole = document.createElement('a');
  whole.href = rawHref;
  whole.textContent = 'Open the whole file';
  // The toolbar has the same link; reaching this one by key would scroll a view that follows.
  whole.tabIndex = -1;
  older.replaceChildren(`${words} `, whole);
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

/** @param {boolean} wraps */
function showWrap(wraps) {
  log.dataset.wrap = String(wraps);
  byId('wrap').setAttribute('aria-pressed', String(wraps));
  follow.pin();
}

function toggleWrap() {
  const wraps = log.dataset.wrap !== 'true';
  showWrap(wraps);
  try {
    localStorage.setItem(WRAP_STORE, String(wraps));
  } catch {
    // Kept for this page only.
  }
}

function storedWrap() {
  try {
    return localStorage.getItem(WRAP_STORE) !== 'false';
  } catch {
    return true;
  }
}

async function copyCurl() {
  const url = `${location.origin}${location.pathname.replaceAll("'", '%27')}?tail=1`;
  const label = byId('curl').querySelector('.label');
  const done = await copy(`curl -N '${url}'`);
  byId('announce').textContent = done ? 'Copied' : 'Could not copy';
  byId('curl').dataset.done = String(done);
  if (label) label.textContent = done ? 'Copied' : 'Not copied';
  setTimeout(() => {
    delete byId('curl').dataset.done;
    if (label) label.textContent = 'Copy curl';
  }, COPIED_MS);
}

/**
 * The clipboard interface exists only where the page came over TLS or from this machine; the old command works elsewhere.
 * @param {string} text
 */
async function copy(text) {
  if (navigator.clipboard) {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch {
      // Denied: try the old way.
    }
  }
  const holder = document.createElement('textarea');
  holder.className = 'unseen';
  holder.value = text;
  document.body.append(holder);
  holder.select();
  const done = document.execCommand('copy');
  holder.remove();
  focusLog();
  return done;
}

/** Lets the reader scroll by keys from the start; the ring is for those who came by key. */
function focusLog() {
  log.focus(/** @type {FocusOptions} */ ({ preventScroll: true, focusVisible: false }));
}

const help = /** @type {HTMLDialogElement} */ (byId('help'));

bindKeys([
  { keys: ['f'], does: 'follow the end, or stand still', act: () => follow.toggle() },
  { keys: ['G', 'End'], does: 'to the end, and follow', act: () => follow.resume() },
  { keys: ['g', 'Home'], does: 'to the top, and stand still', act: () => follow.toTop() },
  { keys: ['w'], does: 'wrap long lines', act: toggleWrap },
  { keys: ['t'], does: 'theme: auto, light, dark', act: () => /** @type {HTMLElement} */ (document.querySelector('[data-theme-switch]')).click() },
  { keys: ['?'], does: 'these keys', act: () => help.showModal() },
], byId('help-keys'));

followButton.addEventListener('click', () => follow.toggle());
newLines.addEventListener('click', () => {
  follow.resume();
  focusLog();
});
// The button lies over the log, so it hands on the wheel.
newLines.addEventListener('wheel', (event) => log.scrollBy({ top: event.deltaY }), { passive: true });
byId('wrap').addEventListener('click', toggleWrap);
byId('curl').addEventListener('click', copyCurl);
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

/** @type {HTMLAnchorElement} */ (byId('raw')).href = rawHref;
// The server has put the path there, with what does not show or would mislead escaped.
showPath(document.title);
document.title = name;
showFollow();
showWrap(storedWrap());
focusLog();
