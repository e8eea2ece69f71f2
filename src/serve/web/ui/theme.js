// What the first frame depends on. First the colour theme: the system's, or the one that the reader chose, which the
// browser stores. This is a classic script in the head, so that the first frame has the right colours.
(() => {
  const STORE = 'tailcast.theme';
  const THEMES = ['auto', 'light', 'dark'];

  // Without access to storage the theme lasts as long as the page.
  const stored = () => {
    try {
      return localStorage.getItem(STORE);
    } catch {
      return null;
    }
  };

  /** @param {string | null} theme */
  const valid = (theme) => (theme !== null && THEMES.includes(theme) ? theme : 'auto');

  let theme = valid(stored());

  const show = () => {
    document.documentElement.dataset.theme = theme;
    const themeName = theme.charAt(0).toUpperCase() + theme.slice(1);
    for (const button of document.querySelectorAll('[data-theme-switch]')) {
      const label = button.querySelector('.label');
      if (label) label.textContent = themeName;
      button.setAttribute('title', `Theme: ${themeName.toLowerCase()}`);
      button.setAttribute('aria-label', `Theme: ${themeName.toLowerCase()}`);
    }
  };

  const next = () => {
    theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
    try {
      localStorage.setItem(STORE, theme);
    } catch {
      // The theme then lasts as long as the page.
    }
    show();
  };

  show();
  // A link to a place in a log does not begin at its end, so the rows that come with the page are not those to show.
  document.documentElement.classList.toggle('placed', location.hash.length > 1);
  document.addEventListener('DOMContentLoaded', show);
  document.addEventListener('click', (event) => {
    if (event.target instanceof Element && event.target.closest('[data-theme-switch]')) next();
  });
  window.addEventListener('storage', (event) => {
    if (event.key === STORE) {
      theme = valid(event.newValue);
      show();
    }
  });
})();
