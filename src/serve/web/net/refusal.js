// Why the server refuses what this page requests. A refused WebSocket carries no reason that a script may read, so the
// page asks for it.

import { serverUrl } from './wire.js';

const ASK_MS_MAX = 5_000;

/** @typedef {{message: string, hint: string}} Refusal what is wrong, and what to change */

/**
 * What the server says of pages that are loaded from this page's address; null if it serves them, or gives no answer.
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
 * The words of an answer that is no success.
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
