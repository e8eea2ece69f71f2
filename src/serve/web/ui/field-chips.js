// Buttons with the names of fields, for those who do not know which there are.

/**
 * @param {HTMLElement} place
 * @param {string[]} names
 * @param {string[]} chosen those that are shown as chosen
 * @param {(name: string) => void} pick called when the reader clicks one
 */
export function showFieldChips(place, names, chosen, pick) {
  place.hidden = names.length === 0;
  const focused = place.contains(document.activeElement) ? document.activeElement?.textContent : null;
  place.replaceChildren(...names.map((name) => {
    const chip = document.createElement('button');
    chip.type = 'button';
    chip.className = 'chip';
    chip.textContent = name;
    chip.setAttribute('aria-pressed', String(chosen.includes(name)));
    chip.addEventListener('click', () => pick(name));
    return chip;
  }));
  if (focused !== null) for (const chip of place.children) if (chip.textContent === focused) /** @type {HTMLElement} */ (chip).focus();
}
