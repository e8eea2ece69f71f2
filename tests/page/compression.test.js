// Browsers offer `permessage-deflate`; here the server and a browser use it in both directions.

import assert from 'node:assert/strict';

import { lines, scene, text } from './scene.js';

scene('deflated messages from and to a browser are understood', async (scene) => {
  const { logs, page } = scene;
  const log = await logs.write('a.log', text(lines(1, 400)));
  /** @type {Set<string | undefined>} */
  const agreed = new Set();
  const devtools = await scene.context.newCDPSession(page);
  await devtools.send('Network.enable');
  devtools.on('Network.webSocketHandshakeResponseReceived', ({ response }) => {
    const header = Object.entries(response.headers).find(([name]) => /^sec-websocket-extensions$/i.test(name));
    agreed.add(header?.[1]);
  });
  // The page itself receives rows.
  await scene.open(log);
  await scene.untilRows(lines(1, 400));
  await scene.untilState('live');

  // A second socket uses the original's protocol and sends messages, which the page does not.
  await page.evaluate(() => {
    const socket = new WebSocket(`${location.href.replace(/^http/, 'ws')}?tail=1&format=text`);
    Object.assign(window, { socket, said: '', code: 0 });
    socket.onmessage = ({ data }) => { Object.assign(window, { said: Reflect.get(window, 'said') + data }); };
    socket.onclose = ({ code }) => { Object.assign(window, { code }); };
  });
  const untilSaid = (/** @type {string} */ said) => scene.until((said) => Reflect.get(window, 'said') === said, said);
  await untilSaid(text(lines(1, 400)));
  await page.evaluate(() => {
    const socket = Reflect.get(window, 'socket');
    for (const length of [1, 4, 200, 4096]) socket.send('ü'.repeat(length / 2) || 'p');
    socket.send(new Uint8Array(4000));
  });
  await logs.append('a.log', text(lines(401, 800)));
  await untilSaid(text(lines(1, 800)));
  await scene.untilRows(lines(1, 800));
  const deflate = 'permessage-deflate; server_no_context_takeover; client_no_context_takeover';
  assert.equal(await page.evaluate(() => Reflect.get(window, 'socket').extensions), deflate);
  assert.deepEqual([...agreed], [deflate]);
  assert.equal(await page.evaluate(() => Reflect.get(window, 'socket').readyState), 1);

  // The limit holds for the inflated length of a message.
  await page.evaluate(() => Reflect.get(window, 'socket').send('a'.repeat(1 << 20)));
  await scene.until(() => Reflect.get(window, 'code') === 1009);
});
