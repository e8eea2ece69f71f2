// Goes to a time, in the present file or in an old one.

/**
 * @typedef {object} Parts
 * @property {import('../net/api.js').LogApi} api
 * @property {import('./old-files.js').OldFiles} oldFiles
 * @property {import('./seek.js').Seek} seek
 * @property {import('./line-selection.js').LineSelection} selection
 */

/**
 * Goes to the first line of the log that is not before a time, or to the end if there is none.
 * @param {Parts} parts
 * @param {string} time as the server takes it
 * @param {AbortSignal} signal
 * @param {() => void} [found] called before the view moves
 */
export async function goToTime({ api, oldFiles, seek, selection }, time, signal, found = () => {}) {
  const answer = await api.rowsAt(time, signal);
  const gen = await oldFiles.numberOf(answer);
  signal.throwIfAborted();
  found();
  const [first] = answer.rows;
  if (first === undefined) seek.toEnd();
  else selection.moveTo(await seek.reveal({ gen, offset: first[0] }, 'middle'));
}
