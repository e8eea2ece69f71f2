// Unusual surroundings of a page: a password in its address, a `<base>`, a frame, and requests that fail.

import assert from 'node:assert/strict';

import { eventually } from './program.js';
import { Proxy } from './proxy.js';
import { lines, scene, text } from './scene.js';

/** Lets requests of a kind fail from now on; returns a function that ends that. @param {import('playwright-core').Page} page @param {RegExp} kind */
async function block(page, kind) {
  await page.route(kind, (route) => route.abort('connectionrefused'));
  return () => page.unroute(kind);
}

for (const manner of /** @type {const} */ (['passes', 'refuses'])) {
  scene(`with a name and a password in its address each page works, behind a proxy that ${manner} WebSockets`, async (scene) => {
    const { logs, page } = scene;
    const all = lines(1, 3000);
    const log = await logs.write('a.log', text(all));
    const other = await logs.write('b.log', 'in b\n');
    const proxy = await Proxy.before(() => scene.program.origin, manner);
    const origin = proxy.origin?.replace('//', '//name:secret@');
    try {
      await page.goto(`${origin}${log}`);
      await scene.untilState('live');
      await page.keyboard.press('Home');
      await scene.until(() => [...document.querySelectorAll('#rows .row')].some(({ textContent }) => textContent === 'line 1'));
      await scene.until(() => location.hash.includes('top='));
      await page.keyboard.press('/');
      await page.keyboard.type('line 2999');
      await scene.untilText('#find-count', '1 line');
      await logs.append('a.log', 'line 3001\n');
      await page.keyboard.press('Escape');
      await page.keyboard.press('End');
      await scene.until(() => [...document.querySelectorAll('#rows .row')].some(({ textContent }) => textContent === 'line 3001'));

      await page.evaluate(() => {
        const menu = /** @type {HTMLSelectElement} */ (document.querySelector('#encoding'));
        menu.value = 'shift_jis';
        Object.assign(window, { isBefore: true });
        menu.dispatchEvent(new Event('change'));
      });
      // The page is loaded anew.
      await scene.until(() => !('isBefore' in window) && location.hash.includes('shift_jis') && document.querySelectorAll('#rows .row').length > 0);

      await page.goto(`${origin}/`);
      await scene.until(() => document.querySelectorAll('tr.log').length === 2);
      await page.keyboard.press('/');
      await page.keyboard.press('/');
      await page.keyboard.type('b.log');
      await scene.until(() => location.hash.includes('b.log'));

      await page.goto(`${origin}/_/merged?log=${log}&log=${other}`);
      await scene.until(() => [...document.querySelectorAll('#rows .row')].some(({ textContent }) => textContent === 'in b'));
      await page.keyboard.press('1');
      await scene.until(() => location.hash.includes('off=1'));

      await page.goto(`${origin}/_/beside?log=${log}&log=${other}`);
      for (const [at, row] of ['line 3001', 'in b'].entries()) {
        await page.frameLocator('#panes iframe').nth(at).locator('.row', { hasText: row }).waitFor();
      }
    } finally {
      proxy.close();
    }
  });
}

scene('a `<base>` that something between server and browser adds does not change where a page looks for its log', async (scene) => {
  const { logs, page } = scene;
  const log = await logs.write('a.log', text(lines(1, 3000)));
  const other = await logs.write('b.log', 'in b\n');
  // Such a filter often removes the policy that would forbid the element.
  await page.route(/\/(_\/merged\?.*|_\/beside\?.*|[^?]*\.log|)$/, async (route) => {
    if (route.request().resourceType() !== 'document') return route.fallback();
    const answer = await route.fetch();
    const headers = answer.headers();
    delete headers['content-security-policy'];
    const body = (await answer.text()).replace('</head>', '<base href="http://127.0.0.1:9/elsewhere/"></head>');
    return route.fulfill({ status: answer.status(), headers, body });
  });
  await scene.open(log);
  await scene.untilState('live');
  assert.equal(await page.evaluate(() => document.baseURI), 'http://127.0.0.1:9/elsewhere/');
  await page.keyboard.press('Home');
  await scene.until(() => [...document.querySelectorAll('#rows .row')].some(({ textContent }) => textContent === 'line 1'));
  await scene.until(() => location.hash.includes('top='));
  assert.match(await page.evaluate(() => /** @type {HTMLAnchorElement} */ (document.querySelector('#raw')).href), /^http:\/\/127\.0\.0\.1:(?!9\/)/);

  await scene.open('/');
  await page.keyboard.press('/');
  await page.keyboard.type('b.log');
  await scene.until(() => location.hash.includes('b.log') && location.pathname === '/');

  await scene.open(`/_/merged?log=${log}&log=${other}`);
  await scene.until(() => [...document.querySelectorAll('#rows .row')].some(({ textContent }) => textContent === 'in b'));
  await page.keyboard.press('1');
  await scene.until(() => location.hash.includes('off=1'));

  await scene.open(`/_/beside?log=${log}&log=${other}`);
  await page.frameLocator('#panes iframe').nth(1).locator('.row', { hasText: 'in b' }).waitFor();
});

scene('a page in a frame of another page of the same server follows its log, also without WebSockets', async (scene) => {
  const { logs, page } = scene;
  const log = await logs.write('a.log', 'first\n');
  const proxy = await Proxy.before(() => scene.program.origin, 'refuses');
  try {
    await page.route(/\/host$/, (route) => route.fulfill({ contentType: 'text/html', body: `<iframe src="${log}?pane=1"></iframe>` }));
    await page.goto(`${proxy.origin}/host`);
    const frame = page.frameLocator('iframe');
    await frame.locator('#state[data-state="live"]').waitFor();
    await frame.locator('.row', { hasText: 'first' }).waitFor();
    await logs.append('a.log', 'second\n');
    await frame.locator('.row', { hasText: 'second' }).waitFor();
  } finally {
    proxy.close();
  }
});

scene('a request that fails is told where the reader looks, and repeated', async (scene) => {
  const { logs, page } = scene;
  const log = await logs.write('a.log', text(lines(1, 20_000)));
  await scene.open(log);
  await scene.untilState('live');
  let unblock = await block(page, /\/_\/rows\//);
  await page.keyboard.press('Home');
  await scene.until(() => /cannot be loaded: the server does not answer/.test(document.querySelector('#hint-words')?.textContent ?? ''));
  await page.evaluate(() => document.querySelector('#log')?.scrollTo(0, 0));
  await scene.until(() => {
    const older = document.querySelector('#older');
    return older instanceof HTMLElement && !older.hidden && /^Earlier lines cannot be loaded now: the server does not answer/.test(older.textContent);
  });
  await unblock();
  await scene.until(() => document.querySelector('#older')?.hasAttribute('hidden'));

  unblock = await block(page, /\/_\/find\//);
  await page.keyboard.press('/');
  await page.keyboard.type('line 777');
  await scene.untilText('#find-count', 'interrupted: the server does not answer');
  await unblock();
  await scene.untilText('#find-count', '11 lines');

  unblock = await block(page, /\/_\/(rows|lines)\//);
  await page.keyboard.press('Escape');
  await page.locator('#rows .row').last().click({ position: { x: 2, y: 5 } });
  await page.evaluate(() => /** @type {HTMLElement} */ (document.querySelector('[data-copy="text"]'))?.click());
  await scene.until(() => /^Could not copy: the server does not answer$/.test(document.querySelector('#hint-words')?.textContent ?? ''));
  await unblock();
});

scene('the rules for levels are requested until they have arrived, and the reader is told', async (scene) => {
  const { logs, page } = scene;
  const log = await logs.write('a.log', 'fine\nERROR broken\n');
  const unblock = await block(page, /\/_\/rules\.json/);
  await scene.open(log);
  await scene.until(() => /^Errors and warnings are not marked yet: the server does not answer$/.test(document.querySelector('#hint-words')?.textContent ?? ''));
  await unblock();
  await eventually('the error is marked', async () => (await page.locator('.row[data-level="error"]').count()) === 1 || page.locator('#rows').innerHTML());
});
