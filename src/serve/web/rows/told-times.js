// The times of rows as the server reads them: it knows more forms than the page, and which of them the log has.

/**
 * @typedef {import('../merged/merged-api.js').FilePlace} FilePlace
 * @typedef {{time: number | null, key: number | null}} Told the time of a row, and where it stands among the rows of other logs
 */

/**
 * Asks for the times of rows that follow each other in a file.
 * @param {(place: FilePlace, count: number) => Promise<import('../merged/merged-api.js').MergedRows>} ask the rows from a place on
 * @param {FilePlace} first
 * @param {number} count
 * @param {(generation: string) => boolean} isTheirs whether a generation is that of the rows
 * @returns {Promise<Map<number, Told>>} by the offsets of the rows; some may be missing
 */
export async function askTimes(ask, first, count, isTheirs) {
  const answer = await ask(first, count);
  const theirs = answer.files.map(({ generation }) => isTheirs(generation));
  /** @type {Map<number, Told>} */
  const told = new Map();
  answer.rows.forEach(([offset], at) => {
    if (theirs[answer.of[at]]) told.set(offset, { time: answer.times[at], key: answer.keys[at] });
  });
  return told;
}
