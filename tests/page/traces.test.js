// The stack trace of an error stays with it: in filters of the merged page, and when a line is copied.

import assert from 'node:assert/strict';

import { eventually } from './program.js';
import { scene, text } from './scene.js';

const LOG = [
  'INFO start',
  'ERROR it broke',
  'java.lang.IllegalStateException: no',
  '\tat a.B.c(B.java:3)',
  'Caused by: java.io.IOException: closed',
  '\t... 3 more',
  'INFO next',
  '\tat no.error.of(Mine.java:1)',
  'WARN slow',
  '    indented under a warning',
  'ERROR <b>another</b> & more',
  'goroutine 1 [running]:',
  'main.f(0x1, {0xc000012345, 0x3})',
  '\t/src/a.go:3 +0x1d',
  'INFO done',
  'WARN odd',
  'Caused by: java.io.IOException: error of a warning',
  '\tat d.E.f(E.java:9)',
  '   Compiling a v1.0.0',
  'INFO end',
];
const clipboard = { context: { permissions: ['clipboard-read', 'clipboard-write'] } };

/** The texts of the rows of one log on the merged page. @param {import('playwright-core').Page} page @param {string} name @returns {Promise<string[]>} */
const rowsOf = (page, name) => page.evaluate((name) => [...document.querySelectorAll('#rows .row:not([hidden])')]
  .filter((row) => row instanceof HTMLElement && row.dataset.name === name).map((row) => row.textContent ?? ''), name);

const copied = (/** @type {import('playwright-core').Page} */ page) => page.evaluate(() => navigator.clipboard.readText());

scene('the filters of the merged page show the stack trace of each error that they show, as those of the server do', async (scene) => {
  const { logs, page } = scene;
  const log = await logs.write('a.log', text(LOG));
  const other = await logs.write('b.log', 'INFO in b\n');
  for (const [hash, query] of [
    ['level=error', 'level=error&filter=1'],
    ['level=warning', 'level=error,warning&filter=1'],
    ['find=:broke&filter=1', 'q=broke&filter=1'],
    ['find=:another&filter=not', 'q=another&filter=1&invert=1'],
    ['find=:INFO&filter=not', 'q=INFO&filter=1&invert=1'],
    ['find=:E.java&filter=1', 'q=E.java&filter=1'],
    ['find=:closed&filter=1&level=error', 'q=closed&filter=1&level=error'],
  ]) {
    const answer = await fetch(`${scene.program.origin}/_/rows${log}?count=100&format=text&${query}`);
    const expected = (await answer.json()).rows.map((/** @type {[number, string]} */ [, row]) => row);
    await scene.open(`/_/merged?log=${log}&log=${other}#${hash}`);
    await page.reload();
    await eventually(`the rows of ${hash}`, async () => {
      const rows = await rowsOf(page, 'a.log');
      return JSON.stringify(rows) === JSON.stringify(expected) || { rows, expected };
    });
  }
  // An error and its trace that arrive later are shown, too.
  await scene.open(`/_/merged?log=${log}&log=${other}#level=error`);
  await page.reload();
  await logs.append('b.log', 'INFO between\nERROR late\n');
  await logs.append('b.log', '\tat g.H.i(H.java:2)\nINFO after\n');
  await eventually('the late error', async () => {
    const rows = await rowsOf(page, 'b.log');
    return JSON.stringify(rows) === JSON.stringify(['ERROR late', '\tat g.H.i(H.java:2)']) || rows;
  });
});

scene('copying an error on the merged page takes its stack trace along, without the lines of other logs between', async (scene) => {
  const { logs, page } = scene;
  const log = await logs.write('a.log', 'INFO start\n');
  const other = await logs.write('b.log', 'INFO in b\n');
  await scene.open(`/_/merged?log=${log}&log=${other}`);
  await eventually('the history', async () => (await rowsOf(page, 'b.log')).length === 1 || 'none');
  await page.keyboard.press('y');
  await scene.untilText('#hint', 'Go to a line first: e and n go to errors and matches');
  for (const [name, line] of [['a', 'ERROR it broke'], ['b', '\tat other.B.c(B.java:1)'], ['a', '\tat a.B.c(B.java:3) & <x>'], ['b', 'INFO more in b'], ['a', '\t... 3 more'], ['a', 'INFO next']]) {
    await logs.append(`${name}.log`, `${line}\n`);
    await eventually(line, async () => (await rowsOf(page, `${name}.log`)).includes(line) || rowsOf(page, `${name}.log`));
  }
  await page.keyboard.press('e');
  await scene.until(() => document.querySelector('#copy')?.hasAttribute('hidden') === false);
  await page.click('#copy');
  await scene.untilText('#hint', 'Error copied with its stack trace: 3 lines');
  assert.equal(await copied(page), 'ERROR it broke\n\tat a.B.c(B.java:3) & <x>\n\t... 3 more\n');
  await page.keyboard.press('/');
  await page.keyboard.type('more in b');
  await page.keyboard.press('Enter');
  await page.keyboard.press('Escape');
  await page.keyboard.press('y');
  await scene.untilText('#hint', 'Line copied');
  assert.equal(await copied(page), 'INFO more in b\n');
}, clipboard);

scene('copying a single error in the viewer takes its stack trace along, and a selection is copied as it is', async (scene) => {
  const { logs, page } = scene;
  const log = await logs.write('a.log', text(LOG));
  await scene.open(`${log}#L3`);
  await scene.until(() => document.querySelectorAll('.row.selected').length === 1 && document.querySelector('.row[data-level="error"]') !== null);
  await page.keyboard.press('y');
  await scene.untilText('#hint-words', 'Error copied with its stack trace: 4 lines');
  assert.equal(await copied(page), text(LOG.slice(2, 6)));
  await page.evaluate(() => { location.hash = '#L3-L4'; });
  await scene.until(() => document.querySelectorAll('.row.selected').length === 2);
  await page.keyboard.press('y');
  await scene.untilText('#hint-words', '2 lines copied');
  assert.equal(await copied(page), text(LOG.slice(2, 4)));
  await page.evaluate(() => { location.hash = '#L7'; });
  await scene.until(() => document.querySelectorAll('.row.selected').length === 1);
  await page.keyboard.press('y');
  await scene.untilText('#hint-words', '1 line copied');
}, clipboard);
