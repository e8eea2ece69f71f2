// The pages on a phone, without keyboard and wheel.

import assert from 'node:assert/strict';

import { eventually } from './program.js';
import { lines, scene, text } from './scene.js';

/** The smallest touch target that WCAG 2.2 allows. */
const TARGET_PX_MIN = 24;
const PHONE = { context: { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true } };

/**
 * Swipes over the log; a positive distance is downwards.
 * @param {import('./scene.js').Scene} scene
 * @param {number} distance
 */
async function swipe({ context, page }, distance) {
  const session = await context.newCDPSession(page);
  const from = 420 - distance / 2;
  await session.send('Input.dispatchTouchEvent', { type: 'touchStart', touchPoints: [{ x: 180, y: from }] });
  for (let step = 1; step <= 10; step += 1) {
    await session.send('Input.dispatchTouchEvent', { type: 'touchMove', touchPoints: [{ x: 180, y: from + (distance * step) / 10 }] });
  }
  await session.send('Input.dispatchTouchEvent', { type: 'touchEnd', touchPoints: [] });
  await session.detach();
}

/** Controls that are too small, or not fully on the screen. @param {import('./scene.js').Scene} scene */
function badTargets({ page }) {
  return page.evaluate((least) => [...document.querySelectorAll('button, a[href], input, label')]
    .filter((element) => element.checkVisibility({ visibilityProperty: true }) && !element.closest('#rows'))
    .map((element) => ({ name: element.id || element.textContent, box: element.closest('label')?.getBoundingClientRect() ?? element.getBoundingClientRect() }))
    .filter(({ box }) => box.width > 0 && (box.height < least || box.width < least || box.left < 0 || box.right > innerWidth || box.top < 0 || box.bottom > innerHeight))
    .map(({ name, box }) => `${name}: ${Math.round(box.width)} x ${Math.round(box.height)} at ${Math.round(box.left)}, ${Math.round(box.top)}`), TARGET_PX_MIN);
}

scene('a swipe pauses the view, and a tap or a swipe to the end follows the log again', async (scene) => {
  const { logs, page } = scene;
  const log = await logs.write('a.log', text(lines(1, 400)));
  await scene.open(log);
  await scene.untilState('live');
  await swipe(scene, 500);
  await scene.untilState('paused');
  const first = () => page.evaluate(() => {
    const log = document.querySelector('#log')?.getBoundingClientRect();
    const row = [...document.querySelectorAll('#rows .row')].find((one) => one.getBoundingClientRect().top >= (log?.top ?? 0));
    return `${row?.textContent} at ${row?.getBoundingClientRect().top}`;
  });
  let [stands, looks] = ['', 0];
  await eventually('the fling is over', async () => {
    const before = stands;
    stands = await first();
    looks = stands === before ? looks + 1 : 0;
    return looks > 15;
  });
  await logs.append('a.log', text(lines(401, 440)));
  await scene.untilText('#new-lines-count', '40 new lines');
  assert.equal(await first(), stands, 'what is read stays');
  assert.deepEqual(await badTargets(scene), []);
  await page.tap('#new-lines');
  await scene.untilState('live');
  await scene.until(() => [...document.querySelectorAll('#rows .row')].at(-1)?.textContent === 'line 440');
  // Swipes alone can return to the end.
  await swipe(scene, 500);
  await scene.untilState('paused');
  for (let swipes = 0; swipes < 3; swipes += 1) await swipe(scene, -600);
  await scene.untilState('live');
}, PHONE);

scene('on a phone, finding, filtering and the menus work by taps', async (scene) => {
  const { logs, page } = scene;
  const log = await logs.write('a.log', text(lines(1, 300).map((line, at) => (at % 100 === 50 ? `${line} ERROR ${'wide '.repeat(30)}` : line))));
  await scene.open(log);
  await scene.untilState('live');
  await page.tap('#find-open');
  await page.fill('#find-text', 'error');
  await scene.untilText('#find-count', '3 lines');
  assert.deepEqual(await badTargets(scene), [], 'with find');
  await page.tap('#find-previous');
  await scene.until(() => document.querySelector('.row.current')?.textContent?.startsWith('line 251 ') === true);
  await page.tap('#filter');
  await scene.until(() => document.querySelectorAll('#rows .row').length === 3);
  await page.tap('#find-close');
  await scene.until(() => document.querySelectorAll('#rows .row').length > 3);
  await page.tap('#view-open');
  assert.deepEqual(await badTargets(scene), [], 'with the view menu');
  await page.tap('#view-menu [data-option="numbers"]');
  await eventually('line numbers', () => page.evaluate(() => document.querySelector('#rows [data-line]') !== null));
  // Beside the menu.
  await page.tap('#log', { position: { x: 40, y: 640 } });
  await page.tap('#more-open');
  assert.deepEqual(await badTargets(scene), [], 'with the copy menu');
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  assert.equal(wide, 0);
}, PHONE);

scene('two taps before lines select a range, and a tap on the range clears it', async (scene) => {
  const { logs, page } = scene;
  const log = await logs.write('a.log', text(lines(1, 30)));
  await scene.open(log);
  await scene.until(() => document.querySelectorAll('#rows .row').length === 30);
  /** @param {number} line */
  const tap = (line) => page.locator('#rows .row').nth(line - 1).tap({ position: { x: 22, y: 8 } });
  /** @param {string} wanted */
  const chosen = (wanted) => scene.until((wanted) => [...document.querySelectorAll('#rows .row.selected')].map((row) => row.textContent?.slice(5)).join() === wanted, wanted);
  await tap(12);
  await chosen('12');
  await tap(9);
  await chosen('9,10,11,12');
  await tap(14);
  await chosen('12,13,14');
  await scene.until(() => /^#L12-L14&/.test(location.hash));
  await tap(13);
  await chosen('');
  await tap(5);
  await chosen('5');
  await tap(5);
  await chosen('');
  // A tap on the text selects nothing.
  await page.locator('#rows .row').nth(7).tap({ position: { x: 200, y: 8 } });
  await tap(20);
  await chosen('20');
}, PHONE);
