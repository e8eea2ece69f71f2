// The reader's favourite logs. The browser stores them for all its windows.

const STORE = 'tailcast.stars';
const STARS_MAX = 1_000;

export class Favourites {
  /** @type {Set<string>} */
  logs = read();

  /** @param {() => void} changed called when another window changed them */
  constructor(changed) {
    window.addEventListener('storage', (event) => {
      if (event.key !== STORE) return;
      this.logs = read();
      changed();
    });
  }

  /** @param {string} log */
  toggle(log) {
    if (!this.logs.delete(log)) this.logs.add(log);
    try {
      localStorage.setItem(STORE, JSON.stringify([...this.logs].slice(-STARS_MAX)));
    } catch {
      // Without storage they last as long as the page.
    }
  }
}

/** @returns {Set<string>} */
function read() {
  try {
    const stored = JSON.parse(localStorage.getItem(STORE) ?? '[]');
    return new Set(Array.isArray(stored) ? stored.filter((log) => typeof log === 'string') : []);
  } catch {
    return new Set();
  }
}
