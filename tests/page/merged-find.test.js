// Finding in merged logs what the page does not test itself: conditions on fields, and regular expressions of any kind.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { load } from './modules.js';
import { DEADLINE_MS, eventually } from './program.js';
import { scene, text } from './scene.js';

const { sumOf } = await load('merged/merged-values.js');

/** 2026-11-28T14:02:00Z in seconds. */
const T = 1_795_874_520;

/** @param {...string} logs their paths */
const merged = (...logs) => `/_/merged?${logs.map((log) => `log=${log}`).join('&')}`;

/** A line with the time of so many seconds after `T`. @param {number} after @param {string} words */
const at = (after, words) => `${T + after}.000 ${words}`;

/** The rows that are shown. @param {import('playwright-core').Page} page @returns {Promise<string[]>} */
const shown = (page) => page.evaluate(() => [...document.querySelectorAll('#rows .row:not([hidden])')].map((row) => row.textContent ?? ''));

/** @param {import('./scene.js').Scene} scene @param {string[]} wanted */
async function untilShown({ page }, wanted) {
  await eventually(`these rows: ${wanted.join(', ')}`, async () => {
    const rows = await shown(page);
    return JSON.stringify(rows) === JSON.stringify(wanted) || rows;
  });
}

/** @param {import('./scene.js').Scene} scene @param {string} end of the current row */
const untilCurrent = (scene, end) => scene.until((end) => document.querySelector('#rows .row.current')?.textContent?.endsWith(end) ?? false, end);

test('the values of a field in several logs are those of one', () => {
  const one = { rows: 100, with_field: 90, distinct: 2, values: [['200', 60], ['503', 30]], done: true, complete: true };
  const two = { rows: 50, with_field: 9, distinct: 3, values: [['503', 40], ['200', 5], ['404', 4]], done: true, complete: true };
  assert.deepEqual(sumOf([one, two]), {
    rows: 150, with_field: 99, distinct: 3, values: [['503', 70], ['200', 65], ['404', 4]], done: true, complete: true, isAtLeast: false,
  });
  const many = { ...one, distinct: 2_000 };
  const sum = sumOf([many, { ...two, complete: false }]);
  assert.deepEqual([sum.distinct, sum.isAtLeast, sum.complete, sum.done], [2_000, true, false, true]);
});

scene('conditions on fields filter merged logs with their old files, and lines that arrive', async (scene) => {
  const { logs, page } = scene;
  await logs.write('one.log.1', text([at(0, '{"status":503,"n":"old"}'), at(1, '{"status":200}')]));
  const one = await logs.write('one.log', text([at(10, '{"status":200,"n":1}'), at(12, '{"status":500,"n":2}')]));
  const two = await logs.write('two.log', text([at(11, 'status=404 n=3'), at(13, 'status=502 n=4'), at(14, 'no fields')]));
  await scene.open(`${merged(one, two)}#find=f:status>=500&filter=1`);
  const rows = [at(0, '{"status":503,"n":"old"}'), at(12, '{"status":500,"n":2}'), at(13, 'status=502 n=4')];
  await untilShown(scene, rows);
  await scene.untilText('#find-count', '3 lines');
  await logs.append('one.log', text([at(15, '{"status":200}'), at(16, '{"status":501}')]));
  rows.push(at(16, '{"status":501}'));
  await untilShown(scene, rows);
  // A line that fits only when it is complete.
  await logs.append('two.log', at(17, 'status=5'));
  await logs.append('one.log', text([at(18, '{"status":599}')]));
  await untilShown(scene, [...rows, at(18, '{"status":599}')]);
  await logs.append('two.log', '04\n');
  rows.push(at(17, 'status=504'), at(18, '{"status":599}'));
  await untilShown(scene, rows);
  await scene.untilText('#find-count', '6 lines');
  // The stack trace of an error comes with it.
  await logs.append('two.log', text([at(20, 'level=error status=500 msg=failed'), '    at Main.run(Main.java:7)', at(20, 'status=200')]));
  rows.push(at(20, 'level=error status=500 msg=failed'), '    at Main.run(Main.java:7)');
  await untilShown(scene, rows);
  // So it does when the error is drawn over later.
  await logs.append('two.log', text([at(21, 'level=error status=200 msg=fine'), '    at Main.run(Main.java:8)']));
  await logs.append('one.log', text([at(21, '{"status":501,"n":"next"}')]));
  rows.push(at(21, '{"status":501,"n":"next"}'));
  await untilShown(scene, rows);
  await logs.append('two.log', `\x1b[2A\r${at(21, 'level=error status=500 msg=late')}\x1b[K\x1b[2B\r`);
  rows.splice(-1, 1, at(21, '{"status":501,"n":"next"}'), at(21, 'level=error status=500 msg=late'), '    at Main.run(Main.java:8)');
  await untilShown(scene, rows);
  // The other way round: what is not tested yet is not shown either.
  await page.click('#invert');
  const others = [at(1, '{"status":200}'), at(10, '{"status":200,"n":1}'), at(11, 'status=404 n=3'), at(14, 'no fields'), at(15, '{"status":200}'), at(20, 'status=200')];
  await untilShown(scene, others);
  await page.evaluate(() => {
    Object.assign(window, { wrong: '' });
    new MutationObserver((changes) => {
      for (const { addedNodes } of changes) for (const node of addedNodes) if (node.textContent?.includes('status=555')) Object.assign(window, { wrong: node.textContent });
    }).observe(/** @type {Element} */ (document.querySelector('#rows')), { childList: true, subtree: true });
  });
  await logs.append('two.log', text([at(22, 'status=555'), at(23, 'status=201')]));
  others.push(at(23, 'status=201'));
  await untilShown(scene, others);
  assert.equal(await page.evaluate(() => /** @type {any} */ (window).wrong), '');
});

scene('conditions on fields find in merged logs, however far away, and a wrong one is explained', async (scene) => {
  const { logs, page } = scene;
  const line = (/** @type {string} */ name, /** @type {number} */ nth) => at(nth, `log=${name} n=${nth} status=${nth % 1_000 === 500 ? 503 : 200}`);
  const one = await logs.write('one.log', text(Array.from({ length: 3_000 }, (_, nth) => line('one', nth))));
  const two = await logs.write('two.log', text(Array.from({ length: 3_000 }, (_, nth) => line('two', nth))));
  await scene.open(merged(one, two));
  await scene.untilState('live');
  await page.keyboard.press('/');
  await page.click('[data-find="fields"]');
  await page.keyboard.type('status>');
  await scene.untilText('#find-count', 'a value is missing after `status>`');
  await page.keyboard.type('=500');
  for (const [nth, name] of [[2_500, 'two'], [2_500, 'one'], [1_500, 'two'], [1_500, 'one'], [500, 'two'], [500, 'one'], [2_500, 'two']]) {
    await page.keyboard.press('Shift+Enter');
    await untilCurrent(scene, `log=${name} n=${nth} status=503`);
  }
  await page.click('#filter');
  await untilShown(scene, [500, 1_500, 2_500].flatMap((nth) => [line('one', nth), line('two', nth)]));
  // A wrong one filters nothing, also where there is no line to test, and in a link.
  await page.fill('#find-text', 'status>=999');
  await untilShown(scene, []);
  await page.fill('#find-text', 'status>');
  await scene.untilText('#find-count', 'a value is missing after `status>`');
  await scene.until(() => document.querySelectorAll('#rows .row').length > 100);
  const link = page.url();
  await page.goto('about:blank');
  await page.goto(link);
  await scene.untilText('#find-count', 'a value is missing after `status>`');
  await scene.until(() => document.querySelectorAll('#rows .row').length > 100);
});

scene('the values of a field in merged logs are counted together, and a click on one shows its lines', async (scene) => {
  const { logs, page } = scene;
  const one = await logs.write('one.log', text([at(0, 'status=200'), at(2, 'status=503 user=a'), at(4, 'status=200')]));
  const two = await logs.write('two.log', text([at(1, '{"status":503,"user":"b"}'), at(3, '{"status":404}'), at(5, 'nothing')]));
  await scene.open(merged(one, two));
  await scene.untilState('live');
  await page.keyboard.press('i');
  await page.keyboard.type('status');
  await page.keyboard.press('Enter');
  await scene.untilText('#values-count', '5 of 6 lines have it, with 3 values');
  assert.deepEqual(await page.$$eval('#values-list li', (items) => items.map((item) => [...item.children].map((part) => part.textContent).join(' '))), ['200 2', '503 2', '404 1']);
  await page.click('#values-list button:text-is("503")');
  await untilShown(scene, [at(1, '{"status":503,"user":"b"}'), at(2, 'status=503 user=a')]);
  // The next count is of these lines, of the logs that are on.
  await page.click('#log');
  await page.keyboard.press('2');
  await page.keyboard.press('i');
  await page.fill('#values-field', 'user');
  await page.keyboard.press('Enter');
  await scene.untilText('#values-count', '1 of 1 lines have it, with 1 value');
});

scene('an expression that takes for ever in the browser filters merged logs, and the page goes on', async (scene) => {
  const { logs, page } = scene;
  const hostile = `${'a'.repeat(60)}!`;
  const one = await logs.write('one.log', text([at(0, hostile), at(2, 'baaa')]));
  const two = await logs.write('two.log', text([at(1, 'caaa'), at(3, 'nothing')]));
  await page.addInitScript(() => {
    Object.assign(window, { hints: [], late: 0 });
    let last = performance.now();
    setInterval(() => {
      const now = performance.now();
      Object.assign(window, { late: Math.max(/** @type {any} */ (window).late, now - last) });
      last = now;
    }, 50);
    addEventListener('DOMContentLoaded', () => new MutationObserver(() => {
      /** @type {any} */ (window).hints.push(document.querySelector('#hint')?.textContent);
    }).observe(/** @type {Element} */ (document.querySelector('#hint')), { childList: true }));
  });
  await scene.open(`${merged(one, two)}#find=r:(a%2B)%2B$`);
  await scene.until(() => /** @type {any} */ (window).hints.includes('(a+)+$ takes more than 1 s in this browser, so the server searches the lines'));
  await scene.untilText('#find-count', '2 lines');
  await page.click('#filter');
  await untilShown(scene, [at(1, 'caaa'), at(2, 'baaa')]);
  await logs.append('one.log', text([at(4, hostile), at(5, 'daaa')]));
  await untilShown(scene, [at(1, 'caaa'), at(2, 'baaa'), at(5, 'daaa')]);
  const late = await page.evaluate(() => /** @type {any} */ (window).late);
  assert.ok(late < DEADLINE_MS / 4, `the page stood still for ${late} ms`);
});

scene('an expression that only the server knows, or does not know, filters merged logs or is explained', async (scene) => {
  const { logs, page } = scene;
  const one = await logs.write('one.log', text([at(0, 'needle'), at(2, 'nothing')]));
  const two = await logs.write('two.log', text([at(1, 'a Needle')]));
  await scene.open(`${merged(one, two)}#find=r:(?x)nee+dle&filter=1`);
  await untilShown(scene, [at(0, 'needle'), at(1, 'a Needle')]);
  await logs.append('two.log', text([at(3, 'nothing'), at(4, 'NEEDLE')]));
  await untilShown(scene, [at(0, 'needle'), at(1, 'a Needle'), at(4, 'NEEDLE')]);
  await page.fill('#find-text', 'needle(?=x)');
  await scene.until(() => document.querySelector('#find-count')?.textContent?.includes('look-around'));
  await scene.until(() => document.querySelectorAll('#rows .row:not([hidden])').length === 5);
});
