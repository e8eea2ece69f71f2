// The example page in `examples/original.html`.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import http from 'node:http';
import path from 'node:path';

import { ROOT } from './program.js';
import { Scene, scene } from './scene.js';

/** The URL in the example. */
const FOLLOWED = 'ws://127.0.0.1:8765/tmp/build.log?';

/** A web server for the example page, on another origin than the log's. `show` sets the page, once the log is known. */
async function host() {
  let page = '';
  const server = http.createServer((_, response) => response.writeHead(200, { 'content-type': 'text/html' }).end(page));
  await new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(undefined)));
  // This server must not keep the process running if a name pattern selects none of these tests.
  server.unref();
  const { port } = /** @type {import('node:net').AddressInfo} */ (server.address());
  return {
    origin: `http://127.0.0.1:${port}`,
    /** @param {Scene} scene @param {string} log */
    async show(scene, log) {
      const example = await readFile(path.join(ROOT, 'examples/original.html'), 'utf8');
      assert.equal(example.split(FOLLOWED).length, 2);
      page = example.replace(FOLLOWED, `ws://127.0.0.1:${scene.program.port}${log}?`);
      await scene.page.goto(this.origin);
    },
  };
}

const allowed = await host();
scene('the example page follows a log if its origin is allowed', async (scene) => {
  const log = await scene.logs.write('build.log', 'one <b>\n\x1b[31mtwo\x1b[0m\n');
  await allowed.show(scene, log);
  await scene.untilText('#log', 'one <b>\ntwo\n');
  await scene.until(() => getComputedStyle(document.querySelector('#log span') ?? document.body).color === 'rgb(170, 0, 0)');
  await scene.logs.append('build.log', 'three\n');
  await scene.untilText('#log', 'one <b>\ntwo\nthree\n');
  await scene.logs.append('build.log', 'ping\nfour\n');
  await scene.untilText('#log', 'one <b>\ntwo\nthree\nping\nfour\n');
}, { serve: ['--allow-origin', allowed.origin] });

const stranger = await host();
scene('the example page receives nothing if its origin is not allowed', async (scene) => {
  const log = await scene.logs.write('build.log', 'secret\n');
  await stranger.show(scene, log);
  await scene.untilText('#log', 'closed (1006)\n');
  assert.equal(await scene.program.viewers(), 0);
});
