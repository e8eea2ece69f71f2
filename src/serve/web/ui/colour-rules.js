// The reader's own colours: each is a regular expression and a colour for what it matches. The browser keeps them; those
// of a link are kept only when the reader changes them.

import { expressionOf } from '../search/pattern.js';

const STORE = 'tailcast.colours';
export const COLOUR_RULES_MAX = 12;
const CHARS_MAX = 500;

/**
 * @typedef {'red' | 'yellow' | 'green' | 'cyan' | 'blue' | 'magenta'} Colour a colour of the theme
 * @typedef {{text: string, colour: Colour}} ColourRule
 */

export const COLOURS = /** @type {Colour[]} */ (['red', 'yellow', 'green', 'cyan', 'blue', 'magenta']);

/** @returns {ColourRule[]} */
export function loadColourRules() {
  try {
    const kept = JSON.parse(localStorage.getItem(STORE) ?? '[]');
    return kept.map((/** @type {any} */ one) => colourRule(one?.colour, one?.text)).filter((/** @type {ColourRule | null} */ rule) => rule !== null).slice(0, COLOUR_RULES_MAX);
  } catch {
    return [];
  }
}

/** @param {ColourRule[]} rules */
export function saveColourRules(rules) {
  try {
    localStorage.setItem(STORE, JSON.stringify(rules));
  } catch {
    // Without storage they last as long as the page.
  }
}

/**
 * A rule of what was stored or of what is in a link; null if that is none.
 * @param {unknown} colour
 * @param {unknown} text
 * @returns {ColourRule | null}
 */
export function colourRule(colour, text) {
  const known = COLOURS.find((one) => one === colour);
  return known === undefined || typeof text !== 'string' || text === '' || text.length > CHARS_MAX ? null : { colour: known, text };
}

/** The expression of a rule; null if the browser does not take it. @param {string} text */
export function colourExpression(text) {
  return expressionOf({ text, regex: true, case: true, word: false });
}

/** What is wrong with the text of a rule; empty if nothing is. @param {string} text */
export function colourProblem(text) {
  if (text.length > CHARS_MAX) return `An expression has at most ${CHARS_MAX} characters`;
  if (text === '' || colourExpression(text) !== null) return '';
  try {
    new RegExp(text, 'gu');
    return 'Not a regular expression of this browser';
  } catch (error) {
    // Such as "Invalid regular expression: /(/gu: Unterminated group".
    const reason = error instanceof Error ? error.message.split(': ').at(-1) : '';
    return `Not a regular expression: ${reason}. Write \\ before a bracket or a sign that stands for itself.`;
  }
}
