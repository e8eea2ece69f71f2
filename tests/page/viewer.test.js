// The viewer page on logs that are being written.

import assert from 'node:assert/strict';

import { DEADLINE_MS, eventually } from './program.js';
import { lines, scene, text } from './scene.js';

/** An upper bound for the rows on the page. */
const ROWS_MAX = 10_000;

scene('the viewer shows the last thousand lines in colour, then new lines', async (scene) => {
  const { logs, page } = scene;
  const all = lines(1, 1500);
  const log = await logs.write('a.log', `${text(all.slice(0, -1))}\x1b[31mline\x1b[0m 1500\n`);
  await scene.open(log);
  await scene.untilState('live');
  await scene.until(() => [...document.querySelectorAll('#rows .row')].at(-1)?.textContent === 'line 1500');
  const [ground, word] = await page.evaluate(() => {
    const row = [...document.querySelectorAll('#rows .row')].at(-1);
    return [row, row?.querySelector('span[style]')].map((element) => (element ? getComputedStyle(element).color : null));
  });
  assert.notEqual(word, null);
  assert.notEqual(ground, word, 'the coloured word has the colour of the others');
  const first = Number((await scene.rows())[0].slice('line '.length));
  for (let line = 1501; line <= 1520; line += 1) {
    await logs.append('a.log', `line ${line}\n`);
    all.push(`line ${line}`);
    await scene.until((last) => [...document.querySelectorAll('#rows .row')].at(-1)?.textContent === last, `line ${line}`);
  }
  const rows = await scene.rows();
  const from = Number(rows[0].slice('line '.length));
  assert.ok(from <= Math.max(first, 501), `the first row is ${rows[0]}`);
  assert.deepEqual(rows, all.slice(from - 1));
});

scene('a second visit loads no script and no style sheet again', async (scene) => {
  const { logs, page } = scene;
  const log = await logs.write('a.log', 'one\n');
  /** For each script and style sheet: whether it was loaded over the network. */
  const loaded = () => page.evaluate(() => performance.getEntriesByType('resource')
    .map((entry) => /** @type {PerformanceResourceTiming} */ (entry)).filter(({ name }) => /\/_\/page\/.*\.(js|css)$/.test(name))
    .map(({ transferSize }) => transferSize > 0));
  await scene.open(log);
  await scene.untilState('live');
  assert.deepEqual(await loaded(), [true, true, true], 'one style sheet, the theme, and the script with all modules');
  await scene.open(log);
  await scene.untilState('live');
  assert.deepEqual(await loaded(), [false, false, false]);
});

scene('a progress bar rewrites its row', async (scene) => {
  const { logs } = scene;
  const log = await logs.write('a.log', 'before\n');
  await scene.open(log);
  await scene.untilRows(['before']);
  for (const percent of [5, 30, 55, 80, 100]) {
    const bar = `[${'#'.repeat(percent / 5)}] ${percent} %`;
    await logs.append('a.log', `\r\x1b[K${bar}`);
    await scene.untilRows(['before', bar]);
  }
  await logs.append('a.log', '\r\x1b[Kdone\nafter\n');
  await scene.untilRows(['before', 'done', 'after']);
});

scene('a view that was scrolled up does not move until End goes to the end', async (scene) => {
  const { logs, page } = scene;
  const all = lines(1, 300);
  const log = await logs.write('a.log', text(all));
  await scene.open(log);
  await scene.untilRows(all);
  await scene.untilState('live');

  await scene.scroll(-700);
  await scene.untilState('paused');
  // The text and the position of a row near the top of the view.
  const place = async () => JSON.stringify(await page.evaluate(() => {
    const box = /** @type {HTMLElement} */ (document.querySelector('#log')).getBoundingClientRect();
    const row = document.elementFromPoint(box.left + 200, box.top + 30)?.closest('.row');
    return [row?.textContent, row?.getBoundingClientRect().top];
  }));
  const stood = await place();

  for (let first = 301; first <= 800; first += 100) {
    const more = lines(first, first + 99);
    all.push(...more);
    await logs.append('a.log', text(more));
    await scene.untilText('#new-lines-count', `${all.length - 300} new lines`);
    assert.equal(await place(), stood, 'the view moved');
  }
  assert.equal(await scene.text('#state-word'), 'Paused');

  await page.keyboard.press('End');
  await scene.untilState('live');
  const atEnd = () => {
    const log = /** @type {HTMLElement} */ (document.querySelector('#log'));
    return log.scrollHeight - log.clientHeight - log.scrollTop <= 2;
  };
  await scene.until(atEnd);
  await scene.until(() => document.querySelector('#new-lines')?.hasAttribute('hidden'));
  await scene.untilRows(all);
  const more = lines(801, 900);
  all.push(...more);
  await logs.append('a.log', text(more));
  await scene.untilRows(all);
  await scene.until(atEnd);
});

scene('a rotation and a truncation get a marker between the lines', async (scene) => {
  const { logs } = scene;
  const log = await logs.write('a.log', 'one\ntwo\n');
  await scene.open(log);
  await scene.untilRowsAndMarks(['one', 'two']);
  await logs.rename('a.log', 'a.log.1');
  await logs.append('a.log', 'three\n');
  await scene.untilRowsAndMarks(['one', 'two', '[rotated]', 'three']);
  assert.match(await scene.text('#rows .marker') ?? '', /^rotated at /);
  await logs.write('a.log', '');
  await logs.append('a.log', 'four\n');
  await scene.untilRowsAndMarks(['one', 'two', '[rotated]', 'three', '[truncated]', 'four']);
  await logs.append('a.log', 'five\n');
  await scene.untilRowsAndMarks(['one', 'two', '[rotated]', 'three', '[truncated]', 'four', 'five']);
});

scene('during a burst of fifty thousand lines the page stays small and responsive', async (scene) => {
  const { logs, page } = scene;
  const log = await logs.write('a.log', '');
  await scene.open(log);
  await scene.untilState('live');
  /** Polls the page until it shows the last line; it must never be large, and must always answer within a second. */
  const watchBurst = async (last) => {
    const until = Date.now() + DEADLINE_MS;
    for (;;) {
      const asked = Date.now();
      const [count, text] = await page.evaluate(() => {
        const rows = document.querySelectorAll('#rows .row');
        return /** @type {[number, string]} */ ([rows.length, rows[rows.length - 1]?.textContent ?? '']);
      });
      const took = Date.now() - asked;
      assert.ok(took < 1000, `the page took ${took} ms to answer; ${count} rows, ${text}`);
      assert.ok(count <= ROWS_MAX, `${count} rows`);
      if (text === `line ${last}`) return;
      assert.ok(Date.now() < until, `line ${last} never came: ${text}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  };
  // First a thousand lines at a time.
  for (let first = 1; first <= 12_000; first += 1000) {
    await logs.append('a.log', text(lines(first, first + 999)));
    await watchBurst(first + 999);
  }
  // Then more lines than the page keeps, before it draws again. The first of them continues an incomplete row.
  const burst = text(lines(12_001, 62_000));
  await logs.append('a.log', burst.slice(0, 'line 12'.length));
  await watchBurst(12);
  await page.evaluate(() => {
    const present = window.requestAnimationFrame;
    window.requestAnimationFrame = (draw) => {
      window.requestAnimationFrame = present;
      return window.setTimeout(draw, 500);
    };
  });
  await logs.append('a.log', burst.slice('line 12'.length));
  await watchBurst(62_000);

  // Then a burst while the view is paused at the first line, which the page has to load again.
  await page.keyboard.press('Home');
  await scene.untilState('paused');
  await scene.until(() => document.querySelector('#rows .row')?.textContent === 'line 1');
  await logs.append('a.log', text(lines(62_001, 92_000)));
  await scene.untilText('#new-lines-count', '30,000 new lines');
  assert.equal(await scene.text('#rows .row'), 'line 1', 'what is read stays');
  await page.keyboard.press('End');
  await watchBurst(92_000);
});

scene('the View menu shows what was overwritten, finds it, and leads back', async (scene) => {
  const { logs, page } = scene;
  const log = await logs.write('a.log', 'l1\rl2\r\x1b[31ml3\x1b[m\n');
  await scene.open(log);
  await scene.untilRows(['l3']);
  await page.click('#view-open');
  await page.click('#written');
  await scene.untilRows(['l1', 'l2', '␛[31ml3␛[m']);
  assert.equal(new URL(page.url()).searchParams.get('raw'), '1');
  await logs.append('a.log', 'l4\rl5\n');
  await scene.untilRows(['l1', 'l2', '␛[31ml3␛[m', 'l4', 'l5']);
  await page.keyboard.press('/');
  await page.keyboard.type('l2');
  await scene.until(() => document.querySelector('#find-count')?.textContent?.includes('1'));
  await page.keyboard.press('Escape');
  await page.keyboard.press('x');
  await scene.untilRows(['l3', 'l5']);
});
