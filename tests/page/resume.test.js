// Late bytes of rotated files are shown, even if the server was killed before it sent them.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { load } from './modules.js';
import { Program } from './program.js';
import { lines, scene, text } from './scene.js';

test('a page that resumes sends its positions in the last rotated files', async (context) => {
  context.mock.timers.enable({ apis: ['Date'] });
  const { ResumeState } = await load('net/resume.js');
  const resume = new ResumeState();
  const late = () => resume.late.map(({ generation, offset }) => `${generation}:${offset}`);
  const reset = (generation, from, reason) => resume.advance({ type: 'reset', generation, from, reason });
  const rows = (next) => resume.advance({ type: 'rows', from: 0, next, rows: [] });
  resume.advance({ type: 'open', generation: 'a', from: 0 });
  rows(1);
  reset('b', 0, 'rotated');
  rows(2);
  context.mock.timers.tick(5000);
  reset('c', 0, 'rotated');
  assert.deepEqual(late(), ['a:1', 'b:2']);
  // The connection is lost while late bytes of both files arrive.
  reset('a', 1, 'late');
  rows(5);
  reset('b', 2, 'late');
  resume.advance({ type: 'signed', generation: 'b signed' });
  rows(7);
  resume.disconnect();
  assert.deepEqual(resume.position, { generation: 'c', offset: 0 });
  assert.deepEqual(late(), ['a:5', 'b signed:7']);
  for (const next of ['d', 'e', 'f']) reset(next, 0, 'rotated');
  assert.deepEqual(late(), ['b signed:7', 'c:0', 'd:0', 'e:0']);
  reset('d', 0, 'back');
  assert.deepEqual(late(), ['b signed:7', 'c:0', 'e:0', 'f:0']);
  context.mock.timers.tick(10_000);
  assert.deepEqual(late(), []);
  // The present file gets a longer signature while late bytes arrive.
  reset('1-2-3-0-0', 0, 'rotated');
  context.mock.timers.tick(10_000);
  reset('d', 0, 'late');
  reset('1-2-3-7-8', 0, 'back');
  assert.deepEqual(late(), ['d:0']);
});

scene('late lines of two rotated files that a killed server did not send are shown once, between markers', async (scene) => {
  const { logs } = scene;
  const first = lines(1, 40);
  const second = lines(41, 80);
  const log = await logs.write('a.log', text(first));
  await scene.open(log);
  await scene.untilRows(first);
  await scene.untilState('live');
  await logs.rename('a.log', 'a.log.first');
  await logs.append('a.log', text(second));
  await scene.untilRowsAndMarks([...first, '[rotated]', ...second]);
  await logs.rename('a.log', 'a.log.second');
  await logs.append('a.log', 'line 81\n');
  const told = [...first, '[rotated]', ...second, '[rotated]', 'line 81'];
  await scene.untilRowsAndMarks(told);
  const { port } = scene.program;
  await scene.program.kill();
  await logs.append('a.log.first', 'late in the first\n');
  await logs.append('a.log.second', 'late in the second\n');
  await logs.append('a.log', 'line 82\n');
  await scene.untilState('reconnecting');
  scene.program = await Program.serve([logs.directory], { port });
  told.push('[late]', 'late in the first', '[late]', 'late in the second', '[back]', 'line 82');
  await scene.untilRowsAndMarks(told);
  await scene.untilState('live');
  // The new server also follows the rotated file, and a third server sends nothing twice.
  await logs.append('a.log.second', 'later\n');
  told.push('[late]', 'later', '[back]');
  await scene.untilRowsAndMarks(told);
  await scene.program.kill();
  await logs.append('a.log', 'line 83\n');
  await scene.untilState('reconnecting');
  scene.program = await Program.serve([logs.directory], { port });
  told.push('line 83');
  await scene.untilRowsAndMarks(told);
});
