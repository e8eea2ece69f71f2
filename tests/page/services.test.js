// "Show me what all three services said around the first error after 14:00 yesterday", as somebody does who has read no
// documentation: with what is in sight. What counts is how many clicks and keys that takes, and what is on the screen then. The
// time depends on the machine, so it is only printed.
//
//   TAILCAST_SERVICES_BYTES=3221225472    the same with logs of this size

import assert from 'node:assert/strict';

import { eventually } from './program.js';
import { scene } from './scene.js';
import { writeServices } from './services.js';

const BYTES = Number(process.env.TAILCAST_SERVICES_BYTES ?? 12_000_000);
const SERVICES = ['checkout.json.log', 'access.log', 'payments.log'];

/** The texts of the rows of which a part is in sight, each with the name of its log. @param {import('./scene.js').Scene} scene */
const inSight = ({ page }) => page.evaluate(() => {
  const log = /** @type {Element} */ (document.querySelector('#log')).getBoundingClientRect();
  const rows = /** @type {HTMLElement[]} */ ([...document.querySelectorAll('#rows .row')]);
  return rows.filter((row) => row.getBoundingClientRect().bottom > log.top && row.getBoundingClientRect().top < log.bottom).map((row) => [row.dataset.name ?? '', row.textContent ?? '']);
});

scene('what three services said around the first error after 14:00 yesterday takes six clicks and a time', async (scene) => {
  const { page, logs } = scene;
  const failure = await writeServices(logs.directory, BYTES, Date.now());
  let [clicks, keys] = [0, 0];
  const begun = performance.now();
  /** @type {string[]} */
  const spent = [];
  const step = async (/** @type {string} */ name, /** @type {() => Promise<void>} */ act) => {
    const at = performance.now();
    await act();
    spent.push(`${name} ${Math.round(performance.now() - at)} ms`);
  };
  const click = async (/** @type {import('playwright-core').Locator} */ target) => {
    clicks += 1;
    await target.click();
  };
  const type = async (/** @type {string} */ text) => {
    keys += text.length;
    await page.keyboard.type(text);
  };
  const press = async (/** @type {string} */ key) => {
    keys += 1;
    await page.keyboard.press(key);
  };

  await step('the list', async () => {
    await scene.open('/');
    for (const name of SERVICES) await page.locator('tr', { hasText: name }).waitFor();
  });
  await step('three logs', async () => {
    for (const name of SERVICES) await click(page.locator('tr', { hasText: name }).locator('.pick'));
    await click(page.locator('#open-merged'));
    await scene.until(() => document.querySelectorAll('#rows .row').length > 100);
  });
  await step('the time', async () => {
    await click(page.locator('#shown-times'));
    await type('yesterday 14:00');
    await press('Enter');
    await scene.until(() => document.querySelector('.row.current') !== null);
  });
  await step('the next error', async () => {
    await click(page.locator('#errors'));
    await scene.until((error) => document.querySelector('.row.current')?.textContent === error, failure[0]);
  });
  // Everything that belongs to it is in sight, in the order of the times, with what all three said before and after.
  await step('the lines of all', () => eventually('the lines around the error', async () => {
    const rows = await inSight(scene);
    const places = failure.map((line) => rows.findIndex(([, text]) => text === line));
    const isInOrder = places.every((place, nth) => place > (nth === 0 ? 0 : places[nth - 1]));
    const around = [rows.slice(0, places[0]), rows.slice(places[places.length - 1] + 1)];
    return (isInOrder && around.every((part) => new Set(part.map(([name]) => name)).size === SERVICES.length)) || { places, rows };
  }));
  assert.deepEqual({ clicks, keys }, { clicks: 6, keys: 'yesterday 14:00'.length + 1 });
  console.log(`# ${Math.round(BYTES / 1e6)} MB, ${Math.round(performance.now() - begun)} ms in all: ${spent.join(', ')}`);
}, { serve: ['--zone', 'UTC'], context: { timezoneId: 'Europe/Berlin', viewport: { width: 1400, height: 900 } } });
