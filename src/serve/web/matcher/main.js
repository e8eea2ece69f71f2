// A worker of the pages: it finds what the readers' own expressions match. An expression may take for ever, and the page
// can end a worker, but not its own search.

import { matches } from '../search/pattern.js';

/**
 * @typedef {{source: string, flags: string, texts: string[], isTest: boolean}} Question
 * @typedef {[from: number, to: number][][]} Places the matches in each text
 */

addEventListener('message', ({ data }) => {
  const { source, flags, texts, isTest } = /** @type {Question} */ (data);
  const expression = new RegExp(source, flags);
  postMessage(isTest ? texts.map((text) => text.search(expression) >= 0) : texts.map((text) => matches(expression, text)));
});
postMessage('ready');
