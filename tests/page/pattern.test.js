// Search patterns as regular expressions of the browser.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { load } from './modules.js';

const { compile, matches, parameters } = await load('search/pattern.js');
const pattern = (text, flags = '') => ({ text, regex: flags.includes('r'), case: flags.includes('c'), word: flags.includes('w') });
const found = (wanted, text) => matches(compile(wanted), text).map(([from, to]) => text.slice(from, to));

test('a pattern without the regex option matches literally', () => {
  for (const text of ['a.b', '[x]', '(y', 'a+b*c?', '{1}', '^$', '|', '\\', '/', '-', 'a-b', '$&']) {
    assert.deepEqual(found(pattern(text), `before ${text} after`), [text]);
  }
  assert.deepEqual(found(pattern('a.b'), 'axb'), []);
});

test('the options for case and whole words are applied', () => {
  assert.deepEqual(found(pattern('error'), 'Error ERROR error'), ['Error', 'ERROR', 'error']);
  assert.deepEqual(found(pattern('error', 'c'), 'Error ERROR error'), ['error']);
  assert.deepEqual(found(pattern('error', 'w'), 'terror errors error_x error'), ['error']);
  assert.deepEqual(found(pattern('b|c', 'rw'), 'ab b abc c'), ['b', 'c']);
});

test('an expression that the browser does not support results in null', () => {
  assert.deepEqual(found(pattern('(?i)ab', 'rc'), 'xAB'), ['AB']);
  for (const text of ['(', '(?x) a b', '[[:alpha:]&&x](', '(?P<a>b)']) assert.equal(compile(pattern(text, 'r')), null, text);
});

test('empty matches are left out, and the number of matches is bounded', () => {
  assert.deepEqual(found(pattern('x*', 'r'), 'aaxx'), ['xx']);
  assert.equal(found(pattern('a'), 'a'.repeat(10_000)).length, 500);
});

test('a pattern becomes the parameters of the server', () => {
  assert.deepEqual(parameters(pattern('a b', 'rw')), { q: 'a b', regex: '1', word: '1' });
});
