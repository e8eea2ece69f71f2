// Takes screenshots of the pages.
//
//   node tests/page/screenshots.js             every state, wide and narrow, light and dark, into target/screenshots
//   node tests/page/screenshots.js --readme    those of the README, into docs

import { mkdir, rm, utimes, writeFile } from 'node:fs/promises';
import path from 'node:path';

import { Logs, ROOT, eventually } from './program.js';
import { Scene, browser } from './scene.js';
import { BUILD_LOG } from './sample.js';

const BUILD = 'build/weather-station.log';
/** Name, content, and the seconds since the last change. @type {[string, string, number][]} */
const MACHINE = [
  [BUILD, BUILD_LOG, 0],
  ['nginx/access.log', '192.0.2.7 GET /forecast 200\n'.repeat(94_000), 3],
  ['app/worker-1.log', 'job done\n'.repeat(40_000), 42],
  ['app/worker-2.log', 'job done\n'.repeat(31_000), 190],
  ['nginx/error.log', 'upstream timed out\n'.repeat(210), 1_500],
  ['postgresql/postgresql-16-main.log', 'checkpoint complete\n'.repeat(8_400), 7_300],
  ['backup/2026-11-22.log', 'copied\n'.repeat(1_200), 64_000],
  ['app/worker-1.log.1', 'job done\n'.repeat(900_000), 90_000],
  ['installer/first boot.log', 'ok\n'.repeat(700), 19 * 86_400],
];

const readme = process.argv.includes('--readme');
const only = process.argv.find((argument) => argument.startsWith('--only='))?.slice('--only='.length);
const folder = path.join(ROOT, readme ? 'docs' : 'target/screenshots');

/** The logs of a small machine, in a directory with a readable name. */
async function machine() {
  const logs = new Logs();
  logs.directory = '/tmp/logs';
  await mkdir(logs.directory);
  for (const [name, content, age] of MACHINE) {
    await mkdir(path.dirname(logs.path(name)), { recursive: true });
    await logs.write(name, content);
    const then = Date.now() / 1000 - age;
    await utimes(logs.path(name), then, then);
  }
  return logs;
}

/** @param {Scene} scene @param {string} name */
async function shoot({ page }, name) {
  // Otherwise the row under the pointer would be highlighted.
  await page.mouse.move(0, 0);
  await writeFile(path.join(folder, `${name}.png`), await page.screenshot());
}

/** Opens the build's log while its last lines are written. @param {Scene} scene */
async function openBuild(scene) {
  const at = BUILD_LOG.indexOf('test result');
  const log = await scene.logs.write(BUILD, BUILD_LOG.slice(0, at));
  await scene.open(log);
  await scene.untilState('live');
  await scene.logs.append(BUILD, BUILD_LOG.slice(at));
  await scene.until(() => [...document.querySelectorAll('#rows .row')].at(-1)?.textContent?.startsWith('error'));
  await scene.until(() => document.querySelector('#age')?.textContent?.startsWith('last line'));
  await scene.until(() => document.querySelector('header')?.textContent?.includes('4 errors'));
  return log;
}

/** @type {Record<string, (scene: Scene, shoot: (name: string) => Promise<void>) => Promise<void>>} */
const STATES = {
  async list(scene, shoot) {
    await scene.open('/');
    await shoot('list');
    await scene.page.fill('#filter', 'worker');
    await shoot('list-filter');
    await scene.page.fill('#filter', 'nothing like it');
    await shoot('list-no-match');
    await scene.open('/#tree=1');
    await shoot('list-tree');
    await scene.open(`/#${['app/worker-1.log', 'app/worker-2.log'].map((name) => `log=${scene.logs.path(name)}`).join('&')}`);
    await shoot('list-chosen');
  },
  async many(scene, shoot) {
    await mkdir(scene.logs.path('many'));
    const names = Array.from({ length: 9_980 }, (_, at) => scene.logs.path(`many/worker-${String(at).padStart(5, '0')}.log`));
    for (let at = 0; at < names.length; at += 500) await Promise.all(names.slice(at, at + 500).map((name) => writeFile(name, '')));
    await eventually('the list has them', async () => {
      await scene.open('/');
      return scene.page.evaluate(() => Number(document.querySelector('.logs')?.getAttribute('aria-rowcount')) > 9_980);
    });
    await scene.page.fill('#filter', 'worker 99');
    await shoot('list-many');
    await rm(scene.logs.path('many'), { recursive: true });
  },
  async several(scene, shoot) {
    const names = ['app/api.log', 'app/jobs.log', 'postgresql/main.log'];
    const then = Date.now() - 120_000;
    const at = (/** @type {number} */ second) => new Date(then + second * 1000).toISOString();
    const lines = (/** @type {number} */ from, /** @type {number} */ to, /** @type {(at: number) => string} */ words) => Array.from({ length: to - from }, (_, index) => words(from + index)).join('');
    /** @type {((at: number) => string)[]} */
    const write = [
      (n) => `${at(n * 2)} GET /forecast?station=${n % 7} ${n % 11 === 0 ? '\x1b[31m502\x1b[0m' : '\x1b[32m200\x1b[0m'} in ${20 + (n * 37) % 80} ms\n`,
      (n) => `${at(n * 3 + 1)} ${n % 6 === 5 ? 'WARN retry of' : 'INFO done'} job ${4_200 + n}\n`,
      (n) => `${at(n * 9)} LOG: checkpoint complete: wrote ${140 + n * 3} buffers\n`,
    ];
    for (const [log, words] of write.entries()) await scene.logs.write(names[log], lines(0, [60, 40, 13][log], words));
    const query = names.map((name) => `log=${scene.logs.path(name)}`).join('&');
    await scene.open(`/_/merged?${query}`);
    await scene.until(() => document.querySelectorAll('#rows .row').length === 113);
    for (let n = 60; n < 66; n += 1) {
      await scene.logs.append(names[0], lines(n, n + 1, write[0]));
      await scene.logs.append(names[1], lines(n - 20, n - 19, write[1]));
      await scene.until((count) => document.querySelectorAll('#rows .row').length === count, 113 + 2 * (n - 59));
    }
    await shoot('merged');
    await scene.page.keyboard.press('f');
    await scene.page.keyboard.press('2');
    await scene.logs.append(names[0], lines(66, 280, write[0]));
    await scene.untilText('#new-lines-count', '214 new lines');
    await shoot('merged-paused');
    await scene.open(`/_/beside?${query.split('&').slice(0, 2).join('&')}`);
    for (const frame of scene.page.frames().slice(1)) await frame.locator('#state[data-state="live"]').waitFor();
    // Waits until the frames are painted.
    await scene.page.evaluate(() => new Promise((resolve) => { requestAnimationFrame(() => requestAnimationFrame(resolve)); }));
    await shoot('beside');
    await scene.open(`/_/beside?${query}&log=/etc/passwd`);
    await scene.page.frameLocator('iframe').last().locator('h1').waitFor();
    await shoot('beside-four');
    for (const name of names) await rm(scene.logs.path(name));
  },
  async viewer(scene, shoot) {
    await openBuild(scene);
    await shoot('viewer');
    await scene.page.click('#follow');
    await scene.logs.append(BUILD, 'and another line that was written meanwhile\n'.repeat(1234));
    await scene.untilText('#new-lines-count', '1,234 new lines');
    await shoot('paused');
    await scene.page.keyboard.press('?');
    await shoot('help');
  },
  async marks(scene, shoot) {
    const log = await scene.logs.write('marks.log', 'before the rotation\n');
    await scene.open(log);
    await scene.untilState('live');
    await scene.logs.rename('marks.log', 'marks.log.1');
    await scene.logs.append('marks.log', 'after the rotation, before the truncation\n');
    await scene.until(() => document.querySelectorAll('.marker[data-marker]').length === 1);
    await scene.logs.write('marks.log', 'after the truncation\n');
    await scene.until(() => document.querySelectorAll('.marker[data-marker]').length === 2);
    await scene.logs.append('marks.log', Buffer.concat([Buffer.alloc(3 << 20), Buffer.from('after 3 MiB of nothing\n')]));
    await scene.until(() => document.querySelectorAll('.marker[data-marker]').length === 3);
    await shoot('gap');
    await rm(log);
    await rm(`${log}.1`);
  },
  async huge(scene, shoot) {
    const line = 'a line of a log that is quite as long as most lines of logs are, if not a little longer\n';
    const log = await scene.logs.write('huge.log', line.repeat(1_500_000));
    await scene.open(log);
    await scene.untilState('live');
    await scene.page.keyboard.press('Home');
    await scene.untilState('paused');
    await scene.until(() => (document.querySelector('#log')?.scrollTop ?? 1) === 0 && document.querySelectorAll('.row').length > 100);
    await shoot('huge');
    await rm(log);
  },
  async empty(scene, shoot) {
    await scene.open(await scene.logs.write('empty.log', ''));
    await scene.untilState('live');
    await shoot('empty');
    await scene.open(scene.logs.path('not-yet.log'));
    await scene.untilState('waiting');
    await shoot('waiting');
    await rm(scene.logs.path('empty.log'));
  },
  async find(scene, shoot) {
    await openBuild(scene);
    await scene.page.keyboard.press('/');
    await scene.page.keyboard.type('warning|error|failed');
    await scene.page.click('[data-find="regex"]');
    await scene.until(() => /\d/.test(document.querySelector('#find-count')?.textContent ?? ''));
    await shoot('find');
    await scene.page.click('#filter');
    await scene.until(() => document.querySelectorAll('.row').length < 20);
    await shoot('filter');
  },
  async beside(scene, shoot) {
    const log = await scene.logs.write(BUILD, BUILD_LOG);
    await scene.open(`/_/beside?log=${log}&log=${scene.logs.path('nginx/access.log')}`);
    for (const at of [0, 1]) await scene.page.frameLocator('iframe').nth(at).locator('#state[data-state="live"]').waitFor();
    await shoot('beside');
  },
  async merged(scene, shoot) {
    for (const name of ['web.log', 'jobs.log', 'db.log']) await scene.logs.write(name, '');
    await scene.open(`/_/merged?log=${scene.logs.path('web.log')}&log=${scene.logs.path('jobs.log')}&log=${scene.logs.path('db.log')}`);
    await scene.until(() => document.querySelectorAll('[data-state="live"]').length > 0);
    for (let round = 0; round < 8; round += 1) {
      for (const [name, line] of /** @type {const} */ ([
        ['web.log', `192.0.2.${round} GET /forecast 200 ${round * 7} ms`], ['jobs.log', `\x1b[32mjob ${4100 + round} done\x1b[0m`],
        ['db.log', round === 5 ? '\x1b[31merror: deadlock detected\x1b[0m' : `checkpoint ${round} complete`],
      ])) {
        await scene.logs.append(name, `${line}\n`);
        await scene.until((line) => document.body.textContent?.includes(line), line.replace(/\x1b\[\d+m/g, ''));
      }
    }
    await shoot('merged');
    for (const name of ['web.log', 'jobs.log', 'db.log']) await rm(scene.logs.path(name));
  },
  async forbidden(scene, shoot) {
    await scene.open('/etc/passwd');
    await shoot('forbidden');
  },
};

/** @param {import('playwright-core').BrowserContextOptions} context @param {(scene: Scene) => Promise<void>} show */
async function onMachine(context, show) {
  const scene = await Scene.begin({ context, logs: await machine() });
  try {
    await show(scene);
    scene.assertNoTrouble();
  } catch (error) {
    console.error(await scene.report());
    throw error;
  } finally {
    await scene.end();
  }
}

await mkdir(folder, { recursive: true });
try {
  if (readme) {
    await onMachine({ viewport: { width: 1200, height: 750 } }, async (scene) => {
      for (const [colorScheme, name] of /** @type {const} */ ([['light', 'viewer'], ['dark', 'viewer-dark']])) {
        await scene.page.emulateMedia({ colorScheme });
        await openBuild(scene);
        await shoot(scene, name);
      }
      // In a second page, so that the list shows a viewer.
      const viewer = scene.page;
      scene.page = await scene.context.newPage();
      await eventually('the list shows the viewer', async () => {
        await scene.open('/');
        return (await scene.text('#logs .viewers')) === '1';
      });
      await shoot(scene, 'list');
      await viewer.close();
      await STATES.several(scene, async (name) => {
        if (name === 'merged') await shoot(scene, name);
      });
    });
  } else {
    for (const viewport of [{ width: 1200, height: 750 }, { width: 390, height: 760 }]) {
      for (const colorScheme of /** @type {const} */ (['light', 'dark'])) {
        await onMachine({ viewport, colorScheme }, async (scene) => {
          for (const [name, show] of Object.entries(STATES)) {
            if (only === undefined || only === name) await show(scene, (name) => shoot(scene, `${name}-${viewport.width}-${colorScheme}`));
          }
        });
      }
    }
  }
  console.log(`pictures are in ${folder}`);
} finally {
  await (await browser()).close();
}
