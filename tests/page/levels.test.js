// Levels as the browser judges them by the server's rules, without a browser.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { test } from 'node:test';

import { load } from './modules.js';
import { Logs, Program, ROOT } from './program.js';

const { compileRules, levelOf } = await load('rows/levels.js');

test('example lines have the same level as on the server', async () => {
  const logs = await Logs.make();
  const program = await Program.serve([logs.directory]);
  try {
    const answer = await fetch(`${program.origin}/_/levels.json`);
    const rules = compileRules(await answer.json());
    const examples = JSON.parse(await readFile(path.join(ROOT, 'tests/it/levels.json'), 'utf8'));
    const wrong = examples.filter(({ line, level }) => levelOf(rules, line) !== (level ?? ''));
    assert.deepEqual(wrong, []);
  } finally {
    await program.kill('SIGTERM');
    await logs.remove();
  }
});
