// The dividers between panes, moved by pointer or by keys.

const STEP = 0.05;
/** The smallest share of two neighbouring panes that one of them keeps. */
const PART_MIN = 0.1;

/**
 * @typedef {object} Panes
 * @property {() => boolean} isVertical whether the panes are stacked
 * @property {() => number[]} shares returns the relative size of each pane
 * @property {(shares: number[]) => void} set
 */

/**
 * @param {HTMLElement} room element that contains the panes
 * @param {Panes} sides
 */
export function makeDividers(room, sides) {
  /** @param {number} at the pane after the divider @param {number} part the first pane's share of the two panes */
  const divide = (at, part) => {
    const shares = sides.shares();
    const both = shares[at - 1] + shares[at];
    const first = Math.min(1 - PART_MIN, Math.max(PART_MIN, part)) * both;
    shares[at - 1] = first;
    shares[at] = both - first;
    sides.set(shares);
  };

  /** @param {number} at */
  const partOf = (at) => {
    const shares = sides.shares();
    return shares[at - 1] / (shares[at - 1] + shares[at]);
  };

  /** @param {number} at @param {PointerEvent} event */
  const drag = (at, event) => {
    const boxes = room.querySelectorAll('.pane-box');
    const first = boxes[at - 1].getBoundingClientRect();
    const second = boxes[at].getBoundingClientRect();
    const part = sides.isVertical()
      ? (event.clientY - first.top) / (second.bottom - first.top)
      : (event.clientX - first.left) / (second.right - first.left);
    divide(at, part);
  };

  /** @param {number} at */
  const make = (at) => {
    const bar = document.createElement('div');
    bar.className = 'divider';
    bar.tabIndex = 0;
    bar.setAttribute('role', 'separator');
    bar.setAttribute('aria-label', `Divider between panes ${at} and ${at + 1}`);
    bar.setAttribute('aria-controls', `pane-${at}`);
    bar.title = 'Drag, or use the arrow keys; double-click for equal sizes';
    bar.addEventListener('pointerdown', (event) => {
      if (event.button !== 0) return;
      event.preventDefault();
      bar.focus();
      bar.setPointerCapture(event.pointerId);
      // Otherwise a frame would receive the pointer's moves.
      room.dataset.dragged = 'true';
    });
    bar.addEventListener('pointermove', (event) => {
      if (bar.hasPointerCapture(event.pointerId)) drag(at, event);
    });
    for (const end of ['pointerup', 'pointercancel', 'lostpointercapture']) bar.addEventListener(end, () => delete room.dataset.dragged);
    bar.addEventListener('dblclick', () => divide(at, 0.5));
    bar.addEventListener('keydown', (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const by = { ArrowLeft: -STEP, ArrowUp: -STEP, ArrowRight: STEP, ArrowDown: STEP }[event.key];
      if (by !== undefined) divide(at, partOf(at) + by);
      else if (event.key === 'Home') divide(at, 0);
      else if (event.key === 'End') divide(at, 1);
      else if (event.key === 'Enter') divide(at, 0.5);
      else return;
      event.preventDefault();
    });
    return bar;
  };

  const show = () => {
    room.querySelectorAll('.divider').forEach((bar, before) => {
      bar.setAttribute('aria-orientation', sides.isVertical() ? 'horizontal' : 'vertical');
      bar.setAttribute('aria-valuenow', String(Math.round(100 * partOf(before + 1))));
      bar.setAttribute('aria-valuemin', String(100 * PART_MIN));
      bar.setAttribute('aria-valuemax', String(100 - 100 * PART_MIN));
    });
  };

  return { make, show };
}
