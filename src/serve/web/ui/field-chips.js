// Buttons with the names of fields, for those who do not know which there are.

/**
 * @param {HTMLElement} place
 * @param {string[]} names
 * @param {string[]} chosen those that are shown as chosen
 * @param {(field: string) => void} pick called when the reader clicks one
 */
export function showFieldChips(place, names, chosen, pick) {
  place.hidden = names.length === 0;
  const focused = place.contains(document.activeElement) ? document.activeElement?.textContent : null;
  place.replaceChildren(...names.map((field) => {
    const chip = document.createElement('button');
    chip.type = 'button';
    chip.className = 'chip';
    chip.textContent = field;
    chip.setAttribute('aria-pressed', String(chosen.includes(field)));
    chip.addEventListener('click', () => pick(field));
    return chip;
  }));
  if (focused !== null) for (const chip of place.children) if (chip.textContent === focused) /** @type {HTMLElement} */ (chip).focus();
}
