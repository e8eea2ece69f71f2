// The old files of a log above it: one scroll through all of them, with a line between that names the file.

import assert from 'node:assert/strict';
import { readFile, utimes, writeFile } from 'node:fs/promises';
import { gzipSync } from 'node:zlib';

import { scene } from './scene.js';

/** @param {string} of @param {number} count */
function lines(of, count) {
  return Array.from({ length: count }, (_, at) => `${of} ${at}`);
}

/** A log with two old files, of which the older is compressed. @param {import('./scene.js').Scene} scene @param {number} count */
async function rotated({ logs }, count) {
  const parts = ['oldest', 'older', 'present'].map((of) => lines(of, count));
  const text = (/** @type {string[]} */ part) => `${part.join('\n')}\n`;
  await writeFile(logs.path('a.log.2.gz'), gzipSync(text(parts[0])));
  await logs.write('a.log.1', text(parts[1]));
  await utimes(logs.path('a.log.2.gz'), 1_700_000_000, 1_700_000_000);
  await utimes(logs.path('a.log.1'), 1_700_100_000, 1_700_100_000);
  return { log: await logs.write('a.log', text(parts[2])), parts };
}

scene('the old files of a short log stand above it, with a line between that names them', async (scene) => {
  const { page } = scene;
  const { log, parts } = await rotated(scene, 3);
  await scene.open(log);
  await scene.untilRowsAndMarks([...parts[0], '[rotated]', ...parts[1], '[rotated]', ...parts[2]]);
  const marks = await page.locator('#rows .marker').allInnerTexts();
  assert.match(marks[0], /^end of a\.log\.2\.gz \(27 B, written until 2023-11-1\d .*\) · a\.log\.1 begins$/);
  assert.match(marks[1], /^end of a\.log\.1 .* · a\.log begins$/);
  await scene.logs.append('a.log', 'appended\n');
  await scene.untilRowsAndMarks([...parts[0], '[rotated]', ...parts[1], '[rotated]', ...parts[2], 'appended']);
  await scene.untilState('live');
});

scene('a reader who scrolls up comes to the first line of the oldest file', async (scene) => {
  const { page } = scene;
  const { log } = await rotated(scene, 3_000);
  await scene.open(log);
  await scene.untilState('live');
  await page.mouse.move(300, 300);
  const isThere = () => [...document.querySelectorAll('#rows .row')].some((row) => row.textContent === 'oldest 0');
  for (let turns = 0; !(await page.evaluate(isThere)); turns += 1) {
    assert.ok(turns < 500, 'it never comes there');
    await page.mouse.wheel(0, -20_000);
    await page.waitForTimeout(20);
  }
  const rows = await scene.rows();
  assert.deepEqual(rows.slice(0, 200), lines('oldest', 200));
});

scene('all files are one download', async (scene) => {
  const { page } = scene;
  const { log, parts } = await rotated(scene, 3);
  await scene.open(log);
  await scene.untilState('live');
  await page.click('#more-open');
  await scene.untilText('#download-history span', 'Download with 2 older files');
  const [download] = await Promise.all([page.waitForEvent('download'), page.click('#download-history')]);
  assert.equal(await readFile(await download.path(), 'utf8'), `${parts.flat().join('\n')}\n`);
});

scene('a damaged archive says what is wrong with it', async (scene) => {
  const whole = gzipSync(lines('line', 2_000).join('\n'));
  await writeFile(scene.logs.path('a.log.gz'), whole.subarray(0, whole.length / 2));
  await scene.open(scene.logs.path('a.log.gz'));
  await scene.until(() => document.querySelector('#newer')?.textContent?.includes('This gz file ends early'));
});
