// The pages over https, with a certificate of the test's own.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { lines, scene, text } from './scene.js';

/** Ann's password is `open sesame`. */
const ANN = 'ann:$2y$04$snw.ZbTb2lDvV81UfXWzR.z0hLAugoLmvMq3FFkt1RggR80px.6hG\n';

/** A certificate that nobody trusts, and a file of users. */
function encrypted() {
  const directory = mkdtempSync(path.join(tmpdir(), 'tailcast-tls-'));
  process.on('exit', () => rmSync(directory, { recursive: true, force: true }));
  const [chain, key, users] = ['chain.pem', 'key.pem', 'users'].map((name) => path.join(directory, name));
  execFileSync('openssl', [
    'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '30',
    '-subj', '/CN=127.0.0.1', '-addext', 'subjectAltName=IP:127.0.0.1', '-keyout', key, '-out', chain,
  ], { stdio: 'ignore' });
  writeFileSync(users, ANN);
  return ['--tls-cert', chain, '--tls-key', key, '--users', users, '--state-dir', path.join(directory, 'state')];
}

scene('over https a browser signs in, follows a log and finds in it', async (scene) => {
  const { page } = scene;
  const log = await scene.logs.write('a.log', text([...lines(1, 50), 'a needle']));
  await scene.open(log);
  await page.getByLabel('Name').fill('ann');
  await page.getByLabel('Password').fill('open sesame');
  await page.getByRole('button', { name: 'Sign in' }).click();
  await scene.untilState('live');
  assert.equal(new URL(page.url()).protocol, 'https:');
  await scene.until(() => performance.getEntriesByType('resource').every(({ name }) => !name.startsWith('http:')));
  await scene.logs.append('a.log', 'more\n');
  await scene.until(() => [...document.querySelectorAll('#rows .row')].at(-1)?.textContent === 'more');
  assert.equal(await page.locator('#transport').isVisible(), false, 'it has a WebSocket');
  await page.keyboard.press('/');
  await page.fill('#find-text', 'needle');
  await scene.untilText('#find-count', '1 line');
  const cookies = await scene.context.cookies();
  const shown = cookies.map(({ name, secure, httpOnly }) => ({ name, secure, httpOnly }));
  assert.deepEqual(shown, [{ name: '__Host-tailcast', secure: true, httpOnly: true }]);
}, { serve: encrypted(), context: { ignoreHTTPSErrors: true } });
