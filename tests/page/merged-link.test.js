// Times in the status bar of merged logs, and links to a place in them.

import assert from 'node:assert/strict';

import { scene } from './scene.js';

const BEGIN = Date.UTC(2026, 10, 28, 8);
const COUNT = 3_000;

/** Lines of two logs in turns, one each second. @param {string} name @param {number} shift in ms */
function stamped(name, shift) {
  return Array.from({ length: COUNT }, (_, at) => `${new Date(BEGIN + at * 1000 + shift).toISOString()} ${name} ${at}\n`).join('');
}

/** @param {import('./scene.js').Scene} scene */
async function address({ logs }) {
  const [one, two] = [await logs.write('one.log', stamped('one', 0)), await logs.write('two.log', stamped('two', 500))];
  return `/_/merged?log=${one}&log=${two}`;
}

const inBerlin = { context: { timezoneId: 'Europe/Berlin' }, serve: ['--zone', 'UTC'] };

scene('merged logs say from when to when the screen is, in each zone, and when the line under the pointer was written', async (scene) => {
  const { page } = scene;
  await scene.open(await address(scene));
  await scene.until(() => /^2026-11-28 09:\d\d:\d\d – 09:49:59$/.test(document.querySelector('#shown-times')?.textContent ?? ''));
  await scene.untilText('#zone', 'local');
  await page.click('#zone');
  await scene.untilText('#zone', 'UTC');
  await scene.until(() => /^2026-11-28 08:\d\d:\d\d – 08:49:59$/.test(document.querySelector('#shown-times')?.textContent ?? ''));
  await page.locator('.row').last().hover();
  await scene.untilText('#pointed-time', '2026-11-28 08:49:59.500');
}, inBerlin);

scene('a link to merged logs leads to the line to which the reader went, and to where they scrolled', async (scene) => {
  const { page } = scene;
  await scene.open(await address(scene));
  await scene.until(() => [...document.querySelectorAll('.row')].at(-1)?.textContent?.endsWith('two 2999'));
  await page.keyboard.press('d');
  await page.fill('#time-wanted', '2026-11-28 08:10');
  await page.keyboard.press('Enter');
  await scene.until(() => document.querySelector('.row.current')?.textContent?.endsWith('one 600'));
  await scene.until(() => location.hash === '#t=2026-11-28T08:10:00.000Z');
  const other = await scene.context.newPage();
  await other.goto(page.url());
  await scene.until(() => document.querySelector('.row.current')?.textContent?.endsWith('one 600'), undefined, other);
  assert.equal(await other.getAttribute('#log', 'data-following'), 'false');
  assert.equal(await other.evaluate(() => location.hash), '#t=2026-11-28T08:10:00.000Z');
  const middle = await other.evaluate(() => {
    const { top } = /** @type {Element} */ (document.querySelector('.row.current')).getBoundingClientRect();
    const log = /** @type {Element} */ (document.querySelector('#log')).getBoundingClientRect();
    return (top - log.top) / log.height;
  });
  assert.ok(middle > 0.2 && middle < 0.8, String(middle));
  // Without that line in sight, the link leads to the middle of the screen.
  await scene.scroll(3_000);
  await scene.until(() => /^#t=2026-11-28T08:1[1-4]/.test(location.hash));
  await other.goto('about:blank');
  await other.goto(page.url());
  const time = page.url().replace(/.*#t=/, '');
  await scene.until((time) => (document.querySelector('.row.current')?.textContent ?? '').startsWith(time), time, other);
  // At the end the link follows again.
  await page.keyboard.press('End');
  await scene.until(() => location.hash === '');
}, inBerlin);

scene('a link to a time that cannot be read says so, and shows the end', async (scene) => {
  const { page } = scene;
  await scene.open(`${await address(scene)}#t=noon`);
  await scene.until(() => document.querySelector('#hint')?.textContent?.startsWith('The position of this link cannot be shown'));
  await scene.until(() => [...document.querySelectorAll('.row')].at(-1)?.textContent?.endsWith('two 2999'));
  assert.equal(await page.locator('.row').count() > 10, true);
}, inBerlin);
