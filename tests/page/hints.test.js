// Which of several short messages is shown.

import assert from 'node:assert/strict';
import { mock, test } from 'node:test';

import { Hints } from '../../src/serve/web/ui/hints.js';

const HINT_MS = 2_500;

/** @param {(hints: Hints, shown: () => string, pass: (ms: number) => void) => void} play */
function withHints(play) {
  mock.timers.enable({ apis: ['setTimeout'] });
  try {
    let words = '';
    play(new Hints((shown) => { words = shown; }), () => words, (ms) => mock.timers.tick(ms));
  } finally {
    mock.timers.reset();
  }
}

test('trouble that comes after an answer is shown when the answer is over', () => {
  withHints((hints, shown, pass) => {
    hints.answer('Could not copy');
    pass(HINT_MS - 1);
    hints.trouble('No line numbers yet');
    assert.equal(shown(), 'Could not copy');
    pass(1);
    assert.equal(shown(), 'No line numbers yet');
    pass(HINT_MS);
    assert.equal(shown(), '');
  });
});

test('an answer takes the place of trouble, which comes back after it', () => {
  withHints((hints, shown, pass) => {
    hints.trouble('No line numbers yet');
    hints.answer('Link copied');
    assert.equal(shown(), 'Link copied');
    hints.answer('Line copied');
    pass(HINT_MS - 1);
    assert.equal(shown(), 'Line copied');
    pass(1);
    assert.equal(shown(), 'No line numbers yet');
  });
});

test('a notice is shown until it is closed, but for answers and trouble', () => {
  withHints((hints, shown, pass) => {
    hints.answer('Link copied');
    hints.notice('The log is not that long.');
    assert.equal(shown(), 'Link copied');
    pass(HINT_MS);
    assert.equal(shown(), 'The log is not that long.');
    hints.trouble('No line numbers yet');
    assert.equal(shown(), 'No line numbers yet');
    pass(HINT_MS);
    assert.equal(shown(), 'The log is not that long.');
    pass(10 * HINT_MS);
    assert.equal(shown(), 'The log is not that long.');
    hints.answer('Link copied');
    hints.close();
    assert.equal(shown(), '');
    pass(HINT_MS);
    assert.equal(shown(), '');
  });
});
