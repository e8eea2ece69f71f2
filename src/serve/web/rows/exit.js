// The end of a command: what the page says about it, in the status bar and behind the row on which it ended.

import { formatSpan } from '../ui/units.js';
import { appendControl } from './row.js';

/**
 * How the command ended on whose last row an entry is; null if none did.
 * @param {import('./tail.js').Entry | undefined} entry
 * @returns {import('../ui/status.js').Finish | null}
 */
export function finishOf(entry) {
  return entry === undefined || entry.marker !== undefined ? null : finishIn(entry.annotation);
}

/**
 * @param {import('../net/wire.js').RowAnnotation | null | undefined} annotation
 * @returns {import('../ui/status.js').Finish | null}
 */
export function finishIn(annotation) {
  if (annotation?.exit === undefined) return null;
  return { status: annotation.exit.status, ms: annotation.duration ?? null };
}

/** @param {import('../ui/status.js').Finish} finish */
export function finishText(finish) {
  const how = finish.status === null ? '' : ` with ${finish.status}`;
  const after = finish.ms === null ? '' : ` after ${formatSpan(finish.ms)}`;
  return `finished${how}${after}`;
}

/**
 * Says it behind the rows.
 * @param {import('./tail.js').Entry[]} entries
 */
export function showFinishes(entries) {
  for (const entry of entries) {
    const { element } = entry;
    if (element === null) continue;
    const finish = finishOf(entry);
    const shown = /** @type {HTMLElement | null} */ (element.querySelector(':scope > .finish'));
    if (finish === null) {
      shown?.remove();
      continue;
    }
    const sign = shown ?? document.createElement('span');
    sign.className = 'finish';
    sign.dataset.words = finishText(finish);
    sign.dataset.failed = String(finish.status !== null && finish.status !== 0);
    if (shown !== null) continue;
    appendControl(element, sign);
    // Before the line break that gives an empty row its height.
    if (entry.marker === undefined && entry.html === '') element.prepend(sign);
  }
}
