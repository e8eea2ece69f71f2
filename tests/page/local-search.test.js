// Steps among the matches of merged rows that are tested elsewhere than on the page's own thread.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { load } from './modules.js';

const { LocalSearch } = await load('search/local-search.js');

/** @param {number} gen @param {boolean} isMatch */
const row = (gen, isMatch) => ({ gen, offset: 0, log: 0, logOffset: gen, generation: 'a', html: String(isMatch), isPaged: true });

test('a step waits for the test of the pages that come meanwhile, and passes over no match in them', async () => {
  const current = row(100, true);
  const rows = [row(99, false), current];
  // Each comes while the rows before it are tested. The match is in the last one.
  const pages = [row(98, false), row(97, false), row(96, false), row(95, true)];
  /** @type {object[]} */
  const gone = [];
  const search = new LocalSearch({
    buffer: { paged: { atStart: false, isJoined: false }, entries: () => [...rows], isShown: () => true, isInRun: () => true },
    pager: { find: () => assert.fail('the server searches from the edge of the pages on') },
    journey: { here: () => ({ row: current, isCurrent: true }), goTo: async (/** @type {object} */ to) => { gone.push(to); } },
    rowFilter: () => ({ logs: new Set([0]) }), parameters: () => ({}), say: () => {}, decided: () => {}, refused: () => {},
  });
  search.setTest({
    interruption: '',
    ask: async (/** @type {{html: string}[]} */ asked) => {
      const page = pages.shift();
      if (page !== undefined) rows.unshift(page);
      return asked.map(({ html }) => html === 'true');
    },
  });
  await search.step(-1);
  assert.deepEqual(gone, [rows[0]]);
});
