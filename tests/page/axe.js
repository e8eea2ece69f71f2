// What axe finds on a page: violations of WCAG 2 A and AA.

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const RULES = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa'];

/**
 * Each violation with the first elements that it is about; none is what is wanted.
 * @param {import('playwright-core').Page | import('playwright-core').Frame} page
 */
export async function violations(page) {
  // The page's policy admits no script from elsewhere, so it comes by the debugger.
  await page.evaluate(`${AXE}; undefined`);
  return page.evaluate(async (runOnly) => {
    const { violations } = await /** @type {any} */ (window).axe.run(document, { runOnly, iframes: false });
    return violations.map(({ id, nodes }) => [id, ...nodes.slice(0, 5).map(({ html, failureSummary }) => `${html.slice(0, 200)} ${failureSummary}`)]);
  }, RULES);
}
