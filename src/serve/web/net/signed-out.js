// Whether the server still knows who looks at this page. It does not touch the document.

const CHANGE = 'tailcast-identity';

/** Whether the server has refused a request because it does not know who sent it. */
let isSignedOut = false;

/** @param {boolean} isOut */
function tell(isOut) {
  if (isOut === isSignedOut) return;
  isSignedOut = isOut;
  window.dispatchEvent(new Event(CHANGE));
}

/** Called when the server has refused a request for lack of an identity. */
export function signedOut() {
  tell(true);
}

/** Called when the server has answered as it does to somebody whom it knows. */
export function signedIn() {
  tell(false);
}

/**
 * Notes what an answer says about it.
 * @param {Response} answer
 */
export function noteIdentity(answer) {
  if (answer.status === 401) signedOut();
  else if (answer.ok) signedIn();
}

/**
 * Calls back when that changes.
 * @param {(isOut: boolean) => void} onChange
 */
export function onIdentity(onChange) {
  window.addEventListener(CHANGE, () => onChange(isSignedOut));
}
