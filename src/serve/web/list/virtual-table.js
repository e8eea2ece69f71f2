// A virtual table: only visible rows and rows close to them are on the page. All rows have the same height. A row that
// stays visible keeps its element, and with it the focus.

/** A table of up to this many rows is on the page as a whole, so that the browser can search and print it. */
const WHOLE_ROWS_MAX = 300;
const ROWS_AHEAD = 12;

/**
 * @template {{key: string}} Line
 */
export class VirtualTable {
  /** @type {Line[]} */
  #lines = [];
  /** @type {Map<string, HTMLTableRowElement>} */
  #rows = new Map();
  #body;
  #scroller;
  #draw;
  #update;
  #above = spacer();
  #below = spacer();
  #frame = 0;

  /**
   * @param {HTMLTableSectionElement} body
   * @param {HTMLElement} scroller
   * @param {(line: Line) => HTMLTableRowElement} draw
   * @param {(row: HTMLTableRowElement, line: Line) => void} update called for each row on the page at every redraw
   */
  constructor(body, scroller, draw, update) {
    this.#body = body;
    this.#scroller = scroller;
    this.#draw = draw;
    this.#update = update;
    body.replaceChildren();
    scroller.addEventListener('scroll', () => this.#request(), { passive: true });
    new ResizeObserver(() => this.#request()).observe(scroller);
  }

  get lines() {
    return this.#lines;
  }

  /** @param {Line[]} lines */
  show(lines) {
    this.#lines = lines;
    this.draw();
  }

  draw() {
    const [first, last] = this.#inSight();
    const height = this.#rowHeight;
    /** @type {Map<string, HTMLTableRowElement>} */
    const rows = new Map();
    for (let at = first; at < last; at += 1) {
      const line = this.#lines[at];
      const row = this.#rows.get(line.key) ?? this.#draw(line);
      this.#update(row, line);
      row.setAttribute('aria-rowindex', String(at + 2));
      rows.set(line.key, row);
    }
    for (const [key, row] of this.#rows) if (rows.get(key) !== row) row.remove();
    this.#rows = rows;
    this.#above.style.height = `${first * height}px`;
    this.#below.style.height = `${(this.#lines.length - last) * height}px`;
    /** @type {HTMLTableRowElement[]} */
    const wanted = [...(first > 0 ? [this.#above] : []), ...rows.values(), ...(last < this.#lines.length ? [this.#below] : [])];
    arrange(this.#body, wanted);
    this.#body.closest('table')?.setAttribute('aria-rowcount', String(this.#lines.length + 1));
  }

  /** The row on the page with this key. @param {string} key */
  row(key) {
    return this.#rows.get(key);
  }

  /** Scrolls a line into sight. @param {number} at */
  reveal(at) {
    const height = this.#rowHeight;
    const head = this.#body.offsetTop;
    const topPx = at * height;
    const { scrollTop, clientHeight } = this.#scroller;
    if (topPx < scrollTop) this.#scroller.scrollTop = topPx;
    else if (topPx + height + head > scrollTop + clientHeight) this.#scroller.scrollTop = topPx + height + head - clientHeight;
    this.draw();
  }

  get rowsInSight() {
    return Math.max(1, Math.floor((this.#scroller.clientHeight - this.#body.offsetTop) / this.#rowHeight));
  }

  get #rowHeight() {
    return Number.parseFloat(getComputedStyle(this.#body).getPropertyValue('--row'));
  }

  #inSight() {
    const all = this.#lines.length;
    if (all <= WHOLE_ROWS_MAX) return [0, all];
    const height = this.#rowHeight;
    const topPx = Math.max(0, this.#scroller.scrollTop - this.#body.offsetTop);
    const first = Math.max(0, Math.min(Math.floor(topPx / height), all) - ROWS_AHEAD);
    const last = Math.ceil((topPx + this.#scroller.clientHeight) / height) + ROWS_AHEAD;
    return [first, Math.min(all, last)];
  }

  #request() {
    if (this.#frame !== 0) return;
    this.#frame = requestAnimationFrame(() => {
      this.#frame = 0;
      this.draw();
    });
  }
}

/**
 * Sets the children of an element. Children in the right place are not moved, because a moved row loses the focus.
 * @param {Element} container
 * @param {Element[]} wanted
 */
function arrange(container, wanted) {
  const focused = wanted.find((element) => element.contains(document.activeElement));
  const active = document.activeElement;
  let next = container.firstElementChild;
  for (const element of wanted) {
    if (element === next) next = next.nextElementSibling;
    else container.insertBefore(element, next);
  }
  while (next !== null) {
    const gone = next;
    next = next.nextElementSibling;
    gone.remove();
  }
  if (focused !== undefined && active instanceof HTMLElement && document.activeElement !== active) active.focus({ preventScroll: true });
}

function spacer() {
  const row = document.createElement('tr');
  row.className = 'space';
  row.setAttribute('aria-hidden', 'true');
  row.insertCell();
  return row;
}
