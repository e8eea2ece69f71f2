// A picture of the page's own set, as an element.

const SVG = 'http://www.w3.org/2000/svg';

/** @param {string} iconName */
export function icon(iconName) {
  const svg = document.createElementNS(SVG, 'svg');
  svg.setAttribute('aria-hidden', 'true');
  const use = document.createElementNS(SVG, 'use');
  use.setAttribute('href', `#icon-${iconName}`);
  svg.append(use);
  return svg;
}
