// Several logs at once: the split view and the merged page.

import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { mkdir, rm, writeFile } from 'node:fs/promises';

import { violations } from './axe.js';
import { Program, eventually } from './program.js';
import { lines, scene, text } from './scene.js';

/** @param {'beside' | 'merged'} page @param {(string | Buffer)[]} logs their paths */
function addressOf(page, ...logs) {
  const encoded = (/** @type {string | Buffer} */ path) => [...Buffer.from(path)].map((byte) => (
    /[A-Za-z0-9/._~-]/.test(String.fromCharCode(byte)) ? String.fromCharCode(byte) : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`)).join('');
  return `/_/${page}?${logs.map((path) => `log=${encoded(path)}`).join('&')}`;
}

/** The frame of a pane. @param {import('playwright-core').Page} page @param {number} at */
function pane(page, at) {
  return page.frameLocator('#panes iframe').nth(at);
}

/** Rows of the merged page, each with the name of its log. @param {import('playwright-core').Page} page @returns {Promise<string[]>} */
const merged = (page) => page.evaluate(() => [...document.querySelectorAll('#rows .row:not([hidden]), #rows .marker')]
  .map((row) => (row instanceof HTMLElement && row.dataset.marker ? `[${row.dataset.marker}]` : `${/** @type {HTMLElement} */ (row).dataset.name}: ${row.textContent}`)));

/** @param {import('./scene.js').Scene} scene @param {string[]} wanted */
async function untilMerged(scene, wanted) {
  await eventually('the merged rows', async () => {
    const rows = await merged(scene.page);
    const at = wanted.findIndex((row, index) => rows[index] !== row);
    return (at < 0 && rows.length === wanted.length) || { rows: rows.length, wanted: wanted.length, at, row: rows[at], instead: wanted[at] };
  });
}

scene('the split view shows a viewer for each log, and its URL contains their views', async (scene) => {
  const { logs, page } = scene;
  const one = await logs.write('one.log', text(lines(1, 300)));
  const two = await logs.write('two.log', 'in two\n');
  await scene.open(addressOf('beside', one, two));
  await pane(page, 0).locator('.row', { hasText: /^line 300$/ }).waitFor();
  await pane(page, 1).locator('.row', { hasText: 'in two' }).waitFor();
  await logs.append('two.log', 'and more\n');
  await pane(page, 1).locator('.row', { hasText: 'and more' }).waitFor();
  await scene.until(() => document.title === 'one.log | two.log');

  // Keys act on the focused pane, and some move the focus to another pane.
  const focused = () => page.evaluate(() => /** @type {HTMLIFrameElement} */ (document.activeElement)?.title);
  assert.equal(await focused(), one);
  await page.keyboard.press('F6');
  assert.equal(await focused(), two);
  await page.keyboard.press('Control+ArrowLeft');
  assert.equal(await focused(), one);
  await page.keyboard.press('Home');
  await pane(page, 0).locator('#state[data-state="paused"]').waitFor();
  assert.equal(await pane(page, 1).locator('#state').getAttribute('data-state'), 'live');

  // Keys and the pointer move the divider.
  const widths = () => page.evaluate(() => [...document.querySelectorAll('.pane-box')].map((box) => box.getBoundingClientRect().width));
  const equal = await widths();
  assert.ok(Math.abs(equal[0] - equal[1]) < 2, String(equal));
  await page.locator('.divider').focus();
  await page.keyboard.press('ArrowRight');
  const moved = await widths();
  assert.ok(moved[0] > equal[0] + 20, `${moved} after ${equal}`);
  assert.equal(await page.locator('.divider').getAttribute('aria-valuenow'), '55');
  const bar = await page.locator('.divider').boundingBox();
  assert.ok(bar);
  await page.mouse.move(bar.x + 3, bar.y + 300);
  await page.mouse.down();
  await page.mouse.move(303, 300, { steps: 5 });
  await page.mouse.up();
  const dragged = await widths();
  assert.ok(Math.abs(dragged[0] - 300) < 12, String(dragged));

  await scene.until(() => location.hash.includes('top%3D0') && location.hash.includes('shares'));
  await page.reload();
  await pane(page, 0).locator('#state[data-state="paused"]').waitFor();
  await pane(page, 0).locator('.row', { hasText: /^line 1$/ }).waitFor();
  assert.ok(Math.abs((await widths())[0] - dragged[0]) < 2);

  // Closing a pane does not change the others.
  await page.click('.source:has-text("two.log") .close');
  assert.equal(await page.locator('#panes iframe').count(), 1);
  await scene.until(() => !location.search.includes('two.log') && location.hash.includes('top%3D0'));
  await pane(page, 0).locator('#state[data-state="paused"]').waitFor();
});

scene('a pane says that its log is forbidden, and a pane of a missing log waits for it', async (scene) => {
  const { logs, page } = scene;
  await scene.open(addressOf('beside', '/etc/passwd', logs.path('to-come.log')));
  await pane(page, 0).locator('h1', { hasText: 'Forbidden' }).waitFor();
  await pane(page, 1).locator('#state[data-state="waiting"]').waitFor();
  await logs.write('to-come.log', 'here it is\n');
  await pane(page, 1).locator('.row', { hasText: 'here it is' }).waitFor();
  // Links in a pane open in the whole window.
  await pane(page, 0).locator('a').click();
  await scene.until(() => location.pathname === '/' && window.top === window);
});

scene('pages of other origins cannot show a log in a frame', async (scene) => {
  const { logs, page, program } = scene;
  const log = await logs.write('a.log', 'not for strangers\n');
  const stranger = createServer((request, response) => {
    response.setHeader('content-type', 'text/html');
    response.end(`<iframe src="${program.origin}${log}?pane=1"></iframe><iframe src="${program.origin}/_/beside?log=${log}"></iframe><iframe src="${program.origin}${log}"></iframe>`);
  });
  await new Promise((resolve) => { stranger.listen(0, '127.0.0.1', () => resolve(undefined)); });
  try {
    const refusals = [];
    page.on('console', (message) => { if (/frame-ancestors/.test(message.text())) refusals.push(message.text()); });
    await page.goto(`http://127.0.0.1:${/** @type {import('node:net').AddressInfo} */ (stranger.address()).port}/`);
    await eventually('all three frames are refused', () => refusals.length >= 3 || refusals);
    for (const frame of page.frames().slice(1)) assert.equal(await frame.locator('.row').count(), 0, frame.url());
    // These errors of the foreign page are expected.
    scene.troubles = scene.troubles.filter((trouble) => !/frame-ancestors/.test(trouble));
  } finally {
    stranger.close();
  }
});

scene('merged logs without times show each line once, in order of arrival, over rotations and restarts of the server', async (scene) => {
  const { logs, page } = scene;
  const one = await logs.write('one.log', `a\n${'b'.repeat(300)}\n`);
  const two = await logs.write('two.log', 'c\n');
  await scene.open(addressOf('merged', one, two));
  // Nobody knows when these were written.
  const all = ['one.log: a', `one.log: ${'b'.repeat(300)}`, 'two.log: c'];
  await untilMerged(scene, all);
  await scene.until(() => document.title === 'one.log + two.log');

  // New lines of both logs alternate.
  for (const at of [1, 2, 3]) {
    for (const name of ['two.log', 'one.log']) {
      await logs.append(name, `${name} ${at}\n`);
      all.push(`${name}: ${name} ${at}`);
      await untilMerged(scene, all);
    }
  }

  // A redrawn line keeps its place.
  await logs.append('one.log', '10 %');
  all.push('one.log: 10 %');
  await untilMerged(scene, all);
  await logs.append('two.log', 'meanwhile\n');
  all.push('two.log: meanwhile');
  await untilMerged(scene, all);
  await logs.append('one.log', '\r100 %\n');
  all[all.length - 2] = 'one.log: 100 %';
  await untilMerged(scene, all);

  // One log is rotated, the other is truncated.
  await logs.rename('one.log', 'one.log.1');
  await logs.write('one.log', 'after the rotation\n');
  all.push('[rotated]', 'one.log: after the rotation');
  await untilMerged(scene, all);
  assert.match(await scene.text('#rows .marker') ?? '', /^one\.log: rotated/);
  await logs.write('two.log', 'after the truncation\n');
  all.push('[truncated]', 'two.log: after the truncation');
  await untilMerged(scene, all);

  // The server is killed twice while both logs are written.
  for (const round of [1, 2]) {
    const { port } = scene.program;
    await scene.program.kill();
    // One log gets more lines than the history of a new page.
    const more = { 'one.log': lines(1, 250).map((line) => `${line} of round ${round}`), 'two.log': lines(1, 30).map((line) => `${line} of round ${round}`) };
    for (const [name, come] of Object.entries(more)) await logs.append(name, text(come));
    await scene.untilState('reconnecting');
    scene.program = await Program.serve([logs.directory], { port });
    await scene.untilState('live');
    await eventually('each line of the round is there once', async () => {
      const rows = await merged(page);
      const wanted = [...all, ...Object.entries(more).flatMap(([name, come]) => come.map((line) => `${name}: ${line}`))];
      const missing = wanted.filter((row) => !rows.includes(row));
      return (missing.length === 0 && rows.length === wanted.length) || { missing, rows: rows.length, wanted: wanted.length, last: rows.slice(-3) };
    });
    const rows = await merged(page);
    for (const [name, come] of Object.entries(more)) {
      // The lines of one log are in the order of the file.
      assert.deepEqual(rows.slice(all.length).filter((row) => row.startsWith(name)), come.map((line) => `${name}: ${line}`));
    }
    all.splice(0, all.length, ...rows);
  }
  assert.equal(await page.locator('.marker[data-marker="not-resumed"]').count(), 0);
});

/** A line that says a time, in seconds after ten. @param {number} second @param {string} words */
const at = (second, words) => `${new Date(Date.UTC(2026, 10, 25, 10, 0, 0) + second * 1000).toISOString()} ${words}`;

scene('merged logs are one list by the times of their lines, also of those that arrive', async (scene) => {
  const { logs, page } = scene;
  const one = await logs.write('one.log', `${at(0, 'a')}\n${at(2, 'c')}\n  of c\n`);
  const two = await logs.write('two.log', `${at(1, 'b')}\n${at(3, 'd')}\n${at(4, 'half')}`);
  await scene.open(addressOf('merged', one, two));
  await untilMerged(scene, [`one.log: ${at(0, 'a')}`, `two.log: ${at(1, 'b')}`, `one.log: ${at(2, 'c')}`, 'one.log:   of c', `two.log: ${at(3, 'd')}`, `two.log: ${at(4, 'half')}`]);
  await scene.untilState('live');
  // The unfinished line is finished, and a late line stands where its time says, with what belongs to it.
  await logs.append('two.log', ' and half\n');
  await logs.append('one.log', `${at(9, 'i')}\n`);
  await logs.append('two.log', `${at(6, 'f')}\n  of f\n`);
  await logs.append('one.log', `${at(5, 'late')}\n`);
  const wanted = [
    `one.log: ${at(0, 'a')}`, `two.log: ${at(1, 'b')}`, `one.log: ${at(2, 'c')}`, 'one.log:   of c', `two.log: ${at(3, 'd')}`, `two.log: ${at(4, 'half')} and half`,
    `two.log: ${at(6, 'f')}`, 'two.log:   of f', `one.log: ${at(9, 'i')}`, `one.log: ${at(5, 'late')}`,
  ];
  await untilMerged(scene, wanted);
  // They stand there as well when the page is loaded again.
  await page.reload();
  await untilMerged(scene, wanted);
  // Each row has the time of its line, and one without a time that of the line before it.
  await page.keyboard.press('s');
  await eventually('the times', async () => {
    const times = await page.evaluate(() => [...document.querySelectorAll('#rows .row')].map((row) => /** @type {HTMLElement} */ (row).dataset.time ?? ''));
    return (times[2] !== '' && times[2] === times[3] && new Set(times).size === 8) || times;
  });

  // A clock that is four seconds ahead.
  await page.click('#view-open');
  await page.locator('#shifts input').nth(0).fill('-4s');
  await page.locator('#shifts input').nth(0).press('Enter');
  const shifted = [
    `one.log: ${at(0, 'a')}`, `one.log: ${at(2, 'c')}`, 'one.log:   of c', `two.log: ${at(1, 'b')}`, `two.log: ${at(3, 'd')}`, `two.log: ${at(4, 'half')} and half`,
    `one.log: ${at(9, 'i')}`, `one.log: ${at(5, 'late')}`, `two.log: ${at(6, 'f')}`, 'two.log:   of f',
  ];
  await untilMerged(scene, shifted);
  await scene.until(() => location.hash.includes('shift=1:-4000'));
  await page.reload();
  await untilMerged(scene, shifted);
  await logs.append('one.log', `${at(11, 'k')}\n${at(14, 'n')}\n`);
  await untilMerged(scene, [...shifted, `one.log: ${at(11, 'k')}`, `one.log: ${at(14, 'n')}`]);
  // A late line of another log is inserted.
  await logs.append('two.log', `${at(8, 'h')}\n`);
  await untilMerged(scene, [...shifted, `one.log: ${at(11, 'k')}`, `two.log: ${at(8, 'h')}`, `one.log: ${at(14, 'n')}`]);
  await page.click('#view-open');
  await page.locator('#shifts input').nth(1).fill('an hour');
  await page.locator('#shifts input').nth(1).press('Enter');
  assert.equal(await page.locator('#shifts input').nth(1).getAttribute('aria-invalid'), 'true');
  await page.locator('#shifts input').nth(0).fill('');
  await page.locator('#shifts input').nth(0).press('Enter');
  await scene.until(() => !location.hash.includes('shift'));
  await untilMerged(scene, [...wanted.slice(0, 8), `two.log: ${at(8, 'h')}`, `one.log: ${at(9, 'i')}`, `one.log: ${at(5, 'late')}`, `one.log: ${at(11, 'k')}`, `one.log: ${at(14, 'n')}`]);
});

scene('arriving lines stand where the server would put them, whatever the zone of the reader', async (scene) => {
  const { logs, page } = scene;
  // Stamps without a zone are of the server's.
  const bare = await logs.write('bare.log', '2026-11-25 10:00:00 a\n2026-11-25 10:00:02 c\n');
  const exact = await logs.write('exact.log', `${at(1, 'b')}\n`);
  await scene.open(`${addressOf('merged', bare, exact)}#times=clock`);
  const wanted = ['bare.log: 2026-11-25 10:00:00 a', `exact.log: ${at(1, 'b')}`, 'bare.log: 2026-11-25 10:00:02 c'];
  await untilMerged(scene, wanted);
  await scene.untilState('live');
  await logs.append('exact.log', `${at(9, 'z')}\n`);
  await untilMerged(scene, [...wanted, `exact.log: ${at(9, 'z')}`]);
  await logs.append('bare.log', '2026-11-25 10:00:05 d\n  of d\n');
  await untilMerged(scene, [...wanted, 'bare.log: 2026-11-25 10:00:05 d', 'bare.log:   of d', `exact.log: ${at(9, 'z')}`]);
  await eventually('the times in the zone of the reader', async () => {
    const times = await page.evaluate(() => [...document.querySelectorAll('#rows .row')].map((row) => /** @type {HTMLElement} */ (row).dataset.time));
    return String(times) === String([0, 1, 2, 5, 5, 9].map((second) => `15:30:0${second}.000`)) || times;
  });
}, { serve: ['--zone', 'UTC'], context: { timezoneId: 'Asia/Kolkata' } });

scene('a merged view scrolls over all of all logs, while lines arrive, and shows each line once', async (scene) => {
  const { logs, page } = scene;
  // One log is busy, and one was rotated.
  const lineOf = (/** @type {string} */ name, /** @type {number} */ nth, /** @type {number} */ step) => at(nth * step, `${name} ${nth}`);
  const busy = await logs.write('busy.log', text(Array.from({ length: 9_000 }, (_, nth) => lineOf('busy', nth, 1))));
  await logs.write('quiet.log.1', text(Array.from({ length: 100 }, (_, nth) => lineOf('quiet', nth, 47))));
  const quiet = await logs.write('quiet.log', text(Array.from({ length: 90 }, (_, nth) => lineOf('quiet', nth + 100, 47))));
  await scene.open(addressOf('merged', busy, quiet));
  await scene.untilState('live');
  await scene.until(() => [...document.querySelectorAll('#rows .row')].at(-1)?.textContent?.endsWith('busy 8999'));
  const all = [
    ...Array.from({ length: 9_000 }, (_, nth) => [nth, 0, lineOf('busy', nth, 1)]), ...Array.from({ length: 190 }, (_, nth) => [nth * 47, 1, lineOf('quiet', nth, 47)]),
  ].sort((a, b) => Number(a[0]) - Number(b[0]) || Number(a[1]) - Number(b[1])).map(([, , line]) => String(line));
  const rows = () => page.evaluate(() => [...document.querySelectorAll('#rows .row')].map((row) => row.textContent ?? ''));
  /** The rows on the page are a part of the list without gaps. */
  const check = async () => {
    const shown = await rows();
    const first = all.indexOf(shown[0]);
    assert.deepEqual(shown, all.slice(first, first + shown.length));
    return [first, first + shown.length];
  };
  await check();
  // Up to the first line, by scrolling.
  let seen = await check();
  for (let step = 0; seen[0] > 0; step += 1) {
    assert.ok(step < 400, `the first row is ${seen[0]}`);
    await page.evaluate(() => document.querySelector('#log')?.scrollTo(0, 0));
    const before = seen[0];
    await eventually('more rows', async () => (seen = await check())[0] < before || seen);
    if (step === 3) {
      // Lines that arrive meanwhile are below.
      const more = [lineOf('busy', 9_000, 1), lineOf('busy', 9_001, 1)];
      await logs.append('busy.log', text(more));
      all.push(...more);
      await scene.untilText('#new-lines-count', '2 new lines');
    }
  }
  // Down again to the end.
  for (let step = 0; seen[1] < all.length; step += 1) {
    assert.ok(step < 400, `the last row is ${seen[1]}`);
    await page.evaluate(() => document.querySelector('#log')?.scrollBy(0, 1e6));
    const before = seen[1];
    await eventually('more rows', async () => (seen = await check())[1] > before || seen);
  }
  await eventually('the end is followed', () => page.evaluate(() => {
    document.querySelector('#log')?.scrollBy(0, 1e6);
    return document.querySelector('#state')?.getAttribute('data-state') === 'live';
  }));
  await logs.append('quiet.log', `${lineOf('quiet', 200, 47)}\n`);
  all.push(lineOf('quiet', 200, 47));
  await eventually('the new line', async () => (await check())[1] === all.length);

  // To a time, to the first line, and to the end.
  await page.keyboard.press('d');
  await page.locator('#time-wanted').fill('2026-11-25T10:47:00Z');
  await page.keyboard.press('Enter');
  // It stands in the view, and not at its edge.
  await scene.until(() => {
    const row = document.querySelector('#rows .row.current');
    const box = row?.getBoundingClientRect();
    return row?.textContent?.endsWith('busy 2820') && box !== undefined && box.top > 200 && box.bottom < 600;
  });
  await check();
  await page.keyboard.press('g');
  await scene.until(() => document.querySelector('#rows .row')?.textContent?.endsWith('busy 0'));
  await page.keyboard.press('d');
  await page.locator('#time-wanted').fill('2026-11-26');
  await page.keyboard.press('Enter');
  await scene.untilState('live');
  await eventually('the end', async () => (await check())[1] === all.length);

  // A log that is off leaves nothing behind.
  await page.keyboard.press('1');
  await eventually('the quiet log', async () => {
    const shown = await rows();
    return (shown.length === 191 && shown.every((row, nth) => row.endsWith(`quiet ${nth === 190 ? 200 : nth}`))) || shown.length;
  });
});

scene('matches, errors and filters cover all of all logs', async (scene) => {
  const { logs, page } = scene;
  const lineOf = (/** @type {string} */ name, /** @type {number} */ nth) => at(nth, `${name} ${nth}${nth % 2_000 === 500 ? ' ERROR' : ''}${nth === 123 ? ' needle' : ''}`);
  const one = await logs.write('one.log', text(Array.from({ length: 6_000 }, (_, nth) => lineOf('one', nth))));
  const two = await logs.write('two.log', text(Array.from({ length: 6_000 }, (_, nth) => lineOf('two', nth))));
  await scene.open(addressOf('merged', one, two));
  await scene.untilState('live');
  const current = (/** @type {string} */ end) => scene.until((end) => document.querySelector('#rows .row.current')?.textContent?.endsWith(end) ?? false, end);
  // Back from the end, and around at the beginning.
  for (const nth of [4_500, 2_500, 500]) {
    for (const name of ['two', 'one']) {
      await page.keyboard.press('E');
      await current(`${name} ${nth} ERROR`);
    }
  }
  await page.keyboard.press('E');
  await current('two 4500 ERROR');
  await page.keyboard.press('e');
  await current('one 500 ERROR');
  await page.keyboard.press('/');
  await page.keyboard.type('needle');
  await page.keyboard.press('Enter');
  await current('one 123 needle');
  await page.keyboard.press('Enter');
  await current('two 123 needle');
  await page.keyboard.press('Shift+Enter');
  await current('one 123 needle');
  await page.click('#filter');
  await untilMerged(scene, [`one.log: ${lineOf('one', 123)}`, `two.log: ${lineOf('two', 123)}`]);
  await scene.untilText('#find-count', '2 lines');
  await logs.append('one.log', `${at(7_000, 'a new needle')}\n`);
  await untilMerged(scene, [`one.log: ${lineOf('one', 123)}`, `two.log: ${lineOf('two', 123)}`, `one.log: ${at(7_000, 'a new needle')}`]);
  await page.keyboard.press('Escape');
  await page.locator('#log').focus();
  await page.keyboard.press('v');
  await page.keyboard.press('v');
  await untilMerged(scene, [500, 2_500, 4_500].flatMap((nth) => [`one.log: ${lineOf('one', nth)}`, `two.log: ${lineOf('two', nth)}`]));
});

scene('a merged view whose first request fails shows each line once when the server answers', async (scene) => {
  const { logs, page } = scene;
  const one = await logs.write('one.log', text(Array.from({ length: 290 }, (_, nth) => at(nth, `one ${nth}`))));
  let isRefused = true;
  await page.route(/\/_\/merged-rows/, (route) => (isRefused ? route.abort('connectionrefused') : route.continue()));
  /** @type {(() => void)[]} */
  const waiting = [];
  // The streams open only behind the first page.
  await page.routeWebSocket(/tail=1/, (socket) => { waiting.push(() => socket.connectToServer()); });
  await scene.open(addressOf('merged', one));
  await scene.until(() => (document.querySelector('#hint')?.textContent ?? '').includes('cannot be loaded yet'));
  isRefused = false;
  await page.locator('#rows .row', { hasText: 'one 289' }).waitFor();
  await eventually('the streams', () => waiting.length > 0);
  for (const connect of waiting) connect();
  await scene.untilState('live');
  await logs.append('one.log', `${at(500, 'and more')}\n`);
  await page.locator('#rows .row', { hasText: 'and more' }).waitFor();
  await page.keyboard.press('Home');
  await untilMerged(scene, [...Array.from({ length: 290 }, (_, nth) => `one.log: ${at(nth, `one ${nth}`)}`), `one.log: ${at(500, 'and more')}`]);
  scene.troubles = scene.troubles.filter((trouble) => !/CONNECTION_REFUSED/.test(trouble));
});

scene('what is pressed while a merged view opens counts', async (scene) => {
  const { logs, page } = scene;
  const one = await logs.write('one.log', `${at(0, 'a')}\n${at(2, 'c')}\n${at(4, 'e')}\n`);
  const two = await logs.write('two.log', `${at(1, 'b')}\n`);
  /** @type {() => void} */
  let release = () => {};
  /** @type {Promise<void> | null} */
  let released = null;
  let requests = 0;
  const hold = () => {
    requests = 0;
    released = new Promise((resolve) => { release = () => resolve(undefined); });
  };
  await page.route(/\/_\/merged-rows/, async (route) => {
    requests += 1;
    if (requests === 1) await released;
    await route.continue().catch(() => {});
  });
  hold();
  await scene.open(addressOf('merged', one, two));
  await eventually('the first request', () => requests === 1);
  await page.keyboard.press('1');
  await scene.until(() => location.hash.includes('off=1'));
  release();
  await untilMerged(scene, [`two.log: ${at(1, 'b')}`]);
  await scene.untilState('live');
  await logs.append('two.log', `${at(3, 'd')}\n`);
  await untilMerged(scene, [`two.log: ${at(1, 'b')}`, `two.log: ${at(3, 'd')}`]);
  await page.keyboard.press('1');
  await logs.append('one.log', `${at(5, 'f')}\n`);
  const all = [`one.log: ${at(0, 'a')}`, `two.log: ${at(1, 'b')}`, `one.log: ${at(2, 'c')}`, `two.log: ${at(3, 'd')}`, `one.log: ${at(4, 'e')}`, `one.log: ${at(5, 'f')}`];
  await untilMerged(scene, all);

  // A log that is switched on meanwhile is shown from its first line on.
  await page.keyboard.press('1');
  await scene.until(() => location.hash.includes('off=1'));
  hold();
  await page.reload();
  await eventually('the first request', () => requests === 1);
  await page.keyboard.press('1');
  await scene.until(() => !location.hash.includes('off=1'));
  release();
  await untilMerged(scene, all);
});

scene('a reader who goes to the beginning while a merged view opens stays there', async (scene) => {
  const { logs, page } = scene;
  const one = await logs.write('one.log', text(Array.from({ length: 3_000 }, (_, nth) => at(nth, `one ${nth}`))));
  /** @type {URL[]} */
  const requests = [];
  const fromEnd = () => requests.filter(({ searchParams }) => searchParams.has('last') && searchParams.get('count') === '300' && !searchParams.has('before')).length;
  await page.route(/\/_\/merged-rows/, async (route) => {
    requests.push(new URL(route.request().url()));
    if (requests.length > 1) await route.continue().catch(() => {});
  });
  await page.clock.install();
  await scene.open(addressOf('merged', one));
  await eventually('the first request', () => requests.length === 1);
  await page.keyboard.press('Home');
  await page.locator('#rows .row', { hasText: /one 0$/ }).waitFor();
  // Longer than the pause before a request that failed is made again.
  await page.clock.fastForward(5_000);
  await page.keyboard.press('End');
  await page.locator('#rows .row', { hasText: /one 2999$/ }).waitFor();
  assert.equal(fromEnd(), 2, requests.join(' '));
});

scene('a merged log can be switched off and on, and a busy log does not push out a quiet one', async (scene) => {
  const { logs, page } = scene;
  const loud = await logs.write('loud.log', 'loud 0\n');
  const quiet = await logs.write('quiet.log', 'quiet 0\n');
  await scene.open(addressOf('merged', loud, quiet));
  await scene.untilState('live');
  await scene.until(() => document.querySelectorAll('#rows .row').length === 2);
  await logs.append('quiet.log', 'quiet 1\n');
  await scene.until(() => document.querySelectorAll('#rows .row').length === 3);
  for (let round = 0; round < 4; round += 1) {
    await logs.append('loud.log', text(lines(round * 15_000 + 1, (round + 1) * 15_000)));
    const last = `line ${(round + 1) * 15_000}`;
    await scene.until((last) => [...document.querySelectorAll('#rows .row')].at(-1)?.textContent === last, last);
  }
  const onPage = await page.locator('#rows .row').count();
  assert.ok(onPage <= 6_000, `${onPage} rows are on the page`);
  await logs.append('quiet.log', 'quiet 2\n');
  await scene.until(() => [...document.querySelectorAll('#rows .row')].at(-1)?.textContent === 'quiet 2');

  await page.keyboard.press('1');
  await untilMerged(scene, ['quiet.log: quiet 0', 'quiet.log: quiet 1', 'quiet.log: quiet 2']);
  assert.equal(await page.locator('.source .name').nth(0).getAttribute('aria-pressed'), 'false');
  await scene.until(() => location.hash === '#off=1');
  await logs.append('loud.log', 'not seen\n');
  await logs.append('quiet.log', 'quiet 3\n');
  await untilMerged(scene, ['quiet.log: quiet 0', 'quiet.log: quiet 1', 'quiet.log: quiet 2', 'quiet.log: quiet 3']);
  await page.click('.source:has-text("loud.log") .name');
  await scene.until(() => [...document.querySelectorAll('#rows .row')].slice(-2).map((row) => row.textContent).sort().join() === 'not seen,quiet 3');
});

scene('a merged view that was scrolled up does not move and counts new lines, until End goes to the end', async (scene) => {
  const { logs, page } = scene;
  const one = await logs.write('one.log', text(lines(1, 150)));
  const two = await logs.write('two.log', text(lines(1, 150)));
  await scene.open(addressOf('merged', one, two));
  await scene.until(() => document.querySelectorAll('#rows .row').length === 300);
  await scene.scroll(-1500);
  await scene.untilState('paused');
  const placeOfFirst = () => page.evaluate(() => {
    const top = /** @type {Element} */ (document.querySelector('#log')).getBoundingClientRect().top;
    const row = [...document.querySelectorAll('#rows .row')].find((one) => one.getBoundingClientRect().bottom > top);
    return `${row?.textContent} at ${row?.getBoundingClientRect().top}`;
  });
  const before = await placeOfFirst();
  for (const name of ['one.log', 'two.log']) await logs.append(name, text(lines(1, 107)));
  await scene.untilText('#new-lines-count', '214 new lines');
  assert.equal(await placeOfFirst(), before);
  await page.keyboard.press('End');
  await scene.untilState('live');
  await scene.until(() => [...document.querySelectorAll('#rows .row')].at(-1)?.textContent === 'line 107');
  assert.equal(await page.locator('#new-lines').isVisible(), false);
});

scene('logs with any name can be opened side by side and merged, and their names are shown as text', async (scene) => {
  const { logs, page } = scene;
  const names = [
    Buffer.from('<img src=x onerror=window.ran=1>.log'), Buffer.from('"q" \'s\' `b`.log'), Buffer.from('two\nlines.log'), Buffer.from('100%25 a+b.log'),
    Buffer.from('a#b?c&d=e.log'), Buffer.from('byte \xff.log', 'latin1'), Buffer.from('bidi \u202egol.txt'), Buffer.from('back\\slash.log'),
  ];
  for (const [at, name] of names.entries()) await writeFile(logs.path(name), `inside ${at}\n`);
  // A reader selects them in the list.
  await scene.open('/');
  await scene.until((count) => document.querySelectorAll('#logs .pick').length === count, names.length);
  for (let at = 0; at < names.length; at += 1) await page.locator('.pick').nth(at).check({ force: true });
  await page.click('#open-merged');
  await scene.until((count) => document.querySelectorAll('#rows .row').length === count, names.length);
  assert.deepEqual((await scene.rows()).sort(), names.map((_, at) => `inside ${at}`));
  for (const half of [names.slice(0, 4), names.slice(4)]) {
    await scene.open(addressOf('beside', ...half.map((name) => /** @type {Buffer} */ (logs.path(name)))));
    for (const [at, name] of half.entries()) await pane(page, at).locator('.row', { hasText: `inside ${names.indexOf(name)}` }).waitFor();
  }
  // The tree shows them as well.
  await scene.open('/#tree=1');
  await scene.until((count) => document.querySelectorAll('#logs .log').length === count, names.length);
  assert.equal(await page.evaluate(() => document.querySelectorAll('#logs img').length), 0);
  for (const open of scene.context.pages()) assert.equal(await open.evaluate(() => 'ran' in window), false);
});

scene('a URL without valid logs opens nothing', async (scene) => {
  const { page } = scene;
  for (const query of ['', '?log=', '?log=//evil.example/x/', '?log=javascript:window.ran=1', '?log=/_/beside?log=/x/..', '?log=%2F%2e%2e%2F_%2Flogs']) {
    await scene.open(`/_/beside${query}`);
    await scene.until(() => document.querySelector('#empty')?.checkVisibility());
    assert.equal(await page.locator('iframe').count(), 0, query);
    await scene.open(`/_/merged${query}`);
    await scene.untilText('#notice-title', 'No logs selected');
  }
  assert.equal(await page.evaluate(() => 'ran' in window), false);
});

scene('on a phone the panes are stacked, and no page with several logs is too wide', async (scene) => {
  const { logs, page } = scene;
  const one = await logs.write('one.log', text(lines(1, 50)));
  await mkdir(logs.path('a'));
  const two = await logs.write('a/two.log', text(lines(1, 50)));
  await scene.open(addressOf('beside', one, two));
  await pane(page, 1).locator('.row', { hasText: /^line 50$/ }).waitFor();
  const boxes = await page.evaluate(() => [...document.querySelectorAll('.pane-box')].map((box) => {
    const { left, top, width, bottom } = box.getBoundingClientRect();
    return { left, top, width, bottom };
  }));
  assert.ok(boxes[1].top >= boxes[0].bottom && boxes[0].left === boxes[1].left, JSON.stringify(boxes));
  assert.equal(await page.locator('.divider').getAttribute('aria-orientation'), 'horizontal');
  for (const target of [addressOf('merged', one, two), addressOf('beside', one, two), '/']) {
    await scene.open(target);
    await scene.until(() => document.querySelectorAll('.row, .pane-box, #logs a').length > 0);
    const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    assert.ok(wide <= 0, `${target} is ${wide} px too wide`);
  }
  await rm(logs.path('a'), { recursive: true });
}, { context: { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true } });

for (const colorScheme of /** @type {const} */ (['light', 'dark'])) {
  scene(`no page with several logs violates WCAG 2 A or AA, ${colorScheme}`, async (scene) => {
    const { logs, page } = scene;
    const one = await logs.write('one.log', text(lines(1, 80)));
    const two = await logs.write('two.log', 'ERROR: one\nWARN two\n');
    /** @param {string} state */
    const check = async (state) => {
      for (const frame of page.frames()) assert.deepEqual(await violations(frame), [], `${state}: ${frame.url()}`);
    };
    await scene.open('/');
    await page.keyboard.press('ArrowDown');
    await page.keyboard.press('x');
    await page.keyboard.press('s');
    await check('one is chosen');
    await page.keyboard.press('ArrowDown');
    await page.keyboard.press('x');
    await check('two are chosen');
    await page.keyboard.press('v');
    await page.fill('#filter', 'one');
    await check('a tree, filtered');
    await page.locator('#filter').blur();
    await page.keyboard.press('?');
    await check('the keys of the list');

    await scene.open(addressOf('beside', one, two, '/etc/passwd'));
    await pane(page, 1).locator('.row', { hasText: 'WARN two' }).waitFor();
    await check('side by side');

    await scene.open(addressOf('merged', one, two));
    await scene.untilState('live');
    await scene.until(() => document.querySelectorAll('#rows .row').length === 82);
    await check('merged');
    await page.keyboard.press('/');
    await page.keyboard.type('line');
    await page.click('#filter');
    await scene.untilText('#find-count', '80 lines');
    await check('merged, filtered');
    await page.keyboard.press('Escape');
    await page.keyboard.press('End');
    await page.click('#view-open');
    await page.click('#view-menu label:has(input[value="clock"])');
    await page.click('#view-menu label:has(input[value="warning"])');
    await scene.until(() => document.querySelectorAll('#rows .row').length === 2);
    await check('merged, the menu of the view, errors and warnings only');
    await page.click('#view-menu label:has(input[name="level"][value=""])');
    await page.keyboard.press('Escape');
    await page.keyboard.press('End');
    await scene.untilState('live');
    await page.keyboard.press('2');
    await page.keyboard.press('f');
    await logs.append('one.log', text(lines(1, 5)));
    await scene.untilText('#new-lines-count', '5 new lines');
    await check('merged, paused, one switched off');
    await page.keyboard.press('?');
    await check('the keys of the merged page');
    await scene.open(addressOf('merged', one, logs.path('to-come.log'), '/etc/passwd'));
    await scene.until(() => document.querySelector('.source[data-state="forbidden"]') !== null && document.querySelector('.source[data-state="waiting"]') !== null);
    await check('merged, with one to come and one refused');
  }, { context: { colorScheme, reducedMotion: 'reduce' } });
}

scene('errors and matches in merged logs are found and filtered, and can be opened in their own log', async (scene) => {
  const { logs, page, context } = scene;
  const one = await logs.write('one.log', text(lines(1, 120).map((line, at) => (at === 20 ? `${line} ERROR disk <full>` : line))));
  const two = await logs.write('two.log', text(lines(1, 120).map((line, at) => (at === 70 ? `${line} ERROR net` : line))));
  await scene.open(addressOf('merged', one, two));
  await scene.untilText('#errors-count', '2 errors');
  await page.keyboard.press('g');
  await scene.untilState('paused');
  assert.equal(await page.locator('#older').isVisible(), false, 'there is nothing before');
  await page.keyboard.press('G');
  await scene.untilState('live');
  const inSight = (/** @type {string} */ text) => scene.until((text) => {
    const log = document.querySelector('#log')?.getBoundingClientRect();
    const box = [...document.querySelectorAll('#rows .row.current')].find((row) => row.textContent === text)?.getBoundingClientRect();
    return log !== undefined && box !== undefined && box.top >= log.top && box.bottom <= log.bottom;
  }, text);
  await page.keyboard.press('e');
  await inSight('line 21 ERROR disk <full>');
  await page.keyboard.press('e');
  await inSight('line 71 ERROR net');
  await page.keyboard.press('E');
  await inSight('line 21 ERROR disk <full>');

  // A key and a click on the name open a row in its own log.
  for (const open of [() => page.keyboard.press('o'), () => page.click('.row.current', { position: { x: 30, y: 8 } })]) {
    const opening = context.waitForEvent('page');
    await open();
    const other = await opening;
    await other.locator('.row.selected', { hasText: 'line 21 ERROR disk <full>' }).waitFor();
    assert.equal(new URL(other.url()).pathname, one);
    await other.close();
  }

  // Patterns match text, never markup, also in new lines.
  await page.keyboard.press('Control+f');
  await page.keyboard.type('<FULL>');
  await scene.untilText('#find-count', '1 line');
  await page.click('#filter');
  await untilMerged(scene, ['one.log: line 21 ERROR disk <full>']);
  await logs.append('two.log', 'nothing of it\nthis is <full> too\n');
  await page.keyboard.press('Escape');
  await page.keyboard.press('End');
  await page.keyboard.press('/');
  await page.keyboard.type('<full>');
  await page.click('#filter');
  await untilMerged(scene, ['one.log: line 21 ERROR disk <full>', 'two.log: this is <full> too']);
  await scene.untilText('#find-count', '2 lines');

  // A row that matches only once it is complete appears in its place.
  await page.click('#filter');
  await logs.append('one.log', 'half <fu');
  await page.locator('.row', { hasText: /^half <fu$/ }).waitFor();
  await logs.append('two.log', 'last <full>\n');
  await page.locator('.row', { hasText: /^last/ }).waitFor();
  await page.click('#filter');
  await untilMerged(scene, ['one.log: line 21 ERROR disk <full>', 'two.log: this is <full> too', 'two.log: last <full>']);
  await logs.append('one.log', 'll> ERROR\n');
  await untilMerged(scene, ['one.log: line 21 ERROR disk <full>', 'two.log: this is <full> too', 'one.log: half <full> ERROR', 'two.log: last <full>']);
  // Counts are those of the lines that are shown.
  await scene.untilText('#errors-count', '2 errors');

  // A link restores the filter. A log that is switched off has no errors and no matches.
  await scene.until(() => location.hash === '#find=:%3Cfull%3E&filter=1');
  await page.reload();
  await scene.until(() => document.querySelectorAll('#rows .row').length === 4);
  await page.locator('#log').focus();
  await page.keyboard.press('1');
  await scene.untilText('#find-count', '2 lines');
  await scene.until(() => [...document.querySelectorAll('#rows .row')].map((row) => row.textContent).join() === 'this is <full> too,last <full>');
  await scene.until(() => !document.querySelector('#errors')?.checkVisibility());
  await page.click('#invert');
  await scene.until(() => document.querySelectorAll('#rows .row').length === 121);
  await page.locator('#find-text').fill('');
  await page.locator('#find-text').press('Escape');
  await scene.until(() => document.querySelectorAll('#rows .row').length === 123);

  // Errors and warnings only.
  await logs.append('two.log', 'WARN of two\n');
  await scene.untilText('#warnings-count', '1 warning');
  await page.keyboard.press('v');
  await untilMerged(scene, ['two.log: line 71 ERROR net', 'two.log: WARN of two']);
  await page.keyboard.press('v');
  await untilMerged(scene, ['two.log: line 71 ERROR net']);
  await scene.until(() => location.hash === '#off=1&level=error');
  await page.reload();
  await untilMerged(scene, ['two.log: line 71 ERROR net']);

  // An empty list shows the reason.
  await page.keyboard.press('2');
  await scene.untilText('#notice-title', 'All logs are hidden');
  await page.keyboard.press('2');
  await untilMerged(scene, ['two.log: line 71 ERROR net']);
  await page.keyboard.press('/');
  await page.keyboard.type('nowhere');
  await page.click('#filter');
  await scene.untilText('#notice-title', 'No line passes the filter');
});

scene('merged rows show their time, and JSON and long lines in them can be opened', async (scene) => {
  const { logs, page } = scene;
  const one = await logs.write('one.log', 'was there before\n');
  const two = await logs.write('two.log', '2026-11-25T10:00:00Z tells it\n');
  await scene.open(addressOf('merged', one, two));
  await scene.untilState('live');
  await logs.append('one.log', '{"a":{"b":1}}\n');
  await logs.append('two.log', `${'x'.repeat(9_000)}\n`);
  await page.locator('.row', { hasText: 'xxx' }).waitFor();
  await page.keyboard.press('s');
  const times = () => page.evaluate(() => [...document.querySelectorAll('#rows .row')].map((row) => (row instanceof HTMLElement ? row.dataset.time : undefined)));
  await eventually('the times', async () => {
    const shown = await times();
    return (shown.length === 4 && shown.filter((time) => /^\d\d:\d\d:\d\d/.test(time ?? '')).length === 3) || shown;
  });
  // The history has no time of arrival.
  assert.equal(await page.locator('.row', { hasText: 'was there before' }).getAttribute('data-time'), null);
  // Rows that were hidden and shown again can still be opened.
  await page.keyboard.press('1');
  await scene.until(() => document.querySelector('.row.json') === null);
  await page.keyboard.press('1');
  await page.locator('.row.json .open').waitFor({ state: 'attached' });
  await page.locator('.row.json').click({ position: { x: 8, y: 8 } });
  await page.locator('pre.opened').waitFor();
  await page.locator('.row .more').focus();
  await page.keyboard.press('Enter');
  await scene.until(() => [...document.querySelectorAll('#rows .row')].some((row) => row.textContent?.length === 9_000));
});
