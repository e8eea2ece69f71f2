// The page's connection: WebSocket or server-sent events, reconnecting, and their display.

import assert from 'node:assert/strict';

import { Program, eventually } from './program.js';
import { Proxy } from './proxy.js';
import { lines, scene, text } from './scene.js';

/** @typedef {import('./scene.js').Scene} Scene */

/** @param {Scene} scene */
const untilMeans = (scene, means) => scene.until(
  (hidden) => document.querySelector('#transport')?.hasAttribute('hidden') === hidden, means === 'socket',
);

for (const manner of /** @type {const} */ (['refuses', 'closes', 'hangs'])) {
  scene(`behind a proxy that ${manner} every WebSocket the page uses server-sent events and says so`, async (scene) => {
    const { logs, page } = scene;
    const all = lines(1, 30);
    const log = await logs.write('a.log', text(all));
    const proxy = await Proxy.before(() => scene.program.origin, manner);
    /** @type {URL[]} */
    const streams = [];
    page.on('request', (request) => {
      if (request.url().includes('tail=1')) streams.push(new URL(request.url()));
    });
    try {
      await page.goto(`${proxy.origin}${log}`);
      await scene.untilRows(all);
      await scene.untilState('live');
      await untilMeans(scene, 'events');
      assert.equal(await scene.text('#transport'), 'no WebSocket');
      for (let line = 31; line <= 40; line += 1) {
        await logs.append('a.log', `line ${line}\n`);
        all.push(`line ${line}`);
        await scene.untilRows(all);
      }
      await logs.rename('a.log', 'a.log.1');
      await logs.append('a.log', 'anew\n');
      await scene.untilRowsAndMarks([...all, '[rotated]', 'anew']);

      // After a restart of the server it resumes at its byte and gets the lines that were written meanwhile.
      const { port } = scene.program;
      await scene.program.kill();
      await logs.append('a.log', 'while away\n');
      await scene.untilState('reconnecting');
      scene.program = await Program.serve([logs.directory], { port });
      await scene.untilRowsAndMarks([...all, '[rotated]', 'anew', 'while away']);
      await scene.untilState('live');
      await untilMeans(scene, 'events');
      assert.equal(streams.at(-1)?.searchParams.get('from'), String('anew\n'.length));
    } finally {
      proxy.close();
    }
  });
}

scene('behind a proxy that changes Host the log is shown, and the page says which check refuses the WebSocket and what to change', async (scene) => {
  const { logs, page } = scene;
  const all = lines(1, 30);
  const log = await logs.write('a.log', text(all));
  const proxy = await Proxy.before(() => scene.program.origin, 'passes');
  proxy.host = new URL(scene.program.origin).host;
  proxy.passesSite = false;
  try {
    await page.goto(`${proxy.origin}${log}`);
    await scene.untilRows(all);
    await untilMeans(scene, 'events');
    await scene.untilText('#transport', 'WebSocket refused');
    const told = await scene.text('#hint-words') ?? '';
    for (const part of [proxy.origin, `--allow-origin ${proxy.origin}`, 'proxy_set_header Host $http_host;']) {
      assert.ok(told.includes(part), `${part} is not in: ${told}`);
    }
    await logs.append('a.log', 'line 31\n');
    await scene.untilRows([...all, 'line 31']);
  } finally {
    proxy.close();
  }
});

scene('a server that does not allow the page\'s host name explains that, also to a page that is already open', async (scene) => {
  const { logs, page } = scene;
  const all = lines(1, 3);
  const log = await logs.write('a.log', text(all));
  const proxy = await Proxy.before(() => scene.program.origin, 'passes');
  try {
    await page.goto(`${proxy.origin}${log}`);
    await scene.untilRows(all);
    await scene.untilState('live');
    proxy.host = 'logs.internal';
    const { port } = scene.program;
    await scene.program.kill();
    scene.program = await Program.serve([logs.directory], { port });
    await scene.untilState('refused');
    assert.match(await scene.text('#state-detail') ?? '', /--allow-host logs\.internal/);
    assert.deepEqual(await scene.rows(), all);
    await page.reload();
    assert.match(await page.locator('body').textContent() ?? '', /--allow-host logs\.internal/);
    const sheets = await page.evaluate(() => [...document.styleSheets].map((sheet) => sheet.cssRules.length));
    assert.ok(sheets.length > 0 && sheets.every((rules) => rules > 0), 'the explanation has its style');
    proxy.host = null;
    await page.reload();
    await scene.untilRows(all);
  } finally {
    proxy.close();
  }
});

scene('during server-sent events a WebSocket is tried again and used once it works', async (scene) => {
  const { logs, page } = scene;
  const all = lines(1, 30);
  const log = await logs.write('a.log', text(all));
  const proxy = await Proxy.before(() => scene.program.origin, 'refuses');
  try {
    // The test advances the page's clock, so that it does not have to wait.
    await page.clock.install();
    await page.goto(`${proxy.origin}${log}`);
    await page.clock.runFor(100);
    await eventually('events', async () => {
      await page.clock.runFor(100);
      return (await page.locator('#transport').getAttribute('hidden')) === null;
    });
    const refused = proxy.upgrades;
    await page.clock.runFor(25_000);
    await eventually('a second try', () => proxy.upgrades > refused || proxy.upgrades);
    proxy.manner = 'passes';
    await eventually('the WebSocket is taken', async () => {
      await page.clock.runFor(10_000);
      return (await page.locator('#transport').getAttribute('hidden')) === '' || scene.text('#state');
    });
    await logs.append('a.log', 'line 31\n');
    all.push('line 31');
    await eventually('the rows are there once', async () => {
      await page.clock.runFor(100);
      const rows = await scene.rows();
      return JSON.stringify(rows) === JSON.stringify(all) || rows.slice(-5);
    });
    assert.equal(await scene.program.viewers(), 1);
  } finally {
    proxy.close();
  }
});

scene('a server with another protocol is shown as incompatible, not as unreachable', async (scene) => {
  const { logs, page } = scene;
  const all = lines(1, 5);
  const log = await logs.write('a.log', text(all));
  let isOld = false;
  // An older server accepts the WebSocket without the subprotocol, sends HTML, and has no event streams.
  await page.routeWebSocket(/.*/, (socket) => {
    if (isOld) socket.close({ code: 1006 });
    else socket.connectToServer();
  });
  await page.route(/tail=1/, (route) => (isOld ? route.fulfill({ body: '<b>line</b>', contentType: 'text/html' }) : route.fallback()));
  isOld = true;
  await scene.open(log);
  await scene.untilState('incompatible');
  assert.equal(await scene.text('#state-word'), 'Incompatible server');
  assert.match(await scene.text('#notice-text') ?? '', /another version/);
  assert.deepEqual(await scene.rows(), []);
  isOld = false;
  await page.click('#retry');
  await scene.untilRows(all);
  await scene.untilState('live');
});

scene('a page says that the server is full, and connects when a viewer has left', async (scene) => {
  const { logs, page } = scene;
  const log = await logs.write('a.log', 'line\n');
  const other = await scene.context.newPage();
  await scene.open(log, other);
  await scene.untilRows(['line'], other);
  await scene.open(log);
  await scene.untilState('full');
  assert.equal(await scene.text('#notice-title'), 'The server has its maximum number of viewers');
  assert.match(await scene.text('#state-detail') ?? '', /^next try in \d+ s$/);
  await other.close();
  await eventually('the seat is free', async () => (await scene.program.viewers()) === 0 || 'taken');
  // The page may have tried again by itself meanwhile, and the button is gone.
  await page.evaluate(() => /** @type {HTMLElement} */ (document.querySelector('#retry')).click());
  await scene.untilRows(['line']);
  await scene.untilState('live');
}, { serve: ['--max-viewers', '1'] });

scene('a disconnected page counts down to the next try, and reconnects at once when the network is back', async (scene) => {
  const { logs, page } = scene;
  const log = await logs.write('a.log', 'line\n');
  await scene.open(log);
  await scene.untilState('live');
  const { port } = scene.program;
  await scene.program.kill();
  await scene.untilState('reconnecting');
  const left = () => Number(/in (\d+) s/.exec(document.querySelector('#state-word')?.textContent ?? '')?.[1]);
  // The page shows each second. A failed try starts another countdown.
  await page.evaluate(`
    window.counts = [];
    const left = ${left};
    new MutationObserver(() => window.counts.push(left())).observe(document.querySelector('#state-word'), { childList: true, characterData: true, subtree: true });
  `);
  await scene.until(() => {
    const { counts } = /** @type {any} */ (window);
    return counts.some((/** @type {number} */ count, /** @type {number} */ at) => count === counts[at - 1] - 1 && count >= 2);
  });
  // After several tries the next one is seconds away.
  await scene.until(() => Number(/in (\d+) s/.exec(document.querySelector('#state-word')?.textContent ?? '')?.[1]) >= 4);
  scene.program = await Program.serve([logs.directory], { port });
  const asked = Date.now();
  await page.evaluate(() => window.dispatchEvent(new Event('online')));
  await scene.untilState('live');
  assert.ok(Date.now() - asked < 2000, `it took ${Date.now() - asked} ms`);
});
