// Conditions on the fields of JSON and logfmt in the find bar, and the values of a field.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { load } from './modules.js';
import { scene } from './scene.js';

const { conditionOf } = await load('viewer/values-dialog.js');

const LINES = Array.from({ length: 300 }, (_, at) => (at % 3 === 0
  ? `{"level":${at % 2 ? 30 : 50},"msg":"request","status":${at % 2 ? 200 : 503},"user":{"id":${at % 5}}}`
  : `level=info msg="a line" status=404 user.id=${at % 5} n=${at}`));
const LOG = `${LINES.join('\n')}\n`;

test('the condition of a value means this value alone', () => {
  for (const [field, value, condition] of [
    ['status', '503', 'status=503'],
    ['user.id', 'a b', 'user.id="a b"'],
    ['msg', 'say "x" \\ y', 'msg="say \\"x\\" \\\\ y"'],
    ['msg', '', 'msg=""'],
    ['path', '/a?b=c', 'path="/a?b=c"'],
    ['path', '/api/v1', 'path=/api/v1'],
    ['a b', 'c', '"a b"=c'],
  ]) assert.equal(conditionOf(field, value), condition);
});

scene('conditions on fields find and filter lines, a link has them, and a wrong one is explained', async (scene) => {
  const { logs, page } = scene;
  const log = await logs.write('a.log', LOG);
  await scene.open(log);
  await scene.untilState('live');
  await page.keyboard.press('/');
  await page.click('[data-find="fields"]');
  await page.keyboard.type('status>=500 user.id=none');
  await scene.untilText('#find-count', 'no matches');
  const wanted = LINES.filter((line) => line.includes('503') && line.includes('"id":4'));
  assert.ok(wanted.length > 5);
  await page.click('#filter');
  await page.fill('#find-text', 'status>=500 user.id=4');
  await scene.untilRows(wanted);
  await scene.untilText('#find-count', `${wanted.length} lines`);
  await scene.until(() => location.hash.includes('user.id%3D4&'));
  const other = await scene.context.newPage();
  await other.goto(page.url());
  await scene.untilRows(wanted, other);
  assert.equal(await other.getAttribute('[data-find="fields"]', 'aria-pressed'), 'true');
  await page.fill('#find-text', 'status>=');
  await scene.until(() => document.querySelector('#find-count')?.textContent?.includes('a value is missing'));
});

scene('the values of a field are counted, and a click on one shows its lines', async (scene) => {
  const { logs, page } = scene;
  const log = await logs.write('a.log', LOG);
  await scene.open(log);
  await scene.untilState('live');
  await page.keyboard.press('i');
  assert.deepEqual((await page.locator('#values-fields .chip').allInnerTexts()).sort(), ['level', 'msg', 'n', 'status', 'user.id']);
  await page.click('#values-fields .chip:text-is("msg")');
  await scene.untilText('#values-count', '300 of 300 lines have it, with 2 values');
  assert.equal(await page.inputValue('#values-field'), 'msg');
  assert.deepEqual(await page.locator('#values-fields .chip[aria-pressed="true"]').allInnerTexts(), ['msg']);
  await page.fill('#values-field', 'status');
  await page.keyboard.press('Enter');
  await scene.untilText('#values-count', '300 of 300 lines have it, with 3 values');
  const values = () => page.$$eval('#values-list li', (items) => items.map((item) => [...item.children].map((part) => part.textContent).join(' ')));
  assert.deepEqual(await values(), ['404 200', '200 50', '503 50']);
  await page.click('#values-list button:text-is("503")');
  const failed = LINES.filter((line) => line.includes('503'));
  await scene.untilRows(failed);
  // The next count is of these lines.
  await page.click('#log');
  await page.keyboard.press('i');
  await page.fill('#values-field', 'user.id');
  await page.keyboard.press('Enter');
  await scene.untilText('#values-count', '50 of 50 lines have it, with 5 values');
  await page.click('#values-list button:text-is("3")');
  await scene.untilRows(failed.filter((line) => line.includes('"id":3')));
  assert.equal(await page.inputValue('#find-text'), 'status=503 user.id=3');
  await page.click('#log');
  await page.keyboard.press('i');
  await page.fill('#values-field', 'nothing');
  await page.keyboard.press('Enter');
  await scene.untilText('#values-count', 'No line has this field');
});
