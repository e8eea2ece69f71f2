// Times in the zone of the reader's choice: on the clock column, in the status bar, and in links to a time.

import assert from 'node:assert/strict';
import { utimes, writeFile } from 'node:fs/promises';
import { test } from 'node:test';
import { gzipSync } from 'node:zlib';

import { load } from './modules.js';
import { scene } from './scene.js';

const { LOCAL, Zone } = await load('ui/zones.js');
const { parseTime } = await load('rows/times.js');
const { spanText } = await load('ui/zones.js');
const { emptyView, formatView, parseView } = await load('url/view-hash.js');

const berlin = new Zone('Europe/Berlin', 'Europe/Berlin');
const SUMMER = Date.UTC(2026, 6, 1, 12);
const WINTER = Date.UTC(2026, 11, 1, 12);

test('a zone shows the clock of its place, in summer and in winter', () => {
  assert.equal(berlin.preciseClock(SUMMER + 7), '14:00:00.007');
  assert.equal(berlin.clock(WINTER), '13:00:00');
  assert.equal(berlin.date(Date.UTC(2026, 11, 31, 23, 30)), '2027-01-01');
  const fixed = new Zone('+05:30', '+05:30');
  assert.equal(fixed.clock(SUMMER), '17:30:00');
  assert.throws(() => new Zone('Mars', 'Mars/Olympus'), RangeError);
  assert.equal(LOCAL.preciseClock(new Date(2026, 10, 25, 2, 7, 30, 5).getTime()), '02:07:30.005');
  const now = new Date(SUMMER);
  assert.equal(LOCAL.clock(SUMMER), [now.getHours(), now.getMinutes(), now.getSeconds()].map((part) => String(part).padStart(2, '0')).join(':'));
});

test('what a clock shows leads back to the instant, around the changes of the clock, too', () => {
  for (const zone of [berlin, LOCAL, new Zone('America/St_Johns', 'America/St_Johns'), new Zone('UTC', 'UTC')]) {
    for (let at = Date.UTC(2026, 0, 1, 0, 10); at < Date.UTC(2027, 0, 1); at += 7 * 3_600_000) {
      const back = zone.instantOf(at + zone.aheadAt(at));
      // The hour that comes twice leads to its first time.
      assert.ok(back === at || (back === at - 3_600_000 && zone.clock(back) === zone.clock(at)), `${zone.label} ${new Date(at).toISOString()}`);
    }
  }
  assert.equal(berlin.instantOf(Date.UTC(2026, 9, 25, 2, 30)), Date.UTC(2026, 9, 25, 0, 30));
});

test('a time that says no zone is one of the zone of the log', () => {
  assert.equal(parseTime('2026-07-01 14:00:00 x', SUMMER, berlin), SUMMER);
  assert.equal(parseTime('Dec  1 13:00:00 host x', WINTER, berlin), WINTER);
  assert.equal(parseTime('13:00:00 x', WINTER, berlin), WINTER);
  assert.equal(parseTime('2026-07-01T12:00:00Z x', SUMMER, berlin), SUMMER);
});

test('a span says a date once', () => {
  assert.equal(spanText(SUMMER, SUMMER + 5_000, berlin), '2026-07-01 14:00:00 – 14:00:05');
  assert.equal(spanText(SUMMER, SUMMER + 200, berlin), '2026-07-01 14:00:00');
  assert.equal(spanText(SUMMER, SUMMER + 86_400_000, berlin), '2026-07-01 14:00:00 – 2026-07-02 14:00:00');
});

test('a link may have a time and a zone', () => {
  const view = parseView('#t=2026-11-28T14:02:07Z&zone=utc');
  assert.deepEqual([view.time, view.follow, view.options], ['2026-11-28T14:02:07Z', false, { zone: 'utc' }]);
  assert.equal(formatView({ ...emptyView(), time: '2026-11-28T14:02:07.000Z', follow: false, options: { zone: 'server' } }), '#t=2026-11-28T14:02:07.000Z&zone=server');
  assert.deepEqual(parseView('#zone=mars').options, {});
});

const BEGIN = Date.UTC(2026, 10, 28, 8);
/** Lines of a second each. @param {number} from @param {number} count */
function stamped(from, count) {
  return Array.from({ length: count }, (_, at) => `${new Date(BEGIN + (from + at) * 1000).toISOString()} request ${from + at}\n`).join('');
}

/** A log with a compressed old file. @param {import('./scene.js').Scene} scene */
async function rotated({ logs }) {
  await writeFile(logs.path('a.log.1.gz'), gzipSync(stamped(0, 3_000)));
  await utimes(logs.path('a.log.1.gz'), BEGIN / 1000 + 3_000, BEGIN / 1000 + 3_000);
  return logs.write('a.log', stamped(3_000, 3_000));
}

const berlinServer = { serve: ['--zone', 'Europe/Berlin'], context: { timezoneId: 'Asia/Kolkata', permissions: ['clipboard-read', 'clipboard-write'] } };

scene('the status bar says from when to when the screen is, and when the line under the pointer was written, in each zone', async (scene) => {
  const { page } = scene;
  await scene.open(await rotated(scene));
  await scene.untilState('live');
  await scene.until(() => /^2026-11-28 15:\d\d:\d\d – 15:09:59$/.test(document.querySelector('#shown-times')?.textContent ?? ''));
  await scene.untilText('#zone', 'local');
  await page.keyboard.press('u');
  await scene.until(() => /^2026-11-28 10:\d\d:\d\d – 10:39:59$/.test(document.querySelector('#shown-times')?.textContent ?? ''));
  await scene.untilText('#zone', 'Europe/Berlin');
  await scene.until(() => location.hash.includes('zone=server'));
  await page.click('#zone');
  await scene.until(() => /^2026-11-28 09:\d\d:\d\d – 09:39:59$/.test(document.querySelector('#shown-times')?.textContent ?? ''));
  await scene.untilText('#zone', 'UTC');
  // The column has the same zone.
  await page.keyboard.press('s');
  await scene.until(() => [...document.querySelectorAll('.row')].at(-1)?.getAttribute('data-time') === '09:39:59.000');
  await page.locator('.row').last().hover();
  await scene.untilText('#pointed-time', '2026-11-28 09:39:59.000');
  assert.equal(await page.locator('#pointed-time').isVisible(), true);
  await page.mouse.move(600, 10);
  await scene.until(() => /** @type {HTMLElement} */ (document.querySelector('#pointed-time')).hidden);
  // The menu has the choice, and the browser keeps it.
  await page.goto('about:blank');
  await scene.open(scene.logs.path('a.log'));
  await scene.untilText('#zone', 'UTC');
  await page.click('#view-open');
  assert.deepEqual(await page.locator('#zone-choice option').allInnerTexts(), ['this browser', 'Europe/Berlin', 'UTC']);
  await page.locator('#zone-choice').selectOption('server');
  await scene.untilText('#zone', 'Europe/Berlin');
}, berlinServer);

scene('lines that say no zone are of the server\'s', async (scene) => {
  const log = await scene.logs.write('a.log', '2026-11-28 14:02:07 one\n');
  await scene.open(`${log}#zone=utc`);
  await scene.untilText('#shown-times', '2026-11-28 13:02:07');
}, berlinServer);

scene('a link with a time opens the log there, in an old file, too, and one can be copied', async (scene) => {
  const { page } = scene;
  const log = await rotated(scene);
  await scene.open(`${log}#t=2026-11-28T08:20:00Z`);
  await scene.until(() => document.querySelector('.row.cursor')?.textContent === '2026-11-28T08:20:00.000Z request 1200');
  await scene.untilState('paused');
  await page.click('#more-open');
  await page.click('[data-copy="time"]');
  await scene.untilText('#hint-words', 'Link copied');
  const link = await page.evaluate(() => navigator.clipboard.readText());
  assert.match(link, /a\.log#t=2026-11-28T08:20:00\.000Z$/);
  await page.goto('about:blank');
  await page.goto(link);
  await scene.until(() => document.querySelector('.row.cursor')?.textContent?.endsWith('request 1200'));
  // In the present file, and after its end.
  await page.evaluate(() => { location.hash = '#t=2026-11-28T09:00:00.5Z'; });
  await scene.until(() => document.querySelector('.row.cursor')?.textContent?.endsWith('request 3601'));
  await page.evaluate(() => { location.hash = '#t=2026-11-29'; });
  await scene.untilState('live');
  await page.evaluate(() => { location.hash = '#t=noon'; });
  await scene.until(() => /^The position of this link cannot be shown: `time` is a time such as/.test(document.querySelector('#hint-words')?.textContent ?? ''));
}, berlinServer);

scene('a log without times has none in the status bar, and no link to a time', async (scene) => {
  const { page } = scene;
  const log = await scene.logs.write('a.log', 'plain\n');
  await scene.open(log);
  await scene.untilState('live');
  assert.equal(await page.locator('#zone').isVisible(), false);
  await page.click('#more-open');
  await page.click('[data-copy="time"]');
  await scene.untilText('#hint-words', 'No line on the screen says a time');
});

scene('the times of rows are those that the server reads, in forms that the page does not know, too', async (scene) => {
  const { logs, page } = scene;
  const begin = Date.UTC(2026, 10, 28, 8);
  const error = (/** @type {number} */ at) => `[Sat Nov 28 08:${String(Math.floor(at / 60)).padStart(2, '0')}:${String(at % 60).padStart(2, '0')}.250000 2026] [core:error] request ${at}`;
  const lines = Array.from({ length: 600 }, (_, at) => (at % 3 === 0 ? `    as of 2020-01-01 00:00:00, a line of number ${at - 1}` : error(at)));
  await scene.open(`${await logs.write('error.log', `${lines.join('\n')}\n`)}#zone=utc`);
  await scene.untilState('live');
  await scene.until(() => /^2026-11-28 08:09:\d\d – 08:09:59$/.test(document.querySelector('#shown-times')?.textContent ?? ''));
  await page.keyboard.press('Home');
  await scene.until(() => /^2026-11-28 08:00:01 – 08:00:\d\d$/.test(document.querySelector('#shown-times')?.textContent ?? ''));
  // A line that says no time has that of the one before it, whatever date is in it.
  await page.locator('.row').nth(3).hover();
  await scene.untilText('#pointed-time', '2026-11-28 08:00:02.250');
  await page.keyboard.press('End');
  await scene.untilState('live');
  await logs.append('error.log', `${error(700)}\n`);
  await scene.until(() => document.querySelector('#shown-times')?.textContent?.endsWith(' – 08:11:40'));
  assert.equal(new Date(begin + 700_250).toISOString(), '2026-11-28T08:11:40.250Z');
}, { serve: ['--zone', 'UTC'] });
