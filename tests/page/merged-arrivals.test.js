// Lines that arrive in merged logs in forms that only the server reads, and links that are put into the address of an open page.

import assert from 'node:assert/strict';

import { scene } from './scene.js';

const BEGIN = Date.UTC(2026, 10, 28, 14);
const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];

/** @param {number} second @param {string} words */
function iso(second, words) {
  return `${new Date(BEGIN + second * 1000).toISOString()} ${words}`;
}

/** A form that the page does not read. @param {number} second @param {string} words */
function named(second, words) {
  const [year, month, rest] = new Date(BEGIN + second * 1000).toISOString().split('-');
  return `${rest.slice(0, 2)}-${MONTHS[Number(month) - 1]}-${year} ${rest.slice(3, 15)} ${words}`;
}

scene('a line that arrives late stands where its time says, also in a form that only the server reads', async (scene) => {
  const { logs, page } = scene;
  const one = await logs.write('one.log', `${iso(0, 'one a')}\n${iso(20, 'one b')}\n`);
  const two = await logs.write('two.log', `${named(10, 'two a')}\n`);
  // Nothing is known of a log that is empty.
  const three = await logs.write('three.log', '');
  await scene.open(`/_/merged?log=${one}&log=${two}&log=${three}`);
  await scene.untilRows([iso(0, 'one a'), named(10, 'two a'), iso(20, 'one b')]);
  await scene.untilState('live');
  await logs.append('one.log', `${iso(40, 'one c')}\n`);
  await scene.untilRows([iso(0, 'one a'), named(10, 'two a'), iso(20, 'one b'), iso(40, 'one c')]);
  await logs.append('two.log', `${named(30, 'two b')}\n  more of two b\n${named(50, 'two c')}\n`);
  const rows = [iso(0, 'one a'), named(10, 'two a'), iso(20, 'one b'), named(30, 'two b'), '  more of two b', iso(40, 'one c'), named(50, 'two c')];
  await scene.untilRows(rows);
  await logs.append('three.log', `${named(60, 'three a')}\n`);
  await scene.untilRows([...rows, named(60, 'three a')]);
  await logs.append('one.log', `${iso(80, 'one d')}\n`);
  await scene.untilRows([...rows, named(60, 'three a'), iso(80, 'one d')]);
  await logs.append('three.log', `${named(70, 'three b')}\n`);
  await scene.untilRows([...rows, named(60, 'three a'), named(70, 'three b'), iso(80, 'one d')]);
  // The times beside the lines are those that the server reads.
  await page.keyboard.press('s');
  await scene.until((time) => document.querySelectorAll('#rows .row')[3]?.getAttribute('data-time') === time, await page.evaluate((time) => {
    const at = new Date(time);
    return `${at.toTimeString().slice(0, 8)}.000`;
  }, BEGIN + 30_000));
});

scene('under a reader who has scrolled up, a late line moves nothing', async (scene) => {
  const { logs, page } = scene;
  const many = (/** @type {number} */ from, /** @type {number} */ to) => Array.from({ length: to - from }, (_, at) => iso(2 * (from + at), `one ${from + at}`)).join('\n');
  const one = await logs.write('one.log', `${many(0, 200)}\n`);
  const two = await logs.write('two.log', `${named(1, 'two a')}\n`);
  await scene.open(`/_/merged?log=${one}&log=${two}`);
  await scene.until(() => document.querySelectorAll('#rows .row').length === 201);
  await scene.untilState('live');
  await scene.scroll(-600);
  await scene.untilState('paused');
  const top = () => page.evaluate(() => {
    const log = /** @type {Element} */ (document.querySelector('#log')).getBoundingClientRect();
    const row = [...document.querySelectorAll('#rows .row')].find((row) => row.getBoundingClientRect().top >= log.top);
    return [row?.textContent, Math.round(row?.getBoundingClientRect().top ?? 0)];
  });
  const before = await top();
  // It stands above what the reader sees, and the next one below it.
  await logs.append('two.log', `${named(11, 'two b')}\n${named(399, 'two c')}\n`);
  await scene.until(() => [...document.querySelectorAll('#rows .row')].some((row) => row.textContent?.endsWith('two c')));
  const rows = await scene.rows();
  assert.equal(rows[rows.indexOf(named(11, 'two b')) - 1], iso(10, 'one 5'));
  assert.equal(rows.at(-1), named(399, 'two c'));
  const after = await top();
  assert.equal(after[0], before[0]);
  assert.ok(Math.abs(after[1] - before[1]) <= 2, `${after} after ${before}`);
});

scene('a link that is put into the address of an open merged page is followed, and so is the way back', async (scene) => {
  const { logs, page } = scene;
  const lines = (/** @type {string} */ name, /** @type {number} */ ahead) => `${Array.from({ length: 3_000 }, (_, at) => iso(at + ahead, `${at % 100 === 0 ? 'ERROR' : 'INFO'} ${name} ${at}`)).join('\n')}\n`;
  const one = await logs.write('one.log', lines('one', 0));
  const two = await logs.write('two.log', lines('two', 0.5));
  await scene.open(`/_/merged?log=${one}&log=${two}`);
  await scene.untilState('live');
  await scene.until(() => [...document.querySelectorAll('.row')].at(-1)?.textContent?.endsWith('two 2999'));
  const go = (/** @type {string} */ hash) => page.evaluate((hash) => { location.hash = hash; }, hash);
  const current = (/** @type {string} */ row) => scene.until((row) => document.querySelector('.row.current')?.textContent === row, row);
  await go('#t=2026-11-28T14:10:00Z&zone=utc');
  await current(iso(600, 'ERROR one 600'));
  await scene.until(() => location.hash === '#t=2026-11-28T14:10:00.000Z&zone=utc');
  // Which logs are on, their clocks and the filter are those of the link, too.
  await go('#off=1&shift=2:3600000&t=2026-11-28T15:20:00Z&find=:ERROR&filter=1');
  await current(iso(1200.5, 'ERROR two 1200'));
  assert.equal(await page.locator('#sources .source').first().locator('.name').getAttribute('aria-pressed'), 'false');
  assert.equal(await page.inputValue('#shifts input >> nth=1'), '+1h');
  await scene.until(() => [...document.querySelectorAll('.row')].every((row) => row.textContent?.includes('ERROR two')));
  await page.goBack();
  await current(iso(600, 'ERROR one 600'));
  await scene.until(() => [...document.querySelectorAll('.row')].some((row) => row.textContent?.endsWith('INFO two 599')));
  assert.equal(await page.inputValue('#shifts input >> nth=1'), '');
  await go('');
  await scene.untilState('live');
  await scene.until(() => [...document.querySelectorAll('.row')].at(-1)?.textContent?.endsWith('two 2999'));
});
