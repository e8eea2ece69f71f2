// Colours what stands in plain lines, by the CSS Custom Highlight API: the text and the elements of a row stay as they
// are. Only the rows on and near the screen have colours. A row that has styles of its own keeps them alone.

import { HAS_HIGHLIGHTS } from './text-ranges.js';
import { tokenize } from './tokens.js';

/** Rows so far above and below the screen have colours, too. Each place that has one costs time to paint. */
export const READING_PX = 300;
/** An element other than a link. */
const STYLED = /<(?!\/?a\b)/;

/**
 * @typedef {import('./tail.js').Entry} Entry
 * @typedef {{html: string, first: Node | null, ranges: [Highlight, StaticRange][]}} Drawn
 */

export class Reading {
  /** @type {Map<string, Highlight>} */
  #highlights = new Map();
  /** The rows that have colours. @type {Map<HTMLElement, Drawn>} */
  #drawn = new Map();

  /**
   * @param {Iterable<Entry>} entries those that get colours
   * @param {boolean} isOn
   */
  show(entries, isOn) {
    if (!HAS_HIGHLIGHTS) return;
    const before = this.#drawn;
    this.#drawn = new Map();
    for (const entry of isOn ? entries : []) {
      const { element } = entry;
      if (entry.marker !== undefined || element === null) continue;
      const drawn = before.get(element);
      // The whole of a long row has other nodes than its beginning.
      const isSame = drawn !== undefined && drawn.html === entry.html && drawn.first === element.firstChild;
      if (isSame) before.delete(element);
      this.#drawn.set(element, isSame ? drawn : this.#draw(element, entry.html));
    }
    for (const { ranges } of before.values()) for (const [highlight, range] of ranges) highlight.delete(range);
  }

  /** @param {HTMLElement} element @param {string} html @returns {Drawn} */
  #draw(element, html) {
    const ranges = STYLED.test(html) ? [] : rangesOf(element).map(([kind, range]) => {
      const highlight = this.#highlightOf(kind);
      highlight.add(range);
      return /** @type {[Highlight, StaticRange]} */ ([highlight, range]);
    });
    return { html, first: element.firstChild, ranges };
  }

  /** @param {string} kind */
  #highlightOf(kind) {
    let highlight = this.#highlights.get(kind);
    if (highlight === undefined) {
      highlight = new Highlight();
      // Those of find and of the reader's own patterns lie above.
      highlight.priority = -1;
      this.#highlights.set(kind, highlight);
      CSS.highlights.set(`token-${kind}`, highlight);
    }
    return highlight;
  }
}

/**
 * What stands where in a row, without its links.
 * @param {HTMLElement} element
 * @returns {[string, StaticRange][]}
 */
function rangesOf(element) {
  /** @type {[string, StaticRange][]} */
  const ranges = [];
  const tokens = tokenize(element.textContent ?? '').filter(([kind]) => kind !== '');
  const walker = document.createTreeWalker(element, NodeFilter.SHOW_TEXT);
  let start = 0;
  let at = 0;
  for (let node = walker.nextNode(); node !== null && at < tokens.length; node = walker.nextNode()) {
    const end = start + /** @type {Text} */ (node).length;
    const isLink = node.parentElement?.closest('a') != null;
    for (let next = at; next < tokens.length && tokens[next][1] < end; next += 1) {
      const [kind, from, to] = tokens[next];
      if (to <= end) at = next + 1;
      if (isLink || to <= start) continue;
      ranges.push([kind, new StaticRange({
        startContainer: node, startOffset: Math.max(from, start) - start, endContainer: node, endOffset: Math.min(to, end) - start,
      })]);
    }
    start = end;
  }
  return ranges;
}
