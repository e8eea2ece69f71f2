// Going to a time: what a reader may type, and where the page goes.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { load } from './modules.js';
import { scene } from './scene.js';

const { instantMeant, timeWanted } = await load('viewer/time-dialog.js');

test('what a reader types becomes a time for the server', () => {
  // In the zone of the browser, as the clock of the reader.
  const now = new Date(2026, 10, 28, 14, 30, 5);
  for (const [typed, wanted] of [
    ['14:02', '2026-11-28 14:02:00'],
    [' 9:05:07 ', '2026-11-28 09:05:07'],
    ['9:05:07,250', '2026-11-28 09:05:07.250'],
    ['14:30:06', '2026-11-27 14:30:06'],
    ['23:59', '2026-11-27 23:59:00'],
    ['today 23:59', '2026-11-28 23:59:00'],
    ['Yesterday at 9:30', '2026-11-27 09:30:00'],
    ['yesterday', '2026-11-27 00:00:00'],
    ['-10m', '10m'],
    ['2h 30m', '2h30m'],
    ['1d', '1d'],
    ['2026-11-28', '2026-11-28'],
    ['2026-11-28T14:02:07Z', '2026-11-28T14:02:07Z'],
    ['1795874527', '1795874527'],
    ['24:00', null],
    ['12:60', null],
    ['noon', null],
    ['12', null],
    ['', null],
  ]) assert.equal(timeWanted(typed, now), wanted, typed);
});

test('the day before the first of March is the last of February', () => {
  assert.equal(timeWanted('yesterday 1:00', new Date(2028, 2, 1, 12)), '2028-02-29 01:00:00');
});

test('a time of the day is one of the server, wherever the browser is', async () => {
  const { Zone } = await load('ui/zones.js');
  const now = new Date(Date.UTC(2026, 10, 29, 4));
  for (const [name, typed, wanted] of [
    ['UTC', '03:30', '2026-11-29 03:30:00'],
    ['UTC', '04:30', '2026-11-28 04:30:00'],
    ['America/Los_Angeles', '03:30', '2026-11-28 03:30:00'],
    ['America/Los_Angeles', 'today', '2026-11-28 00:00:00'],
    ['Asia/Tokyo', 'yesterday 9:30', '2026-11-28 09:30:00'],
  ]) assert.equal(timeWanted(typed, now, new Zone(name, name)), wanted, `${typed} in ${name}`);
});

test('what is meant is an instant of the chosen clock', async () => {
  const { Zone } = await load('ui/zones.js');
  const now = new Date(Date.UTC(2026, 10, 29, 4));
  const tokyo = new Zone('Asia/Tokyo', 'Asia/Tokyo');
  for (const [wanted, instant] of [
    ['2h30m', '2026-11-29T01:30:00.000Z'],
    ['2026-11-28 14:02:07.250', '2026-11-28T05:02:07.250Z'],
    ['2026-11-28', '2026-11-27T15:00:00.000Z'],
    ['2026-11-28T14:02', '2026-11-28T05:02:00.000Z'],
    ['2026-11-28T14:02:07+01:00', '2026-11-28T13:02:07.000Z'],
    ['1795874527.25', '2026-11-28T14:02:07.250Z'],
  ]) assert.equal(new Date(/** @type {number} */ (instantMeant(wanted, now, tokyo))).toISOString(), instant, wanted);
  assert.equal(instantMeant('2026-11-28 14:02', now, null), null);
  assert.equal(instantMeant('2026-11-28 at noon', now, tokyo), null);
});

scene('the dialog says which time is meant, and takes one of the clock that the rows show', async (scene) => {
  const { logs, page } = scene;
  const begin = Date.UTC(2026, 10, 28, 8);
  const stamped = Array.from({ length: 20_000 }, (_, at) => `{"time":"${new Date(begin + at * 1000).toISOString()}","msg":"request ${at}"}\n`);
  await scene.open(await logs.write('a.log', stamped.join('')));
  await scene.untilState('live');
  await page.keyboard.press('d');
  await page.fill('#time-wanted', '2026-11-28 10:30');
  await scene.untilText('#time-meant', '2026-11-28 10:30:00 UTC · 11:30:00 in this browser');
  await page.keyboard.press('Enter');
  await scene.until(() => document.querySelector('.row.cursor')?.textContent?.includes('request 9000'));
  // Readable rows show the clock of the browser.
  await page.keyboard.press('b');
  await page.keyboard.press('d');
  assert.equal(await page.inputValue('#time-zone-choice'), 'local');
  await scene.untilText('#time-meant', '2026-11-28 09:30:00 UTC · 10:30:00 in this browser');
  await page.keyboard.press('Enter');
  await scene.until(() => document.querySelector('.row.cursor')?.textContent === '10:30:00.000 request 5400');
  await page.keyboard.press('d');
  await page.selectOption('#time-zone-choice', 'server');
  await scene.untilText('#time-meant', '2026-11-28 10:30:00 UTC · 11:30:00 in this browser');
  await page.fill('#time-wanted', 'noon');
  await scene.untilText('#time-meant', '');
}, { serve: ['--zone', 'Etc/UTC'], context: { timezoneId: 'Europe/Berlin' } });

scene('d goes to the first line that is not before a time, and says what is no time', async (scene) => {
  const { logs, page } = scene;
  const begin = Date.UTC(2026, 10, 28, 8);
  const stamped = Array.from({ length: 20_000 }, (_, at) => `${new Date(begin + at * 1000).toISOString()} request ${at}\n`);
  const log = await logs.write('a.log', stamped.join(''));
  await scene.open(log);
  await scene.untilState('live');
  await page.keyboard.press('d');
  await page.keyboard.type('half past ten');
  await page.keyboard.press('Enter');
  await scene.until(() => document.querySelector('#time-problem')?.textContent?.startsWith('Write a time such as'));
  await page.locator('#time-wanted').fill('2026-11-28T10:30:00Z');
  await page.keyboard.press('Enter');
  await scene.until(() => document.querySelector('.row.cursor')?.textContent === '2026-11-28T10:30:00.000Z request 9000');
  assert.equal(await page.locator('#go-to-time').evaluate((dialog) => /** @type {HTMLDialogElement} */ (dialog).open), false);
  // The keys work again.
  await page.keyboard.press('j');
  await scene.until(() => document.querySelector('.row.cursor')?.textContent?.endsWith('request 9001'));
  // From the menu, to a time after all lines: the end, which is followed.
  await page.locator('#view-open').click();
  await page.locator('#time-open').click();
  await page.locator('#time-wanted').fill('2026-11-29 00:00');
  await page.keyboard.press('Enter');
  await scene.until(() => document.querySelector('#log')?.getAttribute('data-following') === 'true');
});
