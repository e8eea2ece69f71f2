// The end of a command whose output a log is: in the status bar, in the title and behind its last row.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isDeepStrictEqual } from 'node:util';

import { load } from './modules.js';
import { eventually } from './program.js';
import { scene } from './scene.js';

const { formatSpan } = await load('ui/units.js');

const BEGIN = '\x1b]133;C\x1b\\';

/** @param {number | ''} status @param {number} [seconds] */
const end = (status, seconds) => `${seconds === undefined ? '' : `\x1b]633;P;Duration=${seconds}\x1b\\`}\x1b]133;D;${status}\x1b\\`;

test('a span is said in two units at most', () => {
  const spans = [[0, '0 s'], [432, '0.4 s'], [3000, '3 s'], [59_999, '59 s'], [60_000, '1 min'], [182_400, '3 min 2 s'], [3_600_000, '1 h'], [7_500_000, '2 h 5 min']];
  for (const [ms, said] of spans) assert.equal(formatSpan(ms), said);
});

scene('the page says how a command finished, and that it goes on', async (scene) => {
  const { logs, page } = scene;
  const log = await logs.write('make.log', `${BEGIN}cc a.c\n`);
  await scene.open(log);
  await scene.untilRows(['cc a.c']);
  await scene.untilState('live');
  await logs.append('make.log', `cc b.c: error\n${end(1, 182.4)}`);
  await scene.untilState('failed');
  assert.equal(await scene.text('#state-word'), 'finished with 1 after 3 min 2 s');
  assert.match(await page.title(), /^✗ make\.log/);
  await scene.untilRows(['cc a.c', 'cc b.c: error', '']);
  const sign = page.locator('#rows .row .finish');
  assert.equal(await sign.getAttribute('data-words'), 'finished with 1 after 3 min 2 s');
  const height = (/** @type {number} */ at) => page.locator('#rows .row').nth(at).evaluate((row) => row.getBoundingClientRect().height);
  assert.equal(await height(2), await height(0), 'the last row is one line');
  // Somebody runs it again.
  await logs.append('make.log', `\n${BEGIN}cc b.c\n`);
  await scene.untilState('live');
  assert.doesNotMatch(await page.title(), /[✗✓]/);
  await logs.append('make.log', `all of it\n${end(0)}`);
  await scene.untilState('finished');
  assert.equal(await scene.text('#state-word'), 'finished with 0');
  assert.match(await page.title(), /^✓ make\.log/);
  assert.equal(await sign.count(), 2);
});

scene('a page that comes later says it, too, and does not worry when the server ends', async (scene) => {
  const { logs } = scene;
  const log = await logs.write('make.log', `${BEGIN}done${end(0, 2)}`);
  await scene.open(log);
  await scene.untilState('finished');
  await scene.untilRows(['done']);
  await scene.program.kill();
  await scene.untilText('#state-detail', 'the server has ended, too');
  await scene.untilState('finished');
  assert.equal(await scene.text('#state-word'), 'finished with 0 after 2 s');
});

scene('logs on one page finish each by itself', async (scene) => {
  const { logs } = scene;
  const [one, other] = [await logs.write('a.log', `a\n${end(0)}`), await logs.write('b.log', 'b\n')];
  await scene.open(`/_/merged?log=${one}&log=${other}`);
  await scene.untilState('live');
  await scene.until(() => document.querySelector('.source')?.getAttribute('data-state') === 'finished');
  await logs.append('b.log', end(2));
  await scene.untilState('failed');
  assert.equal(await scene.text('#state-word'), 'Finished');
  assert.equal(await scene.text('#state-detail'), '1 of 2 failed');
});

scene('the list says how commands finished, and that one goes on', async (scene) => {
  const { logs, page } = scene;
  await logs.write('failed.log', `${BEGIN}cc a.c\n${end(1, 182.4)}`);
  await logs.write('fine.log', `${BEGIN}cc a.c\n${end(0, 3)}`);
  await logs.write('unknown.log', `${BEGIN}cc a.c\n${end('')}`);
  await logs.write('running.log', `${BEGIN}cc a.c\n`);
  await logs.write('plain.log', 'plain\n');
  await scene.open('/');
  const marks = () => page.evaluate(() => Object.fromEntries([...document.querySelectorAll('#logs tr')].map((row) => {
    const mark = /** @type {HTMLElement} */ (row.querySelector('.exit-mark'));
    return [row.querySelector('.file')?.textContent, `${mark.innerText}${mark.classList.contains('failed') ? ' !' : ''}`];
  })));
  const marked = (/** @type {Record<string, string>} */ others) => ({ 'failed.log': 'exit 1 · 3 min 2 s !', 'fine.log': '✓ 3 s', 'unknown.log': 'ended', 'running.log': '', 'plain.log': '', ...others });
  await eventually('the server has drawn the marks', async () => isDeepStrictEqual(await marks(), marked({})) || marks());
  const writing = () => page.evaluate(() => [...document.querySelectorAll('#logs .writing .file')].map((file) => file.textContent).sort());
  assert.deepEqual(await writing(), ['plain.log', 'running.log'], 'what has ended is not being written');
  // The script draws what ends later, and what goes on.
  await logs.append('running.log', end(7, 65));
  await logs.append('fine.log', `\n${BEGIN}again\n`);
  const later = marked({ 'running.log': 'exit 7 · 1 min 5 s !', 'fine.log': '' });
  await eventually('the script has drawn them', async () => isDeepStrictEqual(await marks(), later) || marks());
});
