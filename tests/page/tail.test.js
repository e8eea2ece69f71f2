// The page's copy of the live stream: positions, patches and bounds.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { load } from './modules.js';

const { TAIL_ROWS_MAX, Tail } = await load('rows/tail.js');
const { Generations, compare } = await load('rows/generations.js');
const { Stream } = await load('viewer/stream.js');

const rows = (from, count, size = 10) => Array.from({ length: count }, (_, at) => [from + at * size, `row ${from + at * size}`]);
const patch = (from, count) => ({ type: 'rows', from, next: from + count * 10, rows: rows(from, count) });

function started(from = 0) {
  const tail = new Tail();
  tail.start({ gen: 0, offset: from });
  return tail;
}

test('positions have the order of the stream, also across rotations', () => {
  const places = [{ gen: -1, offset: 90 }, { gen: 0, offset: 5 }, { gen: 0, offset: 70 }, { gen: 1, offset: 0 }];
  assert.deepEqual([...places].reverse().sort(compare), places);
});

test('a patch replaces rows from its start on, and counts no row twice', () => {
  const tail = started();
  assert.equal(tail.patch(patch(0, 5), 0, 0, 1), 5);
  assert.deepEqual(tail.changedFrom, { gen: 0, offset: 0 });
  tail.changedFrom = null;
  assert.equal(tail.patch({ from: 30, next: 62, rows: [[30, 'again'], [40, 'again'], [50, 'new']] }, 0, 0, 2), 1);
  assert.deepEqual(tail.changedFrom, { gen: 0, offset: 30 });
  assert.deepEqual(tail.last(9).map(({ html }) => html), ['row 0', 'row 10', 'row 20', 'again', 'again', 'new']);
  assert.deepEqual(tail.to, { gen: 0, offset: 62 });
  assert.equal(tail.patch({ from: 20, next: 62, rows: [] }, 0, 0, 3), 0, 'rows may be taken back');
  assert.equal(tail.last(9).length, 2);
});

test('rows before a marker are final', () => {
  const tail = started();
  tail.patch(patch(0, 3), 0, 0, 1);
  tail.addMarker({ gen: 1, offset: 0, marker: 'rotated', text: 'rotated', element: null });
  tail.patch(patch(0, 2), 1, 0, 1);
  assert.deepEqual(tail.last(9).map((entry) => entry.marker ?? `${entry.gen}:${entry.offset}`), ['0:0', '0:10', '0:20', 'rotated', '1:0', '1:10']);
});

test('new rows have a time of arrival, the history has none', () => {
  const tail = started();
  assert.equal(tail.patch(patch(0, 4), 0, 20, 77), 2);
  assert.deepEqual(tail.last(9).map(({ time }) => time), [null, null, 77, 77]);
});

test('the number of rows is bounded, and the tail knows its first position', () => {
  const tail = started();
  for (let at = 0; at < 20; at += 1) tail.patch(patch(at * 10_000, 1000), 0, 0, 1);
  assert.equal(tail.last(Infinity).length, TAIL_ROWS_MAX);
  const from = 200_000 - TAIL_ROWS_MAX * 10;
  assert.deepEqual(tail.from, { gen: 0, offset: from });
  assert.equal(tail.covers({ gen: 0, offset: from - 10 }), false);
  assert.equal(tail.covers({ gen: 0, offset: from }), true);
  assert.deepEqual(tail.after({ gen: 0, offset: from }, 1).map(({ offset }) => offset), [from]);
  assert.deepEqual(tail.before({ gen: 0, offset: from + 30 }, 100).map(({ offset }) => offset), [from, from + 10, from + 20]);
  assert.equal(tail.countAfter({ gen: 0, offset: 199_980 }), 2);
});

test('the total length of the rows is bounded', () => {
  const tail = started();
  for (let at = 0; at < 40; at += 1) tail.patch({ from: at, next: at + 1, rows: [[at, 'x'.repeat(1024 * 1024)]] }, 0, 0, 1);
  assert.equal(tail.last(Infinity).length, 8);
});

test('an earlier generation is placed before the first one', () => {
  const generations = new Generations();
  generations.add('present', 0, 100);
  assert.equal(generations.addEarlier('old', 50, null), -1);
  assert.equal(generations.at(-1).id, 'old');
  assert.equal(generations.firstGen, -1);
  generations.markEnd(-1, 'rotated', 'another file');
  assert.deepEqual(generations.at(0).firstMarker, { offset: 0, marker: 'rotated', text: 'another file' });
});

test('a resumed stream continues its generation, and a position that is not recovered gets a marker', () => {
  const stream = new Stream();
  const open = { type: 'open', path: '/a', generation: 'a', from: 50, size: 70, recovered: true, watch: 'events' };
  stream.handle(open, false);
  assert.deepEqual(stream.handle({ ...patch(50, 2) }, false), { fresh: 0, news: false });
  assert.deepEqual(stream.handle({ ...patch(70, 3) }, false), { fresh: 3, news: true });
  stream.handle({ ...open, generation: 'a2', from: 100, size: 100 }, true);
  assert.equal(stream.generations.currentGen, 0);
  assert.equal(stream.generations.current.id, 'a2', 'the same file by another text');
  stream.handle({ ...open, generation: 'b', recovered: false, size: 10 }, true);
  stream.handle({ type: 'reset', generation: 'b', from: 0, reason: 'rotated' }, true);
  stream.handle(patch(0, 1), true);
  assert.equal(stream.generations.currentGen, 1);
  assert.deepEqual(stream.tail.last(9).map((entry) => entry.marker ?? entry.offset), [50, 60, 70, 80, 90, 'not-resumed', 'rotated', 0]);
});

test('a log that could not be read for a while goes on with a marker that says so', () => {
  const stream = new Stream();
  stream.handle({ type: 'open', path: '/a', generation: 'a', from: 0, size: 0, recovered: true, watch: 'events' }, false);
  stream.handle({ type: 'waiting', reason: 'unreachable' }, false);
  stream.handle({ type: 'reset', generation: 'a', from: 0, reason: 'back' }, false);
  stream.handle({ type: 'reset', generation: 'a', from: 0, reason: 'back' }, false);
  const [first, second] = stream.tail.last(9).map((entry) => entry.text);
  assert.match(first, /^can be read again since \d/);
  assert.equal(second, 'back to the current file', 'it was read before');
});
