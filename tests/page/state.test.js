// What the page says of itself: waiting, refused, cut off, left and found again.

import assert from 'node:assert/strict';
import { rm, symlink } from 'node:fs/promises';

import { Program, eventually } from './program.js';
import { lines, scene, text } from './scene.js';

/** Notes each row that is ever on the page, with its offset. */
const rememberRows = () => {
  /** @type {[string | undefined, string | null][]} */
  const seen = [];
  Object.assign(window, { seen });
  /** @param {Element} root */
  const note = (root) => {
    const rows = root.matches('.row') ? [root] : root.querySelectorAll('.row');
    for (const row of rows) seen.push([/** @type {HTMLElement} */ (row).dataset.offset, row.textContent]);
  };
  const rows = /** @type {Element} */ (document.querySelector('#rows'));
  note(rows);
  new MutationObserver((changes) => {
    for (const { addedNodes } of changes) for (const node of addedNodes) if (node instanceof Element) note(node);
  }).observe(rows, { childList: true, subtree: true });
};

scene('a page outlives its server and shows every line once', async (scene) => {
  const { logs, page } = scene;
  const all = lines(1, 50);
  const log = await logs.write('a.log', text(all));
  await scene.open(log);
  await scene.untilRows(all);
  await scene.untilState('live');
  await page.evaluate(rememberRows);
  for (let round = 0; round < 2; round += 1) {
    const { port } = scene.program;
    await scene.program.kill();
    const more = lines(all.length + 1, all.length + 2000);
    all.push(...more);
    await logs.append('a.log', text(more));
    await scene.untilState('reconnecting');
    assert.match(await scene.text('#state-detail') ?? '', /connection lost at/);
    scene.program = await Program.serve([logs.directory], { port });
    await scene.untilState('live');
    await logs.append('a.log', `after ${round}\n`);
    all.push(`after ${round}`);
    await scene.until((last) => [...document.querySelectorAll('#rows .row')].at(-1)?.textContent === last, `after ${round}`);
    // A mark would say that it is not known whether lines are missing.
    assert.equal(await page.locator('#rows .mark').count(), 0);
  }
  // None missing and none twice, up to the first line, over both restarts.
  await page.mouse.move(600, 300);
  await eventually('the first line is in sight', async () => {
    await page.mouse.wheel(0, -3000);
    const [first] = await scene.rows();
    return first === all[0] || first;
  });
  const seen = await page.evaluate(() => /** @type {any} */ (window).seen);
  const places = new Map();
  for (const [offset, row] of seen) places.set(row, (places.get(row) ?? new Set()).add(offset));
  assert.deepEqual(all.filter((line) => !places.has(line)), [], 'missing');
  assert.deepEqual([...places].filter(([line, offsets]) => offsets.size !== 1 || !all.includes(line)), [], 'twice, or never written');
});

scene('a log that does not exist yet is waited for', async (scene) => {
  const { logs } = scene;
  await scene.open(logs.path('later.log'));
  await scene.untilState('waiting');
  assert.equal(await scene.text('#notice-title'), 'Waiting for the file');
  await logs.append('later.log', 'here it is\n');
  await scene.untilRows(['here it is']);
  await scene.untilState('live');
  await scene.until(() => document.querySelector('#notice')?.hasAttribute('hidden'));
});

scene('a path outside the prefixes says forbidden and shows nothing', async (scene) => {
  const { logs, page } = scene;
  for (const path of ['/etc/passwd', '/etc/no-such-file']) {
    await scene.open(path);
    assert.equal(await scene.text('h1'), '403 · Forbidden');
    const said = (await page.locator('main').innerText()).split('\n').filter((line) => line !== '');
    assert.equal(said.length, 3, `what, why and the way out: ${JSON.stringify(said)}`);
    assert.match(said[1], /outside the served directories/);
    assert.equal(said[2], 'All logs');
    scene.assertNoTrouble();
  }
  // A log that comes to lie outside while the page looks at it.
  const log = await logs.write('link.log', 'inside\n');
  await scene.open(log);
  await scene.untilRows(['inside']);
  await rm(log);
  await symlink('/etc/passwd', log);
  await page.reload();
  await scene.untilText('h1', '403 · Forbidden');
});

scene('a page that is left is no viewer and goes on when one comes back', async (scene) => {
  const { logs, page, program } = scene;
  const all = lines(1, 20);
  const log = await logs.write('a.log', text(all));
  await scene.open(log);
  await scene.untilRows(all);
  assert.equal(await program.viewers(), 1);
  await page.click('.home');
  await scene.until(() => document.title === 'Logs');
  await eventually('the viewer is gone', async () => (await program.viewers()) === 0 || 'it is there');
  const more = lines(21, 40);
  all.push(...more);
  await logs.append('a.log', text(more));
  await page.goBack();
  await scene.untilRows(all);
  await scene.untilState('live');
  await logs.append('a.log', 'one more\n');
  all.push('one more');
  await scene.untilRows(all);
});
