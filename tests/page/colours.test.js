// The reader's own colours: a regular expression and a colour, kept in the browser and in links.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { violations } from './axe.js';
import { load } from './modules.js';
import { eventually } from './program.js';
import { scene } from './scene.js';

const { colourProblem, colourRule, COLOURS } = await load('ui/colour-rules.js');
const { emptyView, formatView, parseView } = await load('url/view-hash.js');

test('a rule has a colour of the theme and an expression of bounded length', () => {
  assert.deepEqual(colourRule('red', 'a+'), { colour: 'red', text: 'a+' });
  for (const [colour, text] of [['pink', 'a'], ['red', ''], ['red', 7], [undefined, 'a'], ['red', 'a'.repeat(501)]]) assert.equal(colourRule(colour, text), null, `${colour} ${text}`);
});

test('what is wrong with an expression is said', () => {
  for (const right of ['', 'order-\\d+', '(?i)error', '[a-z]+', '(?<=id=)\\w+']) assert.equal(colourProblem(right), '', right);
  assert.match(colourProblem('(a'), /^Not a regular expression: Unterminated group\. Write \\ before/);
  assert.match(colourProblem('[a'), /^Not a regular expression: .*character class/);
  assert.match(colourProblem('a'.repeat(501)), /at most 500 characters/);
});

test('rules are in the link, whatever is in their text', () => {
  const colours = [{ colour: 'red', text: 'a:b&c=d #é (x|y)+' }, { colour: 'blue', text: ':' }];
  assert.deepEqual(parseView(formatView({ ...emptyView(), colours })).colours, colours);
  assert.deepEqual(parseView('#colour=pink:a&colour=red:&colour=red&colour=green:ok').colours, [{ colour: 'green', text: 'ok' }]);
  const many = Array.from({ length: 30 }, (_, at) => `colour=red:${at}`).join('&');
  assert.equal(parseView(`#${many}`).colours.length, 12);
});

/** The texts that have one of the reader's colours. @param {import('./scene.js').Scene} scene */
function coloured({ page }) {
  return page.evaluate((colours) => colours.flatMap((colour) => [...CSS.highlights.get(`colour-${colour}`) ?? []].filter(({ startContainer }) => startContainer.isConnected)
    .map(({ startContainer, startOffset, endContainer, endOffset }) => {
      const range = document.createRange();
      range.setStart(startContainer, startOffset);
      range.setEnd(endContainer, endOffset);
      return `${colour}:${range}`;
    })), COLOURS);
}

/** @param {import('./scene.js').Scene} scene @param {string[]} wanted */
async function untilColoured(scene, wanted) {
  await eventually('the reader\'s colours', async () => {
    const seen = await coloured(scene);
    return JSON.stringify(seen) === JSON.stringify(wanted) || seen;
  });
}

scene('a rule colours what it matches, is kept, and is in the link', async (scene) => {
  const { page, logs } = scene;
  const log = await logs.write('a.log', 'order-17 paid\nfine\norder-18 failed\n');
  await scene.open(log);
  await scene.untilState('live');
  await page.click('#view-open');
  await page.click('#colours-open');
  await page.locator('#colour-list input').fill('order-\\d+');
  await untilColoured(scene, ['red:order-17', 'red:order-18']);
  await page.click('#colour-add');
  await page.locator('#colour-list input').nth(1).fill('(failed');
  await scene.until(() => document.querySelectorAll('#colour-list .problem')[1]?.textContent?.startsWith('Not a regular expression: Unterminated group'));
  assert.deepEqual(await violations(page), []);
  await page.locator('#colour-list input').nth(1).fill('failed|paid');
  await page.locator('#colour-list select').nth(1).selectOption('cyan');
  await untilColoured(scene, ['red:order-17', 'red:order-18', 'cyan:paid', 'cyan:failed']);
  await page.click('#colours-close');
  await logs.append('a.log', 'order-1');
  await untilColoured(scene, ['red:order-17', 'red:order-18', 'red:order-1', 'cyan:paid', 'cyan:failed']);
  await logs.append('a.log', '9 paid\n');
  await untilColoured(scene, ['red:order-17', 'red:order-18', 'red:order-19', 'cyan:paid', 'cyan:failed', 'cyan:paid']);
  await scene.until(() => location.hash.includes('colour=red:order-%5Cd%2B&colour=cyan:failed%7Cpaid'));
  const link = page.url();
  // The browser keeps them for other logs.
  const other = await logs.write('b.log', 'order-1\n');
  await scene.open(other);
  await untilColoured(scene, ['red:order-1']);
  // Those of a link are shown, and not kept.
  await page.evaluate(() => localStorage.clear());
  await page.goto('about:blank');
  await page.goto(link);
  await untilColoured(scene, ['red:order-17', 'red:order-18', 'red:order-19', 'cyan:paid', 'cyan:failed', 'cyan:paid']);
  await scene.open(other);
  await scene.untilRows(['order-1']);
  await untilColoured(scene, []);
  // A rule that is removed colours nothing.
  await page.goto('about:blank');
  await page.goto(link);
  await untilColoured(scene, ['red:order-17', 'red:order-18', 'red:order-19', 'cyan:paid', 'cyan:failed', 'cyan:paid']);
  await page.click('#view-open');
  await page.click('#colours-open');
  await page.locator('#colour-list button').first().click();
  await untilColoured(scene, ['cyan:paid', 'cyan:failed', 'cyan:paid']);
});

scene('an expression that takes for ever is switched off, and the page goes on', async (scene) => {
  const { page, logs } = scene;
  const log = await logs.write('a.log', `${'a'.repeat(40)}!\norder-1\n`);
  let workers = 0;
  page.on('worker', () => { workers += 1; });
  await scene.open(`${log}#colour=red:(a%2B)%2B$&colour=green:order`);
  await scene.until(() => /^The colour for \(a\+\)\+\$ is off: its expression took more than 1 s/.test(document.querySelector('#hint-words')?.textContent ?? ''));
  await untilColoured(scene, ['green:order']);
  // It is not tried again.
  await logs.append('a.log', 'order-2\n');
  await untilColoured(scene, ['green:order', 'green:order']);
  assert.equal(workers, 2);
  const longest = await page.evaluate(async () => {
    let longest = 0;
    let last = performance.now();
    for (let frames = 0; frames < 30; frames += 1) {
      await new Promise(requestAnimationFrame);
      longest = Math.max(longest, performance.now() - last);
      last = performance.now();
    }
    return longest;
  });
  assert.ok(longest < 1_000, `${longest} ms`);
  await page.click('#view-open');
  await page.click('#colours-open');
  await scene.until(() => document.querySelector('#colour-list .problem')?.textContent?.startsWith('off: its expression took more than 1 s'));
  await page.locator('#colour-list input').first().fill('a+');
  await untilColoured(scene, [`red:${'a'.repeat(40)}`, 'green:order', 'green:order']);
});

scene('the merged page has the colours, too', async (scene) => {
  const { logs } = scene;
  const one = await logs.write('a.log', 'order-1\n');
  const other = await logs.write('b.log', 'order-2\n');
  await scene.open(`/_/merged?log=${one}&log=${other}#colour=blue:order-.`);
  await eventually('both', async () => {
    const seen = await coloured(scene);
    return JSON.stringify(seen.sort()) === JSON.stringify(['blue:order-1', 'blue:order-2']) || seen;
  });
  await scene.until(() => location.hash.includes('colour=blue:order-.'));
});
