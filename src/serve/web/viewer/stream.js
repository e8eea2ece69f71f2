// Applies the messages of the live stream: adds rows to the tail, generations to their list, and markers to both.

import { Generations } from '../rows/generations.js';
import { Tail } from '../rows/tail.js';
import { formatClock, formatSize } from '../ui/units.js';

export class Stream {
  generations = new Generations();
  tail = new Tail();
  /** Rows from this offset on are new; earlier ones existed when the stream began. */
  #newsFrom = Infinity;
  /** The log could not be read when the server last told of it. */
  #isWaiting = false;

  /**
   * Applies a message. Returns the number of its new rows, and whether any byte is new.
   * @param {import('../net/wire.js').Message} message
   * @param {boolean} resuming
   * @returns {{fresh: number, news: boolean}}
   */
  handle(message, resuming) {
    const wasWaiting = this.#isWaiting;
    this.#isWaiting = message.type === 'waiting';
    switch (message.type) {
      case 'open':
        this.#open(message, resuming);
        break;
      case 'rows': {
        const gen = this.generations.currentGen;
        if (gen < 0) break;
        const fresh = this.tail.patch(message, gen, this.#newsFrom, Date.now());
        this.generations.extendTo(message.next);
        return { fresh, news: message.next > this.#newsFrom || fresh > 0 };
      }
      case 'gap': {
        const words = message.to === null
          ? `lines may be missing here, after byte ${message.from}`
          : `${formatSize(message.to - message.from)} left out (bytes ${message.from} to ${message.to})`;
        this.#addMarker('gap', words, message.from);
        if (message.to !== null) this.generations.extendTo(message.to);
        break;
      }
      case 'reset':
        this.#newsFrom = 0;
        this.#addGeneration(message.generation, message.from, message.reason, resetWords(message.reason, wasWaiting));
        break;
      case 'signed':
        this.generations.renameCurrent(message.generation);
        break;
    }
    return { fresh: 0, news: false };
  }

  /**
   * @param {import('../net/wire.js').Open} message
   * @param {boolean} resuming
   */
  #open(message, resuming) {
    if (resuming && message.recovered) {
      this.#newsFrom = 0;
      this.generations.renameCurrent(message.generation);
      this.generations.extendTo(message.size);
      return;
    }
    this.#newsFrom = message.size;
    if (this.generations.currentGen < 0) {
      // Rows before the stream's start belong to the same file. They are loaded when the reader scrolls up to them.
      this.generations.add(message.generation, 0, message.size);
      this.tail.start({ gen: this.generations.currentGen, offset: message.from });
    } else {
      this.#addMarker('not-resumed', `could not resume at ${formatClock(Date.now())}: lines may be missing or repeated here`, this.tail.to.offset);
    }
  }

  /**
   * @param {string | number} generation
   * @param {number} from
   * @param {string} marker
   * @param {string} text
   */
  #addGeneration(generation, from, marker, text) {
    const isFirst = this.generations.currentGen < 0;
    this.generations.add(generation, from, from, { marker, text });
    const place = { gen: this.generations.currentGen, offset: from };
    if (isFirst) this.tail.start(place);
    this.tail.addMarker({ ...place, marker, text, element: null });
  }

  /**
   * @param {string} marker
   * @param {string} text
   * @param {number} offset
   */
  #addMarker(marker, text, offset) {
    if (this.generations.currentGen < 0) return;
    this.generations.addMarker({ offset, marker, text });
    this.tail.addMarker({ gen: this.generations.currentGen, offset, marker, text, element: null });
  }
}

/**
 * @param {string} reason
 * @param {boolean} wasWaiting whether the log could not be read before
 */
export function resetWords(reason, wasWaiting) {
  const at = formatClock(Date.now());
  switch (reason) {
    case 'rotated': return `rotated at ${at}: a new file begins`;
    case 'truncated': return `truncated at ${at}: the file begins again`;
    case 'replaced': return `replaced at ${at}: another file begins`;
    case 'late': return 'late lines of the rotated file';
    case 'back': return wasWaiting ? `can be read again since ${at}` : 'back to the current file';
    default: return `${reason} at ${at}`;
  }
}
