// Structured lines as text that people read.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { load } from './modules.js';
import { scene } from './scene.js';

const { columnHeads, fieldNames, parseLine, readableText } = await load('rows/structure.js');
const { zoneOf } = await load('ui/zones.js');
const UTC = zoneOf('utc');
const NUMBERS = '{"msg":"m","order":1234567890123456789,"version":1.0}';

/** @param {string} line @param {string[]} columns @param {[string, number][]} widths */
function shown(line, columns = [], widths = []) {
  const parsed = parseLine(line);
  return parsed === null ? null : readableText(parsed, UTC, UTC, columns, new Map(widths));
}

test('JSON and logfmt become time, level, message and fields', () => {
  for (const [line, wanted] of [
    ['{"time":"2026-11-28T14:02:07.120Z","level":"error","msg":"request failed","user":7,"latency":"812ms"}', '14:02:07.120 ERROR request failed  user=7 latency=812ms'],
    ['{"msg":"a","ts":1795874527.12,"level":"info"}', '14:02:07.120 INFO  a'],
    ['{"level":30,"time":1795874527120,"pid":1,"msg":"pino"}', '14:02:07.120 INFO  pino  pid=1'],
    ['{"timeUnixNano":"1795874527120000000","severityNumber":17,"body":"otel","attributes":{"http":{"status":500}}}', '14:02:07.120 ERROR otel  attributes.http.status=500'],
    ['{"@timestamp":"2026-11-28T15:02:07+01:00","log.level":"warn","message":"ecs","tags":["a","b"]}', '14:02:07.000 WARN  ecs  tags=["a","b"]'],
    ['{"levelno":50,"message":"python","empty":"","none":null,"quoted":"a b"}', 'FATAL python  empty="" none=null quoted="a b"'],
    ['{"level":3,"short_message":"gelf"}', 'ERROR gelf'],
    ['app[7]: {"level":"debug","msg":"behind a prefix","a":1}', 'app[7]: DEBUG behind a prefix  a=1'],
    ['{"msg":"no level","a":{}}', 'no level  a={}'],
    ['{"a":1,"b":{"c":2}}', 'a=1 b.c=2'],
    ['{"time":"soon","msg":"x"}', 'soon x'],
    ['time=2026-11-28T14:02:07Z level=info msg="request \\"x\\" done" status=200 path=/api', '14:02:07.000 INFO  request "x" done  status=200 path=/api'],
    ['worker-3 level=warn msg=slow took=1s', 'worker-3 WARN  slow  took=1s'],
    ['{"msg":"failed","error":{"stack":"Error: x\\n    at f (a.js:1)\\n    at g"},"a":1}', 'failed  a=1\n  error.stack:\n    Error: x\n        at f (a.js:1)\n        at g'],
    ['{"msg":"first\\nsecond\\n","a":1}', 'first  a=1\n    second'],
    ['{"msg":"Ünïcode ☃","x":"<b>"}', 'Ünïcode ☃  x=<b>'],
  ]) assert.equal(shown(line), wanted, line);
});

test('other lines stay as they are', () => {
  for (const line of [
    '', 'plain text', '2026-11-28 14:02:07 INFO started', 'a=1 b=2', 'level=info', 'the level=info and msg=hidden words', 'call f(a=1, msg=x) { return }', '{"a":1', '[1,2]', '{}',
    `{"msg":"${'x'.repeat(30_000)}"}`,
  ]) assert.equal(shown(line), null, line);
});

test('columns stand in place of the other fields', () => {
  const line = '{"time":"2026-11-28T14:02:07Z","level":"info","msg":"done","status":200,"path":"/a","user":{"id":7}}';
  assert.equal(shown(line, ['status', 'user.id', 'none'], [['status', 6], ['user.id', 7], ['none', 4]]), '14:02:07.000  INFO   200     7              done');
  assert.equal(shown(`{"msg":"m","long":"${'x'.repeat(50)}"}`, ['long']), `${'x'.repeat(39)}…  m`);
});

test('the names of columns stand above them, and those of fields are offered', () => {
  const line = parseLine('{"time":"2026-11-28T14:02:07Z","level":"info","message":"done","status":200,"user":{"id":7}}');
  const widths = new Map([['status', 6], ['user.id', 7]]);
  assert.equal(columnHeads(line, ['status', 'user.id'], widths), 'time          level  status  user.id  message');
  assert.equal(readableText(line, UTC, UTC, ['status', 'user.id'], widths), '14:02:07.000  INFO   200     7        done');
  assert.equal(columnHeads(line, ['status'], widths, false), 'level  status  message', 'with the times beside the lines');
  assert.equal(readableText(line, null, UTC, ['status'], widths), 'INFO   200     done');
  assert.equal(columnHeads(parseLine('app: {"status":1,"msg":"m"}'), ['status'], widths), '      status  msg');
  assert.deepEqual(fieldNames([line, parseLine('{"msg":"m","status":1,"a b":2}')]), ['status', 'level', 'message', 'user.id', 'msg']);
});

scene('b shows readable lines, with columns if there are any, and the lines as they are again', async (scene) => {
  const { logs, page } = scene;
  const line = (/** @type {number} */ at) => `{"time":"2026-11-28T14:02:0${at}Z","level":"${at === 3 ? 'error' : 'info'}","msg":"request ${at}","status":20${at},"user":{"id":7},"url":"http://a.example/${at}"}`;
  const all = Array.from({ length: 5 }, (_, at) => line(at));
  const log = await logs.write('a.log', `${all.join('\n')}\nplain\n${NUMBERS}\n\x1b[31m{"msg":"coloured"}\x1b[0m\n`);
  await scene.open(`${log}#zone=utc`);
  await scene.untilRows([...all, 'plain', NUMBERS, '{"msg":"coloured"}']);
  await page.keyboard.press('b');
  const text = (/** @type {number} */ at, level = 'INFO ') => `14:02:0${at}.000 ${level} request ${at}  status=20${at} user.id=7 url=http://a.example/${at}`;
  const readable = [text(0), text(1), text(2), text(3, 'ERROR'), text(4)];
  await scene.untilRows([...readable, 'plain', 'm  order=1234567890123456789 version=1.0', '{"msg":"coloured"}']);
  assert.equal(await page.locator('.row[data-level="error"]').count(), 1);
  assert.equal(await page.locator('#rows .row a').first().getAttribute('href'), 'http://a.example/0');
  await logs.append('a.log', '{"level":"warn","msg":"live"}\n');
  await scene.untilRows([...readable, 'plain', 'm  order=1234567890123456789 version=1.0', '{"msg":"coloured"}', 'WARN  live']);
  // The JSON opens as that of the line itself.
  await page.locator('.row button.open').first().dispatchEvent('click');
  await scene.until(() => document.querySelector('.opened')?.textContent?.includes('"msg": "request 0"'));
  await page.locator('.row button.open').first().dispatchEvent('click');
  await page.click('#view-open');
  await page.fill('input.columns', 'status user.id');
  await page.keyboard.press('Enter');
  await page.keyboard.press('Escape');
  const row = (/** @type {number} */ at, level = 'INFO ') => `14:02:0${at}.000  ${level}  20${at}     7        request ${at}`;
  await scene.untilRows([row(0), row(1), row(2), row(3, 'ERROR'), row(4), 'plain', '                 m', '{"msg":"coloured"}', 'WARN                    live']);
  await scene.until(() => location.hash.includes('columns=status'));
  // Their names stand above them, where the rows begin.
  await scene.untilText('#column-heads', 'time          level  status  user.id  msg');
  const lefts = await page.evaluate(() => ['#column-heads span', '#rows .row'].map((selector) => {
    const range = document.createRange();
    const text = /** @type {Node} */ (document.querySelector(selector)?.firstChild);
    range.setStart(text, 0);
    range.setEnd(text, 1);
    return range.getBoundingClientRect().left;
  }));
  assert.ok(Math.abs(lefts[0] - lefts[1]) < 1, String(lefts));
  // A click offers, adds and removes them.
  await page.click('#view-open');
  assert.deepEqual(await page.locator('#column-fields .chip').allInnerTexts(), ['status', 'user.id', 'msg', 'level', 'url', 'order', 'version']);
  await page.click('#column-fields .chip:text-is("url")');
  await scene.untilText('#column-heads', 'time          level  status  user.id  url                 msg');
  await page.click('#column-fields .chip:text-is("url")');
  await scene.untilText('#column-heads', 'time          level  status  user.id  msg');
  assert.equal(await page.inputValue('input.columns'), 'status user.id');
  await page.keyboard.press('Escape');
  const other = await scene.context.newPage();
  await other.goto(page.url());
  await scene.until(() => document.querySelector('#rows .row')?.textContent === '14:02:00.000  INFO   200     7        request 0', undefined, other);
  await page.click('#log', { position: { x: 600, y: 400 } });
  await page.keyboard.press('b');
  await scene.untilRows([...all, 'plain', NUMBERS, '{"msg":"coloured"}', '{"level":"warn","msg":"live"}']);
  assert.equal(await page.locator('#column-heads').isVisible(), false);
});

scene('readable lines of merged logs have one clock with the others: a column of times', async (scene) => {
  const { logs, page } = scene;
  const json = await logs.write('json.log', '{"time":"2026-11-28T14:02:07.120Z","level":"info","msg":"one"}\n');
  const plain = await logs.write('plain.log', '2026-11-28 14:02:08,500 INFO two\n');
  await scene.open(`/_/merged?log=${json}&log=${plain}`);
  const shown = (/** @type {[string | null, string][]} */ wanted) => scene.until((wanted) => JSON.stringify([...document.querySelectorAll('#rows .row')]
    .map((row) => [row.getAttribute('data-time'), row.textContent])) === JSON.stringify(wanted), wanted);
  await page.keyboard.press('b');
  await shown([['15:02:07.120', 'INFO  one'], ['15:02:08.500', '2026-11-28 14:02:08,500 INFO two']]);
  assert.equal(await page.getAttribute('#log', 'data-times'), 'clock');
  await page.keyboard.press('u');
  await shown([['14:02:07.120', 'INFO  one'], ['14:02:08.500', '2026-11-28 14:02:08,500 INFO two']]);
  // Another column keeps the time in the line.
  for (const times of ['clock', 'ago', 'gap']) {
    await page.keyboard.press('s');
    await scene.until((times) => document.querySelector('#log')?.getAttribute('data-times') === times, times);
  }
  await scene.until(() => document.querySelector('#rows .row')?.textContent === '14:02:07.120 INFO  one');
  await page.keyboard.press('b');
  await scene.until(() => document.querySelector('#rows .row')?.textContent?.startsWith('{'));
}, { serve: ['--zone', 'UTC'], context: { timezoneId: 'Europe/Berlin' } });
