// The status bar: the state of the connection, and the age, size and watch mode of the log.

import { refusalText } from '../net/refusal.js';
import { finishText } from '../rows/exit.js';
import { byId, setText } from './dom.js';
import { formatAge, formatClock, formatSize, plural } from './units.js';

const ANNOUNCE_MS_MIN = 3_000;
/** New lines are counted for this long before a screen reader announces their number. */
const NEWS_MS = 5_000;

/** The status bar has room for this many names. */
const NAMES_SHOWN_MAX = 3;

const WAITING = {
  missing: ['the file does not exist yet', 'Waiting for the file', 'The file does not exist yet. Its lines appear here as soon as it is created.'],
  untailable: ['not a regular file', 'This is not a regular file', 'There is a directory or a device at this path. Lines appear here as soon as there is a regular file.'],
  unreadable: ['the server may not read it', 'The server may not read this file', 'The permissions of the file do not allow it. Lines appear here as soon as they do.'],
  unreachable: ['its machine does not answer', 'The machine of this log does not answer', 'It may be off, or the network is down. Lines appear here as soon as it answers.'],
};

/**
 * @typedef {object} Facts
 * @property {import('../net/connection.js').Phase} phase
 * @property {string | null} waiting why there is no file to read
 * @property {boolean} following
 * @property {boolean} empty whether no line is on the page
 * @property {number} newLines lines that arrived below a paused view
 * @property {number | null} lostAt time of the loss of the connection
 * @property {number} openedAt time at which this page first opened the log, or 0
 * @property {number} heardAt time at which the last live byte (not history) arrived, or 0
 * @property {number | null} size of the log in bytes
 * @property {string | null} watch
 * @property {import('../net/wire.js').Viewers | null} viewers who views the log
 * @property {SpanState} [span] whether a span of time is shown alone
 * @property {Finish | null} finish how the command ended whose output the log is, if nothing came after its end
 *
 * @typedef {'' | 'open' | 'over'} SpanState empty if all of the log is shown; lines may still come into a span that is open
 * @typedef {{status: number | null, ms: number | null}} Finish the exit status of a command, and how long it ran
 *
 * @typedef {object} StatusText
 * @property {string} state stable name, for tests and style sheets
 * @property {string} glyph
 * @property {string} word
 * @property {string} [detail]
 * @property {string} [announce] text for screen readers instead of the word, without a countdown
 * @property {[title: string, text: string]} [notice] text on an empty page
 * @property {boolean} [retry] whether the retry button is shown
 */

/** What a page says that shows a span of the past alone. @type {StatusText} */
export const SPAN_OVER = {
  state: 'over', glyph: 'ended', word: 'Past span', detail: 'no new lines come into it', notice: ['No line in this span', 'Show all of the log again with the cross beside the span.'],
};
/** What it says behind the state while lines may come into the span. */
export const SPAN_OPEN = 'only the chosen span';

/**
 * @param {import('./histogram.js').Span | null} span that is shown alone
 * @param {number} now
 * @returns {SpanState}
 */
export function spanState(span, now) {
  if (span === null) return '';
  return span.until <= now ? 'over' : 'open';
}

/**
 * @param {Facts} facts
 * @param {number} now
 * @returns {StatusText}
 */
export function describe(facts, now) {
  const { phase, finish } = facts;
  if (finish !== null && (phase.name === 'connecting' || (phase.name === 'retry' && phase.reason === 'lost'))) {
    // Whoever ran the command may have served it until its end. There is nothing to worry about.
    const isRetrying = phase.name === 'retry';
    return { ...finished(finish), detail: isRetrying ? 'the server has ended, too' : '', retry: isRetrying };
  }
  switch (phase.name) {
    case 'connecting':
      return { state: 'connecting', glyph: 'busy', word: facts.lostAt === null ? 'Connecting' : 'Reconnecting', detail: lostText(facts.lostAt) };
    case 'retry': {
      const wait = `${Math.max(1, Math.ceil((phase.at - now) / 1000))} s`;
      if (phase.reason === 'full') {
        return {
          state: 'full', glyph: 'busy', word: 'Server full', detail: `next try in ${wait}`, retry: true,
          notice: ['The server has its maximum number of viewers', 'This page tries again by itself.'],
        };
      }
      if (phase.reason === 'incompatible') {
        return {
          state: 'incompatible', glyph: 'refused', word: 'Incompatible server', detail: `next try in ${wait}`, retry: true,
          notice: ['The server does not speak the protocol of this page', 'The server may have another version: reload the page. A proxy may also change the messages.'],
        };
      }
      if (phase.reason === 'refused') {
        const text = phase.refusal === null ? '' : refusalText(phase.refusal);
        return { state: 'refused', glyph: 'refused', word: 'Refused', detail: `${text} Next try in ${wait}`, retry: true, notice: ['The server refuses this page', text] };
      }
      return {
        state: 'reconnecting', glyph: 'busy', word: `Reconnecting in ${wait}`, announce: 'Connection lost, reconnecting', detail: lostText(facts.lostAt), retry: true,
        notice: ['No answer from the server', 'This page tries again by itself.'],
      };
    }
    case 'signed-out':
      return {
        state: 'signed-out', glyph: 'refused', word: 'Signed out', detail: 'sign in to go on where the page stopped', retry: true,
        notice: ['You are signed out', 'Sign in to see this log.'],
      };
    case 'forbidden':
      return {
        state: 'forbidden', glyph: 'refused', word: 'Forbidden', detail: phase.message, retry: true,
        notice: ['This file is not served', 'It is outside what you may read on this server.'],
      };
    case 'not-found':
      return {
        state: 'not-found', glyph: 'refused', word: 'Not found', detail: phase.message, retry: true,
        notice: ['No such log', 'There is no log with this path.'],
      };
    case 'ended':
      if (finish !== null) return finished(finish);
      return { state: 'ended', glyph: 'ended', word: 'Ended', detail: 'no more lines will come', notice: ['The log is empty', 'It ended without a line.'] };
    case 'open':
      if (facts.waiting !== null) {
        const [detail, title, text] = WAITING[/** @type {keyof typeof WAITING} */ (facts.waiting)] ?? [facts.waiting, 'Waiting for the file', ''];
        return { state: 'waiting', glyph: 'waiting', word: 'Waiting', detail, notice: [title, text] };
      }
      if (facts.span === 'over') return SPAN_OVER;
      if (!facts.following) {
        return { state: 'paused', glyph: 'paused', word: 'Paused', detail: belowText(facts.newLines) };
      }
      if (finish !== null) return finished(finish);
      return { state: 'live', glyph: 'live', word: 'Live', ...(facts.span === 'open' && { detail: SPAN_OPEN }), notice: ['No lines yet', 'The log is empty. The first line appears here when it is written.'] };
  }
}

/** @param {Finish} finish @returns {StatusText} */
function finished(finish) {
  const hasFailed = finish.status !== null && finish.status !== 0;
  return {
    state: hasFailed ? 'failed' : 'finished', glyph: hasFailed ? 'refused' : 'ended', word: finishText(finish),
    notice: ['The command printed nothing', `It ${finishText(finish)}.`],
  };
}

/** @param {number} lines */
function belowText(lines) {
  if (lines === 0) return '';
  return `${plural(lines, 'new line')} below`;
}

/** @param {number | null} at */
function lostText(at) {
  return at === null ? '' : `connection lost at ${formatClock(at)}; the page resumes where it stopped`;
}

export class StatusBar {
  #state = byId('state');
  #glyph = /** @type {SVGUseElement} */ (document.querySelector('#state use'));
  #word = byId('state-word');
  #detail = byId('state-detail');
  #retry = byId('retry');
  #age = byId('age');
  #watch = byId('watch');
  #transport = byId('transport');
  /** The page's text about a proxy that blocks WebSockets. */
  #blockedTitle = this.#transport.title;
  #viewers = byId('viewers');
  #size = byId('size');
  #notice = byId('notice');
  #noticeTitle = byId('notice-title');
  #noticeText = byId('notice-text');
  #announce = byId('announce');
  #announced = '';
  #announcedAt = 0;
  /** The number of new lines that were not announced yet. */
  #unannounced = 0;
  /** The arrival time of the first of them. */
  #unannouncedSince = 0;

  /**
   * Counts lines for the next announcement.
   * @param {number} lines
   */
  countNewLines(lines) {
    if (this.#unannounced === 0) this.#unannouncedSince = Date.now();
    this.#unannounced += lines;
  }

  /** @param {Facts} facts */
  show(facts) {
    const now = Date.now();
    const words = describe(facts, now);
    this.#state.dataset.state = words.state;
    this.#glyph.setAttribute('href', `#glyph-${words.glyph}`);
    setText(this.#word, words.word);
    setText(this.#detail, words.detail ?? '');
    this.#retry.hidden = !words.retry;
    setText(this.#age, lastLineText(facts, now));
    this.#watch.hidden = facts.watch !== 'poll';
    setText(this.#watch, 'polling');
    this.#watch.title = 'The file system sends no events, so the server checks the file every 2 s';
    this.#showTransport(facts.phase);
    setText(this.#viewers, viewersText(facts));
    this.#viewers.title = facts.viewers?.names?.join(', ') ?? 'Who views this log now';
    setText(this.#size, facts.size === null ? '' : formatSize(facts.size));
    this.#notice.hidden = !facts.empty || words.notice === undefined;
    setText(this.#noticeTitle, words.notice?.[0] ?? '');
    setText(this.#noticeText, words.notice?.[1] ?? '');
    this.#announceChange(words.announce ?? words.word, now);
  }

  /** @param {import('../net/connection.js').Phase} phase */
  #showTransport(phase) {
    const isEvents = phase.name === 'open' && phase.transport === 'events';
    this.#transport.hidden = !isEvents;
    if (!isEvents) return;
    setText(this.#transport, phase.refusal === null ? 'no WebSocket' : 'WebSocket refused');
    this.#transport.title = phase.refusal === null ? this.#blockedTitle : `${refusalText(phase.refusal)} Until then the lines arrive as server-sent events.`;
  }

  /**
   * Announces a changed state, and from time to time the number of new lines. Short-lived states are skipped.
   * @param {string} words
   * @param {number} now
   */
  #announceChange(words, now) {
    if (now - this.#announcedAt < ANNOUNCE_MS_MIN) return;
    if (words !== this.#announced) {
      this.#announced = words;
      this.#announce.textContent = words;
    } else if (this.#unannounced > 0 && now - this.#unannouncedSince >= NEWS_MS) {
      // A new node, because screen readers may not announce the same text again.
      this.#announce.replaceChildren(plural(this.#unannounced, 'new line'));
      this.#unannounced = 0;
    } else {
      return;
    }
    this.#announcedAt = now;
  }
}

/**
 * Who views the log; empty while it is this page alone, or not known. Someone with two pages has one name.
 * @param {Facts} facts
 */
export function viewersText({ phase, viewers }) {
  if (phase.name !== 'open' || viewers === null) return '';
  const names = viewers.names ?? [];
  if ((names.length || viewers.count) < 2) return '';
  if (names.length === 0) return plural(viewers.count, 'viewer');
  const more = names.length - NAMES_SHOWN_MAX;
  return names.slice(0, NAMES_SHOWN_MAX).join(', ') + (more > 0 ? ` +${more}` : '');
}

/**
 * @param {Facts} facts
 * @param {number} now
 */
function lastLineText(facts, now) {
  if (facts.heardAt > 0) return `last line ${formatAge(now - facts.heardAt)}`;
  if (facts.openedAt > 0 && facts.waiting === null) return `no new line since ${formatClock(facts.openedAt)}`;
  return '';
}
