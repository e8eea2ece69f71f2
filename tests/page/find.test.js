// Find, filter, highlights, errors and warnings in growing logs that are larger than the page's rows.

import assert from 'node:assert/strict';

import { eventually } from './program.js';
import { lines, scene, text } from './scene.js';

/** Lines; each 500th contains `needle` or `Needle`. @param {number} from @param {number} to */
function haystack(from, to) {
  return text(lines(from, to).map((line, at) => {
    const number = from + at;
    return number % 500 === 0 ? `${line} \x1b[31m${number % 1000 === 0 ? 'Needle' : 'needle'}\x1b[0m(s) in it` : `${line} of hay`;
  }));
}

/** The text of the current match, if it is in sight. @param {import('./scene.js').Scene} scene */
function hit({ page }) {
  return page.evaluate(() => {
    const row = document.querySelector('.row.current');
    const box = row?.getBoundingClientRect();
    const log = document.querySelector('#log')?.getBoundingClientRect();
    const isInSight = box !== undefined && log !== undefined && box.top >= log.top && box.bottom <= log.bottom;
    return isInSight ? row?.textContent : `out of sight: ${row?.textContent}`;
  });
}

/** The texts with this CSS highlight. @param {import('./scene.js').Scene} scene @param {string} name */
function painted({ page }, name) {
  return page.evaluate((name) => [...(CSS.highlights.get(name) ?? [])].map((range) => {
    const whole = document.createRange();
    whole.setStart(range.startContainer, range.startOffset);
    whole.setEnd(range.endContainer, range.endOffset);
    return whole.toString();
  }), name);
}

scene('find searches the whole file and steps through the matches', async (scene) => {
  const { logs, page } = scene;
  const log = await logs.write('a.log', haystack(1, 30_000));
  await scene.open(log);
  await scene.untilState('live');
  await page.keyboard.press('Control+f');
  await page.keyboard.type('needle');
  await scene.untilText('#find-count', '60 lines');
  assert.equal(await scene.text('#state-word'), 'Live', 'counting does not move the view');
  await page.keyboard.press('Enter');
  // The first step starts at the view. After the last match comes the first one.
  await scene.untilText('#find-count', '60 of 60');
  await page.keyboard.press('Enter');
  await scene.untilText('#find-count', '1 of 60');
  await eventually('the first match', async () => await hit(scene) === 'line 500 needle(s) in it' || hit(scene));
  assert.deepEqual(await painted(scene, 'found-here'), ['needle']);
  await page.keyboard.press('Shift+Enter');
  await eventually('the last match', async () => await hit(scene) === 'line 30000 Needle(s) in it' || hit(scene));
  // Keyboard shortcuts do the same outside of the field.
  await page.click('#log', { position: { x: 900, y: 300 } });
  await page.keyboard.press('N');
  await eventually('the one before', async () => await hit(scene) === 'line 29500 needle(s) in it' || hit(scene));
  await page.keyboard.press('n');
  await eventually('and back', async () => await hit(scene) === 'line 30000 Needle(s) in it' || hit(scene));
});

scene('find has switches for case, words and regular expressions, and an invalid pattern is explained', async (scene) => {
  const { logs, page } = scene;
  const log = await logs.write('a.log', haystack(1, 10_000));
  await scene.open(log);
  await scene.untilState('live');
  await page.keyboard.press('/');
  await page.keyboard.type('Needle');
  await scene.untilText('#find-count', '20 lines');
  await page.click('[data-find="case"]');
  await scene.untilText('#find-count', '10 lines');
  await page.click('[data-find="case"]');
  await page.fill('#find-text', 'need');
  await scene.untilText('#find-count', '20 lines');
  await page.click('[data-find="word"]');
  await scene.untilText('#find-count', 'no matches');
  await page.click('[data-find="word"]');
  await page.fill('#find-text', 'line [12]000 n');
  await scene.untilText('#find-count', 'no matches');
  await page.click('[data-find="regex"]');
  await scene.untilText('#find-count', '2 lines');
  await page.fill('#find-text', 'line (1');
  await scene.until(() => /group/.test(document.querySelector('#find-count')?.textContent ?? ''));
  assert.equal(await page.getAttribute('#find-text', 'aria-invalid'), 'true');
  await page.fill('#find-text', 'line 1(0*) n');
  await scene.untilText('#find-count', '2 lines');
  assert.equal(await page.getAttribute('#find-text', 'aria-invalid'), 'false');
});

scene('the number of matches is updated when the log grows and is rotated', async (scene) => {
  const { logs, page } = scene;
  const log = await logs.write('a.log', haystack(1, 2000));
  await scene.open(log);
  await scene.untilState('live');
  await page.keyboard.press('/');
  await page.keyboard.type('needle');
  await scene.untilText('#find-count', '4 lines');
  for (let from = 2001; from < 6000; from += 1000) {
    await logs.append('a.log', haystack(from, from + 999));
    await scene.untilText('#find-count', `${4 + ((from + 999 - 2000) / 500)} lines`);
  }
  // A row that was searched while it was incomplete is searched again.
  const looked = page.waitForResponse((answer) => answer.url().includes('q=needle'));
  await logs.append('a.log', 'half a nee');
  // The end of a search is fixed before the server responds.
  await looked;
  await logs.append('a.log', 'dle\n');
  await scene.untilText('#find-count', '13 lines');
  await logs.rename('a.log', 'a.log.1');
  await logs.append('a.log', haystack(1, 1000));
  // Those of the old file still count.
  await scene.untilText('#find-count', '15 lines');
});

scene('a search that the server ends early is continued', async (scene) => {
  const { logs, page } = scene;
  const log = await logs.write('a.log', haystack(1, 30_000));
  await scene.open(log);
  await scene.untilState('live');
  await page.evaluate(() => document.querySelector('#log')?.scrollTo(0, 0));
  await scene.until(() => document.querySelector('#rows .row')?.textContent !== 'line 30000 Needle(s) in it');
  let asked = 0;
  // Makes the server's searches end after a part, as if their time were up.
  await page.route(/\/_\/find.*q=needle/, async (route) => {
    asked += 1;
    const url = new URL(route.request().url());
    const of = (/** @type {string} */ name) => Number(url.searchParams.get(name) ?? 0);
    const began = Math.max(of('from'), of('near'));
    const end = Math.min(began + 150_000, of('to'));
    const isCut = end < of('to') || of('near') > 0;
    url.searchParams.delete('near');
    url.searchParams.set('from', String(began));
    url.searchParams.set('to', String(end));
    const answer = await route.fetch({ url: url.href });
    const body = await answer.text();
    await route.fulfill({ response: answer, body: isCut ? body.replace('"complete":true,"reason":null', '"complete":false,"reason":"time"') : body });
  });
  await page.keyboard.press('/');
  await page.keyboard.type('needle');
  await scene.untilText('#find-count', '60 lines');
  assert.ok(asked > 3, `asked ${asked} times`);
  await logs.append('a.log', haystack(30_001, 30_500));
  await scene.untilText('#find-count', '61 lines');
});

scene('a filter shows matching lines only, in the history and among new lines', async (scene) => {
  const { logs, page } = scene;
  const log = await logs.write('a.log', haystack(1, 30_000));
  await scene.open(log);
  await scene.untilState('live');
  await page.keyboard.press('/');
  await page.keyboard.type('needle');
  await page.click('#filter');
  const wanted = Array.from({ length: 60 }, (_, at) => `line ${500 * (at + 1)} ${at % 2 === 1 ? 'Needle' : 'needle'}(s) in it`);
  await scene.untilRows(wanted);
  await eventually('what matches stands out', async () => (await painted(scene, 'found')).length > 10);
  // New lines, complete or in parts.
  await logs.append('a.log', haystack(30_001, 30_500));
  wanted.push('line 30500 needle(s) in it');
  await scene.untilRows(wanted);
  await logs.append('a.log', 'half a nee');
  await logs.append('a.log', 'dle\nand hay\n');
  wanted.push('half a needle');
  await scene.untilRows(wanted);
  await scene.untilState('live');
  // A click before the text of a match shows the lines around it.
  await page.evaluate(() => {
    const row = [...document.querySelectorAll('#rows .row')].find((one) => one.textContent?.startsWith('line 15000 '));
    row?.scrollIntoView({ block: 'center' });
  });
  const box = await page.locator('.row', { hasText: /^line 15000 / }).boundingBox();
  assert.ok(box);
  await page.mouse.click(box.x + 6, box.y + 8);
  await eventually('its neighbours', async () => {
    const around = await page.evaluate(() => {
      const rows = [...document.querySelectorAll('#rows .row')];
      const at = rows.findIndex((row) => row.matches('.selected'));
      return rows.slice(Math.max(0, at - 1), at + 2).map((row) => row.textContent);
    });
    return JSON.stringify(around) === JSON.stringify(['line 14999 of hay', 'line 15000 Needle(s) in it', 'line 15001 of hay']) || around;
  });
  assert.equal(await page.getAttribute('#filter', 'aria-pressed'), 'false');
  assert.equal(await page.inputValue('#find-text'), 'needle', 'it goes on finding');
});

scene('a filter checks redrawn lines again', async (scene) => {
  const { logs, page } = scene;
  const log = await logs.write('a.log', 'a needle\nthe first step\nthe second step\n');
  await scene.open(log);
  await scene.untilState('live');
  await page.keyboard.press('/');
  await page.keyboard.type('needle');
  await page.click('#filter');
  await scene.untilRows(['a needle']);
  await logs.append('a.log', '\x1b[2A\x1b[Kthe needle step\r\n');
  await scene.untilRows(['a needle', 'the needle step']);
  await logs.append('a.log', '\x1b[1A\x1b[Kdone\r\n');
  await scene.untilRows(['a needle']);
});

scene('a filter can be inverted, and closing it shows all lines again', async (scene) => {
  const { logs, page } = scene;
  const log = await logs.write('a.log', text(lines(1, 200).map((line, at) => `${line} ${at % 2 === 0 ? 'odd' : 'even'}`)));
  await scene.open(log);
  await scene.untilState('live');
  await page.keyboard.press('/');
  await page.keyboard.type('odd');
  await page.keyboard.press('Escape');
  await scene.until(() => document.querySelectorAll('#rows .row').length === 200);
  await page.keyboard.press('\\');
  await page.keyboard.type('odd');
  await page.click('#filter');
  await scene.until(() => document.querySelectorAll('#rows .row').length === 100);
  await page.click('#invert');
  await scene.until(() => {
    const rows = [...document.querySelectorAll('#rows .row')];
    return rows.length === 100 && rows.every((row) => row.textContent?.endsWith(' even'));
  });
  await logs.append('a.log', 'neither\nan odd one\n');
  await scene.until(() => [...document.querySelectorAll('#rows .row')].at(-1)?.textContent === 'neither');
  await page.click('#invert');
  await page.fill('#find-text', 'not there');
  await scene.until(() => /^No line passes the filter/.test(document.querySelector('#newer')?.textContent ?? ''));
  await page.click('#find-close');
  await scene.until(() => document.querySelectorAll('#rows .row').length === 202);
});

scene('each highlight has its own colour and also applies to new lines and after a reload', async (scene) => {
  const { logs, page } = scene;
  const log = await logs.write('a.log', 'one two\nthree <b>two</b>\n');
  await scene.open(log);
  await scene.untilState('live');
  for (const word of ['one', 'two']) {
    await page.keyboard.press('/');
    await page.keyboard.type(word);
    await scene.until(() => document.querySelector('#find-count')?.textContent !== '');
    await page.click('#rule-add');
    await page.click('#log', { position: { x: 900, y: 300 } });
  }
  await eventually('both', async () => {
    const seen = [await painted(scene, 'rule-0'), await painted(scene, 'rule-1')];
    return JSON.stringify(seen) === '[["one"],["two","two"]]' || seen;
  });
  await logs.append('a.log', 'another one\n');
  await eventually('the new one', async () => {
    const seen = await painted(scene, 'rule-0');
    return seen.length === 2 || seen;
  });
  await scene.until(() => decodeURIComponent(location.hash).includes('mark=:one&mark=:two'));
  await page.reload();
  await eventually('after a reload', async () => {
    const seen = await painted(scene, 'rule-1');
    return seen.length === 2 || seen;
  });
  await page.click('.chip[data-rule="0"]');
  await eventually('one is gone', async () => {
    const seen = await painted(scene, 'rule-0');
    return JSON.stringify(seen) === '["two","two"]' || seen;
  });
});

scene('errors are counted, and keys go to the first, the next and the previous one', async (scene) => {
  const { logs, page } = scene;
  const content = lines(1, 20_000).map((line, at) => (at % 5000 === 4999 ? `${line} ERROR it failed` : line));
  const log = await logs.write('a.log', text(content));
  await scene.open(log);
  await scene.untilText('#errors-count', '4 errors');
  const seen = () => page.evaluate(() => document.querySelector('.row.cursor')?.textContent);
  const until = (/** @type {string} */ wanted) => eventually(wanted, async () => await seen() === wanted || seen());
  await page.keyboard.press('1');
  await until('line 5000 ERROR it failed');
  await page.keyboard.press('e');
  await until('line 10000 ERROR it failed');
  await page.keyboard.press('e');
  await until('line 15000 ERROR it failed');
  await page.keyboard.press('E');
  await until('line 10000 ERROR it failed');
  assert.equal(await page.getAttribute('.row.cursor', 'data-level'), 'error');
  await logs.append('a.log', 'ERROR and one more\n');
  await scene.untilText('#errors-count', '5 errors');
});

scene('a large log is searched for errors at the first click, which goes to one', async (scene) => {
  const { logs, page } = scene;
  const filler = `${'x'.repeat(99)}\n`.repeat(350_000);
  const log = await logs.write('a.log', `${filler}WARN it is slow\nERROR it failed\n${filler}the end\n`);
  const finds = /** @type {string[]} */ ([]);
  page.on('request', (request) => request.url().includes('/_/find/') && finds.push(request.url()));
  await scene.open(log);
  await scene.until(() => document.querySelector('#log')?.textContent?.includes('the end'));
  await scene.untilText('#errors-count', 'Next error');
  await scene.untilText('#warnings-count', 'Next warning');
  assert.deepEqual(finds, [], 'nobody has asked for a search');
  await page.click('#errors');
  await scene.until(() => document.querySelector('.row.cursor')?.textContent === 'ERROR it failed');
  await scene.untilText('#errors-count', '1 error');
  await scene.untilText('#warnings-count', '1 warning');
});

scene('the key for the first error searches a large log, too, and a small log has a button only for what is in it', async (scene) => {
  const { logs, page } = scene;
  const filler = `${'x'.repeat(99)}\n`.repeat(700_000);
  await scene.open(await logs.write('a.log', `ERROR it failed\n${filler}ERROR again\nthe end\n`));
  await scene.untilText('#errors-count', 'Next error');
  await page.keyboard.press('1');
  await scene.until(() => document.querySelector('.row.cursor')?.textContent === 'ERROR it failed');
  await scene.untilText('#errors-count', '2 errors');
  await scene.open(await logs.write('b.log', 'WARN it is slow\n'));
  await scene.untilText('#warnings-count', '1 warning');
  assert.equal(await page.isVisible('#errors'), false);
});

scene('a large log without errors says so at the first click, and has no button any more', async (scene) => {
  const { logs, page } = scene;
  const log = await logs.write('a.log', `${`${'x'.repeat(99)}\n`.repeat(700_000)}the end\n`);
  await scene.open(log);
  await scene.untilText('#errors-count', 'Next error');
  await page.click('#errors');
  await scene.until(() => document.querySelector('#hint-words')?.textContent?.includes('No error in this log'));
  await scene.until(() => !document.querySelector('#errors')?.checkVisibility());
});

scene('a second Ctrl-F opens the find of the browser', async (scene) => {
  const { logs, page } = scene;
  const log = await logs.write('a.log', 'one\n');
  await scene.open(log);
  await scene.untilRows(['one']);
  await page.evaluate(() => {
    Object.assign(window, { taken: [] });
    document.addEventListener('keydown', (event) => {
      if (event.key === 'f') /** @type {any} */ (window).taken.push(event.defaultPrevented);
    });
  });
  await page.keyboard.press('Control+f');
  assert.equal(await page.evaluate(() => document.activeElement?.id), 'find-text');
  await page.keyboard.press('Control+f');
  assert.deepEqual(await page.evaluate(() => /** @type {any} */ (window).taken), [true, false]);
});

scene('warnings are counted and marked, keys step through them, and a level filter hides other lines', async (scene) => {
  const { logs, page } = scene;
  const level = (/** @type {number} */ at) => (at % 100 === 30 ? 'WARN slow' : at % 100 === 60 ? 'ERROR net' : 'INFO fine');
  const log = await logs.write('a.log', text(lines(1, 3_000).map((line, at) => `${level(at)} ${line}`)));
  await scene.open(log);
  await scene.untilText('#errors-count', '30 errors');
  await scene.untilText('#warnings-count', '30 warnings');
  await page.keyboard.press('g');
  await scene.untilState('paused');
  for (const [key, row] of [['a', 'WARN slow line 31'], ['e', 'ERROR net line 61'], ['a', 'WARN slow line 131'], ['A', 'WARN slow line 31'], ['A', 'WARN slow line 2931']]) {
    await page.keyboard.press(key);
    await scene.until((row) => {
      const hits = [...document.querySelectorAll('#rows .row.current')];
      return hits.length === 1 && hits[0].textContent === row;
    }, row);
  }
  // The minimap shows errors and warnings in two colours.
  await scene.until(() => {
    const canvas = /** @type {HTMLCanvasElement} */ (document.querySelector('#minimap canvas'));
    const { data } = /** @type {CanvasRenderingContext2D} */ (canvas.getContext('2d')).getImageData(0, 0, canvas.width, canvas.height);
    const colours = new Set();
    for (let at = 0; at < data.length; at += 4) if (data[at + 3] === 255) colours.add(`${data[at]},${data[at + 1]},${data[at + 2]}`);
    return colours.size >= 2;
  });

  await page.keyboard.press('End');
  await page.keyboard.press('v');
  await scene.until(() => document.querySelectorAll('#rows .row').length === 60);
  await logs.append('a.log', 'INFO x\nWARN y\nERROR z\n');
  await scene.until(() => [...document.querySelectorAll('#rows .row')].slice(-2).map((row) => row.textContent).join() === 'WARN y,ERROR z');
  await page.keyboard.press('v');
  await scene.until(() => document.querySelectorAll('#rows .row').length === 31 && document.querySelector('#view-open .label')?.textContent === 'Errors only');

  // A pattern and a level filter together; an inverted pattern is inverted within the level.
  await page.keyboard.press('/');
  await page.keyboard.type('line 2');
  await page.click('#filter');
  await scene.until(() => document.querySelectorAll('#rows .row').length === 11);
  await scene.untilText('#find-count', '11 lines');
  await page.click('#invert');
  await scene.until(() => document.querySelectorAll('#rows .row').length === 20);
  await scene.until(() => location.hash === '#find=:line+2&filter=not&level=error');
  await page.reload();
  await scene.until(() => document.querySelectorAll('#rows .row').length === 20);
  await page.locator('#find-text').press('Escape');
  await scene.until(() => document.querySelectorAll('#rows .row').length === 31);
  await page.click('#view-open');
  assert.ok(await page.locator('#view-menu input[value="error"]').isChecked());
  await page.click('#view-menu label:has(input[name="level"][value=""])');
  await scene.until(() => document.querySelectorAll('#rows .row').length > 100);
});

scene('a pattern that takes for ever in the browser is not marked, and the page goes on', async (scene) => {
  const { page, logs } = scene;
  const log = await logs.write('a.log', `${'a'.repeat(40)}!\nneedle 17\n`);
  await scene.open(`${log}#find=r:(a%2B)%2B$&mark=r:needle+%5Cd%2B`);
  await scene.until(() => /^The matches of \(a\+\)\+\$ are not marked: its expression took more than 1 s/.test(document.querySelector('#hint-words')?.textContent ?? ''));
  await scene.until(() => [...CSS.highlights.get('rule-0') ?? []].map(({ startOffset, endOffset }) => `${startOffset} to ${endOffset}`).join() === '0 to 9');
  await page.locator('#find-text').fill('needle .');
  await scene.until(() => [...CSS.highlights.get('found') ?? []].map(({ startOffset, endOffset }) => `${startOffset} to ${endOffset}`).join() === '0 to 8');
});
