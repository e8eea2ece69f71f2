// Links to lines, to offsets, into rotated files and to the whole view; copying.

import assert from 'node:assert/strict';

import { eventually } from './program.js';
import { lines, scene, text } from './scene.js';

const clipboard = { context: { permissions: ['clipboard-read', 'clipboard-write'] } };

/** The texts of the selected rows. @param {import('./scene.js').Scene} scene */
function chosen({ page }) {
  return page.evaluate(() => [...document.querySelectorAll('.row.selected')].map((row) => row.textContent));
}

/** Waits until these lines are selected. @param {import('./scene.js').Scene} scene @param {string[]} wanted */
async function untilChosen(scene, wanted) {
  await eventually('the lines are chosen', async () => {
    const seen = await chosen(scene);
    return JSON.stringify(seen) === JSON.stringify(wanted) || seen;
  });
  await scene.until(() => {
    const box = document.querySelector('.row.selected')?.getBoundingClientRect();
    const log = document.querySelector('#log')?.getBoundingClientRect();
    return box !== undefined && log !== undefined && box.top >= log.top && box.bottom <= log.bottom;
  });
}

scene('a link to lines shows them, also after the log has grown', async (scene) => {
  const { logs, page } = scene;
  const log = await logs.write('a.log', text(lines(1, 20_000)));
  await scene.open(`${log}#L120-L123`);
  await untilChosen(scene, lines(120, 123));
  await scene.untilState('paused');
  await logs.append('a.log', text(lines(20_001, 30_000)));
  await page.reload();
  await untilChosen(scene, lines(120, 123));
  // A link to an offset within a line.
  const offset = text(lines(1, 14_999)).length;
  await scene.open('/');
  await scene.open(`${log}#@${offset + 3}`);
  await untilChosen(scene, ['line 15000']);
  // Another link on the same page.
  await page.evaluate(() => { location.hash = '#L29990'; });
  await untilChosen(scene, ['line 29990']);
});

scene('a link beyond the end says how many lines the log has', async (scene) => {
  const { logs } = scene;
  const log = await logs.write('a.log', text(lines(1, 50)));
  await scene.open(`${log}#L4000`);
  await scene.until(() => /has 50 lines\./.test(document.querySelector('#hint-words')?.textContent ?? ''));
});

scene('a click before a line selects it, a second one with Shift selects a range, and the URL is updated', async (scene) => {
  const { logs, page } = scene;
  const log = await logs.write('a.log', text(lines(1, 300)));
  await scene.open(log);
  await scene.untilState('live');
  await page.keyboard.press('l');
  await scene.until(() => [...document.querySelectorAll('#rows .row')].at(-1)?.getAttribute('data-line') === '300');
  const beside = async (/** @type {string} */ line) => {
    const box = await page.locator('.row', { hasText: new RegExp(`^${line}$`) }).boundingBox();
    assert.ok(box);
    return [box.x + 20, box.y + 8];
  };
  const [x, y] = await beside('line 280');
  await page.mouse.click(x, y);
  await untilChosen(scene, ['line 280']);
  await scene.until(() => location.hash.startsWith('#L280&g='));
  const [, lower] = await beside('line 284');
  await page.keyboard.down('Shift');
  await page.mouse.click(x, lower);
  await page.keyboard.up('Shift');
  await untilChosen(scene, lines(280, 284));
  await scene.until(() => location.hash.startsWith('#L280-L284&g='));
  assert.equal(await page.evaluate(() => document.getSelection()?.toString()), '');
  // A click on the text does not change the selected lines, so that text can be selected.
  await page.mouse.click(x + 300, y);
  await untilChosen(scene, lines(280, 284));
  await page.keyboard.press('Escape');
  await scene.until(() => document.querySelector('.row.selected') === null && !location.hash.startsWith('#L'));
});

scene('selected lines are copied as text and as Markdown with a link, even if they are not on the page', async (scene) => {
  const { logs, page } = scene;
  const log = await logs.write('a.log', text(lines(1, 9000).map((line) => `\x1b[31m${line}\x1b[0m <b>\`\`\``)));
  await scene.open(`${log}#L100-L8100`);
  await scene.until(() => document.querySelector('.row.selected') !== null);
  await page.keyboard.press('y');
  await scene.until(() => document.querySelector('#hint-words')?.textContent === '8,001 lines copied');
  const copied = await page.evaluate(() => navigator.clipboard.readText());
  assert.equal(copied, text(lines(100, 8100).map((line) => `${line} <b>\`\`\``)));
  await page.evaluate(() => { location.hash = '#L7-L8'; });
  await scene.until(() => document.querySelectorAll('.row.selected').length === 2);
  await page.keyboard.press('m');
  await scene.until(() => document.querySelector('#hint-words')?.textContent === '2 lines copied');
  const markdown = await page.evaluate(() => navigator.clipboard.readText());
  const url = /\((http[^)]+)\)/.exec(markdown)?.[1] ?? '';
  assert.match(url, /#L7-L8&g=/);
  assert.equal(markdown, `[a.log L7-L8](${url})\n\n\`\`\`\`text\nline 7 <b>\`\`\`\nline 8 <b>\`\`\`\n\`\`\`\`\n`);
  await page.goto('about:blank');
  await page.goto(url);
  await untilChosen(scene, lines(7, 8).map((line) => `${line} <b>\`\`\``));
}, clipboard);

scene('the URL contains the whole view, and another window restores it', async (scene) => {
  const { logs, page, context } = scene;
  const log = await logs.write('a.log', text(lines(1, 9000).map((line, at) => `${line} ${at % 100 === 0 ? 'needle' : 'hay'}`)));
  await scene.open(log);
  await scene.untilState('live');
  for (const key of ['l', 'w', 's', 'r']) await page.keyboard.press(key);
  await page.keyboard.press('/');
  await page.keyboard.type('needle');
  await page.click('#filter');
  await scene.until(() => document.querySelectorAll('#rows .row').length === 90);
  await scene.until(() => /find=:needle&filter=1/.test(location.hash) && /wrap=0&numbers=1&repeats=1&times=clock/.test(location.hash));
  const other = await context.newPage();
  await other.addInitScript(() => localStorage.clear());
  await other.goto(page.url());
  await scene.until(() => document.querySelectorAll('#rows .row').length === 90, undefined, other);
  assert.equal(await other.inputValue('#find-text'), 'needle');
  assert.deepEqual(await other.evaluate(() => ({ ...document.getElementById('log')?.dataset })), { following: 'true', wrap: 'false', numbers: 'true', times: 'clock' });
  // The options of a link are not stored.
  assert.equal(await other.evaluate(() => localStorage.getItem('tailcast.options')), null);
});

scene('a reload keeps the place of a paused view', async (scene) => {
  const { logs, page } = scene;
  const log = await logs.write('a.log', text(lines(1, 9000)));
  await scene.open(log);
  await scene.untilState('live');
  await page.keyboard.press('Home');
  await scene.until(() => document.querySelector('#rows .row')?.textContent === 'line 1');
  await page.evaluate(() => document.querySelector('#log')?.scrollBy(0, 2000));
  const top = () => page.evaluate(() => {
    const log = document.querySelector('#log')?.getBoundingClientRect();
    const row = [...document.querySelectorAll('#rows .row')].find((row) => row.getBoundingClientRect().bottom > (log?.top ?? 0) + 1);
    return { line: row?.textContent, offset: row?.getAttribute('data-offset'), hash: location.hash.replace(/&.*/, '') };
  });
  const untilTop = (/** @type {string | undefined} */ line) => eventually(`${line} and its address`, async () => {
    const seen = await top();
    return (seen.line === line && seen.hash === `#top=${seen.offset}`) || seen;
  });
  const { line } = await top();
  await untilTop(line);
  // Each reload starts where the last one ended, so that an error of one pixel would add up.
  for (let visit = 0; visit < 3; visit += 1) {
    await page.reload();
    await scene.untilState('paused');
    await scene.until(() => document.querySelector('#rows .row')?.textContent === 'line 1');
    await untilTop(line);
  }
});

scene('a link into the last lines shows its place, even if the stream delivers them before the response', async (scene) => {
  const { logs, page } = scene;
  const log = await logs.write('a.log', text(lines(1, 9000)));
  let asked = 0;
  // The response is delayed until the stream has delivered the last lines, and the place is among them.
  await page.route(/\/_\/rows/, async (route) => {
    asked += 1;
    const answer = await route.fetch();
    await new Promise((resolve) => setTimeout(resolve, 500));
    await route.fulfill({ response: answer });
  });
  const offset = text(lines(1, 8900)).length;
  await scene.open(`${log}#top=${offset}`);
  await scene.until((offset) => {
    const log = document.querySelector('#log')?.getBoundingClientRect();
    const row = document.querySelector(`#rows [data-offset="${offset}"]`)?.getBoundingClientRect();
    return row !== undefined && log !== undefined && Math.abs(row.top - log.top) <= 1;
  }, offset);
  await scene.until((wanted) => {
    const rows = [...document.querySelectorAll('#rows .row')].map((row) => row.textContent);
    const first = Number(rows[0]?.slice('line '.length));
    return rows.at(-1) === wanted && rows.every((row, at) => row === `line ${first + at}`);
  }, 'line 9000');
  assert.ok(asked > 0);
});

scene('a link into a rotated file shows that file, or says that it is gone', async (scene) => {
  const { logs, page } = scene;
  const log = await logs.write('a.log', text(lines(1, 400)));
  await scene.open(log);
  await scene.untilState('live');
  await page.keyboard.press('k');
  await page.keyboard.press('K');
  await scene.until(() => /^#[@L]/.test(location.hash));
  await page.evaluate(() => { location.hash = location.hash.replace(/^#[^&]*/, '#L30'); });
  await untilChosen(scene, ['line 30']);
  await scene.until(() => /^#L30&g=/.test(location.hash));
  const link = page.url();
  await logs.rename('a.log', 'a.log.1');
  await logs.append('a.log', text(lines(5001, 5400)));
  await page.goto('about:blank');
  await page.goto(link);
  await untilChosen(scene, ['line 30']);
  // Scrolling down from there shows the present file.
  await eventually('the present file', async () => {
    await page.mouse.move(600, 300);
    await page.mouse.wheel(0, 3000);
    const rows = await scene.rows();
    return rows.at(-1) === 'line 5400' || rows.at(-1);
  });
  const { rm } = await import('node:fs/promises');
  await rm(logs.path('a.log.1'));
  await scene.program.kill();
  const { Program } = await import('./program.js');
  scene.program = await Program.serve([logs.directory], { port: scene.program.port });
  await page.goto('about:blank');
  await page.goto(link);
  await scene.until(() => /no longer there/.test(document.querySelector('#hint-words')?.textContent ?? ''));
  assert.deepEqual(await chosen(scene), []);
  await scene.untilState('live');
});

scene('a link, a reload or a step to a line on the last screen does not make the view follow the end', async (scene) => {
  const { logs, page } = scene;
  const all = lines(1, 300);
  const log = await logs.write('a.log', text(all));
  const leads = {
    top: async () => scene.open(`${log}#top=${Buffer.byteLength(text(all.slice(0, 290)))}`),
    reload: async () => page.reload(),
    line: async () => {
      // A new page, because an open one has already counted new lines.
      await scene.open('/');
      await scene.open(`${log}#L298`);
    },
    match: async () => {
      await page.keyboard.press('Escape');
      await page.keyboard.press('End');
      await scene.untilState('live');
      await page.keyboard.press('/');
      await page.keyboard.type('line 299');
      await page.keyboard.press('Enter');
    },
  };
  let come = 0;
  for (const [name, lead] of Object.entries(leads)) {
    await lead();
    await scene.untilState('paused');
    const row = name === 'match' ? 'line 299' : 'line 298';
    await scene.until((row) => [...document.querySelectorAll('#rows .row')].some((one) => one.textContent === row), row);
    const place = () => page.evaluate((row) => [...document.querySelectorAll('#rows .row')].find((one) => one.textContent === row)?.getBoundingClientRect().top, row);
    // Waits for the frames in which the page may take it for a scroll to the end.
    await page.evaluate(() => new Promise((resolve) => { requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(resolve))); }));
    const before = await place();
    come += 1;
    await logs.append('a.log', `came ${come}\n`);
    await scene.untilText('#new-lines-count', '1 new line');
    assert.equal(await place(), before, name);
    assert.equal(await page.locator('#state').getAttribute('data-state'), 'paused', name);
  }
});

scene('changing options or stepping between groups does not make the view follow the end', async (scene) => {
  const { logs, page } = scene;
  const wide = lines(1, 260).map((line) => `${line} ${'wide '.repeat(120)}`);
  const all = [...wide, ...lines(261, 295), '::group::the last', ...lines(297, 300)];
  const log = await logs.write('a.log', text(all));
  let come = 0;
  const staysPaused = async (/** @type {string} */ what) => {
    await page.evaluate(() => new Promise((resolve) => { requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(resolve))); }));
    come += 1;
    await logs.append('a.log', `came ${come}\n`);
    await scene.untilText('#new-lines-count', come === 1 ? '1 new line' : `${come} new lines`);
    assert.equal(await page.locator('#state').getAttribute('data-state'), 'paused', what);
  };
  await scene.open(`${log}#L262`);
  await scene.untilState('paused');
  await untilChosen(scene, ['line 262']);
  await page.keyboard.press(']');
  await eventually('the group is in sight', () => page.evaluate(() => {
    const group = [...document.querySelectorAll('#rows .row')].find((one) => one.textContent?.includes('the last'));
    return (group?.getBoundingClientRect().top ?? Infinity) < innerHeight;
  }));
  await staysPaused('a step to a group');
  await page.keyboard.press('w');
  await staysPaused('lines are not wrapped');
  await page.keyboard.press('w');
  await staysPaused('lines are wrapped');
});
