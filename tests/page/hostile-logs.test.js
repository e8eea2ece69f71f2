// Attacks on the reader: hostile text in logs, file names, URLs and input fields.

import assert from 'node:assert/strict';

import { scene, text } from './scene.js';

const MALICE = [
  '<script>window.ran = 1</script>',
  '</div></div><script>window.ran = 1</script>',
  '</pre></body></html><script>window.ran = 1</script>',
  '<img src=x onerror=window.ran=1>',
  '<svg/onload=window.ran=1>',
  "<iframe srcdoc='<script>parent.ran=1</script>'></iframe>",
  '<style>*{display:none}</style><link rel=stylesheet href=//evil.example/x.css>',
  '<meta http-equiv=refresh content=0;url=//evil.example>',
  '<base href=//evil.example/><form action=//evil.example><button>',
  '"><img src=x onerror=window.ran=1> \'><img src=x onerror=window.ran=1>',
  '&lt;script&gt;window.ran = 1&lt;/script&gt; &#60;script&#62; &amp;lt;',
  '<!-- a comment --><![CDATA[ ]]><?php ?><!--title--><!--rows-->',
  '\x1b]8;;javascript:window.ran=1\x1b\\a link\x1b]8;;\x1b\\',
  '\x1b]8;;JaVaScRiPt:window.ran=1\x07a link\x1b]8;;\x07',
  '\x1b]8;;data:text/html,<script>window.ran=1</script>\x1b\\a link\x1b]8;;\x1b\\',
  '\x1b]8;;http://ok.example/" onmouseover="window.ran=1\x1b\\a link\x1b]8;;\x1b\\',
  "\x1b]8;;http://ok.example/'><script>window.ran=1</script>\x1b\\a link\x1b]8;;\x1b\\",
  '\x1b]8;;https://ok.example/fine\x1b\\<b onclick=window.ran=1>a link\x1b]8;;\x1b\\',
  '\x1b[31m<script>window.ran = 1</script>\x1b[0m',
  '\x1b[38;2;1;2;3;"onload=window.ran=1m coloured <i>\x1b[0m',
  'user \u202e\u2066// admin\u2069 \u2066nimda\u202c\u200f',
  '\x1b]0;<script>window.ran=1</script>\x07a title',
  '\u0000\u0001\u007f\u009b31m<script>window.ran=1</script>\ufffe',
  '<scr\x1b[31mipt>window.ran = 1</scr\x1b[0mipt>',
].map((line) => `- ${line}`); // Each begins with a visible character, so that its first half makes a row.

/** The elements in rows that are not allowed there. */
const foreign = () => {
  /** @type {Record<string, string[]>} */
  const allowed = { a: ['href', 'rel', 'target'], b: [], i: [], s: [], u: ['style'], span: ['style', 'class'], br: [] };
  return [...document.querySelectorAll('#rows .row *')].filter((element) => !(element.localName in allowed)
    || ![...element.attributes].every(({ name }) => allowed[element.localName].includes(name))
    || /url|expression|import|position|@/i.test(element.getAttribute('style') ?? '')
    || (element instanceof HTMLAnchorElement && !['http:', 'https:'].includes(element.protocol)))
    .map((element) => element.outerHTML);
};

/** @param {import('playwright-core').Page} page */
async function assertTame(page) {
  const counted = () => document.querySelectorAll('iframe, object, embed, base, form, [onerror], [onload], [onclick], [onmouseover]').length;
  assert.equal(await page.evaluate(counted), 0);
  assert.equal(await page.evaluate(() => 'ran' in window), false);
  const scripts = await page.evaluate(() => [...document.scripts].filter((script) => !/^\/_\/page\/[0-9a-f]+\/([a-z-]+\/)?[a-z-]+\.js$/.test(new URL(script.src).pathname)).length);
  assert.equal(scripts, 0, 'a script that is not the page\'s');
}

scene('nothing in a log becomes a script, an element or a dangerous link', async (scene) => {
  const { logs, page } = scene;
  const log = await logs.write('a.log', text(MALICE));
  await scene.open(log);
  const untilCount = (count) => scene.until((count) => document.querySelectorAll('#rows .row').length === count, count);
  await untilCount(MALICE.length);
  await scene.untilState('live');
  assert.equal((await scene.rows())[0], MALICE[0], 'it is there, as text');

  // The same lines again in pieces, for rows that grow and are redrawn.
  for (const [at, line] of MALICE.entries()) {
    const middle = line.length >> 1;
    const [first, second] = at % 2 === 1 ? [line, '\r'] : [line.slice(0, middle), line.slice(middle)];
    await logs.append('a.log', first);
    await untilCount(MALICE.length + at + 1);
    await logs.append('a.log', `${second}\n`);
  }
  await logs.append('a.log', 'the end\n');
  await scene.until(() => [...document.querySelectorAll('#rows .row')].at(-1)?.textContent === 'the end');
  const rows = await scene.rows();
  assert.deepEqual(rows.slice(0, MALICE.length), rows.slice(MALICE.length, 2 * MALICE.length), 'drawn twice the same');
  assert.deepEqual(await page.evaluate(foreign), []);
  const links = await page.evaluate(() => [...document.querySelectorAll('#rows .row a')].map((link) => /** @type {HTMLAnchorElement} */ (link).href));
  // Links of the log itself, and links that the page makes from URLs in the text.
  assert.ok(links.every((link) => /^https?:\/\/ok\.example\//.test(link)), JSON.stringify(links));
  assert.ok(links.includes('https://ok.example/fine'));
  await assertTame(page);
  assert.equal(await page.title(), 'a.log');
});

scene('nothing in a URL becomes a script or an element', async (scene) => {
  const { logs, page, program } = scene;
  await logs.write('a.log', 'content\n');
  const evil = encodeURIComponent('<img src=x onerror=window.ran=1>"\'><script>window.ran=1</script>');
  for (const target of [
    `/etc/${evil}`, `${logs.path(evil)}`, `/_/${evil}`, `${logs.path('a.log')}?lines=${evil}`, `${logs.path('a.log')}?${evil}=${evil}`,
    `${logs.path('a.log')}#${evil}`, `${logs.path('a.log')}#@0&find=${evil}&filter=${evil}`, `${logs.path('a.log')}?from=<!--hint-->`,
  ]) {
    await page.goto(`${program.origin}${target}`);
    await page.waitForLoadState('load');
    await scene.until(() => document.querySelector('h1')?.textContent !== '');
    await assertTame(page);
    assert.equal(await page.locator('img[src="x"]').count(), 0, target);
    scene.assertNoTrouble();
  }
});

scene('nothing that is typed, linked or stored becomes a script or an element', async (scene) => {
  const { logs, page } = scene;
  const evil = '<img src=x onerror=window.ran=1>"\'><script>window.ran=1</script>';
  const log = await logs.write('a.log', text(['first', evil, `{"level":"error","${evil.replaceAll('"', '\\"')}":"${evil.replaceAll('"', '\\"')}"}`, 'last']));
  await scene.open('/');
  await page.fill('#filter', evil);
  await scene.until(() => !document.querySelector('#no-match')?.hasAttribute('hidden'));
  await assertTame(page);
  await scene.open(log);
  await scene.untilState('live');
  await page.keyboard.press('/');
  await page.keyboard.type(evil);
  await scene.until(() => /\d/.test(document.querySelector('#find-count')?.textContent ?? ''));
  await page.click('#rule-add');
  await scene.until(() => document.querySelector('#rules')?.textContent?.includes('onerror'));
  // Adding a highlight has emptied the field.
  await page.fill('#find-text', evil.slice(0, 20));
  await page.click('#filter');
  await scene.until((evil) => [...document.querySelectorAll('#rows .row')].every((row) => row.textContent?.includes('img')) && document.querySelector('#rows .row') !== null, evil);
  await assertTame(page);
  // The error message for an invalid pattern comes from the server and contains the pattern.
  await page.fill('#find-text', `(${evil}`);
  await page.click('[data-find="regex"]');
  await scene.until(() => !/^\s*[\d…]*\s*$/.test(document.querySelector('#find-count')?.textContent ?? ''));
  await assertTame(page);
  // The URL and the browser's storage contain all of it, and a reload reads it again.
  await scene.until(() => decodeURIComponent(location.hash).includes('onerror'));
  await page.reload();
  await scene.untilState('live');
  await scene.until(() => document.querySelector('#rules')?.textContent?.includes('onerror'));
  await assertTame(page);
  assert.equal(await page.locator('img[src="x"]').count(), 0);
});
