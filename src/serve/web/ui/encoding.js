// The encoding that the reader chose for a log, and its entry in the View menu. All rows are others in another encoding,
// so the page loads again with the choice in its address.

import { encodingName } from '../url/view-hash.js';
import { byId } from './dom.js';

/**
 * The encoding that an address asks for: its fragment, or else its query.
 * @param {Location | URL} url
 * @param {import('../url/view-hash.js').View} view of its fragment
 */
export function chosenEncoding(url, view) {
  return view.encoding || encodingName(new URLSearchParams(url.search).get('encoding') ?? '');
}

/**
 * @param {string} chosen
 * @param {(encoding: string) => string} hashWith the fragment of the present view in another encoding
 */
export function bindEncodingMenu(chosen, hashWith) {
  const menu = /** @type {HTMLSelectElement} */ (byId('encoding'));
  // A link may have one that is not in the list.
  if (![...menu.options].some(({ value }) => value === chosen)) menu.add(new Option(chosen, chosen));
  menu.value = chosen;
  menu.addEventListener('change', () => {
    const url = new URL(document.URL);
    url.searchParams.delete('encoding');
    url.hash = hashWith(menu.value);
    history.replaceState(history.state, '', url);
    location.reload();
  });
}
