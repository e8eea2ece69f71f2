// The states of the viewer page: waiting, refused, disconnected, left and restored.

import assert from 'node:assert/strict';
import { chmod, mkdir, rm, rmdir, symlink, writeFile } from 'node:fs/promises';

import { Program, eventually } from './program.js';
import { lines, scene, text } from './scene.js';

/** As root, drops the right to ignore file modes, so that a mode of 0 denies access. */
const WITHOUT_RIGHTS = process.getuid?.() === 0 ? 'exec setpriv --bounding-set=-all --inh-caps=-all --reuid=65534 --regid=65534 --clear-groups' : undefined;

/** Records each row that is ever on the page, with its offset. */
const rememberRows = () => {
  /** @type {[string | undefined, string | null][]} */
  const seen = [];
  Object.assign(window, { seen });
  /** @param {Element} root */
  const note = (root) => {
    const rows = root.matches('.row') ? [root] : root.querySelectorAll('.row');
    for (const row of rows) seen.push([/** @type {HTMLElement} */ (row).dataset.offset, row.textContent]);
  };
  const rows = /** @type {Element} */ (document.querySelector('#rows'));
  note(rows);
  new MutationObserver((changes) => {
    for (const { addedNodes } of changes) for (const node of addedNodes) if (node instanceof Element) note(node);
  }).observe(rows, { childList: true, subtree: true });
};

scene('a page shows every line once over restarts of the server', async (scene) => {
  const { logs, page } = scene;
  const all = lines(1, 50);
  const log = await logs.write('a.log', text(all));
  await scene.open(log);
  await scene.untilRows(all);
  await scene.untilState('live');
  await page.evaluate(rememberRows);
  for (let round = 0; round < 2; round += 1) {
    const { port } = scene.program;
    await scene.program.kill();
    const more = lines(all.length + 1, all.length + 2000);
    all.push(...more);
    await logs.append('a.log', text(more));
    await scene.untilState('reconnecting');
    assert.match(await scene.text('#state-detail') ?? '', /connection lost at/);
    scene.program = await Program.serve([logs.directory], { port });
    await scene.untilState('live');
    await logs.append('a.log', `after ${round}\n`);
    all.push(`after ${round}`);
    await scene.until((last) => [...document.querySelectorAll('#rows .row')].at(-1)?.textContent === last, `after ${round}`);
    // A marker would mean that lines may be missing.
    assert.equal(await page.locator('#rows .marker').count(), 0);
  }
  // No line is missing or repeated, back to the first one.
  await page.mouse.move(600, 300);
  await eventually('the first line is in sight', async () => {
    await page.mouse.wheel(0, -3000);
    const [first] = await scene.rows();
    return first === all[0] || first;
  });
  const seen = await page.evaluate(() => /** @type {any} */ (window).seen);
  const places = new Map();
  for (const [offset, row] of seen) places.set(row, (places.get(row) ?? new Set()).add(offset));
  assert.deepEqual(all.filter((line) => !places.has(line)), [], 'missing');
  assert.deepEqual([...places].filter(([line, offsets]) => offsets.size !== 1 || !all.includes(line)), [], 'twice, or never written');
});

scene('a page waits for a log that does not exist yet', async (scene) => {
  const { logs } = scene;
  await scene.open(logs.path('later.log'));
  await scene.untilState('waiting');
  assert.equal(await scene.text('#notice-title'), 'Waiting for the file');
  await logs.append('later.log', 'here it is\n');
  await scene.untilRows(['here it is']);
  await scene.untilState('live');
  await scene.until(() => document.querySelector('#notice')?.hasAttribute('hidden'));
});

scene('a page is live once its rows have arrived, and does not say that the log is empty before', async (scene) => {
  const { logs, page } = scene;
  const log = await logs.write('a.log', text(lines(1, 3)));
  /** @type {() => void} */
  let release = () => {};
  const released = new Promise((resolve) => { release = () => resolve(undefined); });
  let isHeld = false;
  await page.routeWebSocket(/tail=1/, (socket) => {
    socket.connectToServer().onMessage(async (message) => {
      if (JSON.parse(String(message)).type === 'rows') {
        isHeld = true;
        await released;
      }
      socket.send(message);
    });
  });
  await page.addInitScript(() => {
    const seen = /** @type {any} */ (window).seen = /** @type {unknown[]} */ ([]);
    const look = () => {
      const [state, notice] = [document.querySelector('#state'), document.querySelector('#notice')];
      if (state instanceof HTMLElement && notice) seen.push([state.dataset.state, document.querySelectorAll('#rows .row').length, notice.hasAttribute('hidden')]);
      requestAnimationFrame(look);
    };
    requestAnimationFrame(look);
  });
  await scene.open(log);
  await eventually('rows on their way', async () => isHeld);
  await page.evaluate(() => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve))));
  release();
  await scene.untilState('live');
  const seen = new Set((await page.evaluate(() => /** @type {any} */ (window).seen)).map((/** @type {unknown} */ one) => JSON.stringify(one)));
  assert.deepEqual([...seen].filter((one) => !['["connecting",0,true]', '["live",3,true]'].includes(one)), []);
});

scene('a path outside the prefixes is forbidden and shows nothing', async (scene) => {
  const { logs, page } = scene;
  for (const path of ['/etc/passwd', '/etc/no-such-file']) {
    await scene.open(path);
    assert.equal(await scene.text('h1'), '403 · Forbidden');
    const said = (await page.locator('main').innerText()).split('\n').filter((line) => line !== '');
    assert.equal(said.length, 3, `what, why and the way out: ${JSON.stringify(said)}`);
    assert.match(said[1], /outside what you may read here/);
    assert.equal(said[2], 'All logs');
    scene.assertNoTrouble();
  }
  // A log that is replaced by a link to the outside while a page shows it.
  const log = await logs.write('link.log', 'inside\n');
  await scene.open(log);
  await scene.untilRows(['inside']);
  await rm(log);
  await symlink('/etc/passwd', log);
  await page.reload();
  await scene.untilText('h1', '403 · Forbidden');
});

scene('a page of a log that is no longer served says forbidden and stops reconnecting', async (scene) => {
  const { logs, page } = scene;
  const log = await logs.write('a.log', 'line\n');
  await mkdir(logs.path('other'));
  await scene.open(log);
  await scene.untilRows(['line']);
  const { port } = scene.program;
  await scene.program.kill();
  await scene.untilState('reconnecting');
  scene.program = await Program.serve([logs.path('other')], { port });
  await page.click('#retry');
  await scene.untilState('forbidden');
  assert.equal(await scene.text('#state-word'), 'Forbidden');
  await scene.untilRows(['line']);
  await eventually('nobody asks', async () => (await scene.program.viewers()) === 0 || 'a viewer');
  // If it is served again, the retry button connects.
  await scene.program.kill();
  scene.program = await Program.serve([logs.directory], { port });
  await page.click('#retry');
  await scene.untilState('live');
  await logs.append('a.log', 'more\n');
  await scene.untilRows(['line', 'more']);
});

scene('a page that was left is no viewer, and resumes when the reader returns to it', async (scene) => {
  const { logs, page, program } = scene;
  const all = lines(1, 20);
  const log = await logs.write('a.log', text(all));
  await scene.open(log);
  await scene.untilRows(all);
  assert.equal(await program.viewers(), 1);
  await page.click('.home');
  await scene.until(() => document.title === 'Logs');
  await eventually('the viewer is gone', async () => (await program.viewers()) === 0 || 'it is there');
  const more = lines(21, 40);
  all.push(...more);
  await logs.append('a.log', text(more));
  await page.goBack();
  await scene.untilRows(all);
  await scene.untilState('live');
  await logs.append('a.log', 'one more\n');
  all.push('one more');
  await scene.untilRows(all);
});

scene('a waiting page says whether the log is missing or not a regular file', async (scene) => {
  const { logs } = scene;
  const log = await logs.write('a.log', 'a file\n');
  await scene.open(log);
  await scene.untilRows(['a file']);
  await rm(log);
  await scene.untilState('waiting');
  assert.equal(await scene.text('#state-detail'), 'the file does not exist yet');
  await mkdir(log);
  await scene.untilText('#state-detail', 'not a regular file');
  await rmdir(log);
  await logs.write('a.log', 'a file again\n');
  await scene.untilState('live');
  await scene.until(() => [...document.querySelectorAll('#rows .row')].at(-1)?.textContent === 'a file again');
});

scene('a waiting page says that the server may not read the file', async (scene) => {
  const { logs } = scene;
  const log = await logs.write('a.log', 'readable\n');
  await scene.open(log);
  await scene.untilRows(['readable']);
  await rm(log);
  await scene.untilState('waiting');
  await writeFile(log, 'secret\n', { mode: 0 });
  await scene.untilText('#state-detail', 'the server may not read it');
  assert.deepEqual((await scene.rows()).filter((row) => row === 'secret'), []);
  await chmod(log, 0o644);
  await scene.until(() => [...document.querySelectorAll('#rows .row')].at(-1)?.textContent === 'secret');
  await scene.untilState('live');
}, { shell: WITHOUT_RIGHTS });

scene('the marker of a gap shows how many bytes were left out', async (scene) => {
  const { logs } = scene;
  const log = await logs.write('a.log', 'before\n');
  await scene.open(log);
  await scene.untilRows(['before']);
  await logs.append('a.log', Buffer.concat([Buffer.alloc(3 << 20), Buffer.from('after\n')]));
  await scene.untilRowsAndMarks(['before', '[gap]', 'after']);
  assert.match(await scene.text('#rows .marker') ?? '', /^3\.0 MiB left out/);
});

scene('a page says that the stream has ended, and does not reconnect', async (scene) => {
  const { logs, page } = scene;
  const log = await logs.write('a.log', '');
  let streams = 0;
  await page.routeWebSocket(/tail=1/, (socket) => {
    streams += 1;
    for (const message of [
      { type: 'open', path: log, generation: '1', from: 0, size: 5, recovered: false, watch: 'poll' },
      { type: 'rows', from: 0, next: 5, rows: [[0, 'line']] },
      { type: 'a-kind-of-a-later-version' },
      { type: 'end' },
    ]) socket.send(JSON.stringify(message));
    socket.close({ code: 1000 });
  });
  await scene.open(log);
  await scene.untilState('ended');
  await scene.untilRows(['line']);
  assert.equal(await scene.text('#watch'), 'polling');
  await page.evaluate(() => window.dispatchEvent(new Event('online')));
  assert.equal(await scene.text('#state-word'), 'Ended');
  assert.equal(streams, 1);
});

scene('the status bar shows the age of the last line and updates it', async (scene) => {
  const { logs } = scene;
  const log = await logs.write('a.log', 'old\n');
  await scene.open(log);
  await scene.untilState('live');
  await scene.until(() => /^no new line since \d\d:\d\d:\d\d$/.test(document.querySelector('#age')?.textContent ?? ''));
  await logs.append('a.log', 'new\n');
  await scene.untilRows(['old', 'new']);
  await scene.until(() => /^last line (just now|[12] s ago)$/.test(document.querySelector('#age')?.textContent ?? ''));
  await scene.untilText('#age', 'last line 3 s ago');
});

scene('a hidden page shows new lines and errors in its title and on its icon', async (scene) => {
  const { logs, page } = scene;
  const log = await logs.write('a.log', 'old\n::error::an old one\n');
  await scene.open(log);
  await scene.untilState('live');
  // In a headless browser pages are never hidden.
  const hide = (hidden) => page.evaluate((hidden) => {
    Object.defineProperty(document, 'hidden', { configurable: true, get: () => hidden });
    document.dispatchEvent(new Event('visibilitychange'));
  }, hidden);
  /** @param {string} title @param {string} news */
  const untilTab = (title, news) => scene.until(([title, news]) => {
    const icon = /** @type {HTMLLinkElement} */ (document.querySelector('link[rel="icon"]'));
    return document.title === title && (icon.dataset.news ?? 'quiet') === news && (news === 'quiet' || icon.href.startsWith('data:image/svg+xml,'));
  }, [title, news]);
  await logs.append('a.log', 'seen\n');
  await scene.until(() => document.querySelectorAll('.row').length === 3);
  await untilTab('a.log', 'quiet');
  await hide(true);
  await logs.append('a.log', text(lines(1, 12)));
  await untilTab('(12) a.log', 'lines');
  await logs.append('a.log', '::err');
  await untilTab('(13) a.log', 'lines');
  await logs.append('a.log', 'or::boom\nfine\n');
  await untilTab('(14, 1 error) a.log', 'errors');
  await logs.append('a.log', '::error::boom\nfine\n');
  await untilTab('(16, 2 errors) a.log', 'errors');
  await hide(false);
  await untilTab('a.log', 'quiet');
  await scene.program.kill();
  await untilTab('a.log', 'lost');
});

scene('the status line says how many view the log', async (scene) => {
  const { logs } = scene;
  const log = await logs.write('a.log', text(lines(1, 5)));
  await scene.open(log);
  await scene.untilState('live');
  assert.equal(await scene.text('#viewers'), '');
  const other = await scene.page.context().newPage();
  await other.goto(scene.page.url());
  await eventually('both pages say so', async () => {
    const said = [await scene.text('#viewers'), await other.textContent('#viewers')];
    return said.every((words) => words === '2 viewers') || said.join(' | ');
  });
  await other.close();
  await eventually('the other one has gone', async () => {
    const words = await scene.text('#viewers');
    return words === '' || words;
  });
});
