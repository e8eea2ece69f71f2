// The note on the page of an earlier file, and the page of a pattern.

import assert from 'node:assert/strict';

import { scene } from './scene.js';

scene("the page of yesterday's file leads to today's and to the pattern of both", async (scene) => {
  const { logs, page } = scene;
  const log = await logs.write('app-2026-11-27.log', 'yesterday\n');
  await logs.write('app-2026-11-28.log', 'today\n');
  await logs.write('app-2026-11-29.txt', 'another kind\n');
  await scene.open(log);
  await scene.untilRows(['yesterday']);
  await scene.until(() => document.querySelector('#newer-file')?.hasAttribute('hidden') === false);
  assert.match(await page.innerText('#newer-file'), /A newer file is being written: app-2026-11-28\.log/);
  await page.click('#newest-file');
  await scene.untilRows(['today']);
  assert.ok(page.url().endsWith('/app-2026-11-28.log'));
  assert.ok(await page.isHidden('#newer-file'), 'it is the newest');
  await scene.open(log);
  await scene.until(() => document.querySelector('#newer-file')?.hasAttribute('hidden') === false);
  await page.click('#newest-pattern');
  // The file before is a part of what the pattern leads to.
  await scene.untilRowsAndMarks(['yesterday', '[rotated]', 'today']);
  assert.ok(page.url().endsWith('/app-*.log'));
  await scene.untilText('#path .name', 'app-*.log');
  await logs.write('app-2026-11-30.log', 'tomorrow\n');
  await scene.untilRowsAndMarks(['yesterday', '[rotated]', 'today', '[rotated]', 'tomorrow']);
  await scene.untilState('live');
});

scene('a page that is shown again learns of a newer file', async (scene) => {
  const { logs, page } = scene;
  await scene.open(await logs.write('app-20261128.log', 'today\n'));
  await scene.untilRows(['today']);
  assert.ok(await page.isHidden('#newer-file'));
  await logs.write('app-20261129.log', 'tomorrow\n');
  await page.evaluate(() => document.dispatchEvent(new Event('visibilitychange')));
  await scene.untilText('#newest-file', 'app-20261129.log');
  assert.ok(await page.isVisible('#newer-file'));
});
