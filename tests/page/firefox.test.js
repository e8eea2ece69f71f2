// Each page in Firefox: it shows its logs, follows them and finds in them. The other tests run in Chromium only.

import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { after, before, test } from 'node:test';

import { launch } from 'puppeteer-core';

import { DEADLINE_MS, Logs, Program, eventually } from './program.js';
import { lines, text } from './scene.js';

const FIREFOX = process.env.TAILCAST_FIREFOX ?? '/usr/bin/firefox-esr';
/** Why the tests do not run; false if they do. */
const skip = existsSync(FIREFOX) ? false : `NOT RUN: there is no ${FIREFOX}`;

/** @type {import('puppeteer-core').Browser} */
let browser;
/** @type {import('puppeteer-core').Page} */
let page;
/** @type {Program} */
let program;
/** @type {Logs} */
let logs;
/** Script errors on the page. @type {string[]} */
let troubles = [];

before(async () => {
  if (skip !== false) return;
  logs = await Logs.make();
  program = await Program.serve([logs.directory]);
  browser = await launch({ browser: 'firefox', executablePath: FIREFOX, headless: true, timeout: 3 * DEADLINE_MS });
  page = await browser.newPage();
  await page.setViewport({ width: 1200, height: 800 });
  page.on('pageerror', (error) => troubles.push(/** @type {Error} */ (error).message));
});

after(async () => {
  await browser?.close();
  await program?.kill();
  await logs?.remove();
});

/** @param {string} name @param {() => Promise<void>} play */
function firefox(name, play) {
  test(name, { skip, timeout: 4 * DEADLINE_MS }, async () => {
    troubles = [];
    await play();
    assert.deepEqual(troubles, []);
  });
}

/** Waits for rows with these texts. @param {string[]} wanted */
async function untilRows(...wanted) {
  await eventually(`the rows ${wanted}`, async () => {
    const rows = await page.evaluate(() => [...document.querySelectorAll('#rows .row')].map((row) => row.textContent ?? ''));
    return wanted.every((row) => rows.includes(row)) || rows.slice(-5);
  });
}

/** @param {string} selector @param {string} wanted */
async function untilText(selector, wanted) {
  await eventually(selector, async () => {
    const seen = await page.$eval(selector, (element) => element.textContent).catch(() => null);
    return seen === wanted || seen;
  });
}

firefox('in Firefox the viewer shows a log, follows it, finds in it and goes to its first byte', async () => {
  const log = await logs.write('a.log', text(lines(1, 20_000)));
  await page.goto(`${program.origin}${log}`);
  await untilRows('line 20000');
  await untilText('#state-word', 'Live');
  await logs.append('a.log', '\x1b[31mline 20001\x1b[0m\n');
  await untilRows('line 20001');
  await page.keyboard.press('/');
  await page.keyboard.type('line 777');
  await untilText('#find-count', '11 lines');
  await page.keyboard.press('Enter');
  await untilRows('line 777');
  await page.keyboard.press('Escape');
  await page.keyboard.press('Home');
  await untilRows('line 1');
  await page.keyboard.press('End');
  await untilRows('line 20001');
});

firefox('in Firefox a server that was restarted is found again, and the log goes on at its byte', async () => {
  const log = await logs.write('b.log', 'one\n');
  await page.goto(`${program.origin}${log}`);
  await untilRows('one');
  const { port } = program;
  await program.kill();
  await logs.append('b.log', 'two\n');
  program = await Program.serve([logs.directory], { port });
  await untilRows('one', 'two');
  assert.equal(await page.$$eval('#rows .row', (rows) => rows.length), 2);
});

firefox('in Firefox the list shows the logs, filters them and opens one', async () => {
  await logs.write('c.log', 'in c\n');
  await page.goto(program.origin);
  await eventually('the list', async () => (await page.$$('tr.log')).length >= 1);
  await page.keyboard.press('/');
  await page.keyboard.type('c.log');
  await eventually('one log', async () => (await page.$$eval('tr.log', (rows) => rows.length)) === 1 || 'more');
  await page.keyboard.press('Enter');
  await untilRows('in c');
});

firefox('in Firefox the merged page and the split view show several logs and follow them', async () => {
  const one = await logs.write('one.log', 'in one\n');
  const two = await logs.write('two.log', 'in two\nERROR broken\n');
  await page.goto(`${program.origin}/_/merged?log=${one}&log=${two}`);
  await untilRows('in one', 'in two');
  await logs.append('one.log', 'more in one\n');
  await untilRows('more in one');
  await untilText('#errors-count', '1 error');
  await page.goto(`${program.origin}/_/beside?log=${one}&log=${two}`);
  await eventually('both panes', async () => {
    const seen = await page.$$eval('#panes iframe', (frames) => frames.map((frame) => /** @type {HTMLIFrameElement} */ (frame).contentDocument?.querySelector('#rows')?.textContent ?? ''));
    return (seen.length === 2 && seen[0].includes('more in one') && seen[1].includes('in two')) || seen;
  });
});
