// A row's element: drawn from the server's HTML, drawn again when it changes, with long ones cut and addresses linked.
// Everything is made of text nodes and of the few elements that the server sends; nothing of a log is ever parsed twice.

/** Characters of a row that are shown until all of it is asked for. */
const SHOWN_CHARS_MAX = 4_000;
const WHOLE = new Intl.NumberFormat('en-US');
/** The server shows what would mislead as ⟨U+202E⟩. */
const URL_PATTERN = /https?:\/\/[^\s⟨⟩<>"'`{}|\\^\u0000-\u0020\u007f-\u00a0\u2000-\u200f\u2028-\u202f\u2066-\u2069]+/gi;
const TRAILING = /[.,;:!?\]]+$/;

/** Rows whose element is not simply their HTML, so that they can't be drawn on. @type {WeakSet<HTMLElement>} */
const isAltered = new WeakSet();
/** @type {WeakMap<HTMLElement, string>} */
const drawnHtml = new WeakMap();

/**
 * Gives each entry an element. One parse serves them all; should a row's HTML not be whole after all, each is parsed
 * alone, so that it cannot reach into the next one.
 * @param {import('./tail.js').Entry[]} entries
 */
export function drawRows(entries) {
  const template = document.createElement('template');
  template.innerHTML = entries.map((entry) => (entry.marker === undefined ? `<div>${content(entry.html)}</div>` : '<div></div>')).join('');
  const whole = template.content.childElementCount === entries.length;
  const parsed = /** @type {HTMLElement[]} */ ([...template.content.children]);
  entries.forEach((entry, at) => {
    const element = whole ? parsed[at] : document.createElement('div');
    entry.element = element;
    if (entry.marker !== undefined) {
      element.className = 'marker';
      element.dataset.marker = entry.marker;
      element.textContent = entry.text;
    } else {
      if (!whole) element.innerHTML = content(entry.html);
      element.className = 'row';
      element.dataset.offset = String(entry.offset);
      decorate(element, entry.html);
    }
  });
}

/**
 * Draws a row again on the element that it had. A row that only grew gets what it grew by, so that what is selected in
 * it stays selected.
 * @param {HTMLElement} element
 * @param {string} html
 */
export function redrawRow(element, html) {
  const before = drawnHtml.get(element) ?? '';
  if (html === before) return;
  if (before !== '' && html.startsWith(before) && !isAltered.has(element)) element.insertAdjacentHTML('beforeend', html.slice(before.length));
  else element.innerHTML = content(html);
  isAltered.delete(element);
  decorate(element, html);
}

/**
 * Shows all of a row that was cut.
 * @param {HTMLElement} element
 */
export function showAll(element) {
  element.innerHTML = content(drawnHtml.get(element) ?? '');
  decorate(element, drawnHtml.get(element) ?? '', Infinity);
}

/**
 * Puts a control or a sign of the page's behind a row's text, of which it is no part: it has no text of its own.
 * @param {HTMLElement} element
 * @param {HTMLElement} sign
 */
export function appendControl(element, sign) {
  element.append(sign);
  isAltered.add(element);
}

/**
 * A line break keeps an empty line's height, and its place when it is copied.
 * @param {string} html which the server has escaped
 */
function content(html) {
  return html === '' ? '<br>' : html;
}

/**
 * @param {HTMLElement} element
 * @param {string} html
 * @param {number} most characters that are shown
 */
function decorate(element, html, most = SHOWN_CHARS_MAX) {
  drawnHtml.set(element, html);
  element.classList.toggle('tabbed', html.includes('\t'));
  if (html.length > most) truncate(element, most);
  if (html.includes('://')) linkUrls(element);
  if (!html.includes('<a') && !isAltered.has(element)) return;
  for (const anchor of element.querySelectorAll('a')) {
    anchor.target = '_blank';
    anchor.rel = 'noopener noreferrer';
  }
}

/**
 * @param {HTMLElement} element
 * @param {number} most
 */
function truncate(element, most) {
  const whole = element.textContent?.length ?? 0;
  if (whole <= most) return;
  const walker = document.createTreeWalker(element, NodeFilter.SHOW_TEXT);
  let left = most;
  while (walker.nextNode()) {
    const text = /** @type {Text} */ (walker.currentNode);
    if (text.length < left) {
      left -= text.length;
      continue;
    }
    const rest = document.createRange();
    rest.setStart(text, left);
    rest.setEndAfter(/** @type {ChildNode} */ (element.lastChild));
    rest.deleteContents();
    break;
  }
  const more = document.createElement('button');
  more.className = 'more';
  more.type = 'button';
  // The words are drawn by the style sheet, so that they are no part of the row's text.
  more.dataset.words = `show all ${WHOLE.format(whole)} characters`;
  more.setAttribute('aria-label', more.dataset.words);
  element.append(more);
  isAltered.add(element);
}

/** @param {HTMLElement} element */
function linkUrls(element) {
  const walker = document.createTreeWalker(element, NodeFilter.SHOW_TEXT);
  /** @type {Text[]} */
  const texts = [];
  while (walker.nextNode()) texts.push(/** @type {Text} */ (walker.currentNode));
  for (const text of texts) {
    if (text.parentElement?.closest('a')) continue;
    // From the last one on, so that what stands before a link keeps its place.
    for (const found of [...text.data.matchAll(URL_PATTERN)].reverse()) {
      const address = trimUrl(found[0]);
      if (!URL.canParse(address)) continue;
      const shown = text.splitText(found.index);
      shown.splitText(address.length);
      const anchor = document.createElement('a');
      anchor.href = address;
      shown.replaceWith(anchor);
      anchor.append(shown);
      isAltered.add(element);
    }
  }
}

/**
 * Stops and brackets at the end of an address belong to the sentence around it, unless the bracket was opened in it.
 * @param {string} address
 * @returns {string}
 */
function trimUrl(address) {
  const shorter = address.replace(TRAILING, '');
  const isOpen = shorter.endsWith(')') && shorter.split(')').length > shorter.split('(').length;
  return isOpen ? trimUrl(shorter.slice(0, -1)) : shorter;
}

/**
 * Whether a place is in the columns beside a row's text.
 * @param {HTMLElement} row
 * @param {number} x
 * @param {number} [least] so many pixels of the row count as that, whatever it shows
 */
export function isInColumns(row, x, least = 0) {
  const style = getComputedStyle(row);
  const { left } = row.getBoundingClientRect();
  return x < left + least || x < left + parseFloat(style.paddingLeft) + parseFloat(style.textIndent) - 2;
}
