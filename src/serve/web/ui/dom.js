// Helpers for the page's elements and icons.

const SVG = 'http://www.w3.org/2000/svg';

/** @param {string} id */
export const byId = (id) => /** @type {HTMLElement} */ (document.getElementById(id));

/**
 * Sets a text only if it changed, so that the browser neither lays it out nor announces it again.
 * @param {Element} target
 * @param {string} text
 */
export function setText(target, text) {
  if (target.textContent !== text) target.textContent = text;
}

/** @param {string} iconName */
export function icon(iconName) {
  const svg = document.createElementNS(SVG, 'svg');
  svg.setAttribute('aria-hidden', 'true');
  const use = document.createElementNS(SVG, 'use');
  use.setAttribute('href', `#icon-${iconName}`);
  svg.append(use);
  return svg;
}
