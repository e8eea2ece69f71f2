// Goes to a time, in the present file or in an old one.

/**
 * @typedef {object} Parts
 * @property {import('../net/api.js').LogApi} api
 * @property {import('./old-files.js').OldFiles} oldFiles
 * @property {import('./seek.js').Seek} seek
 * @property {import('./line-selection.js').LineSelection} selection
 */

/**
 * Asks for the first line of the log that is not before a time. Returns what goes there, or to the end if there is none.
 * @param {Parts} parts
 * @param {string} time as the server takes it
 * @param {AbortSignal} signal
 * @returns {Promise<() => unknown>}
 */
export async function findTime({ api, oldFiles, seek, selection }, time, signal) {
  const answer = await api.rowsAt(time, signal);
  const gen = await oldFiles.numberOf(answer);
  signal.throwIfAborted();
  const [first] = answer.rows;
  if (first === undefined) return () => seek.toEnd();
  return async () => selection.moveTo(await seek.reveal({ gen, offset: first[0] }, 'middle'));
}
