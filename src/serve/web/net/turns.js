// Which pages of this browser hold a stream of events. The pages tell each other when they were last visible; those in
// sight come first, then those that were so last. The others leave connections free for the requests of all.

/** Two of the six connections of HTTP/1.1 stay free. */
const HELD_MAX = 4;
const TELL_MS = 60_000;
/** A page that has told nothing for so long is gone. The timers of a hidden page may be a minute late. */
const SILENT_MS = 150_000;

/**
 * @typedef {'long' | 'short' | 'none'} Turn whether a page may hold a stream, for a moment, or not at all
 *
 * @typedef {{id: string, wants: boolean, hidden: boolean, at: number, asks: boolean}} Told what a page tells: whether it
 *   wants a stream, whether it is hidden and since when, and whether it asks the others to tell the same
 */

/** @param {() => void} changed called when the turn has changed */
export function askTurns(changed) {
  return new Turns(changed);
}

class Turns {
  /** @type {Turn} */
  turn;
  #id = `${Date.now()}-${Math.random()}`;
  #wants = false;
  #frozen = false;
  #at = Date.now();
  /** @type {Map<string, {told: Told, heardAt: number}>} */
  #others = new Map();
  #channel = typeof BroadcastChannel === 'function' ? new BroadcastChannel('tailcast-events') : null;
  #changed;

  /** @param {() => void} changed */
  constructor(changed) {
    this.#changed = changed;
    this.turn = this.#find();
    this.#channel?.addEventListener('message', (event) => this.#hear(event.data));
    document.addEventListener('visibilitychange', () => this.#seen());
    // A frozen page can't let a stream go later.
    document.addEventListener('freeze', () => this.#freeze(true));
    document.addEventListener('resume', () => this.#freeze(false));
    window.addEventListener('pagehide', () => this.#freeze(true));
    window.addEventListener('pageshow', () => this.#freeze(false));
    setInterval(() => {
      if (!this.#wants) return;
      this.#tell(false);
      this.#update();
    }, TELL_MS);
  }

  /** Says whether this page wants a stream. @param {boolean} wants */
  want(wants) {
    if (this.#wants === wants) return;
    this.#wants = wants;
    this.#tell(wants);
    this.turn = this.#find();
  }

  #seen() {
    this.#at = Date.now();
    if (this.#wants) this.#tell(true);
    this.#update();
  }

  /** @param {boolean} frozen */
  #freeze(frozen) {
    if (this.#frozen === frozen) return;
    this.#frozen = frozen;
    this.#tell(!frozen && this.#wants);
    this.#update();
  }

  /** @param {boolean} asks */
  #tell(asks) {
    /** @type {Told} */
    const told = { id: this.#id, wants: this.#wants && !this.#frozen, hidden: document.hidden, at: this.#at, asks };
    this.#channel?.postMessage(told);
  }

  /** @param {Told} told */
  #hear(told) {
    if (told.wants) this.#others.set(told.id, { told, heardAt: Date.now() });
    else this.#others.delete(told.id);
    if (told.asks && this.#wants) this.#tell(false);
    this.#update();
  }

  #update() {
    const turn = this.#find();
    if (turn === this.turn) return;
    this.turn = turn;
    if (this.#wants) this.#changed();
  }

  /** @returns {Turn} */
  #find() {
    const { hidden } = document;
    if (this.#frozen) return 'none';
    if (this.#channel === null) return hidden ? 'none' : 'long';
    let before = 0;
    for (const [id, { told, heardAt }] of this.#others) {
      if (Date.now() - heardAt > SILENT_MS) this.#others.delete(id);
      else if (told.hidden !== hidden) before += Number(hidden);
      else if (told.at > this.#at || (told.at === this.#at && id > this.#id)) before += 1;
    }
    if (before < HELD_MAX) return 'long';
    return hidden ? 'none' : 'short';
  }
}
