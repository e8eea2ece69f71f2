// Signing in and out on the pages, with and without scripts, and what a page does when its visitor is signed out.

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { violations } from './axe.js';
import { lines, scene, text } from './scene.js';

/** Ann's password is `open sesame`. */
const ANN = 'ann:$2y$04$snw.ZbTb2lDvV81UfXWzR.z0hLAugoLmvMq3FFkt1RggR80px.6hG\n';

/** A file of users, and the directory in which a server keeps its sessions. */
function accounts() {
  const directory = mkdtempSync(path.join(tmpdir(), 'tailcast-accounts-'));
  process.on('exit', () => rmSync(directory, { recursive: true, force: true }));
  const users = path.join(directory, 'users');
  writeFileSync(users, ANN);
  return { users, serve: ['--users', users, '--state-dir', path.join(directory, 'state')] };
}

/** @param {import('./scene.js').Scene} scene @param {string} password */
async function signIn({ page }, password) {
  await page.getByLabel('Name').fill('ann');
  await page.getByLabel('Password').fill(password);
  await page.getByRole('button', { name: 'Sign in' }).click();
}

scene('a link to a log leads to the sign-in and back to the log', async (scene) => {
  const log = await scene.logs.write('a.log', text(lines(1, 20)));
  await scene.open(`${log}?from=0`);
  assert.equal(new URL(scene.page.url()).pathname, '/_/sign-in');
  await scene.until(() => document.activeElement?.id === 'name');
  await signIn(scene, 'wrong');
  const error = scene.page.getByRole('alert');
  assert.match(await error.innerText(), /The name or the password is wrong\. Check both/);
  assert.equal(await scene.page.getByLabel('Name').inputValue(), 'ann');
  await scene.until(() => document.activeElement?.id === 'password');
  // By keyboard alone.
  await scene.page.keyboard.type('open sesame');
  await scene.page.keyboard.press('Enter');
  await scene.untilState('live');
  assert.equal(new URL(scene.page.url()).pathname, log);
  assert.equal(new URL(scene.page.url()).search, '?from=0');
  await scene.logs.append('a.log', 'more\n');
  await scene.until(() => [...document.querySelectorAll('#rows .row')].at(-1)?.textContent === 'more');
  const cookies = await scene.context.cookies();
  assert.deepEqual(cookies.map(({ name, httpOnly, sameSite }) => ({ name, httpOnly, sameSite })), [{ name: 'tailcast', httpOnly: true, sameSite: 'Lax' }]);
}, { serve: accounts().serve });

scene('the list says by name who views a log', async (scene) => {
  const log = await scene.logs.write('a.log', 'first\n');
  await scene.open('/');
  await signIn(scene, 'open sesame');
  await scene.page.getByRole('link', { name: 'a.log' }).waitFor();
  const other = await scene.context.newPage();
  await other.goto(new URL(log, scene.page.url()).href);
  // A page in the background asks rarely.
  await scene.page.bringToFront();
  await scene.untilText('#logs .viewers', 'ann');
  await other.close();
  await scene.page.bringToFront();
  await scene.untilText('#logs .viewers', '');
}, { serve: accounts().serve });

scene('signing in and out works without scripts', async (scene) => {
  await scene.logs.write('a.log', 'first\n');
  await scene.open('/');
  await signIn(scene, 'open sesame');
  await scene.page.getByText('Signed in as').first().waitFor({ state: 'attached' });
  await scene.page.getByRole('link', { name: 'a.log' }).waitFor();
  await scene.page.getByRole('link', { name: 'Sign out' }).click();
  await scene.page.getByRole('button', { name: 'Sign out' }).click();
  await scene.page.getByText('You are signed out.').waitFor();
  await scene.open('/');
  assert.equal(new URL(scene.page.url()).pathname, '/_/sign-in');
}, { serve: accounts().serve, context: { javaScriptEnabled: false, viewport: { width: 390, height: 800 } } });

const removed = accounts();
scene('a page whose visitor is removed says so, asks no more, and goes on after the next sign-in', async (scene) => {
  const log = await scene.logs.write('a.log', text(lines(1, 20)));
  await scene.open(log);
  await signIn(scene, 'open sesame');
  await scene.untilState('live');
  const list = await scene.context.newPage();
  await scene.open('/', list);
  await list.getByRole('link', { name: 'a.log' }).waitFor();
  writeFileSync(removed.users, '# nobody\n');
  await scene.untilState('signed-out');
  await scene.page.getByText('You are signed out.').first().waitFor();
  await list.getByText('You are signed out.').waitFor();
  let requests = 0;
  scene.context.on('request', () => { requests += 1; });
  scene.context.on('page', () => { requests += 1; });
  // Longer than any pause between two attempts of a page that still tries.
  await new Promise((resolve) => setTimeout(resolve, 4_000));
  assert.equal(requests, 0);
  await list.close();
  writeFileSync(removed.users, ANN);
  const link = scene.page.getByRole('link', { name: 'Sign in' });
  await link.focus();
  const href = new URL(await link.evaluate((/** @type {HTMLAnchorElement} */ element) => element.href));
  assert.equal(new URL(href.searchParams.get('next') ?? '', href).pathname, log);
  // The server takes a moment to read its users again.
  for (;;) {
    await scene.page.goto(href.href);
    await signIn(scene, 'open sesame');
    await scene.page.waitForLoadState();
    if (new URL(scene.page.url()).pathname === log) break;
  }
  await scene.untilState('live');
  assert.equal(await scene.page.locator('#signed-out').count(), 0);
}, { serve: removed.serve });

for (const colorScheme of /** @type {const} */ (['light', 'dark'])) {
  scene(`the pages to sign in and out violate no rule of WCAG 2 A or AA, ${colorScheme}`, async (scene) => {
    await scene.logs.write('a.log', 'first\n');
    const found = [];
    await scene.open('/');
    found.push(...await violations(scene.page));
    await signIn(scene, 'wrong');
    await scene.page.getByRole('alert').waitFor();
    found.push(...await violations(scene.page));
    await signIn(scene, 'open sesame');
    await scene.page.getByText('Signed in as').first().waitFor({ state: 'attached' });
    found.push(...await violations(scene.page));
    await scene.open('/_/sign-out');
    found.push(...await violations(scene.page));
    assert.deepEqual(found, []);
    // Nothing is wider than the screen of a phone.
    await scene.page.setViewportSize({ width: 320, height: 600 });
    await scene.open('/_/sign-in');
    assert.equal(await scene.page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), true);
    if (process.env.TAILCAST_SHOTS) {
      for (const [name, target] of [['sign-in', '/_/sign-in'], ['sign-out', '/_/sign-out']]) {
        await scene.open(target);
        await scene.page.screenshot({ path: path.join(process.env.TAILCAST_SHOTS, `${name}-${colorScheme}.png`) });
      }
      await scene.page.setViewportSize({ width: 1200, height: 700 });
      await scene.open('/');
      await scene.page.screenshot({ path: path.join(process.env.TAILCAST_SHOTS, `list-${colorScheme}.png`) });
      await scene.open(scene.logs.path('a.log'));
      await scene.untilState('live');
      await scene.page.click('#view-open');
      await scene.page.screenshot({ path: path.join(process.env.TAILCAST_SHOTS, `log-${colorScheme}.png`) });
      await scene.context.clearCookies();
      await scene.open('/_/sign-in');
      await signIn(scene, 'wrong');
      await scene.page.getByRole('alert').waitFor();
      await scene.page.screenshot({ path: path.join(process.env.TAILCAST_SHOTS, `error-${colorScheme}.png`) });
    }
  }, { serve: accounts().serve, context: { colorScheme } });
}
