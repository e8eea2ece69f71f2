// The rows that are on the page: all rows between `from` and `to`, in blocks that are added and removed as a whole.
// When rows above the reader are added, changed or removed, the rows in sight do not move.

import { compare } from './generations.js';
import { drawRows, markStream, redrawRow } from './row.js';

/** The most rows on the page. A browser lays out so many in a few milliseconds. */
export const VIEWPORT_ROWS_MAX = 5_000;
const BLOCK_ROWS = 250;
/** Scroll positions are rounded, so a row with less than one visible pixel does not count as in sight. */
const EDGE_PX = 1;

/**
 * @typedef {import('./generations.js').Position} Position
 * @typedef {import('./tail.js').Entry} Entry
 * @typedef {{element: HTMLElement, entries: Entry[]}} Block
 */

export class RowViewport {
  /** @type {Position} */
  from = { gen: 0, offset: 0 };
  /** The position after the last row. @type {Position} */
  to = { gen: 0, offset: 0 };
  /** Changes whenever the entries do. */
  version = 0;
  /** @type {Block[]} */
  #blocks = [];
  #list;
  #scroller;
  #moved;

  /**
   * @param {HTMLElement} list
   * @param {HTMLElement} scroller
   * @param {() => void} moved called after the viewport scrolled to keep rows in place
   */
  constructor(list, scroller, moved) {
    this.#list = list;
    this.#scroller = scroller;
    this.#moved = moved;
  }

  get length() {
    return this.#blocks.reduce((sum, { entries }) => sum + entries.length, 0);
  }

  get isEmpty() {
    return this.#blocks.length === 0;
  }

  /** The last entry; null if there is none. @returns {Entry | null} */
  get last() {
    return this.#blocks.at(-1)?.entries.at(-1) ?? null;
  }

  /** @returns {Generator<Entry>} */
  * entries() {
    for (const { entries } of this.#blocks) yield* entries;
  }

  /** @param {Position} place */
  covers(place) {
    return compare(this.from, place) <= 0 && compare(place, this.to) < 0;
  }

  /**
   * The row at the position, or the last one before it.
   * @param {Position} place
   * @returns {import('./tail.js').Row | null}
   */
  rowAt(place) {
    let found = null;
    for (const { entries } of this.#blocks) {
      if (compare(entries[0], place) > 0) break;
      for (const entry of entries) {
        if (compare(entry, place) > 0) break;
        if (entry.marker === undefined) found = entry;
      }
    }
    return found;
  }

  /**
   * The next row in the given direction that is not folded.
   * @param {Entry} entry
   * @param {1 | -1} way
   * @returns {import('./tail.js').Row | null}
   */
  neighbour(entry, way) {
    const all = [...this.entries()];
    for (let at = all.indexOf(entry) + way; at >= 0 && at < all.length; at += way) {
      const other = all[at];
      if (other.marker === undefined && !other.element?.hidden) return other;
    }
    return null;
  }

  /**
   * @param {Element} element
   * @returns {Entry | null}
   */
  entryOf(element) {
    const shown = element.closest('.row, .marker');
    const block = this.#blocks.find((one) => one.element === shown?.parentElement);
    return block?.entries.find((entry) => entry.element === shown) ?? null;
  }

  /**
   * @param {Entry[]} entries
   * @param {Position} from
   * @param {Position} to
   */
  replace(entries, from, to) {
    for (const block of this.#blocks) dropBlock(block);
    this.#blocks = [];
    this.#list.replaceChildren();
    this.from = from;
    this.to = to;
    this.#append(entries);
    this.version += 1;
  }

  /**
   * Inserts entries before the first one. The rows in sight do not move.
   * @param {Entry[]} entries
   * @param {Position} from
   */
  prepend(entries, from) {
    this.from = from;
    if (entries.length === 0) return;
    this.keepInPlace(() => {
      drawRows(entries);
      let end = entries.length;
      while (end > 0) {
        const block = newBlock(entries.slice(Math.max(0, end - BLOCK_ROWS), end));
        this.#list.prepend(block.element);
        this.#blocks.unshift(block);
        end -= block.entries.length;
      }
    });
    this.version += 1;
  }

  /**
   * Inserts entries between the others, each at its position. The caller keeps the rows in sight in their place.
   * @param {Entry[]} entries in order
   */
  insert(entries) {
    if (entries.length === 0) return;
    drawRows(entries);
    for (const entry of entries) {
      const element = /** @type {HTMLElement} */ (entry.element);
      const block = this.#blocks.findLast((one) => compare(one.entries[0], entry) <= 0) ?? this.#blocks[0];
      if (block === undefined) {
        this.#append([entry]);
        continue;
      }
      let at = block.entries.length;
      while (at > 0 && compare(block.entries[at - 1], entry) > 0) at -= 1;
      const next = block.entries[at]?.element ?? null;
      block.element.insertBefore(element, next);
      block.entries.splice(at, 0, entry);
    }
    this.version += 1;
  }

  /**
   * Replaces the entries from `cut` on. Rows that stay keep their elements, and with them a selection.
   * @param {Position} cut
   * @param {Entry[]} entries
   * @param {Position} to
   */
  patch(cut, entries, to) {
    const stale = this.#takeFrom(cut);
    let kept = 0;
    while (kept < stale.length && kept < entries.length && this.#keep(stale[kept], entries[kept])) kept += 1;
    for (const entry of stale.slice(kept)) {
      this.#remove(entry.element);
      entry.element = null;
    }
    this.#append(entries);
    this.to = to;
    this.version += 1;
  }

  /**
   * Removes blocks at the top until `max` rows are left. Blocks in sight, or with one of the spared nodes, stay.
   * @param {number} max
   * @param {(Node | null)[]} spared
   */
  trimTop(max, spared) {
    const edge = this.#scroller.getBoundingClientRect().top - this.#scroller.clientHeight;
    let rows = this.length;
    let gone = 0;
    while (rows > max && gone < this.#blocks.length - 1) {
      const { element, entries } = this.#blocks[gone];
      if (element.getBoundingClientRect().bottom > edge || spared.some((node) => element.contains(node))) break;
      rows -= entries.length;
      gone += 1;
    }
    if (gone === 0) return;
    this.keepInPlace(() => {
      for (const block of this.#blocks.splice(0, gone)) dropBlock(block);
    });
    const { gen, offset } = this.#blocks[0].entries[0];
    this.from = { gen, offset };
    this.version += 1;
  }

  /**
   * The same at the bottom. Returns whether a block was removed.
   * @param {number} max
   * @param {(Node | null)[]} spared
   */
  trimBottom(max, spared) {
    const edge = this.#scroller.getBoundingClientRect().bottom + this.#scroller.clientHeight;
    let rows = this.length;
    let trimmed = false;
    while (rows > max && this.#blocks.length > 1) {
      const last = this.#blocks[this.#blocks.length - 1];
      if (last.element.getBoundingClientRect().top < edge || spared.some((node) => last.element.contains(node))) break;
      rows -= last.entries.length;
      dropBlock(last);
      this.#blocks.pop();
      const { gen, offset } = last.entries[0];
      this.to = { gen, offset };
      trimmed = true;
    }
    if (trimmed) this.version += 1;
    return trimmed;
  }

  /**
   * Makes a change that may move the rows in sight, then scrolls them back into place.
   * @param {() => void} change
   */
  keepInPlace(change) {
    const entry = this.firstInSight();
    const before = entry?.element?.getBoundingClientRect().top ?? 0;
    change();
    if (!entry?.element?.isConnected) return;
    const moved = entry.element.getBoundingClientRect().top - before;
    if (moved === 0) return;
    this.#scroller.scrollTop += moved;
    this.#moved();
  }

  /**
   * The first entry in sight.
   * @returns {Entry | null}
   */
  firstInSight() {
    return this.inSight().next().value ?? null;
  }

  /**
   * The entries in sight, and those within `margin` pixels above and below.
   * @param {number} [margin]
   * @returns {Generator<Entry>}
   */
  * inSight(margin = 0) {
    const box = this.#scroller.getBoundingClientRect();
    const [upper, lower] = [box.top - margin, box.bottom + margin];
    for (const { element, entries } of this.#blocks) {
      const box = element.getBoundingClientRect();
      if (box.bottom <= upper) continue;
      if (box.top >= lower) return;
      const first = box.top >= upper ? 0 : firstThat(entries, (row) => row.bottom > upper + EDGE_PX);
      const end = box.bottom <= lower ? entries.length : firstThat(entries, (row) => row.top >= lower);
      for (let at = first; at < end; at += 1) if (!entries[at].element?.hidden) yield entries[at];
    }
  }

  /**
   * @param {Entry} before
   * @param {Entry} after
   */
  #keep(before, after) {
    if (before === after) return true;
    if (before.marker !== undefined || after.marker !== undefined || compare(before, after) !== 0 || before.element === null) return false;
    after.element = before.element;
    after.line ??= before.line;
    after.time ??= before.time;
    redrawRow(before.element, after.html);
    markStream(before.element, after.annotation);
    return true;
  }

  /** Removes and returns the entries from `cut` on. Their elements stay on the page. @param {Position} cut */
  #takeFrom(cut) {
    /** @type {Entry[]} */
    const stale = [];
    for (;;) {
      const block = this.#blocks[this.#blocks.length - 1];
      if (block === undefined) break;
      let first = block.entries.length;
      while (first > 0 && compare(block.entries[first - 1], cut) >= 0) first -= 1;
      stale.unshift(...block.entries.splice(first));
      if (block.entries.length > 0) break;
      this.#blocks.pop();
    }
    return stale;
  }

  /** @param {Entry[]} entries */
  #append(entries) {
    drawRows(entries.filter(({ element }) => element === null));
    for (const entry of entries) {
      const element = /** @type {HTMLElement} */ (entry.element);
      const block = this.#lastBlock(element);
      block.entries.push(entry);
      if (element.parentElement !== block.element) block.element.append(element);
    }
  }

  /** The block for the next entry, whose element may already be in one. @param {HTMLElement} element */
  #lastBlock(element) {
    const last = this.#blocks[this.#blocks.length - 1];
    if (last !== undefined && (last.entries.length < BLOCK_ROWS || element.parentElement === last.element)) return last;
    const standing = element.parentElement;
    const block = newBlock([]);
    if (standing?.parentElement === this.#list) block.element = standing;
    else this.#list.append(block.element);
    this.#blocks.push(block);
    return block;
  }

  /** @param {HTMLElement | null} element */
  #remove(element) {
    const block = element?.parentElement;
    if (element?.nextElementSibling?.matches('.opened')) element.nextElementSibling.remove();
    element?.remove();
    if (block?.childElementCount === 0) block.remove();
  }
}

/**
 * The index of the first entry for which `holds` is true; it must be true for all later ones. The search is binary,
 * because each call makes the browser compute the layout.
 * @param {Entry[]} entries
 * @param {(row: DOMRect) => boolean} holds
 */
function firstThat(entries, holds) {
  let low = 0;
  let high = entries.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    let shown = middle;
    // A folded row has no position on the page.
    while (shown < high && entries[shown].element?.hidden) shown += 1;
    const element = /** @type {HTMLElement} */ (entries[shown]?.element);
    if (shown === high || holds(element.getBoundingClientRect())) high = middle;
    else low = shown + 1;
  }
  return low;
}

/**
 * @param {Entry[]} entries
 * @returns {Block}
 */
function newBlock(entries) {
  const element = document.createElement('div');
  element.className = 'block';
  element.append(...entries.map((entry) => /** @type {HTMLElement} */ (entry.element)));
  return { element, entries };
}

/** @param {Block} block */
function dropBlock({ element, entries }) {
  element.remove();
  for (const entry of entries) entry.element = null;
}

/** The nodes in which the reader's selection begins and ends. A block with one of them must stay on the page. */
export function selectedNodes() {
  const selection = document.getSelection();
  return selection === null || selection.isCollapsed ? [] : [selection.anchorNode, selection.focusNode];
}
