// Text to the clipboard.

/**
 * The clipboard interface exists only where the page came over TLS or from this machine; the old command works elsewhere.
 * @param {string} text
 */
export async function copyText(text) {
  if (navigator.clipboard) {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch {
      // Denied: try the old way.
    }
  }
  const before = document.activeElement;
  const holder = document.createElement('textarea');
  holder.className = 'unseen';
  holder.value = text;
  document.body.append(holder);
  holder.select();
  const done = document.execCommand('copy');
  holder.remove();
  if (before instanceof HTMLElement) before.focus({ preventScroll: true });
  return done;
}
