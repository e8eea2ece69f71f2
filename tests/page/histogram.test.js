// The histogram of lines, errors and warnings over time.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { gzipSync } from 'node:zlib';

import { load } from './modules.js';
import { scene } from './scene.js';

const { heights } = await load('ui/histogram.js');
const { ticks } = await load('ui/ticks.js');
const { Zone, zoneOf } = await load('ui/zones.js');
const BEGIN = Date.UTC(2026, 10, 28, 8);

/** A line each second for ten minutes, a minute without any, and a burst of errors. */
function stamped() {
  const lines = [];
  const line = (/** @type {number} */ second, words = 'INFO request') => lines.push(`${new Date(BEGIN + second * 1000).toISOString()} ${words} ${lines.length}`);
  for (let second = 0; second < 300; second += 1) line(second);
  for (let second = 360; second < 600; second += 1) {
    line(second);
    if (second >= 480 && second < 490) for (let nth = 0; nth < 20; nth += 1) line(second, 'ERROR failed');
  }
  return lines;
}

test('bars have the heights of their counts, problems on a scale of their own, and what is there is visible', () => {
  assert.deepEqual(heights([]), []);
  const bucket = (/** @type {number} */ lines, errors = 0, warnings = 0) => ({ time: 0, lines, errors, warnings });
  assert.deepEqual(heights([bucket(0), bucket(1000), bucket(500, 10), bucket(500, 20, 20), bucket(1), bucket(1, 1), bucket(2, 1, 1), bucket(1000, 0, 39)]), [
    { errors: 0, warnings: 0, lines: 0 },
    { errors: 0, warnings: 0, lines: 100 },
    { errors: 25, warnings: 25, lines: 50 },
    { errors: 50, warnings: 100, lines: 50 },
    { errors: 0, warnings: 0, lines: 4 },
    { errors: 12, warnings: 12, lines: 4 },
    { errors: 12, warnings: 24, lines: 4 },
    { errors: 0, warnings: 97.5, lines: 100 },
  ]);
});

test('the axis has round times of its zone, as many as there is room for', () => {
  const utc = zoneOf('utc');
  const at = (/** @type {string} */ time) => Date.parse(`2026-11-${time}Z`);
  const labels = (/** @type {string} */ from, /** @type {string} */ to, /** @type {number} */ most, zone = utc) => ticks(at(from), at(to), zone, most).map(([, label]) => label);
  assert.deepEqual(labels('28T10:01:32', '29T22:01:32', 7), ['12:00', '18:00', '2026-11-29', '06:00', '12:00', '18:00']);
  assert.deepEqual(labels('28T08:00:00', '28T08:00:12', 4), ['08:00:00', '08:00:05', '08:00:10']);
  assert.deepEqual(labels('01T08:00:00', '28T08:00:00', 5), ['2026-11-05', '2026-11-12', '2026-11-19', '2026-11-26']);
  assert.deepEqual(labels('28T08:00:00', '28T08:00:00', 5), []);
  const [[time, label]] = ticks(at('28T10:00:00'), at('28T20:00:00'), new Zone('Kolkata', 'Asia/Kolkata'), 2);
  assert.deepEqual([time, label], [at('28T12:30:00'), '18:00']);
  // An hour that the clock shows twice has one label of each time, in their order.
  const night = ticks(Date.parse('2026-10-24T22:00:00Z'), Date.parse('2026-10-25T04:00:00Z'), new Zone('Berlin', 'Europe/Berlin'), 12);
  assert.deepEqual(night.map(([, label]) => label).filter((label) => label.endsWith(':00')), ['01:00', '02:00', '03:00', '04:00', '05:00']);
  assert.ok(night.every(([time], nth) => nth === 0 || time > night[nth - 1][0]));
});

/** @param {import('./scene.js').Scene} scene */
async function opened(scene, hash = '#zone=utc') {
  const lines = stamped();
  const log = await scene.logs.write('a.log', `${lines.join('\n')}\n`);
  await scene.open(`${log}${hash}`);
  await scene.untilState('live');
  await scene.until(() => document.querySelectorAll('#rows .row').length > 0);
  return { log, lines };
}

const isDrawn = () => (document.querySelector('#histogram .lines')?.getAttribute('d') ?? '') !== '';

scene('p shows when there was how much, a click goes there, and the bars follow the log', async (scene) => {
  const { page } = scene;
  const { lines } = await opened(scene);
  await page.keyboard.press('p');
  await scene.until(isDrawn);
  await scene.untilText('#histogram-first', '08:00:00');
  await scene.untilText('#histogram-last', '08:09:59');
  assert.deepEqual(await page.locator('#histogram-ticks span').allInnerTexts(), ['', '08:01', '08:02', '08:03', '08:04', '08:05', '08:06', '08:07', '08:08', '08:09']);
  const box = await page.locator('#histogram-bars').boundingBox();
  assert.ok(box);
  const at = (/** @type {number} */ second) => box.x + (second / 600) * box.width;
  await page.mouse.move(at(485), box.y + 20);
  await scene.until(() => /^08:08:0\d: \d+ lines, \d+ errors$/.test(document.querySelector('#histogram-tip')?.textContent ?? ''));
  await page.mouse.move(at(330), box.y + 20);
  await scene.until(() => /: 0 lines$/.test(document.querySelector('#histogram-tip')?.textContent ?? ''));
  await page.mouse.click(at(120), box.y + 20);
  await scene.until(() => /08:0[12]:\d\d/.test(document.querySelector('.row.cursor')?.textContent ?? ''));
  await scene.logs.append('a.log', `${new Date(BEGIN + 1_200_000).toISOString()} INFO later\n`);
  await scene.untilText('#histogram-last', '08:20:00');
  assert.ok(lines.length > 700);
  await page.click('#log', { position: { x: 700, y: 300 } });
  await page.keyboard.press('p');
  await scene.until(() => /** @type {HTMLElement} */ (document.querySelector('#histogram')).hidden);
});

scene('a span that is dragged is shown alone, found in, enlarged, and kept by a link', async (scene) => {
  const { page } = scene;
  const { lines } = await opened(scene);
  await page.keyboard.press('p');
  await scene.until(isDrawn);
  await scene.untilText('#histogram-last', '08:09:59');
  const box = await page.locator('#histogram-bars').boundingBox();
  assert.ok(box);
  const at = (/** @type {number} */ second) => box.x + (second / 600) * box.width;
  await page.mouse.move(at(470), box.y + 20);
  await page.mouse.down();
  await page.mouse.move(at(480), box.y + 20);
  await page.mouse.move(at(495), box.y + 20);
  await page.mouse.up();
  await page.click('#histogram-only');
  const isIn = (/** @type {string | null} */ row) => /08:0(7:[45]|8:[01])\d/.test(row ?? '');
  await scene.until(() => {
    const rows = [...document.querySelectorAll('#rows .row')];
    return rows.length > 200 && rows.length < 300;
  });
  const rows = await scene.rows();
  assert.ok(rows.every(isIn), rows.find((row) => !isIn(row)));
  const first = lines.indexOf(rows[0]);
  assert.deepEqual(rows, lines.slice(first, first + rows.length), 'all lines of the span, in their order');
  // Find and filter are of this span alone.
  await page.keyboard.press('/');
  await page.keyboard.type('failed');
  await scene.untilText('#find-count', '200 lines');
  await page.keyboard.press('Escape');
  await scene.until(() => location.hash.includes('span='));
  const other = await scene.context.newPage();
  await other.goto(page.url());
  await scene.untilRows(rows, other);
  await page.click('#histogram-zoom');
  await scene.until(() => (document.querySelector('#histogram-first')?.textContent ?? '').startsWith('08:07:'));
  await page.click('#histogram-clear');
  await scene.untilText('#histogram-first', '08:00:00');
  await scene.until((last) => [...document.querySelectorAll('#rows .row')].at(-1)?.textContent === last || document.querySelectorAll('#rows .row').length > 300, lines.at(-1));
});

scene('the bars reach back over the old files, and lead there', async (scene) => {
  const { logs, page } = scene;
  const part = (/** @type {number} */ from) => Array.from({ length: 300 }, (_, at) => `${new Date(BEGIN + (from + at) * 1000).toISOString()} request ${from + at}\n`).join('');
  await logs.write('a.log.2.gz', gzipSync(part(0)));
  await logs.write('a.log.1', part(300));
  const log = await logs.write('a.log', part(600));
  await scene.open(`${log}#zone=utc&histogram=1`);
  await scene.untilText('#histogram-first', '08:00:00');
  await scene.untilText('#histogram-last', '08:14:59');
  const box = await page.locator('#histogram-bars').boundingBox();
  assert.ok(box);
  const at = (/** @type {number} */ second) => box.x + (second / 900) * box.width;
  await page.mouse.click(at(120), box.y + 20);
  await scene.until(() => /08:0[12]:\d\d/.test(document.querySelector('.row.cursor')?.textContent ?? ''));
  await page.mouse.move(at(400), box.y + 20);
  await page.mouse.down();
  await page.mouse.move(at(410), box.y + 20);
  await page.mouse.move(at(425), box.y + 20);
  await page.mouse.up();
  await page.click('#histogram-only');
  await scene.until(() => {
    const rows = [...document.querySelectorAll('#rows .row')];
    return rows.length > 10 && rows.length < 60 && rows.every((row) => /08:0[67]:/.test(row.textContent ?? ''));
  });
});

scene('a log without times says so', async (scene) => {
  const log = await scene.logs.write('a.log', 'one\ntwo\n');
  await scene.open(`${log}#histogram=1`);
  await scene.untilText('#histogram-first', 'No line says a time.');
});

test('the spans of several logs are counted together, each with its clock', async () => {
  const { together } = await load('merged/merged-times.js');
  const bucket = (/** @type {number} */ time, lines = 0, errors = 0) => ({ time, lines, errors, warnings: 0 });
  const times = (/** @type {number | null} */ first, /** @type {number | null} */ last, buckets, exact = true) => ({ first, last, exact, buckets });
  const one = times(0, 99, [bucket(0, 10, 1), bucket(50, 20)]);
  assert.deepEqual(together([{ times: one, shift: 0 }], 2), one);
  assert.deepEqual(together([{ times: one, shift: 1000 }], 2), times(1000, 1099, [bucket(1000, 10, 1), bucket(1050, 20)]));
  assert.deepEqual(together([{ times: one, shift: 0 }, { times: times(100, 199, [bucket(100, 6)]), shift: 0 }], 4), times(0, 199, [bucket(0, 10, 1), bucket(50, 20), bucket(100, 3), bucket(150, 3)]));
  assert.deepEqual(together([{ times: one, shift: 0 }, { times: times(null, null, [], false), shift: 0 }], 2), { ...one, exact: false });
  assert.deepEqual(together([], 5), times(null, null, []));
  const instant = times(7, 7, [bucket(7, 3), bucket(8)]);
  assert.equal(together([{ times: instant, shift: 0 }], 2).buckets[0].lines, 3);
});

scene('the merged page shows lines over time of all of its logs', async (scene) => {
  const { logs, page } = scene;
  const lines = (/** @type {number} */ from, words = 'INFO x') => Array.from({ length: 60 }, (_, at) => `${new Date(BEGIN + (from + at) * 1000).toISOString()} ${words} ${at}\n`).join('');
  const one = await logs.write('a.log', lines(0));
  const other = await logs.write('b.log', lines(240, 'ERROR y'));
  await scene.open(`/_/merged?log=${one}&log=${other}#zone=utc`);
  await scene.until(() => document.querySelectorAll('#rows .row').length === 120);
  await page.keyboard.press('p');
  await scene.until(isDrawn);
  await scene.untilText('#histogram-first', '08:00:00');
  await scene.untilText('#histogram-last', '08:04:59');
  const box = await page.locator('#histogram-bars').boundingBox();
  assert.ok(box);
  await page.mouse.click(box.x + box.width * 0.9, box.y + 20);
  await scene.until(() => /08:04:[23]\d/.test(document.querySelector('.row.current')?.textContent ?? document.querySelector('.row.cursor')?.textContent ?? ''));
  assert.equal(await page.locator('#histogram-only').isVisible(), false);
});

/** Drags over the bars, from one part of their width to another. @param {import('./scene.js').Scene} scene @param {number} from @param {number} to */
async function drag({ page }, from, to) {
  const box = await page.locator('#histogram-bars').boundingBox();
  assert.ok(box);
  await page.mouse.move(box.x + from * box.width, box.y + 20);
  await page.mouse.down();
  for (const part of [(from + to) / 2, to]) await page.mouse.move(box.x + part * box.width, box.y + 20);
  await page.mouse.up();
}

scene('of merged logs a span is shown alone, by the clock of each log, found in, and kept by a link', async (scene) => {
  const { logs, page } = scene;
  const line = (/** @type {number} */ second, /** @type {string} */ words) => `${new Date(BEGIN + second * 1000).toISOString()} ${words}`;
  const part = (/** @type {number} */ from, /** @type {number} */ to, ahead = 0, name = 'one') => Array.from({ length: to - from }, (_, at) => line(from + at + ahead, `${(from + at) % 10 === 0 ? 'ERROR' : 'INFO'} ${name} ${from + at}`));
  await logs.write('a.log.1', `${part(0, 300).join('\n')}\n`);
  const one = await logs.write('a.log', `${part(300, 600).join('\n')}\n`);
  // Its clock is an hour ahead.
  const other = await logs.write('b.log', `${part(0, 600, 3600, 'two').join('\n')}\n`);
  await scene.open(`/_/merged?log=${one}&log=${other}#shift=2:-3600000&zone=utc&histogram=1`);
  await scene.until(isDrawn);
  await scene.untilText('#histogram-first', '08:00:00');
  await scene.untilText('#histogram-last', '08:09:59');
  await drag(scene, 0.45, 0.55);
  await page.click('#histogram-only');
  await scene.until(() => location.hash.includes('span='));
  const [, since, until] = /span=(\d+)-(\d+)/.exec(page.url()) ?? [];
  const [from, to] = [since, until].map((time) => Math.ceil((Number(time) - BEGIN) / 1000));
  assert.ok(from > 260 && from < 280 && to > 320 && to < 340, `${from} to ${to}`);
  const expected = Array.from({ length: to - from }, (_, at) => [part(from + at, from + at + 1)[0], part(from + at, from + at + 1, 3600, 'two')[0]]).flat();
  await scene.untilRows(expected);
  await scene.untilText('#state-word', 'Past span');
  // Errors, find and filter are of this span alone.
  await page.keyboard.press('Home');
  const errors = expected.filter((row) => row.includes('ERROR'));
  for (const wanted of [...errors, errors[0]]) {
    await page.keyboard.press('e');
    await scene.until((wanted) => document.querySelector('.row.current')?.textContent === wanted, wanted);
  }
  await page.keyboard.press('/');
  await page.keyboard.type('two');
  await page.click('#filter');
  await scene.untilRows(expected.filter((row) => row.includes('two')));
  await page.focus('#find-text');
  await page.keyboard.press('Escape');
  // What is written now is not of the span, and shows up when all of the logs are shown.
  await logs.append('a.log', `${line(700, 'INFO one 700')}\n`);
  await scene.until(() => document.querySelector('#age')?.textContent?.startsWith('last line'));
  await scene.untilRows(expected);
  const link = await scene.context.newPage();
  await link.goto(page.url());
  await scene.untilRows(expected, link);
  await scene.untilText('#state-word', 'Past span', link);
  await scene.until(isDrawn, undefined, link);
  await page.focus('#histogram-bars');
  await page.keyboard.press('Escape');
  await scene.until(() => !location.hash.includes('span='));
  await page.keyboard.press('End');
  await scene.until((last) => [...document.querySelectorAll('#rows .row')].at(-1)?.textContent === last, line(700, 'INFO one 700'));
});

scene('lines that are written now come into a span of merged logs that is not over', async (scene) => {
  const { logs, page } = scene;
  const begin = Date.now();
  const line = (/** @type {number} */ second, /** @type {string} */ words) => `${new Date(begin + second * 1000).toISOString()} ${words}`;
  const one = await logs.write('a.log', `${line(-90, 'one a')}\n${line(-30, 'one b')}\n`);
  const other = await logs.write('b.log', `${line(-45, 'two a')}\n`);
  await scene.open(`/_/merged?log=${one}&log=${other}#span=${begin - 60_000}-${begin + 3_600_000}`);
  await scene.untilRows([line(-45, 'two a'), line(-30, 'one b')]);
  await scene.untilText('#state-detail', '2 logs, only the chosen span');
  await logs.append('b.log', `${line(-1, 'two b')}\n`);
  await scene.untilRows([line(-45, 'two a'), line(-30, 'one b'), line(-1, 'two b')]);
  assert.equal(await page.locator('#state-word').textContent(), 'Live');
});
