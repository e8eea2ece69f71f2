// The strip at the right of a log: where its files lie on it, what it says of them, and where a click leads.

import assert from 'node:assert/strict';
import { utimes, writeFile } from 'node:fs/promises';
import { test } from 'node:test';
import { gzipSync } from 'node:zlib';

import { load } from './modules.js';
import { eventually } from './program.js';
import { scene } from './scene.js';

const { SEGMENTS_MAX, sharesOf, StripLayout } = await load('viewer/strip-layout.js');
const { segmentWords } = await load('viewer/minimap.js');
const { Zone } = await load('ui/zones.js');
const { Generations } = await load('rows/generations.js');

/** The generations of files with these sizes, the oldest first. A text is the size on the disk of a compressed file. */
function files(sizes) {
  const generations = new Generations();
  generations.add('present', 0, sizes.at(-1));
  sizes.slice(0, -1).reverse().forEach((size, at) => {
    const bytes = Number(size);
    generations.addEarlier(`old-${at}`, typeof size === 'string' ? Infinity : size, { name: `a.log.${at + 1}`, bytes, modified: null });
  });
  return generations;
}

const round = (value) => Math.round(value * 1e6) / 1e6;

test('a segment has the share of its bytes, and never less than can be clicked', () => {
  assert.deepEqual(sharesOf([30, 50, 20], [0.01, 0.01, 0.1]), [0.3, 0.5, 0.2]);
  assert.deepEqual(sharesOf([0, 990, 10], [0.01, 0.01, 0.1]).map(round), [0.01, 0.89, 0.1]);
  assert.deepEqual(sharesOf([0, 0], [0.1, 0.1]).map(round), [0.5, 0.5]);
  for (let turn = 0; turn < 300; turn += 1) {
    const sizes = Array.from({ length: 1 + (turn % SEGMENTS_MAX) }, () => Math.floor(2 ** (Math.random() * 40)) - 1);
    const shares = sharesOf(sizes, sizes.map(() => 0.008));
    assert.equal(round(shares.reduce((sum, share) => sum + share, 0)), 1);
    assert.ok(shares.every((share) => share >= 0.0079), `${sizes}: ${shares}`);
  }
});

test('a position and its place on the strip lead to each other', () => {
  const layout = new StripLayout(files([1_000, 3_000, 6_000]));
  assert.deepEqual(layout.segments.map(({ top, bottom }) => [round(top), round(bottom)]), [[0, 0.1], [0.1, 0.4], [0.4, 1]]);
  assert.equal(round(layout.placeOf({ gen: -1, offset: 1_500 })), 0.25);
  assert.deepEqual([layout.at(0.25).gen, round(layout.at(0.25).part)], [-1, 0.5]);
  assert.deepEqual(layout.at(0), { gen: -2, part: 0 });
  assert.equal(layout.at(1).gen, 0);
  assert.equal(layout.placeOf({ gen: -7, offset: 3 }), 0, 'a file that is not on it');
});

test('more old files than fit share the first segment, and each can still be reached', () => {
  const layout = new StripLayout(files(Array.from({ length: 500 }, () => 100)));
  assert.equal(layout.segments.length, SEGMENTS_MAX);
  assert.equal(layout.segments[0].parts.length, 500 - SEGMENTS_MAX + 1);
  for (let gen = -499; gen <= 0; gen += 1) {
    const found = layout.at(layout.placeOf({ gen, offset: 50 }));
    assert.deepEqual([found.gen, round(found.part)], [gen, 0.5]);
  }
});

test('a file of unknown size, an overwritten one and one that is gone', () => {
  const generations = files([1_000, '100', 1_000]);
  const { segments } = new StripLayout(generations);
  assert.deepEqual(segments.map(({ isKnown }) => isKnown), [true, false, true]);
  assert.deepEqual(segments.map(({ top }) => round(top)), [0, round(1 / 3), round(2 / 3)], 'its size is estimated');
  generations.at(-2).isGone = true;
  generations.add('again', 0, 500, { marker: 'truncated', text: '' });
  assert.deepEqual(new StripLayout(generations).segments.map(({ parts }) => parts[0].gen), [-1, 1]);
});

test('what is said of a segment, also before the server has listed the files', () => {
  const utc = new Zone('UTC', 'UTC');
  const words = (/** @type {any} */ generations) => new StripLayout(generations).segments.map((segment) => segmentWords(segment, utc));
  const generations = files([1_000, '100', 2_000]);
  generations.at(-2).file.modified = Date.UTC(2026, 10, 27, 3);
  assert.deepEqual(words(generations), ['a.log.2\n1000 B\nuntil 2026-11-27 03:00:00', 'a.log.1\n100 B on the disk, not unpacked yet\nfrom 2026-11-27 03:00:00', 'the present file\n2.0 KiB']);
  generations.add('next', 0, 10);
  assert.deepEqual(words(generations).slice(2), ['an earlier file\n2.0 KiB', 'the present file\n10 B']);
  const many = words(files(Array.from({ length: SEGMENTS_MAX + 2 }, () => 1_024)));
  assert.equal(many[0], '3 older files: a.log.61 to a.log.59\n3.0 KiB');
});

/** A log with a plain and a compressed old file, of 2,000 lines each. @param {import('./scene.js').Scene} scene */
async function rotated({ logs }) {
  const text = (/** @type {string} */ of) => Array.from({ length: 2_000 }, (_, at) => `${of} ${String(at).padStart(4, '0')} ${'x'.repeat(40)}\n`).join('');
  await writeFile(logs.path('a.log.2.gz'), gzipSync(text('oldest')));
  await logs.write('a.log.1', text('older'));
  await utimes(logs.path('a.log.2.gz'), 1_700_000_000, 1_700_000_000);
  await utimes(logs.path('a.log.1'), 1_700_100_000, 1_700_100_000);
  return logs.write('a.log', text('present'));
}

/** The pixels of the strip in the colour of its separators: the heights at which a whole line of them stands. */
const separators = () => {
  const canvas = /** @type {HTMLCanvasElement} */ (document.querySelector('#minimap canvas'));
  const { data, width, height } = /** @type {CanvasRenderingContext2D} */ (canvas.getContext('2d')).getImageData(0, 0, canvas.width, canvas.height);
  /** @type {number[]} */
  const found = [];
  for (let y = 0; y < height; y += 1) {
    let full = 0;
    for (let x = 0; x < width; x += 1) if (data[4 * (y * width + x) + 3] === 255) full += 1;
    if (full === width) found.push(y / height);
  }
  return found;
};

scene('the strip has a segment for each file, says which it is, and a click leads into it', async (scene) => {
  const { page } = scene;
  const log = await rotated(scene);
  await scene.open(log);
  await scene.untilState('live');
  await eventually('two separators', async () => (await page.evaluate(separators)).length === 2 || page.evaluate(separators));
  const before = await page.evaluate(separators);
  const strip = await page.locator('#minimap').boundingBox();
  assert.ok(strip);
  const hover = async (/** @type {number} */ part) => {
    await page.mouse.move(strip.x + 8, strip.y + part * strip.height);
    return page.locator('#minimap .tip').innerText();
  };
  const tips = { oldest: await hover(before[0] / 2), older: await hover((before[0] + before[1]) / 2), present: await hover(0.95) };
  assert.match(tips.oldest, /^a\.log\.2\.gz\n\d.* on the disk, not unpacked yet\nuntil 2023-11-1\d \d\d:\d\d:\d\d$/);
  assert.match(tips.older, /^a\.log\.1\n\d+ KiB\nfrom 2023-11-1\d .* until 2023-11-1\d /);
  assert.match(tips.present, /^a\.log\n\d+ KiB\nfrom 2023-11-1\d [^u]*$/);
  // In UTC, whatever the zone of the machine.
  await page.keyboard.press('u');
  await page.keyboard.press('u');
  await eventually('the time in UTC', async () => (await hover(before[0] / 2)).endsWith('until 2023-11-14 22:13:20') || hover(before[0] / 2));
  // Into the middle of the plain one.
  await page.mouse.click(strip.x + 8, strip.y + (before[0] + before[1]) / 2 * strip.height);
  const first = () => page.evaluate(() => {
    const box = /** @type {HTMLElement} */ (document.querySelector('#log')).getBoundingClientRect();
    return document.elementFromPoint(box.left + 100, box.top + 30)?.closest('.row')?.textContent?.slice(0, 12) ?? '';
  });
  await eventually('the middle of it', async () => /^older (09|10)/.test(await first()) || first());
  // Into the compressed one, whose size is then known.
  await page.mouse.click(strip.x + 8, strip.y + before[0] / 2 * strip.height);
  await eventually('the middle of the compressed file', async () => /^oldest (09|10)/.test(await first()) || first());
  await eventually('equal segments', async () => {
    const seen = await page.evaluate(separators);
    return (seen.length === 2 && Math.abs(seen[0] - 1 / 3) < 0.02 && Math.abs(seen[1] - 2 / 3) < 0.02) || seen;
  });
  assert.match(await page.locator('#minimap').getAttribute('aria-valuetext') ?? '', /^1\d % of the log, in a\.log\.2\.gz$/);
  assert.match(await hover(1 / 6), /^a\.log\.2\.gz\n\d+ KiB\nuntil /);
  // Back to the end.
  await page.mouse.click(strip.x + 8, strip.y + strip.height - 1);
  await scene.untilState('live');
}, { context: { timezoneId: 'Asia/Kolkata' } });

scene('the strip of a log without old files has no segments and no tip', async (scene) => {
  const { page, logs } = scene;
  const log = await logs.write('b.log', 'one\n'.repeat(5_000));
  await scene.open(log);
  await scene.untilState('live');
  const strip = await page.locator('#minimap').boundingBox();
  assert.ok(strip);
  await page.mouse.move(strip.x + 8, strip.y + strip.height / 3);
  assert.equal(await page.locator('#minimap .tip').isVisible(), false);
  assert.deepEqual(await page.evaluate(separators), []);
  assert.equal(await page.locator('#minimap').getAttribute('aria-valuetext'), '100 % of the log');
});

scene('a file that is rotated away while the page looks on becomes a segment with its new name', async (scene) => {
  const { page, logs } = scene;
  const log = await logs.write('a.log', 'before\n'.repeat(2_000));
  await scene.open(log);
  await scene.untilState('live');
  await logs.rename('a.log', 'a.log.1');
  await logs.write('a.log', 'after\n'.repeat(2_000));
  await eventually('one separator', async () => (await page.evaluate(separators)).length === 1 || page.evaluate(separators));
  const strip = await page.locator('#minimap').boundingBox();
  assert.ok(strip);
  await eventually('the names of both', async () => {
    const tips = [];
    for (const part of [0.1, 0.9]) {
      await page.mouse.move(strip.x + 8, strip.y + part * strip.height);
      tips.push((await page.locator('#minimap .tip').innerText()).split('\n')[0]);
    }
    return tips.join() === 'a.log.1,a.log' || tips;
  });
  await page.mouse.click(strip.x + 8, strip.y + 0.2 * strip.height);
  await scene.untilState('paused');
  await scene.until(() => [...document.querySelectorAll('#rows .row')].some((row) => row.textContent === 'before'));
});
