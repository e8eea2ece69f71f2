// The split view: each pane is the viewer page of one log, in a frame. The fragment of this page's URL contains the
// fragments of all panes, so that a link restores all of them.

import { shareEvents } from '../net/events.js';
import { linkTo, pagePath, pageUrl, serverUrl } from '../net/wire.js';
import { byId, icon } from '../ui/dom.js';
import { displayPath, multiLogUrl, parseLogs, shortNames, SPLIT_MAX } from '../url/multi-log.js';
import { makeDividers } from './divider.js';

/** How often the URLs of the panes are read: a frame does not report when its URL changes. */
const CHECK_MS = 500;

/**
 * @typedef {object} Pane
 * @property {string} log
 * @property {HTMLElement} box
 * @property {HTMLIFrameElement} frame
 * @property {number} share relative size
 * @property {string} hash fragment of its own URL
 */

const container = byId('panes');
const narrow = matchMedia('(max-width: 760px)');
/** @type {Pane[]} */
let panes = [];
let stacked = false;
/** The pane with the focus. @type {Pane | undefined} */
let active;

function openPanes() {
  const fields = new URLSearchParams(location.hash.replace(/^#/, ''));
  const shares = (fields.get('shares') ?? '').split(',').map(Number);
  stacked = fields.get('stacked') === '1';
  panes = parseLogs(location.search, SPLIT_MAX).map((log, at) => {
    const share = shares[at] > 0 && shares[at] <= 100 ? shares[at] : 1;
    return openPane(log, share, fields.get(String(at + 1)) ?? '');
  });
  [active] = panes;
  layOut();
}

/**
 * @param {string} log
 * @param {number} share
 * @param {string} hash
 * @returns {Pane}
 */
function openPane(log, share, hash) {
  const box = document.createElement('section');
  box.className = 'pane-box';
  box.setAttribute('aria-label', displayPath(log));
  const frame = document.createElement('iframe');
  frame.title = displayPath(log);
  frame.src = serverUrl(`${log}?pane=1${hash === '' ? '' : `#${hash}`}`);
  box.append(frame);
  const pane = { log, box, frame, share, hash };
  frame.addEventListener('load', () => paneLoaded(pane));
  return pane;
}

/** Connects a loaded pane: its keys, its focus, and the target of its links. @param {Pane} pane */
function paneLoaded(pane) {
  const within = pane.frame.contentDocument;
  const { contentWindow } = pane.frame;
  if (within === null || contentWindow === null) return;
  const base = within.createElement('base');
  base.target = '_top';
  within.head.append(base);
  contentWindow.addEventListener('keydown', onKeyDown, true);
  contentWindow.addEventListener('focus', () => activate(pane));
  within.addEventListener('focusin', () => activate(pane));
  within.addEventListener('pointerdown', () => activate(pane));
  if (pane === active) focusPane(pane);
}

/** @param {Pane} pane */
function focusPane(pane) {
  pane.frame.focus();
  const log = /** @type {HTMLElement | null | undefined} */ (pane.frame.contentDocument?.getElementById('log'));
  log?.focus(/** @type {FocusOptions} */ ({ preventScroll: true, focusVisible: false }));
  activate(pane);
  if (narrow.matches) pane.box.scrollIntoView({ block: 'nearest' });
}

/** @param {Pane} pane */
function activate(pane) {
  active = pane;
  for (const one of panes) one.box.toggleAttribute('data-active', one === active);
  showPaneTabs();
}

const divider = makeDividers(container, {
  isVertical: () => container.dataset.stacked === 'true',
  shares: () => panes.map(({ share }) => share),
  set: (shares) => {
    shares.forEach((share, at) => {
      panes[at].share = share;
    });
    setSizes();
    updateUrl();
  },
});

/** Lays out the panes and their dividers. No frame is moved, because it would load again. */
function layOut() {
  container.dataset.stacked = String(stacked || narrow.matches);
  for (const element of container.querySelectorAll('.divider')) element.remove();
  panes.forEach((pane, at) => {
    if (!pane.box.isConnected) container.append(pane.box);
    pane.box.id = `pane-${at + 1}`;
    if (at > 0) pane.box.before(divider.make(at));
  });
  byId('empty').hidden = panes.length > 0;
  container.hidden = panes.length === 0;
  byId('stack').setAttribute('aria-pressed', String(stacked));
  byId('stack').hidden = narrow.matches;
  const logs = panes.map(({ log }) => log);
  byId('merged').setAttribute('href', linkTo(multiLogUrl('merged', logs)));
  setSizes();
  showPaneTabs();
  updateUrl();
}

function setSizes() {
  for (const { box, share } of panes) box.style.setProperty('--share', String(share));
  divider.show();
}

function names() {
  return shortNames(panes.map(({ log }) => displayPath(log)));
}

function showPaneTabs() {
  const members = byId('sources');
  const labels = names();
  while (members.children.length > panes.length) members.lastElementChild?.remove();
  panes.forEach((pane, at) => {
    const member = members.children[at] ?? members.appendChild(drawPaneTab());
    const [go, closeButton] = /** @type {HTMLButtonElement[]} */ ([...member.children]);
    if (go.textContent !== labels[at]) go.textContent = labels[at];
    go.title = `${displayPath(pane.log)} (F6 or Ctrl with an arrow key changes the pane)`;
    go.setAttribute('aria-pressed', String(pane === active));
    closeButton.setAttribute('aria-label', `Close ${labels[at]}`);
    go.onclick = () => focusPane(pane);
    closeButton.onclick = () => closePane(pane);
  });
  showAdd(members);
}

function drawPaneTab() {
  const member = document.createElement('span');
  member.className = 'source';
  const go = document.createElement('button');
  go.type = 'button';
  go.className = 'name';
  const closeButton = document.createElement('button');
  closeButton.type = 'button';
  closeButton.className = 'close';
  closeButton.title = 'Close';
  closeButton.append(icon('close'));
  member.append(go, closeButton);
  return member;
}

/** @param {HTMLElement} members */
function showAdd(members) {
  let add = /** @type {HTMLAnchorElement | null} */ (members.parentElement?.querySelector('.add'));
  if (add === null || add === undefined) {
    add = document.createElement('a');
    add.className = 'tool add';
    add.title = 'Select more logs in the list';
    add.setAttribute('aria-label', 'Select more logs');
    add.append(icon('add'));
    members.after(add);
  }
  add.hidden = panes.length >= SPLIT_MAX;
  add.href = linkTo(`/#${panes.map(({ log }) => `log=${log}`).join('&')}`);
}

/** @param {Pane} pane */
function closePane(pane) {
  const at = panes.indexOf(pane);
  if (at < 0) return;
  pane.box.remove();
  panes.splice(at, 1);
  const next = panes[Math.min(at, panes.length - 1)];
  layOut();
  if (next !== undefined) focusPane(next);
}

/** @param {number} by */
function step(by) {
  if (panes.length === 0) return;
  const at = active === undefined ? 0 : panes.indexOf(active);
  focusPane(panes[(at + by + panes.length) % panes.length]);
}

/** @param {KeyboardEvent} event */
function onKeyDown(event) {
  const target = /** @type {Element | null} */ (event.target);
  const isTyping = target?.closest?.('input, textarea, select') != null;
  const arrows = event.ctrlKey && !event.shiftKey && !event.altKey && !event.metaKey && !isTyping;
  if (event.key === 'F6') step(event.shiftKey ? -1 : 1);
  else if (arrows && (event.key === 'ArrowRight' || event.key === 'ArrowDown')) step(1);
  else if (arrows && (event.key === 'ArrowLeft' || event.key === 'ArrowUp')) step(-1);
  else return;
  event.preventDefault();
  event.stopPropagation();
}

function updateUrl() {
  const fields = new URLSearchParams();
  panes.forEach(({ hash }, at) => {
    if (hash !== '') fields.set(String(at + 1), hash);
  });
  if (panes.some(({ share }) => share !== 1)) fields.set('shares', panes.map(({ share }) => share.toFixed(3)).join(','));
  if (stacked) fields.set('stacked', '1');
  const hash = fields.toString();
  const address = `${multiLogUrl('beside', panes.map(({ log }) => log))}${hash === '' ? '' : `#${hash}`}`;
  if (address !== `${pagePath()}${location.search}${location.hash}`) history.replaceState(null, '', pageUrl(address));
}

function checkPanes() {
  /** @type {string[]} */
  const titles = [];
  const labels = names();
  panes.forEach((pane, at) => {
    const within = pane.frame.contentDocument;
    // A frame with the browser's error page has no accessible document.
    if (within === null || within.URL === 'about:blank') {
      titles.push(labels[at]);
      return;
    }
    pane.hash = within.location.hash.replace(/^#/, '');
    const news = /^\(\d+\) /.exec(within.title)?.[0] ?? '';
    titles.push(`${news}${labels[at]}`);
  });
  const title = titles.join(' | ');
  if (title !== '' && document.title !== title) document.title = title;
  updateUrl();
}

byId('stack').addEventListener('click', () => {
  stacked = !stacked;
  layOut();
});
narrow.addEventListener('change', layOut);
window.addEventListener('keydown', onKeyDown, true);

shareEvents();
openPanes();
checkPanes();
setInterval(checkPanes, CHECK_MS);
