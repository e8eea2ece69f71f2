// The client of the server's merge: rows of several logs by their times.

import { bounded, errorText, Invalid } from '../net/api.js';
import { noteIdentity } from '../net/signed-out.js';
import { serverUrl } from '../net/wire.js';

/**
 * @typedef {{generation: string, offset: number}} FilePlace a position in a log
 *
 * @typedef {object} LogRead what there is of one log
 * @property {FilePlace} from its first row in the answer or behind it
 * @property {FilePlace} next its first row behind the answer
 * @property {boolean} at_start
 * @property {boolean} at_end
 * @property {FilePlace | null} live where a stream goes on
 * @property {number | null} key of the last row before `live`
 * @property {boolean} timed whether its lines say times
 *
 * @typedef {{error: string, message: string}} LogFailed why a log is not in the answer
 * @typedef {LogRead | LogFailed} LogAnswer
 *
 * @typedef {object} MergedRows
 * @property {boolean} at_start
 * @property {boolean} at_end
 * @property {LogAnswer[]} logs
 * @property {{log: number, generation: string}[]} files
 * @property {import('../net/wire.js').WireRow[]} rows
 * @property {number[]} of
 * @property {(number | null)[]} times
 * @property {(number | null)[]} keys
 *
 * @typedef {object} AskedLog
 * @property {string} path percent-encoded
 * @property {number} shift
 * @property {FilePlace | null} [place] without a place and a time: the beginning or the end
 * @property {string | null} [time] as the server takes it
 *
 * @typedef {'from' | 'before'} Way rows behind the places, or before them
 */

export class MergedApi {
  /** How much the server's clock is ahead of this machine's, in ms. */
  ahead = 0;
  #common;

  /** @param {Record<string, string>} common parameters that say how the logs are to be understood */
  constructor(common) {
    this.#common = common;
  }

  /**
   * @param {AskedLog[]} logs
   * @param {Way} way
   * @param {{count: number, filter: Record<string, string>}} wanted
   * @param {AbortSignal} [signal]
   * @returns {Promise<MergedRows>}
   */
  async rows(logs, way, { count, filter }, signal) {
    const common = new URLSearchParams({ ...this.#common, history: '1', count: String(count), ...filter });
    if (way === 'before') common.set('last', '1');
    const asked = logs.map(({ path, shift, place, time }) => {
      const own = new URLSearchParams();
      if (time) own.set('time', time);
      else if (place) {
        own.set('generation', place.generation);
        own.set(way, String(place.offset));
      }
      if (shift !== 0) own.set('shift', String(shift));
      return [`log=${path}`, ...(own.size > 0 ? [own.toString()] : [])].join('&');
    });
    const answer = await fetch(serverUrl(`/_/merged-rows?${[common.toString(), ...asked].join('&')}`), {
      signal: bounded(signal), headers: { accept: 'application/json' },
    });
    noteIdentity(answer);
    if (answer.status === 400) throw new Invalid(await errorText(answer));
    if (!answer.ok) throw new Error(await errorText(answer));
    const date = Date.parse(answer.headers.get('date') ?? '');
    const ahead = date - Date.now();
    // The header has whole seconds.
    if (Number.isFinite(ahead)) this.ahead = Math.abs(ahead) > 2_000 ? ahead : 0;
    return answer.json();
  }
}

/**
 * A time as the server takes it.
 * @param {number} ms since 1970
 */
export function secondsOf(ms) {
  return (ms / 1000).toFixed(3);
}
