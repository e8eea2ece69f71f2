// The view as the fragment of the page's URL.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { load } from './modules.js';

const { emptyView, formatView, parseView } = await load('url/view-hash.js');

test('the default view has an empty fragment', () => {
  assert.equal(formatView(emptyView()), '');
  assert.deepEqual(parseView(''), emptyView());
  assert.deepEqual(parseView('#'), emptyView());
});

test('lines and offsets are parsed in every form, in either order', () => {
  for (const [hash, lines] of [
    ['#L120', { kind: 'line', from: 120, to: 120 }],
    ['#L120-L140', { kind: 'line', from: 120, to: 140 }],
    ['#L140-120', { kind: 'line', from: 120, to: 140 }],
    ['#@0', { kind: 'offset', from: 0, to: 0 }],
    ['#@4294967296-@4294967400', { kind: 'offset', from: 4294967296, to: 4294967400 }],
  ]) {
    assert.deepEqual(parseView(hash).lines, lines, hash);
    assert.equal(parseView(hash).follow, false, 'a link to lines stands still');
  }
  for (const hash of ['#L0', '#L', '#L-3', '#Lx', '#@-1', '#@1e3', '#@12345678901234567890', '#l12']) {
    assert.equal(parseView(hash).lines, null, hash);
  }
});

test('every view can be restored from its fragment', () => {
  const pattern = (text, flags = '') => ({ text, regex: flags.includes('r'), case: flags.includes('c'), word: flags.includes('w') });
  const views = [
    { lines: { kind: 'line', from: 3, to: 9 }, generation: 'fe00-98c080-7510fbb6-100-b5d656c3b7c97a6d', follow: false },
    { top: 123456789, generation: 'g', follow: false },
    { follow: false },
    { find: pattern('a & b = c # 100% + d:e,f "x" \\ 日本 \u{1f600}', 'rcw'), filter: true, invert: true },
    { find: pattern('L120'), filter: true },
    { rules: [pattern('one', 'c'), pattern('two=2&three', 'r'), pattern(':')] },
    { level: 'error' },
    { level: 'warning', filter: true, find: { text: 'a', regex: false, case: false, word: false } },
    { options: { wrap: false, numbers: true, times: 'gap', repeats: true, groups: true } },
    { folds: [0, 17, 4294967296] },
    { encoding: 'shift_jis', level: 'error' },
  ];
  for (const part of views) {
    const view = { ...emptyView(), ...part };
    assert.deepEqual(parseView(formatView(view)), view, formatView(view));
  }
});

test('unknown and invalid parts of a fragment are ignored', () => {
  const view = parseView('#L5&unknown=1&encoding=utf-9&find=:%&mark=&mark=x&mark=r:&filter=maybe&wrap=0&times=never&fold=1,x,-2,3&numbers');
  assert.deepEqual(view.lines, { kind: 'line', from: 5, to: 5 });
  assert.deepEqual(view.find, { text: '%', regex: false, case: false, word: false });
  assert.deepEqual(view.rules, []);
  assert.equal(view.filter, false);
  assert.deepEqual(view.options, { wrap: false, numbers: true });
  assert.deepEqual(view.folds, [1, 3]);
  assert.equal(view.encoding, '');
});

test('the number of highlights and folds in a fragment is bounded', () => {
  const many = Array.from({ length: 1000 }, (_, at) => at);
  assert.equal(parseView(`#${many.map((at) => `mark=:${at}`).join('&')}`).rules.length, 6);
  assert.equal(parseView(`#fold=${many.join(',')}`).folds.length, 100);
});
