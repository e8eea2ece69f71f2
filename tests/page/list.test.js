// The list of logs.

import assert from 'node:assert/strict';
import { mkdir, rm, utimes, writeFile } from 'node:fs/promises';

import { lines, scene, text } from './scene.js';

const links = (page) => page.evaluate(() => [...document.querySelectorAll('#logs a')].map((link) => link.textContent));

scene('the list shows the newest log first and a click opens it', async (scene) => {
  const { logs, page } = scene;
  for (const [name, age] of /** @type {[string, number][]} */ ([['middle.log', 60], ['oldest.log', 3600], ['newest.log', 20]])) {
    await logs.write(name, `in ${name}\n`);
    const then = Date.now() / 1000 - age;
    await utimes(logs.path(name), then, then);
  }
  const listed = (...names) => names.map((name) => logs.path(name));
  await scene.open('/');
  assert.deepEqual(await links(page), listed('newest.log', 'middle.log', 'oldest.log'));

  // The list is refreshed: a log that is written moves to the front.
  await logs.append('oldest.log', 'and more\n');
  await scene.until((path) => document.querySelector('#logs a')?.textContent === path, logs.path('oldest.log'));
  assert.deepEqual(await links(page), listed('oldest.log', 'newest.log', 'middle.log'));
  await scene.untilText('#logs tr time', 'writing now');

  await page.click('#logs a');
  await scene.untilRows(['in oldest.log', 'and more']);
  await scene.untilState('live');
  assert.equal(await page.title(), 'oldest.log');
});

scene('a log with any name is listed as text, and a click opens it', async (scene) => {
  const { logs, page } = scene;
  const bytes = (text) => Buffer.from(text, 'latin1');
  // The name of the file, and the text that the list shows.
  /** @type {[Buffer, string][]} */
  const names = [
    [bytes('with spaces .log'), 'with spaces .log'],
    [bytes('"double" \'single\' `back`.log'), '"double" \'single\' `back`.log'],
    [bytes('<img src=x onerror=window.ran=1>.log'), '<img src=x onerror=window.ran=1>.log'],
    [bytes('a &amp; b &lt;.log'), 'a &amp; b &lt;.log'],
    [bytes('two\nlines.log'), 'two\\nlines.log'],
    [bytes('two\\nlines.log'), 'two\\\\nlines.log'],
    [bytes('100%25.log'), '100%25.log'],
    [bytes('a#b.log'), 'a#b.log'],
    [bytes('a?tail=0&b.log'), 'a?tail=0&b.log'],
    [bytes('byte \xff.log'), 'byte \\xff.log'],
    [Buffer.from('bidi \u202egol.txt'), 'bidi \\u{202e}gol.txt'],
    [Buffer.from('grün-日本.log'), 'grün-日本.log'],
  ];
  for (const [name, shown] of names) await writeFile(logs.path(name), `inside ${shown}\n`);
  await scene.open('/');
  // The page's script draws a log that appears later; the server has drawn the others.
  const late = '<svg onload=window.ran=1>.log';
  await writeFile(logs.path(bytes(late)), `inside ${late}\n`);
  names.push([bytes(late), late]);
  await scene.until((count) => document.querySelectorAll('#logs a').length === count, names.length);
  const foreign = await page.evaluate(() => [...document.querySelectorAll('#logs img, #logs script, #logs [onerror], #logs [onload]')].length);
  assert.equal(foreign, 0);

  for (const [, shown] of names) {
    await scene.open('/');
    const whole = logs.path(shown);
    const at = (await links(page)).indexOf(whole);
    assert.notEqual(at, -1, `no link reads ${whole}, these do: ${JSON.stringify(await links(page))}`);
    await page.locator('#logs a').nth(at).click();
    await scene.untilRows([`inside ${shown}`]);
    assert.equal(await scene.text('#path'), whole);
    assert.equal(await page.title(), shown);
    assert.equal(await page.evaluate(() => 'ran' in window), false, shown);
    scene.assertNoTrouble();
  }
});

scene('two windows and curl follow one log at the same time', async (scene) => {
  const { logs, page, program } = scene;
  const all = lines(1, 10);
  const log = await logs.write('a.log', text(all));
  const other = await scene.context.newPage();
  for (const window of [page, other]) {
    await scene.open(log, window);
    await scene.untilRows(all, window);
  }
  const leaving = new AbortController();
  const answer = await fetch(`${program.origin}${log}?tail=1`, { signal: leaving.signal, headers: { accept: '*/*' } });
  assert.equal(await program.viewers(), 3);
  let received = '';
  const receiving = (async () => {
    for await (const chunk of answer.body ?? []) received += Buffer.from(chunk).toString();
  })().catch((error) => { if (!leaving.signal.aborted) throw error; });
  for (let round = 0; round < 10; round += 1) {
    const more = lines(all.length + 1, all.length + 21);
    all.push(...more);
    await logs.append('a.log', text(more));
    for (const window of [page, other]) await scene.untilRows(all, window);
    while (received.length < text(all).length) await new Promise((resolve) => setTimeout(resolve, 10));
    assert.equal(received, text(all), `round ${round}`);
  }
  // The list shows the number of viewers: the other page and curl. This page has left the log.
  await scene.open('/');
  await scene.untilText('#logs .viewers', '2');
  leaving.abort();
  await receiving;
});

/** The file names and directories in the list. @param {import('playwright-core').Page} page */
const listed = (page) => page.evaluate(() => [...document.querySelectorAll('#logs tr:not(.space)')].map((row) => row.querySelector('.file, .label')?.textContent));

/** @param {import('./program.js').Logs} logs @param {[string, number][]} names with their ages in seconds */
async function writeAll(logs, names) {
  for (const [name, age] of names) {
    await mkdir(logs.path(name.replace(/[^/]*$/, '')), { recursive: true });
    await logs.write(name, `in ${name}\n`.repeat(1 + age % 7));
    const then = Date.now() / 1000 - age;
    await utimes(logs.path(name), then, then);
  }
}

scene('ten thousand logs are filtered while typing, and only visible ones are on the page', async (scene) => {
  const { logs, page } = scene;
  await mkdir(logs.path('many'));
  const names = Array.from({ length: 9_990 }, (_, at) => `many/worker-${String(at).padStart(5, '0')}.log`);
  for (let at = 0; at < names.length; at += 500) await Promise.all(names.slice(at, at + 500).map((name) => writeFile(logs.path(name), '')));
  await scene.open('/');
  await scene.until(() => document.querySelector('.logs')?.getAttribute('aria-rowcount') === '9991');
  const rowsOnPage = () => page.locator('#logs tr').count();
  assert.ok(await rowsOnPage() < 120, `${await rowsOnPage()} rows are on the page`);

  // Writing them takes a while, so some are "writing now" and some are not. In the order by name that does not matter.
  await page.click('th[data-sort="name"] button');
  await page.fill('#filter', 'WORKER 0042');
  assert.deepEqual(await listed(page), names.filter((name) => name.includes('0042')).map((name) => name.slice('many/'.length)));
  await scene.untilText('#count', `11 logs of 9,990 logs`);
  await page.keyboard.press('Escape');

  // The last one can be reached by scrolling and by key, and its row index is that in the whole table.
  await page.evaluate(() => { /** @type {Element} */ (document.querySelector('#table-scroller')).scrollTop = 1e9; });
  await scene.until(() => [...document.querySelectorAll('#logs .file')].at(-1)?.textContent === 'worker-09989.log');
  assert.ok(await rowsOnPage() < 120, `${await rowsOnPage()} rows are on the page`);
  await page.keyboard.press('Home');
  assert.equal(await page.evaluate(() => document.activeElement?.textContent), logs.path(names[0]));
  await page.keyboard.press('End');
  assert.equal(await page.evaluate(() => document.activeElement?.closest('tr')?.getAttribute('aria-rowindex')), '9991');
  await page.keyboard.press('Enter');
  await scene.untilText('#path .name', 'worker-09989.log');
});

scene('the URL of the list contains its order, tree, folded directories and selected logs', async (scene) => {
  const { logs, page } = scene;
  await writeAll(logs, [['app/a.log', 100], ['app/b.log', 200], ['db/c.log', 300], ['db/d.txt', 400]]);
  await scene.open('/');
  await page.click('#tree');
  await page.click('th[data-sort="size"] button');
  await page.click('.directory:has-text("app/") .opens');
  await page.locator('tr', { hasText: 'c.log' }).locator('.pick').check();
  await page.fill('#filter', 'log');
  await page.fill('#filter', '');
  const before = await listed(page);
  assert.ok(before.includes('app/') && !before.includes('a.log'), `app/ is folded: ${before}`);
  await scene.until(() => location.hash.includes('folded') && location.hash.includes('c.log') && !location.hash.includes('filter'));
  const other = await scene.context.newPage();
  await other.goto(page.url());
  await scene.until((wanted) => JSON.stringify([...document.querySelectorAll('#logs tr')].map((row) => row.querySelector('.file, .label')?.textContent)) === wanted, JSON.stringify(before), other);
  assert.equal(await other.locator('.pick:checked').count(), 1);
  assert.equal(await other.locator('th[data-sort="size"]').getAttribute('aria-sort'), 'descending');
  // The filter also shows matches in a folded directory.
  await other.fill('#filter', 'a.log');
  assert.ok((await listed(other)).includes('a.log'), String(await listed(other)));
});

scene('an update of the list keeps the focus, the scroll position and the selection', async (scene) => {
  const { logs, page } = scene;
  const names = Array.from({ length: 400 }, (_, at) => /** @type {[string, number]} */ ([`log-${String(at).padStart(3, '0')}.log`, 100 + at]));
  await writeAll(logs, names);
  await scene.open('/');
  await scene.until(() => document.querySelector('.logs')?.getAttribute('aria-rowcount') === '401');
  await page.keyboard.press('/');
  await page.keyboard.press('ArrowDown');
  for (let at = 0; at < 60; at += 1) await page.keyboard.press('ArrowDown');
  await page.keyboard.press('x');
  const look = () => page.evaluate(() => ({
    focus: document.activeElement?.textContent,
    top: document.querySelector('#table-scroller')?.scrollTop,
    picked: [...document.querySelectorAll('tr:has(.pick:checked) .opens')].map((link) => link.textContent),
  }));
  const before = await look();
  assert.equal(before.focus, logs.path('log-060.log'));
  // A log near the end is written, and a new one appears. Both belong at the front.
  await logs.append('log-390.log', 'more\n');
  await logs.write('new.log', 'new\n');
  await rm(logs.path('log-010.log'));
  // The new log is appended at the end, and the removed one keeps its place.
  await scene.until(() => document.querySelector('.logs')?.getAttribute('aria-rowcount') === '402');
  assert.equal(await scene.text('#count'), '400 logs');
  assert.deepEqual(await look(), before);
  // The table is sorted when it is no longer in use.
  await page.keyboard.press('/');
  await page.evaluate(() => { /** @type {Element} */ (document.querySelector('#table-scroller')).scrollTop = 0; });
  await scene.until(() => [...document.querySelectorAll('#logs .file')].slice(0, 2).map((file) => file.textContent).sort().join() === 'log-390.log,new.log');
  assert.ok(!(await listed(page)).includes('log-010.log'));
});

scene('a favourite log stays at the top, in all windows of the browser', async (scene) => {
  const { logs, page } = scene;
  await writeAll(logs, [['a.log', 100], ['b.log', 200], ['c.log', 300]]);
  await scene.open('/');
  const other = await scene.context.newPage();
  await scene.open('/', other);
  assert.deepEqual(await listed(other), ['a.log', 'b.log', 'c.log']);
  await page.locator('tr', { hasText: 'c.log' }).hover();
  await page.locator('tr', { hasText: 'c.log' }).locator('.favourite').click();
  await scene.until(() => document.querySelector('#logs .file')?.textContent === 'c.log', undefined, other);
  await page.reload();
  assert.deepEqual(await listed(page), ['c.log', 'a.log', 'b.log']);
  assert.equal(await page.locator('tr', { hasText: 'c.log' }).locator('.favourite').getAttribute('aria-pressed'), 'true');
});

scene('selected logs open together, up to the limit of each page', async (scene) => {
  const { logs, page } = scene;
  await writeAll(logs, ['a', 'b', 'c', 'd', 'e'].map((name, at) => [`${name}.log`, 100 * (at + 1)]));
  await scene.open('/');
  const picked = page.locator('#picked');
  // One sees that logs can be selected before the pointer is there.
  await page.mouse.move(600, 700);
  assert.ok(Number(await page.locator('.pick').nth(1).evaluate((box) => getComputedStyle(box).opacity)) > 0.3);
  await page.locator('.pick').nth(0).check({ force: true });
  assert.equal(await picked.isVisible(), true);
  assert.equal(await page.locator('#open-split').isVisible(), false);
  for (const at of [1, 2, 3]) await page.locator('.pick').nth(at).check();
  assert.equal(await page.locator('#open-split').getAttribute('href'), `/_/beside?${['a', 'b', 'c', 'd'].map((name) => `log=${logs.path(`${name}.log`)}`).join('&')}`);
  await page.locator('.pick').nth(4).check();
  assert.equal(await page.locator('#open-split').getAttribute('href'), null);
  await page.click('#open-merged');
  await scene.until(() => location.pathname === '/_/merged' && document.querySelectorAll('#sources .source').length === 5);
  // The Back button restores the selection.
  await page.goBack();
  await scene.until(() => document.querySelectorAll('.pick:checked').length === 5);
});

scene('the list works without scripts', async (scene) => {
  const { logs, page } = scene;
  await writeAll(logs, [['a.log', 100], ['b.log', 200]]);
  await scene.open('/');
  assert.deepEqual(await links(page), [logs.path('a.log'), logs.path('b.log')]);
  await page.click('#logs a');
  await scene.until(() => location.pathname.endsWith('/a.log'));
}, { context: { javaScriptEnabled: false } });
