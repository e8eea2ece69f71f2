// Measures the viewer page: the time to the first rows, also over slow lines, frames while a log of 4 GiB is scrolled, CPU time at 20,000
// lines a second, and the heap after millions of lines. Prints a Markdown table.
//
//     cargo build --release && node tests/page/speed.js [first|slow|scroll|plain|rate|heap]...

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { appendFile, open, stat } from 'node:fs/promises';
import path from 'node:path';

import { ROOT } from './program.js';

process.env.TAILCAST_BINARY ??= path.join(ROOT, 'target/release/tailcast');
const { Scene, browser } = await import('./scene.js');

const HUGE_BYTES = Number(process.env.TAILCAST_HUGE_BYTES ?? 4 * 1024 ** 3);
const RATE = 20_000;
const RATE_SECONDS = 20;
const HEAP_LINES = Number(process.env.TAILCAST_HEAP_LINES ?? 10_000_000);
const HEAP_MS_MAX = 240_000;
const FRAME_MS_MAX = 32;
const SCREENS = 100;

const measures = { first, slow, scroll, plain, rate, heap };
const wanted = process.argv.slice(2);
/** @type {string[][]} */
const table = [];

/** @param {number} from @param {number} count */
function block(from, count) {
  let text = '';
  for (let line = from; line < from + count; line += 1) {
    text += `2026-11-25T02:07:30.${String(line % 1000).padStart(3, '0')}Z \x1b[32mINFO\x1b[0m request ${line} took ${line % 90} ms from 10.0.0.${line % 255} /api/v1/items\n`;
  }
  return text;
}

/** @param {Scene} scene */
async function live(scene, log) {
  await scene.open(log);
  await scene.untilState('live');
}

async function first() {
  const scene = await Scene.begin();
  const log = await scene.logs.write('a.log', block(0, 100_000));
  const times = [];
  for (let turn = 0; turn < 11; turn += 1) {
    await scene.page.goto('about:blank');
    // The time starts with the navigation, as after a click.
    await scene.page.goto(`${scene.program.origin}${log}`, { waitUntil: 'commit' });
    times.push(await scene.page.evaluate(async () => {
      while (document.querySelector('#rows .row') === null) await new Promise(requestAnimationFrame);
      await new Promise(requestAnimationFrame);
      return performance.now();
    }));
  }
  times.sort((a, b) => a - b);
  table.push(['first rows on the screen, from the click (median, worst of 11)', `${times[5].toFixed(0)} ms, ${times[10].toFixed(0)} ms`]);
  await scene.end();
}

/** Slow connections, as Chromium emulates them: one round trip in ms, Mbit/s. */
const LINES = [[50, 10], [150, 2]];

/** From the click to the first rows over slow connections, in a browser that has nothing stored, and when it comes back. */
async function slow() {
  for (const [latency, rate] of LINES) {
    /** @type {Record<string, number[]>} */
    const times = { first: [], again: [] };
    /** @type {Record<string, number[]>} */
    const lives = { first: [], again: [] };
    let [requests, bytes] = [0, 0];
    for (let turn = 0; turn < 5; turn += 1) {
      const scene = await Scene.begin();
      const log = await scene.logs.write('a.log', block(0, 100_000));
      const session = await scene.context.newCDPSession(scene.page);
      await session.send('Network.enable');
      const throughput = rate * 1e6 / 8;
      await session.send('Network.emulateNetworkConditions', { offline: false, latency, downloadThroughput: throughput, uploadThroughput: throughput });
      [requests, bytes] = [0, 0];
      session.on('Network.requestWillBeSent', () => { requests += 1; });
      session.on('Network.webSocketCreated', () => { requests += 1; });
      session.on('Network.loadingFinished', ({ encodedDataLength }) => { bytes += encodedDataLength; });
      session.on('Network.webSocketFrameReceived', ({ response }) => { bytes += response.payloadData.length; });
      for (const visit of ['first', 'again']) {
        await scene.page.goto('about:blank');
        await scene.page.goto(`${scene.program.origin}${log}`, { waitUntil: 'commit' });
        const [rows, live] = await scene.page.evaluate(async () => {
          const shown = async (/** @type {string} */ rows) => {
            while (document.querySelector(rows) === null) await new Promise(requestAnimationFrame);
            await new Promise(requestAnimationFrame);
            return performance.now();
          };
          return [await shown(':is(#first-rows, #rows) .row'), await shown('#rows .row')];
        });
        times[visit].push(rows);
        lives[visit].push(live);
        if (visit === 'first' && turn === 4) {
          const size = `${(bytes / 1024).toFixed(0)} KiB (messages before their compression)`;
          table.push([`${latency} ms, ${rate} Mbit/s: requests and data of the first visit`, `${requests}, ${size}`]);
        }
      }
      await scene.end();
    }
    const median = (/** @type {number[]} */ all) => all.sort((a, b) => a - b)[2].toFixed(0);
    const visits = (/** @type {Record<string, number[]>} */ all) => `${median(all.first)} ms, ${median(all.again)} ms`;
    table.push([`${latency} ms, ${rate} Mbit/s: first rows, from the click, on the first visit and on the next (median of 5)`, visits(times)]);
    table.push([`the same: live rows`, visits(lives)]);
  }
}

async function scroll() {
  const scene = await Scene.begin();
  const log = await scene.logs.write('huge.log', '');
  const part = block(0, 100_000);
  const file = await open(log, 'a');
  for (let size = 0; size < HUGE_BYTES; size += part.length) await file.appendFile(part);
  await file.close();
  await live(scene, log);
  const { page } = scene;
  const home = await page.evaluate(async () => {
    const began = performance.now();
    const last = document.querySelector('#rows .row');
    document.dispatchEvent(new KeyboardEvent('keydown', { key: 'Home', bubbles: true }));
    while (document.querySelector('#rows .row') === last || document.querySelector('#rows .row')?.getAttribute('data-offset') !== '0') await new Promise(requestAnimationFrame);
    return performance.now() - began;
  });
  table.push([`Home in ${((await stat(log)).size / 1024 ** 3).toFixed(1)} GiB`, `${home.toFixed(0)} ms`]);
  await page.evaluate(() => {
    /** @type {number[]} */
    const frames = [];
    Object.assign(window, { frames });
    let last = performance.now();
    const look = () => {
      const now = performance.now();
      frames.push(now - last);
      last = now;
      requestAnimationFrame(look);
    };
    requestAnimationFrame(look);
  });
  await page.mouse.move(600, 400);
  const until = Date.now() + 20_000;
  let turns = 0;
  while (Date.now() < until) {
    await page.mouse.wheel(0, (turns += 1) % 400 < 300 ? 120 : -120);
    await new Promise((resolve) => setTimeout(resolve, 16));
  }
  const frames = await page.evaluate(() => /** @type {any} */ (window).frames);
  const bins = [17.5, 25, FRAME_MS_MAX, 50, 100, Infinity];
  const counts = bins.map((bin, at) => frames.filter((/** @type {number} */ ms) => ms <= bin && ms > (bins[at - 1] ?? -1)).length);
  table.push(['frames of 20 s of scrolling', `${frames.length}; ${bins.map((bin, at) => `≤ ${bin} ms: ${counts[at]}`).join(', ')}`]);
  table.push([`frames over ${FRAME_MS_MAX} ms`, `${frames.filter((/** @type {number} */ ms) => ms > FRAME_MS_MAX).length} of ${frames.length}`]);
  await scene.end();
}

/** The CPU time of this browser's tabs, in seconds. */
async function tabSeconds() {
  const session = await (await browser()).newBrowserCDPSession();
  const { processInfo } = await session.send('SystemInfo.getProcessInfo');
  await session.detach();
  return processInfo.filter(({ type }) => type === 'renderer').reduce((sum, { cpuTime }) => sum + cpuTime, 0);
}

/** Writes lines at a rate, in another process, so that this one does not slow it down. */
function writer(log, rate, seconds) {
  const code = `
    const fs = require('node:fs');
    const block = ${block};
    const file = fs.openSync(${JSON.stringify(log)}, 'a');
    const began = Date.now();
    let line = 0;
    const timer = setInterval(() => {
      const due = Math.min(${rate * seconds}, Math.floor((Date.now() - began) * ${rate} / 1000));
      if (due > line) fs.writeSync(file, block(line, due - line));
      line = due;
      if (line === ${rate * seconds}) clearInterval(timer);
    }, 10);`;
  return once(spawn(process.execPath, ['-e', code], { stdio: 'inherit' }), 'exit');
}

/** What the colours of plain lines cost while the reader scrolls. */
async function plain() {
  const scene = await Scene.begin();
  const line = (/** @type {number} */ at) => `2026-11-28 14:02:07,${String(at % 1000).padStart(3, '0')} INFO app.Orders - order ${at} took ${at % 90} ms from 10.0.0.${at % 255}:8080 "GET /api/v1/items" id=8f14e45f-ceea-467f-a8d9-0c5c1f1a2b3c`;
  const log = await scene.logs.write('plain.log', Array.from({ length: 200_000 }, (_, at) => `${line(at)}\n`).join(''));
  /** @type {Record<string, number[]>} */
  const times = { on: [], off: [] };
  for (let turn = 0; turn < 10; turn += 1) {
    const kind = turn % 2 === 0 ? 'on' : 'off';
    await scene.page.goto('about:blank');
    await scene.open(`${log}#highlight=${kind === 'on' ? 1 : 0}&top=0`);
    await scene.untilState('paused');
    await scene.page.mouse.move(600, 400);
    const before = await tabSeconds();
    for (let step = 0; step < SCREENS; step += 1) {
      await scene.page.mouse.wheel(0, 700);
      await scene.page.evaluate(() => new Promise((resolve) => { requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(resolve))); }));
    }
    times[kind].push((await tabSeconds() - before) / SCREENS * 1000);
  }
  const median = (/** @type {number[]} */ all) => all.sort((a, b) => a - b)[2].toFixed(1);
  table.push([`CPU time of the tab's process for each screen of plain lines that is scrolled, with and without their colours (median of 5 times ${SCREENS} screens)`, `${median(times.on)} ms, ${median(times.off)} ms`]);
  await scene.end();
}

async function rate() {
  const scene = await Scene.begin();
  const log = await scene.logs.write('a.log', block(0, 1000));
  await live(scene, log);
  const session = await scene.context.newCDPSession(scene.page);
  await session.send('Performance.enable');
  const busy = async () => {
    const { metrics } = await session.send('Performance.getMetrics');
    return Object.fromEntries(metrics.map(({ name, value }) => [name, value]));
  };
  const [before, cpu, began] = [await busy(), await tabSeconds(), performance.now()];
  await writer(log, RATE, RATE_SECONDS);
  const [after, cpuAfter, took] = [await busy(), await tabSeconds(), (performance.now() - began) / 1000];
  const part = (/** @type {string} */ name) => `${(100 * (after[name] - before[name]) / took).toFixed(1)} %`;
  table.push([`${RATE.toLocaleString('en')} lines/s for ${RATE_SECONDS} s, followed: the tab's process`, `${(100 * (cpuAfter - cpu) / took).toFixed(1)} % of a core`]);
  table.push(['of that its main thread: tasks, script, layout, style', ['TaskDuration', 'ScriptDuration', 'LayoutDuration', 'RecalcStyleDuration'].map(part).join(', ')]);
  await scene.end();
}

async function heap() {
  const scene = await Scene.begin();
  const log = await scene.logs.write('a.log', block(0, 1000));
  await live(scene, log);
  const part = block(0, 50_000);
  for (let line = 0; line < HEAP_LINES; line += 50_000) {
    await appendFile(log, part);
  }
  const last = '# the last line';
  await appendFile(log, `${last}\n`);
  // For a gigabyte the page needs more than the usual deadline.
  await scene.page.waitForFunction((last) => [...document.querySelectorAll('#rows .row')].at(-1)?.textContent === last, last, { timeout: HEAP_MS_MAX });
  const session = await scene.context.newCDPSession(scene.page);
  await session.send('HeapProfiler.collectGarbage');
  const { usedSize, totalSize } = await session.send('Runtime.getHeapUsage');
  table.push([`heap after ${HEAP_LINES.toLocaleString('en')} lines`, `${(usedSize / 1e6).toFixed(1)} MB used, ${(totalSize / 1e6).toFixed(1)} MB in all`]);
  table.push(['elements on the page then', String(await scene.page.evaluate(() => document.querySelectorAll('*').length))]);
  await scene.end();
}

for (const [name, measure] of Object.entries(measures)) {
  if (wanted.length === 0 || wanted.includes(name)) await measure();
}
await (await browser()).close();
console.log('| what | measured |\n|---|---|');
for (const row of table) console.log(`| ${row.join(' | ')} |`);
