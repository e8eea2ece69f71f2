// The pages of a server that lies under a path of its host name, behind a proxy that removes the path and one that does not.

import assert from 'node:assert/strict';

import { Proxy } from './proxy.js';
import { lines, scene, text } from './scene.js';

const BASE = '/team/logs';

/** Removes what the page must not depend on, and says what a page loaded. @param {import('./scene.js').Scene} scene */
function watchTargets(scene) {
  /** @type {Set<string>} */
  const outside = new Set();
  scene.context.on('request', (request) => {
    const { pathname, protocol } = new URL(request.url());
    if (protocol === 'http:' && !pathname.startsWith(`${BASE}/`)) outside.add(pathname);
  });
  return outside;
}

for (const strips of [true, false]) {
  scene(`every page works under a path that the proxy ${strips ? 'removes' : 'leaves'}`, async (scene) => {
    const { logs, page } = scene;
    const one = await logs.write('one.log', text([...lines(1, 300), 'ERROR: it failed']));
    const two = await logs.write('two 2026-11-27.log', 'in two\n');
    await logs.write('two 2026-11-28.log', 'in the next\n');
    const proxy = await Proxy.before(() => scene.program.origin, 'passes');
    if (strips) proxy.strips = BASE;
    const outside = watchTargets(scene);
    const at = (/** @type {string} */ path) => `${proxy.origin}${BASE}${path}`;
    try {
      // The list, and from it to a log and back.
      await page.goto(at('/'));
      await page.locator('#logs a', { hasText: 'one.log' }).waitFor();
      await logs.write('three.log', 'new\n');
      await page.locator('#logs a', { hasText: 'three.log' }).waitFor();
      assert.equal(await page.locator('#logs a.opens').count(), 4, 'no log is there twice');
      await page.locator('#logs a', { hasText: 'one.log' }).click();
      await scene.untilState('live');
      assert.equal(page.url().split('#')[0], at(one));
      await logs.append('one.log', 'appended\n');
      await scene.until(() => [...document.querySelectorAll('#rows .row')].at(-1)?.textContent === 'appended');
      assert.equal(proxy.upgrades > 0, true);

      // Find, rows above the window, the download, and the address of the view.
      await page.keyboard.press('/');
      await page.keyboard.type('line 1');
      await page.keyboard.press('Enter');
      await scene.until(() => /\d/.test(document.querySelector('#find-count')?.textContent ?? ''));
      await page.keyboard.press('Escape');
      await page.keyboard.press('Home');
      await scene.untilState('paused');
      assert.equal(new URL(page.url()).pathname, `${BASE}${one}`);
      await page.reload();
      await scene.until(() => [...document.querySelectorAll('#rows .row')].some((row) => row.textContent === 'line 1'));
      const answer = await page.evaluate(async () => {
        const link = [...document.querySelectorAll('a')].find(({ href }) => href.includes('format=raw'));
        return (await fetch(link?.href ?? '')).status;
      });
      assert.equal(answer, 200);
      await page.locator('a.home').click();
      await page.locator('#logs a', { hasText: 'one.log' }).waitFor();
      assert.equal(page.url().split('#')[0], at('/'));

      // An earlier day's file leads to the next one.
      await page.goto(at(encodeURI(two)));
      await page.locator('#newest-file').click();
      await scene.untilRows(['in the next']);

      // Several logs.
      const query = `?log=${one}&log=${encodeURI(two)}`;
      await page.goto(at(`/_/beside${query}`));
      await page.frameLocator('#panes iframe').nth(0).locator('.row', { hasText: 'appended' }).waitFor();
      await page.frameLocator('#panes iframe').nth(1).locator('.row', { hasText: 'in two' }).waitFor();
      await page.locator('#merged').click();
      await page.locator('.row', { hasText: 'in two' }).waitFor();
      assert.equal(new URL(page.url()).pathname, `${BASE}/_/merged`);
      await logs.append('one.log', 'both\n');
      await page.locator('.row', { hasText: 'both' }).waitFor();

      // Without WebSockets.
      proxy.manner = 'refuses';
      await page.reload();
      await page.locator('.row', { hasText: 'both' }).waitFor();
      await logs.append('one.log', 'by events\n');
      await page.locator('.row', { hasText: 'by events' }).waitFor();
      assert.equal(proxy.streams > 0, true);

      // A refusal has its style, and a way back.
      await page.goto(at('/etc/passwd'));
      await page.locator('a', { hasText: 'All logs' }).click();
      await page.locator('#logs a', { hasText: 'one.log' }).waitFor();
      assert.deepEqual([...outside], []);
    } finally {
      proxy.close();
    }
  }, { serve: ['--base-path', BASE] });
}
