// A row's element: made from the server's HTML and updated when the row changes. Long rows are truncated, and URLs
// become links. The server has escaped the log's text; the page adds only text nodes and its own elements.

/** Longer rows are truncated until the reader asks for the whole row. */
const SHOWN_CHARS_MAX = 4_000;
const WHOLE = new Intl.NumberFormat('en-US');
/** The server writes misleading characters as ⟨U+202E⟩, so the brackets end a URL. */
const URL_PATTERN = /https?:\/\/[^\s⟨⟩<>"'`{}|\\^\u0000-\u0020\u007f-\u00a0\u2000-\u200f\u2028-\u202f\u2066-\u2069]+/gi;
const TRAILING = /[.,;:!?\]]+$/;

/** Elements that differ from their row's HTML. They are redrawn, not extended. @type {WeakSet<HTMLElement>} */
const isAltered = new WeakSet();
/** @type {WeakMap<HTMLElement, string>} */
const drawnHtml = new WeakMap();
/** The texts of rows that show another one. @type {WeakMap<HTMLElement, string>} */
const ownTexts = new WeakMap();

/**
 * Creates an element for each entry. All rows are parsed at once. If the HTML of a row is not balanced, each row is
 * parsed separately, so that no row reaches into the next.
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
      markStream(element, entry.annotation);
      decorate(element, entry.html);
    }
  });
}

/**
 * Says of a row that a program in a container wrote it to its standard error.
 * @param {HTMLElement} element
 * @param {import('../net/wire.js').RowAnnotation | null} annotation
 */
export function markStream(element, annotation) {
  if (annotation?.stream === 'stderr') element.dataset.stream = 'stderr';
  else delete element.dataset.stream;
}

/**
 * Updates a row's element. If the row only grew, the new part is appended, so that a selection in it stays.
 * @param {HTMLElement} element
 * @param {string} html
 */
export function redrawRow(element, html) {
  const before = drawnHtml.get(element) ?? '';
  if (html === before) return;
  if (before !== '' && html.startsWith(before) && !isAltered.has(element)) element.insertAdjacentHTML('beforeend', html.slice(before.length));
  else element.innerHTML = content(html);
  isAltered.delete(element);
  forgetReplaced(element);
  decorate(element, html);
}

/**
 * Shows another text in place of a row's own.
 * @param {HTMLElement} element
 * @param {string} text
 */
export function replaceText(element, text) {
  if (!ownTexts.has(element)) ownTexts.set(element, element.textContent ?? '');
  element.replaceChildren(text);
  element.classList.add('readable');
  element.classList.toggle('tabbed', text.includes('\t'));
  isAltered.add(element);
  if (text.includes('://')) linkUrls(element);
}

/**
 * Shows a row's own text again.
 * @param {HTMLElement} element
 */
export function restoreRow(element) {
  if (!ownTexts.has(element)) return;
  forgetReplaced(element);
  isAltered.delete(element);
  showAll(element, SHOWN_CHARS_MAX);
}

/** A row's own text, also where it shows another one. @param {HTMLElement} element */
export function textOf(element) {
  return ownTexts.get(element) ?? element.textContent ?? '';
}

/** @param {HTMLElement} element */
function forgetReplaced(element) {
  ownTexts.delete(element);
  element.classList.remove('readable');
}

/**
 * Shows the whole of a truncated row.
 * @param {HTMLElement} element
 * @param {number} [most] characters that are shown
 */
export function showAll(element, most = Infinity) {
  element.innerHTML = content(drawnHtml.get(element) ?? '');
  decorate(element, drawnHtml.get(element) ?? '', most);
}

/**
 * Appends a control or a label to a row. It contains no text, so that it is not copied with the row.
 * @param {HTMLElement} element
 * @param {HTMLElement} sign
 */
export function appendControl(element, sign) {
  element.append(sign);
  isAltered.add(element);
}

/**
 * A line break gives an empty row its height and keeps it when rows are copied.
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
  // The style sheet draws the label, so that it is not part of the row's text.
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
    // From the last match to the first, so that earlier indexes stay valid.
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
 * Removes the punctuation of the sentence around a URL: full stops, and closing brackets without an opening one.
 * @param {string} address
 * @returns {string}
 */
function trimUrl(address) {
  const shorter = address.replace(TRAILING, '');
  const isOpen = shorter.endsWith(')') && shorter.split(')').length > shorter.split('(').length;
  return isOpen ? trimUrl(shorter.slice(0, -1)) : shorter;
}

/**
 * Whether an x coordinate is in the columns before a row's text.
 * @param {HTMLElement} row
 * @param {number} x
 * @param {number} [least] the least width of the columns in pixels
 */
export function isInColumns(row, x, least = 0) {
  const style = getComputedStyle(row);
  const { left } = row.getBoundingClientRect();
  return x < left + least || x < left + parseFloat(style.paddingLeft) + parseFloat(style.textIndent) - 2;
}
