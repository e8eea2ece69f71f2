// Reading aids: line numbers, times, folded groups and repeats, JSON, links, long lines, and the line cursor.

import assert from 'node:assert/strict';

import { eventually } from './program.js';
import { lines, scene, text } from './scene.js';

/** The rows that are not folded. @param {import('./scene.js').Scene} scene */
function seen({ page }) {
  return page.evaluate(() => [...document.querySelectorAll('#rows .row')].filter((row) => row.getBoundingClientRect().height > 0).map((row) => row.textContent));
}

/** @param {import('./scene.js').Scene} scene @param {string[]} wanted */
async function untilSeen(scene, wanted) {
  await eventually('these rows are in sight', async () => {
    const rows = await seen(scene);
    return JSON.stringify(rows) === JSON.stringify(wanted) || rows;
  });
}

scene('history and new lines are numbered, and a line in several rows counts once', async (scene) => {
  const { logs, page } = scene;
  const log = await logs.write('a.log', `${text(lines(1, 3))}${'x'.repeat(40_000)}\n${text(lines(5, 7))}`);
  await scene.open(log);
  await scene.untilState('live');
  await page.keyboard.press('l');
  const numbers = () => page.evaluate(() => [...document.querySelectorAll('#rows .row')].map((row) => row.getAttribute('data-line')));
  const until = (/** @type {(string | null)[]} */ wanted) => eventually('the numbers', async () => JSON.stringify(await numbers()) === JSON.stringify(wanted) || numbers());
  await until(['1', '2', '3', '4', null, '5', '6', '7']);
  await logs.append('a.log', 'line 8\nline 9\n');
  await until(['1', '2', '3', '4', null, '5', '6', '7', '8', '9']);
});

scene('a row shows the time in its text, else its time of arrival, or the time since the previous row', async (scene) => {
  const { logs, page } = scene;
  const log = await logs.write('a.log', '2026-11-25T02:00:00.000Z one\n2026-11-25T02:00:05.500Z two\nno time here\n2026-11-25T02:00:05.510Z three\n');
  await scene.open(log);
  await scene.untilState('live');
  const times = () => page.evaluate(() => [...document.querySelectorAll('#rows .row')].map((row) => row.getAttribute('data-time') ?? ''));
  await page.keyboard.press('s');
  const zone = new Date(Date.UTC(2026, 10, 25, 2)).getHours();
  const hour = String(zone).padStart(2, '0');
  await eventually('clock times', async () => {
    const [first, second, third] = await times();
    return (first === `${hour}:00:00.000` && second === `${hour}:00:05.500` && third === '') || times();
  });
  const before = Date.now();
  await logs.append('a.log', 'it came\n');
  await eventually('a time of arrival', async () => {
    const last = (await times()).at(-1) ?? '';
    const [, hours, minutes, seconds] = /^(\d\d):(\d\d):(\d\d)\.\d{3}$/.exec(last) ?? [];
    if (hours === undefined) return times();
    const at = new Date(before).setHours(Number(hours), Number(minutes), Number(seconds));
    return Math.abs(at - before) < 30_000 || times();
  });
  await page.keyboard.press('s');
  await page.keyboard.press('s');
  await eventually('gaps', async () => {
    const [first, second, third, fourth] = await times();
    return (first === '' && second === '+5.5 s' && third === '' && fourth === '') || times();
  });
});

scene('groups can be folded and opened, show their size and duration, and stay open if they have an error', async (scene) => {
  const { logs, page } = scene;
  const at = (/** @type {number} */ second) => `2026-11-25T02:00:0${second}.000Z`;
  const log = await logs.write('a.log', [
    'before', `${at(0)} ##[group]Fetch`, `${at(1)} fetched`, `${at(3)} ##[endgroup]`, 'between',
    `${at(4)} ##[group]Test`, 'a test', 'ERROR it failed', '##[endgroup]', 'after',
  ].map((line) => `${line}\n`).join(''));
  await scene.open(log);
  await scene.untilState('live');
  const all = await scene.rows();
  assert.equal(all.length, 10);
  await untilSeen(scene, all);
  await page.keyboard.press('z');
  const folded = all.filter((_, at) => at !== 2 && at !== 3);
  await untilSeen(scene, folded);
  const words = await page.evaluate(() => [...document.querySelectorAll('.fold')].map((button) => button.getAttribute('data-words')));
  assert.match(words[0] ?? '', /^2 lines · 3\.0 s$/);
  assert.match(words[1] ?? '', /1 error$/);
  // A click, a link and a key open or fold a single group.
  await page.locator('.fold').first().click();
  await untilSeen(scene, all);
  await scene.until(() => /fold=\d+/.test(location.hash));
  await page.reload();
  await untilSeen(scene, all);
  await page.keyboard.press('Home');
  await scene.untilState('paused');
  await page.keyboard.press(']');
  await page.keyboard.press('o');
  await untilSeen(scene, folded);
  // New lines of a folded group are hidden.
  await logs.append('a.log', '##[group]Build\nhidden\n');
  await untilSeen(scene, [...folded, '##[group]Build']);
});

scene('repeated lines are folded into one with a count', async (scene) => {
  const { logs, page } = scene;
  const log = await logs.write('a.log', `one\n${'again\n'.repeat(300)}two\n`);
  await scene.open(log);
  await scene.untilState('live');
  await scene.until(() => document.querySelectorAll('#rows .row').length === 302);
  await page.keyboard.press('r');
  await untilSeen(scene, ['one', 'again', 'two']);
  assert.equal(await page.getAttribute('.repeat', 'data-words'), '×300');
  await logs.append('a.log', 'two\ntwo\n');
  await scene.until(() => [...document.querySelectorAll('.repeat')].at(-1)?.getAttribute('data-words') === '×3');
  await page.keyboard.press('r');
  await scene.until(() => document.querySelector('.repeat') === null);
  assert.equal((await seen(scene)).length, 304);
});

scene('a click opens the JSON of a line, as text', async (scene) => {
  const { logs, page } = scene;
  const value = { msg: '<img src=x onerror=window.ran=1>', list: [1, -2.5e3, true, null], deep: { '"key"': '</pre><script>window.ran=1</script>' } };
  const log = await logs.write('a.log', `plain {not json}\nINFO ${JSON.stringify(value)}\n`);
  await scene.open(log);
  await scene.untilState('live');
  await scene.until(() => document.querySelectorAll('button.open').length === 1);
  // The arrow is in the gutter.
  const row = await page.locator('.row.json').boundingBox();
  assert.ok(row);
  await page.mouse.click(row.x + 8, row.y + 9);
  await scene.until(() => document.querySelector('.opened') !== null);
  assert.equal(await scene.text('.opened'), JSON.stringify(value, null, 2));
  assert.deepEqual(await page.evaluate(() => [...new Set([...document.querySelectorAll('.opened *')].map((one) => one.localName))]), ['span']);
  assert.equal(await page.evaluate(() => /** @type {any} */ (window).ran), undefined);
  await page.mouse.click(row.x + 8, row.y + 9);
  await scene.until(() => document.querySelector('.opened') === null);
});

scene('only http and https URLs become links, and the text does not change', async (scene) => {
  const { logs, page } = scene;
  const written = [
    'see https://ok.example/a?b=c&d=<e> and (http://ok.example/x_(y)).',
    'javascript://ok.example/%0aalert(1) data://x file:///etc/passwd ftp://ok.example/ https:// http://',
    '\x1b[31mhttps://red.example/\x1b[0mplain "https://quoted.example/p" https://ok.example\u202e/evil',
    '\x1b]8;;https://real.example/\x1b\\https://shown.example/\x1b]8;;\x1b\\',
  ];
  const log = await logs.write('a.log', text(written));
  await scene.open(log);
  await scene.untilState('live');
  await scene.until(() => document.querySelectorAll('#rows .row').length === 4);
  const links = await page.evaluate(() => [...document.querySelectorAll('#rows a')].map((link) => [link.getAttribute('href'), link.getAttribute('rel')]));
  assert.deepEqual(links.map(([href]) => href), [
    'https://ok.example/a?b=c&d=', 'http://ok.example/x_(y)', 'https://red.example/', 'https://quoted.example/p', 'https://ok.example', 'https://real.example/',
  ]);
  assert.ok(links.every(([, rel]) => rel === 'noopener noreferrer'));
  assert.deepEqual((await scene.rows()).slice(0, 2), written.slice(0, 2));
});

scene('a very long line is truncated until the reader opens it, also a line that grows', async (scene) => {
  const { logs, page } = scene;
  const log = await logs.write('a.log', `${'0123456789'.repeat(2000)}\nafter\n`);
  await scene.open(log);
  await scene.untilState('live');
  await scene.until(() => document.querySelector('#rows .row')?.textContent?.length === 4000);
  assert.equal(await page.getAttribute('.more', 'data-words'), 'show all 20,000 characters');
  await page.click('.more');
  await scene.until(() => document.querySelector('#rows .row')?.textContent?.length === 20_000);
  assert.equal(await page.locator('.more').count(), 0);
  await logs.append('a.log', 'y'.repeat(3990));
  await logs.append('a.log', 'z'.repeat(30));
  await scene.until(() => [...document.querySelectorAll('#rows .row')].at(-1)?.textContent?.endsWith('zzzzzzzzzz'));
  assert.equal((await scene.rows()).at(-1)?.length, 4000);
});

scene('keys move the line cursor, past the edges of the screen, and select lines', async (scene) => {
  const { logs, page } = scene;
  const log = await logs.write('a.log', text(lines(1, 300)));
  await scene.open(log);
  await scene.untilState('live');
  const cursor = () => page.evaluate(() => document.querySelector('.row.cursor')?.textContent);
  const until = (/** @type {string} */ wanted) => eventually(wanted, async () => await cursor() === wanted || cursor());
  await page.keyboard.press('k');
  await until('line 300');
  await scene.untilState('paused');
  for (let press = 0; press < 120; press += 1) await page.keyboard.press('k');
  await until('line 180');
  const isInSight = await page.evaluate(() => {
    const box = document.querySelector('.row.cursor')?.getBoundingClientRect();
    const log = document.querySelector('#log')?.getBoundingClientRect();
    return box !== undefined && log !== undefined && box.top >= log.top && box.bottom <= log.bottom;
  });
  assert.ok(isInSight);
  await page.keyboard.press('j');
  await until('line 181');
  await page.keyboard.press('J');
  await page.keyboard.press('J');
  await eventually('three are chosen', async () => {
    const rows = await page.evaluate(() => [...document.querySelectorAll('.row.selected')].map((row) => row.textContent));
    return JSON.stringify(rows) === JSON.stringify(lines(181, 183)) || rows;
  });
  assert.equal(await scene.text('#announce'), 'line 183', 'what the cursor is on is said aloud');
});
