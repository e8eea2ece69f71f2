// Checks a page with axe: finds violations of WCAG 2 A and AA.

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const RULES = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa'];

/**
 * The violations, each with the first elements concerned.
 * @param {import('playwright-core').Page | import('playwright-core').Frame} page
 */
export async function violations(page) {
  // The page's content security policy allows no foreign script, so the debugger runs it.
  await page.evaluate(`${AXE}; undefined`);
  return page.evaluate(async (runOnly) => {
    const { violations } = await /** @type {any} */ (window).axe.run(document, { runOnly, iframes: false });
    return violations.map(({ id, nodes }) => [id, ...nodes.slice(0, 5).map(({ html, failureSummary }) => `${html.slice(0, 200)} ${failureSummary}`)]);
  }, RULES);
}
