// Says that the visitor is signed out, with a link to sign in that comes back to this place.

import { onIdentity } from '../net/signed-out.js';
import { linkTo, withoutBase } from '../net/wire.js';

/** The page that the browser shows: this one, or the one of which it is a pane. */
function shownPage() {
  try {
    return (window.top ?? window).location;
  } catch {
    return location;
  }
}

/** The address to sign in and come back. */
function signInUrl() {
  const { pathname, search, hash } = shownPage();
  return linkTo(`/_/sign-in?next=${encodeURIComponent(withoutBase(pathname) + search + hash)}`);
}

/** Shows the message for as long as the visitor is signed out. */
export function watchIdentity() {
  const message = document.createElement('p');
  message.id = 'signed-out';
  message.setAttribute('role', 'alert');
  const link = document.createElement('a');
  link.className = 'tool';
  link.textContent = 'Sign in';
  link.target = '_top';
  // The place in the page may have changed since the message came.
  for (const use of ['focus', 'pointerdown', 'click']) link.addEventListener(use, () => { link.href = signInUrl(); });
  onIdentity((isOut) => {
    if (!isOut) {
      message.remove();
      return;
    }
    link.href = signInUrl();
    message.replaceChildren('You are signed out. ', link);
    document.body.querySelector('header')?.after(message);
  });
}
