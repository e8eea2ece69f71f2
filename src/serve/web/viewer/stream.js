// What the live stream says, put where it belongs: rows into the tail, files into the spans, and what happened between
// them as markers into both.

import { Spans } from '../rows/generations.js';
import { Tail } from '../rows/tail.js';
import { clock, size } from '../ui/units.js';

export class Stream {
  spans = new Spans();
  tail = new Tail();
  /** Rows from this offset on are news; earlier ones were there when the stream began. */
  #newsFrom = Infinity;

  /**
   * Takes a message. Returns how many rows of it are new, and whether any byte of it is.
   * @param {import('../net/wire.js').Message} message
   * @param {boolean} resuming
   * @returns {{fresh: number, news: boolean}}
   */
  hear(message, resuming) {
    switch (message.type) {
      case 'open':
        this.#open(message, resuming);
        break;
      case 'rows': {
        const span = this.spans.present;
        if (span < 0) break;
        const fresh = this.tail.patch(message, span, this.#newsFrom, Date.now());
        this.spans.advance(message.next);
        return { fresh, news: message.next > this.#newsFrom || fresh > 0 };
      }
      case 'gap': {
        const words = message.to === null
          ? `bytes from ${message.from} on left out`
          : `${size(message.to - message.from)} left out (bytes ${message.from} to ${message.to})`;
        this.#note('gap', words, message.from);
        if (message.to !== null) this.spans.advance(message.to);
        break;
      }
      case 'reset':
        this.#newsFrom = 0;
        this.#begin(message.generation, message.from, message.reason, resetWords(message.reason));
        break;
      case 'signed':
        this.spans.rename(message.generation);
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
      this.spans.rename(message.generation);
      this.spans.advance(message.size);
      return;
    }
    this.#newsFrom = message.size;
    if (this.spans.present < 0) {
      // What lies before the stream is in the same file, and is loaded when it is looked at.
      this.spans.begin(message.generation, 0, message.size);
      this.tail.start({ span: this.spans.present, offset: message.from });
    } else {
      this.#note('not-resumed', `could not resume at ${clock(Date.now())}: lines may be missing here, or repeat`, this.tail.to.offset);
    }
  }

  /**
   * @param {string | number} generation
   * @param {number} from
   * @param {string} mark
   * @param {string} text
   */
  #begin(generation, from, mark, text) {
    const isFirst = this.spans.present < 0;
    this.spans.begin(generation, from, from, { mark, text });
    const place = { span: this.spans.present, offset: from };
    if (isFirst) this.tail.start(place);
    this.tail.mark({ ...place, mark, text, element: null });
  }

  /**
   * @param {string} mark
   * @param {string} text
   * @param {number} offset
   */
  #note(mark, text, offset) {
    if (this.spans.present < 0) return;
    this.spans.note({ offset, mark, text });
    this.tail.mark({ span: this.spans.present, offset, mark, text, element: null });
  }
}

/** @param {string} reason */
export function resetWords(reason) {
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
