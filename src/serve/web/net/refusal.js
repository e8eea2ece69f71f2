// Why the server refuses the requests of this page. A script can't read why a WebSocket was refused, so the page
// requests the reason separately.

import { serverUrl } from './wire.js';

const ASK_MS_MAX = 5_000;

/** @typedef {{message: string, hint: string}} Refusal what is wrong, and what to change */

/**
 * The server's reason to refuse pages from this page's origin; null if it serves them, or does not answer.
 * @returns {Promise<Refusal | null>}
 */
export async function askRefusal() {
  try {
    const url = `/_/check?origin=${encodeURIComponent(location.origin)}`;
    const answer = await fetch(serverUrl(url), { cache: 'no-store', signal: AbortSignal.timeout(ASK_MS_MAX) });
    const { message, hint } = await answer.json();
    return typeof message === 'string' ? { message, hint: String(hint ?? '') } : null;
  } catch {
    return null;
  }
}

/**
 * The message and hint of an error response.
 * @param {Response} answer
 * @returns {Promise<Refusal>}
 */
export async function readRefusal(answer) {
  const [message = '', ...rest] = (await answer.text()).split('\n');
  const hint = rest.find((line) => line.startsWith('hint: '))?.slice('hint: '.length) ?? '';
  return { message: message || `the server answered ${answer.status}`, hint };
}

/** A refusal as one text. @param {Refusal} refusal */
export function refusalText({ message, hint }) {
  const sentence = message.charAt(0).toUpperCase() + message.slice(1);
  return hint === '' ? `${sentence}.` : `${sentence}. To change that, ${hint}.`;
}
