// The old files of a log above it: one scroll through all of them, with a line between that names the file.

import assert from 'node:assert/strict';
import { readFile, utimes, writeFile } from 'node:fs/promises';
import { gzipSync } from 'node:zlib';

import { eventually } from './program.js';
import { scene } from './scene.js';

/** @param {string} of @param {number} count */
function lines(of, count) {
  return Array.from({ length: count }, (_, at) => `${of} ${at}`);
}

/** A log with two old files, of which the older is compressed. @param {import('./scene.js').Scene} scene @param {number} count */
async function rotated({ logs }, count) {
  const parts = ['oldest', 'older', 'present'].map((of) => lines(of, count));
  const text = (/** @type {string[]} */ part) => `${part.join('\n')}\n`;
  await writeFile(logs.path('a.log.2.gz'), gzipSync(text(parts[0])));
  await logs.write('a.log.1', text(parts[1]));
  await utimes(logs.path('a.log.2.gz'), 1_700_000_000, 1_700_000_000);
  await utimes(logs.path('a.log.1'), 1_700_100_000, 1_700_100_000);
  return { log: await logs.write('a.log', text(parts[2])), parts };
}

scene('the old files of a short log stand above it, with a line between that names them', async (scene) => {
  const { page } = scene;
  const { log, parts } = await rotated(scene, 3);
  await scene.open(log);
  await scene.untilRowsAndMarks([...parts[0], '[rotated]', ...parts[1], '[rotated]', ...parts[2]]);
  const marks = await page.locator('#rows .marker').allInnerTexts();
  assert.match(marks[0], /^end of a\.log\.2\.gz \(27 B, written until 2023-11-1\d .*\) · a\.log\.1 begins$/);
  assert.match(marks[1], /^end of a\.log\.1 .* · a\.log begins$/);
  await scene.logs.append('a.log', 'appended\n');
  await scene.untilRowsAndMarks([...parts[0], '[rotated]', ...parts[1], '[rotated]', ...parts[2], 'appended']);
  await scene.untilState('live');
});

scene('a reader who scrolls up comes to the first line of the oldest file', async (scene) => {
  const { page } = scene;
  const { log } = await rotated(scene, 3_000);
  await scene.open(log);
  await scene.untilState('live');
  await page.mouse.move(300, 300);
  const isThere = () => [...document.querySelectorAll('#rows .row')].some((row) => row.textContent === 'oldest 0');
  for (let turns = 0; !(await page.evaluate(isThere)); turns += 1) {
    assert.ok(turns < 500, 'it never comes there');
    await page.mouse.wheel(0, -20_000);
    await page.waitForTimeout(20);
  }
  const rows = await scene.rows();
  assert.deepEqual(rows.slice(0, 200), lines('oldest', 200));
});

scene('all files are one download', async (scene) => {
  const { page } = scene;
  const { log, parts } = await rotated(scene, 3);
  await scene.open(log);
  await scene.untilState('live');
  await page.click('#more-open');
  await scene.untilText('#download-history span', 'Download with 2 older files');
  const [download] = await Promise.all([page.waitForEvent('download'), page.click('#download-history')]);
  assert.equal(await readFile(await download.path(), 'utf8'), `${parts.flat().join('\n')}\n`);
});

scene('a damaged archive says what is wrong with it', async (scene) => {
  const whole = gzipSync(lines('line', 2_000).join('\n'));
  await writeFile(scene.logs.path('a.log.gz'), whole.subarray(0, whole.length / 2));
  await scene.open(scene.logs.path('a.log.gz'));
  await scene.until(() => document.querySelector('#newer')?.textContent?.includes('This gz file ends early'));
});

/** The text of the row that the reader was led to. @param {import('./scene.js').Scene} scene */
function here({ page }) {
  return page.evaluate(() => document.querySelector('.row.current')?.textContent ?? 'nowhere');
}

scene('find steps from the present file into the old ones and back', async (scene) => {
  const { page } = scene;
  const { log } = await rotated(scene, 3_000);
  await scene.open(log);
  await scene.untilState('live');
  await page.keyboard.press('/');
  await page.keyboard.type(' 1234');
  await scene.untilText('#find-count', '3 lines');
  for (const [count, row] of [['3 of 3', 'present 1234'], ['2 of 3', 'older 1234'], ['1 of 3', 'oldest 1234'], ['3 of 3', 'present 1234']]) {
    await page.keyboard.press('Shift+Enter');
    await scene.untilText('#find-count', count);
    await eventually(row, async () => await here(scene) === row || here(scene));
  }
  await page.keyboard.press('Enter');
  await scene.untilText('#find-count', '1 of 3');
  await eventually('the first one', async () => await here(scene) === 'oldest 1234' || here(scene));
  // The lines of each file are counted by themselves.
  await page.keyboard.press('Escape');
  await page.keyboard.press('l');
  await scene.until(() => document.querySelector('.row[data-line="1235"]')?.textContent === 'oldest 1234');
});

scene('large old files are searched when the reader steps beyond the first match', async (scene) => {
  const { page, logs } = scene;
  const part = (/** @type {string} */ of) => `${of} needle\n${`${of} hay ${'x'.repeat(1_000)}\n`.repeat(10_000)}`;
  await logs.write('a.log.2', part('oldest'));
  await logs.write('a.log.1', part('older'));
  const log = await logs.write('a.log', `present needle\n${lines('present', 500).join('\n')}\n`);
  await scene.open(log);
  await scene.untilState('live');
  await page.keyboard.press('/');
  await page.keyboard.type('needle');
  await scene.untilText('#find-count', '1+ lines');
  for (const [count, row] of [['1 of 1+', 'present needle'], ['1 of 2+', 'older needle'], ['1 of 3+', 'oldest needle'], ['3 of 3', 'present needle']]) {
    await page.keyboard.press('Shift+Enter');
    await eventually(row, async () => await here(scene) === row || here(scene));
    await scene.untilText('#find-count', count);
  }
});

scene('old files that cannot be listed now are asked for again, with pauses', async (scene) => {
  const { page, logs } = scene;
  await logs.write('a.log.1', 'older needle\n');
  const log = await logs.write('a.log', `present needle\n${lines('present', 500).join('\n')}\n`);
  /** @type {number[]} */
  const asked = [];
  await page.route(/\/_\/history\//, (route) => {
    asked.push(Date.now());
    return route.abort();
  });
  await scene.open(log);
  await scene.untilState('live');
  await page.keyboard.press('/');
  await page.keyboard.type('needle');
  await scene.untilText('#find-count', '1+ lines');
  await page.keyboard.press('Shift+Enter');
  await scene.untilText('#find-count', '1 of 1+');
  await page.keyboard.press('Shift+Enter');
  await scene.untilText('#find-count', 'interrupted: the older files cannot be searched now');
  const before = asked.length;
  await eventually('it is asked for again', () => asked.length >= before + 4 || asked.length);
  assert.ok(asked[before + 3] - asked[before] > 1_000, `${asked}`);
  await page.unroute(/\/_\/history\//);
  await eventually('the older file', async () => await here(scene) === 'older needle' || here(scene));
});

scene('the keys for errors lead into the old files', async (scene) => {
  const { page, logs } = scene;
  await writeFile(logs.path('a.log.2.gz'), gzipSync('ERROR the first\nfine\n'));
  await logs.write('a.log.1', 'all is well\n');
  const log = await logs.write('a.log', 'fine\nERROR the last\n');
  await scene.open(log);
  await scene.untilText('#errors-count', '1 error');
  for (const row of ['ERROR the last', 'ERROR the first', 'ERROR the last']) {
    await page.keyboard.press('E');
    await eventually(row, async () => await here(scene) === row || here(scene));
  }
  await scene.untilText('#errors-count', '2 errors');
});

scene('a filter shows the matching lines of all files', async (scene) => {
  const { page } = scene;
  const { log } = await rotated(scene, 300);
  await scene.open(log);
  await scene.untilState('live');
  await page.keyboard.press('/');
  await page.keyboard.type(' 123');
  await page.click('#filter');
  await scene.untilRowsAndMarks(['oldest 123', '[rotated]', 'older 123', '[rotated]', 'present 123']);
});

scene('the lines of a container are shown as they are in the file where the reader wants that', async (scene) => {
  const { page, logs } = scene;
  const line = '2026-11-28T14:02:07.123456789Z stderr F cannot listen';
  const log = await logs.write('0.log', `${line}\n`);
  await scene.open(log);
  await scene.untilRowsAndMarks(['cannot listen']);
  await page.click('#view-open');
  await page.click('#undecoded-option');
  await scene.untilRowsAndMarks([line]);
  await page.click('#view-open');
  assert.equal(await page.isChecked('#undecoded'), true);
  await page.click('#undecoded-option');
  await scene.untilRowsAndMarks(['cannot listen']);
});

/** A log with four old files, two of them compressed. @param {import('./scene.js').Scene} scene @param {number} count */
async function rotatedOften({ logs }, count) {
  const parts = ['fourth', 'third', 'second', 'first', 'present'].map((of) => lines(of, count));
  for (const [at, name] of ['a.log.4.gz', 'a.log.3', 'a.log.2.gz', 'a.log.1', 'a.log'].entries()) {
    const text = `${parts[at].join('\n')}\n`;
    await writeFile(logs.path(name), name.endsWith('.gz') ? gzipSync(text) : text);
    if (name !== 'a.log') await utimes(logs.path(name), 1_700_000_000 + at * 100_000, 1_700_000_000 + at * 100_000);
  }
  return { log: logs.path('a.log'), parts };
}

/** The files of a log, the oldest first. @param {import('./scene.js').Scene} scene @param {string} log */
async function filesOf(scene, log) {
  const answer = await fetch(`${scene.program.origin}/_/history${log}`);
  return (await answer.json()).files;
}

/**
 * Scrolls down until the page follows the end. Returns all rows and markers that were on the page on the way.
 * @param {import('./scene.js').Scene} scene
 * @param {string[]} wanted all rows of the log
 * @returns {Promise<{rows: string[], marks: string[]}>}
 */
async function scrollToEnd(scene, wanted) {
  const { page } = scene;
  // The page may be quicker than a look at it.
  await page.evaluate(() => {
    const list = /** @type {HTMLElement} */ (document.querySelector('#rows'));
    const seen = { rows: new Set(), marks: new Set() };
    const look = () => {
      for (const row of list.querySelectorAll('.row')) seen.rows.add(row.textContent);
      for (const mark of list.querySelectorAll('.marker')) seen.marks.add(mark.textContent);
    };
    Object.assign(window, { seen });
    look();
    new MutationObserver(look).observe(list, { childList: true, subtree: true });
  });
  await page.mouse.move(300, 300);
  await eventually('the end of the log', async () => {
    await page.mouse.wheel(0, 20_000);
    await page.waitForTimeout(20);
    const rows = await scene.rows();
    const first = wanted.indexOf(rows[0]);
    assert.deepEqual(rows, wanted.slice(first, first + rows.length), 'the rows are those of the log, in its order, each once');
    return (rows.at(-1) === wanted.at(-1) && await page.locator('#state').getAttribute('data-state') === 'live') || [rows[0], rows.at(-1)];
  });
  return page.evaluate(() => {
    const { seen } = /** @type {any} */ (window);
    return { rows: [...seen.rows], marks: [...seen.marks] };
  });
}

scene('from a link into a far older file one scrolls through all files between it and the end', async (scene) => {
  const { log, parts } = await rotatedOften(scene, 400);
  const [fourth] = await filesOf(scene, log);
  await scene.open(`${log}#L7&g=${fourth.generation}`);
  await scene.until(() => document.querySelector('.row.selected')?.textContent === 'fourth 6');
  const { rows, marks } = await scrollToEnd(scene, parts.flat());
  assert.deepEqual(rows, parts.flat(), 'no row was left out');
  assert.deepEqual(marks.map((mark) => /^end of (\S+) .* · (\S+) begins$/.exec(mark)?.slice(1)), [
    ['a.log.4.gz', 'a.log.3'], ['a.log.3', 'a.log.2.gz'], ['a.log.2.gz', 'a.log.1'], ['a.log.1', 'a.log'],
  ]);
  await scene.logs.append('a.log', 'appended\n');
  await scene.until(() => [...document.querySelectorAll('#rows .row')].at(-1)?.textContent === 'appended');
});

scene('the switch for the lines of a container shows what the server does by default', async (scene) => {
  const { page, logs } = scene;
  const line = '2026-11-28T14:02:07.123456789Z stdout F listening';
  const log = await logs.write('0.log', `${line}\n`);
  await scene.open(log);
  await scene.untilRowsAndMarks([line]);
  await page.click('#view-open');
  assert.equal(await page.isChecked('#undecoded'), true);
  assert.match(await page.textContent('#undecoded-option') ?? '', /the server's default/);
  await page.click('#undecoded-option');
  await scene.untilRowsAndMarks(['listening']);
  await page.click('#view-open');
  assert.equal(await page.isChecked('#undecoded'), false);
  await page.click('#undecoded-option');
  await scene.untilRowsAndMarks([line]);
}, { serve: ['--decode', 'off'] });
