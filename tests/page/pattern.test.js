// Patterns as the browser finds them, without a browser.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { load } from './modules.js';

const { compile, matches, parameters } = await load('search/pattern.js');
const pattern = (text, flags = '') => ({ text, regex: flags.includes('r'), case: flags.includes('c'), word: flags.includes('w') });
const found = (wanted, text) => matches(compile(wanted), text).map(([from, to]) => text.slice(from, to));

test('a text is found as it stands', () => {
  for (const text of ['a.b', '[x]', '(y', 'a+b*c?', '{1}', '^$', '|', '\\', '/', '-', 'a-b', '$&']) {
    assert.deepEqual(found(pattern(text), `before ${text} after`), [text]);
  }
  assert.deepEqual(found(pattern('a.b'), 'axb'), []);
});

test('case and words count when they are to', () => {
  assert.deepEqual(found(pattern('error'), 'Error ERROR error'), ['Error', 'ERROR', 'error']);
  assert.deepEqual(found(pattern('error', 'c'), 'Error ERROR error'), ['error']);
  assert.deepEqual(found(pattern('error', 'w'), 'terror errors error_x error'), ['error']);
  assert.deepEqual(found(pattern('b|c', 'rw'), 'ab b abc c'), ['b', 'c']);
});

test('an expression that only the server understands is not guessed at', () => {
  assert.deepEqual(found(pattern('(?i)ab', 'rc'), 'xAB'), ['AB']);
  for (const text of ['(', '(?x) a b', '[[:alpha:]&&x](', '(?P<a>b)']) assert.equal(compile(pattern(text, 'r')), null, text);
});

test('an empty match is none, and many are bounded', () => {
  assert.deepEqual(found(pattern('x*', 'r'), 'aaxx'), ['xx']);
  assert.equal(found(pattern('a'), 'a'.repeat(10_000)).length, 500);
});

test('the server is asked in its own words', () => {
  assert.deepEqual(parameters(pattern('a b', 'rw')), { q: 'a b', regex: '1', word: '1' });
});
