// Where no WebSocket gets through, all tabs of a browser share its six connections to the server. No tab waits for ever.

import assert from 'node:assert/strict';

import { eventually } from './program.js';
import { Proxy } from './proxy.js';
import { scene } from './scene.js';

const ROWS_MS_MAX = 1_000;

/** Hides a page or shows it. In a headless browser pages are never hidden by themselves. @param {import('playwright-core').Page} page @param {boolean} hidden */
const hide = (page, hidden) => page.evaluate((hidden) => {
  Object.defineProperty(document, 'hidden', { configurable: true, get: () => hidden });
  document.dispatchEvent(new Event('visibilitychange'));
}, hidden);

/** Waits for a row on a page. @param {import('./scene.js').Scene} scene @param {string} row @param {import('playwright-core').Page} page */
const untilRow = (scene, row, page) => scene.until((row) => [...document.querySelectorAll('#rows .row')].some(({ textContent }) => textContent === row), row, page);

/** The time that a request for rows takes on a page. @param {import('playwright-core').Page} page @param {string} log */
const rowsMs = (page, log) => page.evaluate(async (log) => {
  const began = performance.now();
  const answer = await fetch(`${location.origin}/_/rows${log}?count=5`);
  await answer.json();
  return performance.now() - began;
}, log);

/** @param {import('./scene.js').Scene} scene @param {number} count */
async function writeLogs({ logs }, count) {
  const paths = [];
  for (let at = 1; at <= count; at += 1) paths.push(await logs.write(`${at}.log`, `first of ${at}\n`));
  return paths;
}

scene('without WebSockets a merged page of eight logs and eight tabs show their new lines when they are looked at, and rows come within a second', async (scene) => {
  const { logs, page } = scene;
  const paths = await writeLogs(scene, 8);
  const proxy = await Proxy.before(() => scene.program.origin, 'refuses');
  try {
    await page.goto(`${proxy.origin}/_/merged?${paths.map((path) => `log=${path}`).join('&')}`);
    for (let at = 1; at <= 8; at += 1) await untilRow(scene, `first of ${at}`, page);
    // The stream of the first logs is replaced as the others join, and closes a moment later.
    await eventually('one stream carries all logs of a page', () => proxy.streams === 1 || proxy.streams);
    const tabs = [];
    for (const [at, path] of paths.entries()) {
      await hide(tabs.at(-1) ?? page, true);
      const tab = await scene.context.newPage();
      tabs.push(tab);
      await tab.goto(`${proxy.origin}${path}`);
      await untilRow(scene, `first of ${at + 1}`, tab);
    }
    await eventually('the pages that were not seen for longest have let go', () => proxy.streams === 4 || proxy.streams);
    for (let at = 1; at <= 8; at += 1) await logs.append(`${at}.log`, `second of ${at}\n`);
    for (const [at, tab] of tabs.entries()) {
      await hide(tabs[(at + 7) % 8], true);
      await hide(tab, false);
      await untilRow(scene, `second of ${at + 1}`, tab);
      assert.deepEqual(await scene.rows(tab), [`first of ${at + 1}`, `second of ${at + 1}`], 'each line once');
      const took = await rowsMs(tab, paths[at]);
      assert.ok(took < ROWS_MS_MAX, `tab ${at + 1}: rows after ${took} ms`);
    }
    await hide(tabs[7], true);
    await hide(page, false);
    for (let at = 1; at <= 8; at += 1) await untilRow(scene, `second of ${at}`, page);
    const took = await rowsMs(page, paths[0]);
    assert.ok(took < ROWS_MS_MAX, `the merged page: rows after ${took} ms`);
  } finally {
    proxy.close();
  }
});

scene('without WebSockets eight windows in sight at once all get their new lines, and rows come within a second', async (scene) => {
  const { logs } = scene;
  const paths = await writeLogs(scene, 8);
  const proxy = await Proxy.before(() => scene.program.origin, 'refuses');
  try {
    const windows = [];
    for (const [at, path] of paths.entries()) {
      const window = await scene.context.newPage();
      windows.push(window);
      await window.goto(`${proxy.origin}${path}`);
      await untilRow(scene, `first of ${at + 1}`, window);
    }
    for (const [at, window] of windows.entries()) {
      await logs.append(`${at + 1}.log`, `second of ${at + 1}\n`);
      await untilRow(scene, `second of ${at + 1}`, window);
      const took = await rowsMs(window, paths[at]);
      assert.ok(took < ROWS_MS_MAX, `window ${at + 1}: rows after ${took} ms`);
    }
    for (const window of windows) assert.equal(await scene.text('#state-word', window), 'Live');
  } finally {
    proxy.close();
  }
});

scene('without WebSockets the panes of the split view share one stream, and a closed pane leaves the others theirs', async (scene) => {
  const { logs, page } = scene;
  const paths = await writeLogs(scene, 4);
  const proxy = await Proxy.before(() => scene.program.origin, 'refuses');
  try {
    await page.goto(`${proxy.origin}/_/beside?${paths.map((path) => `log=${path}`).join('&')}`);
    const row = (/** @type {number} */ pane, /** @type {string} */ text) => page.frameLocator('#panes iframe').nth(pane).locator('.row', { hasText: text }).waitFor();
    for (let at = 0; at < 4; at += 1) await row(at, `first of ${at + 1}`);
    await eventually('one stream', () => proxy.streams === 1 || proxy.streams);
    await page.click('.source:has-text("1.log") .close');
    for (let at = 2; at <= 4; at += 1) await logs.append(`${at}.log`, `second of ${at}\n`);
    for (let at = 0; at < 3; at += 1) await row(at, `second of ${at + 2}`);
    await eventually('the closed pane is no viewer', async () => (await scene.program.viewers()) === 3 || scene.program.viewers());
    await eventually('one stream', () => proxy.streams === 1 || proxy.streams);
  } finally {
    proxy.close();
  }
});

scene('a missing and a forbidden log of a merged page are told, and the others go on in the same stream', async (scene) => {
  const { logs, page } = scene;
  const paths = await writeLogs(scene, 2);
  const proxy = await Proxy.before(() => scene.program.origin, 'refuses');
  try {
    await page.goto(`${proxy.origin}/_/merged?${[...paths, '/etc/passwd', logs.path('to-come.log')].map((path) => `log=${path}`).join('&')}`);
    await untilRow(scene, 'first of 2', page);
    await scene.until(() => /Forbidden/i.test(document.body.innerText));
    await logs.append('to-come.log', 'it came\n');
    await untilRow(scene, 'it came', page);
    await logs.append('1.log', 'second of 1\n');
    await untilRow(scene, 'second of 1', page);
    await eventually('one stream', () => proxy.streams === 1 || proxy.streams);
  } finally {
    proxy.close();
  }
});
