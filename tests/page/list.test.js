// The list of logs, as a person sees it.

import assert from 'node:assert/strict';
import { utimes, writeFile } from 'node:fs/promises';

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

  // The list is kept fresh: what is written now comes to the front.
  await logs.append('oldest.log', 'and more\n');
  await scene.until((path) => document.querySelector('#logs a')?.textContent === path, logs.path('oldest.log'));
  assert.deepEqual(await links(page), listed('oldest.log', 'newest.log', 'middle.log'));
  await scene.untilText('#logs tr time', 'writing now');

  await page.click('#logs a');
  await scene.untilRows(['in oldest.log', 'and more']);
  await scene.untilState('live');
  assert.equal(await page.title(), 'oldest.log');
});

scene('a log of any name is listed as text and opens by a click', async (scene) => {
  const { logs, page } = scene;
  const bytes = (text) => Buffer.from(text, 'latin1');
  // The name of the file, and what a person reads.
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
  // One that comes later is drawn by the page's script, the others are drawn by the server.
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
  // The list says how many look: one page and curl, as this page has left the log.
  await scene.open('/');
  await scene.untilText('#logs .viewers', '2');
  leaving.abort();
  await receiving;
});
