// Scrolling through the whole log, beyond the rows on the page, in both directions and while the log is written.

import assert from 'node:assert/strict';
import { appendFile, open, truncate } from 'node:fs/promises';

import { DEADLINE_MS, eventually } from './program.js';
import { lines, scene, text } from './scene.js';

/** The most rows on a page: the limit in `row-viewport.js` and one block more. */
const ROWS_MAX = 5_250;

/** The text and the position of a row near the top of the view. @param {import('./scene.js').Scene} scene */
export function place({ page }) {
  return page.evaluate(() => {
    const box = /** @type {HTMLElement} */ (document.querySelector('#log')).getBoundingClientRect();
    const row = document.elementFromPoint(box.left + 200, box.top + 40)?.closest('.row');
    return JSON.stringify([row?.textContent, row?.getBoundingClientRect().top]);
  });
}

/** Waits until the view has stopped moving, and returns its place. @param {import('./scene.js').Scene} scene */
export async function rest(scene) {
  let stood = '';
  await eventually('it comes to rest', async () => {
    const before = await place(scene);
    await new Promise((resolve) => setTimeout(resolve, 150));
    stood = await place(scene);
    return stood === before || [before, stood];
  });
  return stood;
}

/** Fails if a numbered line is missing between the first and the last row. @param {string[]} rows */
export function assertWhole(rows) {
  const numbers = rows.map((row) => Number(/^line (\d+)/.exec(row)?.[1]));
  numbers.forEach((number, at) => {
    if (at > 0) assert.equal(number, numbers[at - 1] + 1, `after line ${numbers[at - 1]}`);
  });
  assert.ok(rows.length <= ROWS_MAX, `${rows.length} rows`);
}

scene('scrolling up loads older rows, to the first byte', async (scene) => {
  const { logs, page } = scene;
  const log = await logs.write('a.log', text(lines(1, 12_000)));
  await scene.open(log);
  await scene.untilState('live');
  await scene.until(() => document.querySelectorAll('#rows .row').length === 400);
  await page.mouse.move(600, 300);
  await eventually('the first line', async () => {
    await page.mouse.wheel(0, -4000);
    const rows = await scene.rows();
    assertWhole(rows);
    return rows[0] === 'line 1' || rows[0];
  });
  // The rows that were removed at the other end are loaded again.
  await eventually('the last line', async () => {
    await page.mouse.wheel(0, 6000);
    const rows = await scene.rows();
    assertWhole(rows);
    return rows.at(-1) === 'line 12000' || rows.at(-1);
  });
  await eventually('being at the end again, it follows', async () => {
    await page.mouse.wheel(0, 6000);
    return await scene.text('#state-word') === 'Live';
  });
  await logs.append('a.log', 'line 12001\n');
  await scene.until(() => [...document.querySelectorAll('#rows .row')].at(-1)?.textContent === 'line 12001');
});

scene('older rows that are loaded above do not move the visible rows', async (scene) => {
  const { logs, page } = scene;
  // Rows of many heights, so that estimated heights would be noticed.
  const log = await logs.write('a.log', lines(1, 6000).map((line, at) => `${line} ${'word '.repeat((at * 7) % 90)}\n`).join(''));
  await scene.open(log);
  await scene.untilState('live');
  await scene.until(() => document.querySelectorAll('#rows .row').length === 400);
  await page.keyboard.press('f');
  // Sets the scroll position directly, because a smooth scroll would itself move the rows.
  for (let turn = 0; turn < 6; turn += 1) {
    const seen = await page.evaluate(async () => {
      const log = /** @type {HTMLElement} */ (document.querySelector('#log'));
      const rows = () => document.querySelectorAll('#rows .row').length;
      log.scrollTop = 300;
      const row = [...document.querySelectorAll('#rows .row')].find((one) => one.getBoundingClientRect().bottom > log.getBoundingClientRect().top);
      const before = row?.getBoundingClientRect().top ?? NaN;
      const held = rows();
      const moves = [];
      for (const until = performance.now() + 10_000; rows() === held && performance.now() < until;) {
        await new Promise(requestAnimationFrame);
        moves.push(Math.round((row?.getBoundingClientRect().top ?? NaN) - before));
      }
      return { came: rows() - held, moves: moves.filter((move) => move !== 0) };
    });
    assert.ok(seen.came > 0, 'rows came');
    assert.deepEqual(seen.moves, []);
  }
});

scene('Home shows the first byte of a log of 4 GiB in under a second', async (scene) => {
  const { logs, page } = scene;
  const log = await logs.write('huge.log', text(lines(1, 2000)));
  // The middle is a hole, which takes no space on the disk. The end is text.
  await truncate(log, 4 * 1024 ** 3);
  await appendFile(log, `\n${text(lines(1, 3000).map((line) => `${line} of the end`))}`);
  await scene.open(log);
  await scene.untilState('live');
  const took = await page.evaluate(async () => {
    const began = performance.now();
    document.dispatchEvent(new KeyboardEvent('keydown', { key: 'Home', bubbles: true }));
    for (;;) {
      await new Promise(requestAnimationFrame);
      const log = document.querySelector('#log');
      if (document.querySelector('#rows .row')?.textContent === 'line 1' && log?.scrollTop === 0) return performance.now() - began;
      if (performance.now() - began > 15_000) return Infinity;
    }
  });
  assert.ok(took < 1000, `it took ${took} ms`);
  assert.equal(await page.getAttribute('#minimap', 'aria-valuenow'), '0');
  await page.keyboard.press('End');
  await scene.until(() => [...document.querySelectorAll('#rows .row')].at(-1)?.textContent === 'line 3000 of the end');
  await scene.until(() => document.querySelector('#minimap')?.getAttribute('aria-valuenow') === '100');
});

scene('the minimap is a scrollbar of the whole file', async (scene) => {
  const { logs, page } = scene;
  const log = await logs.write('a.log', text(lines(1, 50_000).map((line) => line.padEnd(20, '.'))));
  await scene.open(log);
  await scene.untilState('live');
  const strip = await page.locator('#minimap').boundingBox();
  assert.ok(strip);
  // Presses at the middle, then drags to a quarter, to the top and to the end.
  await page.mouse.move(strip.x + 5, strip.y + strip.height / 2);
  await page.mouse.down();
  const first = async () => Number(/^line (\d+)/.exec(JSON.parse(await place(scene))[0] ?? '')?.[1]);
  const isNear = async (line) => {
    const seen = await first();
    return Math.abs(seen - line) < 1500 || seen;
  };
  await eventually('the middle', () => isNear(25_000));
  await scene.untilState('paused');
  await page.mouse.move(strip.x + 5, strip.y + strip.height / 4, { steps: 20 });
  await eventually('a quarter', () => isNear(12_500));
  await page.mouse.move(strip.x + 5, strip.y, { steps: 5 });
  await eventually('the first line', async () => await first() <= 3);
  await page.mouse.move(strip.x + 5, strip.y + strip.height + 50, { steps: 5 });
  await page.mouse.up();
  await scene.untilState('live');
  await scene.until(() => [...document.querySelectorAll('#rows .row')].at(-1)?.textContent?.startsWith('line 50000'));
});

scene('during a burst of 200,000 lines the page stays small and responsive, and no line is lost', async (scene) => {
  const { logs, page } = scene;
  const log = await logs.write('a.log', text(lines(1, 10)));
  await scene.open(log);
  await scene.untilState('live');
  await page.evaluate(() => {
    Object.assign(window, { longest: 0 });
    let last = performance.now();
    const look = () => {
      const now = performance.now();
      Object.assign(window, { longest: Math.max(/** @type {any} */ (window).longest, now - last) });
      last = now;
      requestAnimationFrame(look);
    };
    requestAnimationFrame(look);
  });
  const file = await open(log, 'a');
  for (let from = 11; from <= 200_000; from += 20_000) await file.appendFile(text(lines(from, Math.min(200_000, from + 19_999))));
  await file.close();
  await scene.until(() => [...document.querySelectorAll('#rows .row')].at(-1)?.textContent === 'line 200000');
  const longest = await page.evaluate(() => /** @type {any} */ (window).longest);
  assert.ok(longest < 1000, `the page did not draw for ${longest} ms`);
  assertWhole(await scene.rows());
  await page.keyboard.press('Home');
  await scene.until(() => document.querySelector('#rows .row')?.textContent === 'line 1');
  await scene.untilState('paused');
  const stood = await rest(scene);
  // Another burst while the reader is at the start.
  await logs.append('a.log', text(lines(200_001, 260_000)));
  await scene.untilText('#new-lines-count', '60,000 new lines');
  assert.equal(await place(scene), stood, 'what is read stays');
  assertWhole(await scene.rows());
  await page.click('#new-lines');
  await scene.until(() => [...document.querySelectorAll('#rows .row')].at(-1)?.textContent === 'line 260000');
  assertWhole(await scene.rows());
});

scene('a text selection survives rows that are added and removed', async (scene) => {
  const { logs, page } = scene;
  const log = await logs.write('a.log', text(lines(1, 400)));
  await scene.open(log);
  await scene.untilState('live');
  await page.evaluate(() => {
    const rows = [...document.querySelectorAll('#rows .row')].slice(-8);
    document.getSelection()?.setBaseAndExtent(rows[0].firstChild ?? rows[0], 0, rows[3].firstChild ?? rows[3], 8);
  });
  const selected = () => page.evaluate(() => document.getSelection()?.toString());
  const before = await selected();
  assert.equal(before, 'line 393\nline 394\nline 395\nline 396');
  await scene.untilState('paused');
  for (let from = 401; from < 12_000; from += 1000) await logs.append('a.log', text(lines(from, from + 999)));
  await scene.untilText('#new-lines-count', '12,000 new lines');
  await rest(scene);
  assert.equal(await selected(), before);
  await page.keyboard.press('Escape');
  await scene.untilState('live');
});

scene('scrolling up continues in the rotated file', async (scene) => {
  const { logs, page } = scene;
  const log = await logs.write('a.log', text(lines(1, 3000)));
  await scene.open(log);
  await scene.untilState('live');
  await logs.rename('a.log', 'a.log.1');
  await logs.append('a.log', text(lines(3001, 9000)));
  await scene.until(() => [...document.querySelectorAll('#rows .row')].at(-1)?.textContent === 'line 9000');
  await page.mouse.move(600, 300);
  await eventually('the first line of the old file', async () => {
    await page.mouse.wheel(0, -4000);
    const rows = await scene.rows();
    assertWhole(rows);
    return rows[0] === 'line 1' || rows[0];
  });
  // On the way back the marker is in its place, once.
  await eventually('the marker', async () => {
    const around = await page.evaluate(() => {
      const all = [...document.querySelectorAll('#rows .row, #rows .marker')].map((one) => one.textContent ?? '');
      return all.flatMap((one, at) => (/^rotated at /.test(one) ? [all[at - 1], all[at + 1]] : []));
    });
    if (around.length > 0) return JSON.stringify(around) === '["line 3000","line 3001"]' || around;
    await page.mouse.wheel(0, 2000);
    return 'no marker';
  });
  assertWhole(await scene.rows());
});

scene('after a restart of the server no row is missing where the reader is', async (scene) => {
  const { logs, page } = scene;
  const log = await logs.write('a.log', text(lines(1, 20_000)));
  await scene.open(log);
  await scene.untilState('live');
  await page.keyboard.press('Home');
  await scene.until(() => document.querySelector('#rows .row')?.textContent === 'line 1');
  const { Program } = await import('./program.js');
  const { port } = scene.program;
  await scene.program.kill();
  await scene.untilState('reconnecting');
  await page.mouse.move(600, 300);
  for (let turn = 0; turn < 5; turn += 1) await page.mouse.wheel(0, 4000);
  await logs.append('a.log', text(lines(20_001, 20_500)));
  scene.program = await Program.serve([logs.directory], { port });
  await eventually('the last line', async () => {
    await page.mouse.wheel(0, 8000);
    const rows = await scene.rows();
    assertWhole(rows);
    return rows.at(-1) === 'line 20500' || rows.at(-1);
  }, 2 * DEADLINE_MS);
});
