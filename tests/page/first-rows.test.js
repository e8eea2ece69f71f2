// The rows that come with the page, before its script is there.

import assert from 'node:assert/strict';

import { lines, scene, text } from './scene.js';

const SCRIPT = '**/viewer/main.js';

/** Opens a log and holds its script back, as a slow line does. Returns what sends the script on. */
async function openSlowly(scene, target) {
  /** @type {() => void} */
  let send = () => {};
  const sent = new Promise((resolve) => { send = () => resolve(undefined); });
  await scene.page.route(SCRIPT, async (route) => {
    await sent;
    await route.continue();
  });
  await scene.page.goto(`${scene.program.origin}${target}`, { waitUntil: 'commit' });
  await scene.until(() => document.querySelector('footer.status') !== null && document.styleSheets.length > 0);
  return send;
}

/** The texts of the first rows that are in sight. @param {import('./scene.js').Scene} scene */
const inSight = (scene) => scene.page.evaluate(() => {
  const log = document.getElementById('log')?.getBoundingClientRect() ?? new DOMRect();
  return [...document.querySelectorAll('#first-rows .row')].filter((row) => {
    const { top, bottom, height } = row.getBoundingClientRect();
    return height > 0 && top >= log.top - 1 && bottom <= log.bottom + 1;
  }).map((row) => row.textContent ?? '');
});

scene('the end of a log is in sight before the script is there, and the live rows take its place', async (scene) => {
  const { logs, page } = scene;
  const all = lines(1, 1500);
  const log = await logs.write('a.log', `${text(all.slice(0, -1))}\x1b[31mline\x1b[0m <1500>\n`);
  const send = await openSlowly(scene, log);
  await scene.until(() => [...document.querySelectorAll('#first-rows .row')].at(-1)?.textContent === 'line <1500>');
  const seen = await inSight(scene);
  assert.equal(seen.at(-1), 'line <1500>');
  assert.ok(seen.length > 20, `${seen.length} rows are in sight`);
  assert.deepEqual(seen.slice(0, -1), all.slice(1500 - seen.length, -1));
  const place = (/** @type {string} */ rows) => page.evaluate((rows) => {
    const last = [...document.querySelectorAll(`${rows} .row`)].at(-1);
    const { left, bottom } = last?.getBoundingClientRect() ?? new DOMRect();
    return [left, bottom].map(Math.round);
  }, rows);
  const before = await place('#first-rows');
  send();
  await scene.untilState('live');
  await scene.until(() => document.querySelector('#first-rows') === null && [...document.querySelectorAll('#rows .row')].at(-1)?.textContent === 'line <1500>');
  assert.deepEqual(await place('#rows'), before, 'the rows move when the script takes over');
});

scene('a short log begins at the top', async (scene) => {
  const log = await scene.logs.write('a.log', 'one\n\n\ttwo\n');
  const send = await openSlowly(scene, log);
  await scene.until(() => document.querySelectorAll('#first-rows .row').length === 3);
  assert.deepEqual(await inSight(scene), ['one', '', '\ttwo']);
  const top = (/** @type {string} */ rows) => scene.page.evaluate((rows) => Math.round(document.querySelector(`${rows} .row`)?.getBoundingClientRect().top ?? -1), rows);
  const before = await top('#first-rows');
  send();
  await scene.untilRows(['one', '', '\ttwo']);
  assert.equal(await top('#rows'), before);
});

scene('a link to a place does not show the end first', async (scene) => {
  const log = await scene.logs.write('a.log', text(lines(1, 1500)));
  const send = await openSlowly(scene, `${log}#L3`);
  await scene.until(() => document.querySelector('#first-rows') !== null);
  assert.deepEqual(await inSight(scene), []);
  send();
  await scene.until(() => [...document.querySelectorAll('#rows .row')].some((row) => row.textContent === 'line 3'));
});

scene('a log that ended with nothing, or that is not there, has no rows before its state', async (scene) => {
  const log = await scene.logs.write('a.log', '');
  await scene.open(log);
  await scene.untilText('#notice-title', 'No lines yet');
  assert.equal(await scene.page.locator('#first-rows').count(), 0);
});
