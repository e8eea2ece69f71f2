// Whether the view follows the end of the log. Scrolling up or selecting text pauses it; scrolling to the end, the
// Follow button or a key resumes it.

/** The view counts as at the end within this distance: browsers round scroll positions. */
const END_PX = 2;
/** A smooth scroll may last this long after its last wheel event. */
const SMOOTH_SCROLL_MS = 500;

export class Follow {
  following = true;
  #scroller;
  #isEndLoaded;
  #changed;
  #top = 0;
  /** The time of the last wheel event towards the end. */
  #downAt = -Infinity;
  /** Whether only a selection pauses the view. It then resumes when the selection is gone. */
  #heldBySelection = false;

  /**
   * @param {HTMLElement} scroller
   * @param {() => boolean} isWhole whether the end of the content is the end of the log
   * @param {() => void} changed called after each change of `following`
   */
  constructor(scroller, isWhole, changed) {
    this.#scroller = scroller;
    this.#isEndLoaded = isWhole;
    this.#changed = changed;
    scroller.addEventListener('scroll', () => this.#scrolled(), { passive: true });
    // An arriving row would undo the first pixels of a smooth scroll, so the wheel event itself counts.
    scroller.addEventListener('wheel', (event) => this.#wheeled(event), { passive: true });
    document.addEventListener('selectionchange', () => this.#selected());
    new ResizeObserver(() => this.pin()).observe(scroller);
  }

  resume() {
    this.#heldBySelection = false;
    this.#set(true);
    this.pin();
  }

  pause() {
    this.#heldBySelection = false;
    this.#set(false);
  }

  toggle() {
    if (this.following) this.pause();
    else this.resume();
  }

  /**
   * Must be called after the content changed. While following, it scrolls to the end. While paused, it only remembers
   * the scroll position, so that a scroll by the page does not count as one by the reader.
   */
  pin() {
    if (this.following) this.#scroller.scrollTop = this.#scroller.scrollHeight;
    this.#top = this.#scroller.scrollTop;
  }

  get #fromEnd() {
    if (!this.#isEndLoaded()) return Infinity;
    return this.#scroller.scrollHeight - this.#scroller.clientHeight - this.#scroller.scrollTop;
  }

  #scrolled() {
    const scrollTop = this.#scroller.scrollTop;
    const down = scrollTop > this.#top;
    const up = scrollTop < this.#top;
    this.#top = scrollTop;
    // A smooth scroll stops where the end was when it began. If rows arrive meanwhile, that must not pause the view.
    const glides = performance.now() - this.#downAt < SMOOTH_SCROLL_MS;
    if (this.following && up && this.#fromEnd > END_PX && !glides) this.pause();
    else if (!this.following && !this.#heldBySelection && down && this.#fromEnd <= END_PX) this.resume();
  }

  /** @param {WheelEvent} event */
  #wheeled(event) {
    if (event.ctrlKey || Math.abs(event.deltaY) <= Math.abs(event.deltaX)) return;
    this.#downAt = event.deltaY > 0 ? performance.now() : -Infinity;
    if (this.following && event.deltaY < 0 && this.#scroller.scrollTop > 0) this.pause();
    // In a busy log the end moves away while the reader scrolls towards it.
    else if (!this.following && !this.#heldBySelection && event.deltaY > 0 && this.#fromEnd <= event.deltaY) this.resume();
  }

  #selected() {
    const selection = document.getSelection();
    const selects = selection !== null && !selection.isCollapsed && selection.containsNode(this.#scroller, true);
    if (selects && this.following) {
      this.pause();
      this.#heldBySelection = true;
    } else if (!selects && this.#heldBySelection) {
      this.resume();
    }
  }

  /** @param {boolean} following */
  #set(following) {
    if (this.following === following) return;
    this.following = following;
    this.#changed();
  }
}
