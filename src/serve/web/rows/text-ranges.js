// Places in a row's text as ranges of the document, for the CSS Custom Highlight API.

/** Whether the browser has that API. */
export const HAS_HIGHLIGHTS = typeof Highlight === 'function' && 'highlights' in CSS;

/**
 * The ranges of places in an element's text.
 * @param {HTMLElement} element
 * @param {[from: number, to: number][]} places in ascending order
 * @returns {StaticRange[]}
 */
export function textRanges(element, places) {
  /** @type {StaticRange[]} */
  const ranges = [];
  const walker = document.createTreeWalker(element, NodeFilter.SHOW_TEXT);
  let node = /** @type {Text | null} */ (walker.nextNode());
  let start = 0;
  for (const [from, to] of places) {
    while (node !== null && start + node.length <= from) {
      start += node.length;
      node = /** @type {Text | null} */ (walker.nextNode());
    }
    if (node === null) break;
    const [startContainer, startOffset] = [node, from - start];
    // The next place may begin in the text node that contains this end.
    while (start + node.length < to) {
      const next = /** @type {Text | null} */ (walker.nextNode());
      if (next === null) break;
      start += node.length;
      node = next;
    }
    ranges.push(new StaticRange({ startContainer, startOffset, endContainer: node, endOffset: Math.min(to - start, node.length) }));
  }
  return ranges;
}
