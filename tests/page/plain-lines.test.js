// The colours of what stands in plain lines, on the page: they change no text and no element.

import assert from 'node:assert/strict';

import { load } from './modules.js';
import { eventually } from './program.js';
import { scene } from './scene.js';

const { KINDS } = await load('rows/tokens.js');

const LINE = '2026-11-28 14:02:07,123 WARN app: slow "GET /x" from 10.0.0.5:8080 took=1250 see "https://example.com/a?b=1" <b>';

/** What is highlighted, as `kind:text`, in the order of the page. */
const highlighted = () => {
  /** @type {[Range, string][]} */
  const found = [];
  for (const [name, highlight] of CSS.highlights) {
    for (const one of highlight) {
      const range = document.createRange();
      range.setStart(one.startContainer, one.startOffset);
      range.setEnd(one.endContainer, one.endOffset);
      if (one.startContainer.isConnected) found.push([range, name]);
    }
  }
  found.sort(([one], [other]) => one.compareBoundaryPoints(Range.START_TO_START, other));
  return found.map(([range, name]) => `${name.replace('token-', '')}:${range}`);
};

const COLOURED = ['time:2026-11-28 14:02:07,123', 'warning:WARN', 'string:"GET /x"', 'address:10.0.0.5:8080', 'key:took=', 'number:1250', 'string:"', 'string:"'];

/** @param {import('./scene.js').Scene} scene @param {string[]} wanted */
async function untilHighlighted({ page }, wanted) {
  await eventually('what is highlighted', async () => {
    const seen = await page.evaluate(highlighted);
    return JSON.stringify(seen) === JSON.stringify(wanted) || seen;
  });
}

scene('plain lines have colours, which change neither their text nor their elements, and lines with colours of their own keep those', async (scene) => {
  const { page, logs } = scene;
  const log = await logs.write('a.log', `${LINE}\n\x1b[32mINFO\x1b[0m 42 "quoted"\n`);
  await scene.open(log);
  await scene.untilRows([LINE, 'INFO 42 "quoted"']);
  await untilHighlighted(scene, COLOURED);
  const html = await page.evaluate(() => document.querySelector('#rows .row')?.innerHTML);
  assert.equal(html, LINE.replace('<b>', '&lt;b&gt;').replace('https://example.com/a?b=1', '<a href="https://example.com/a?b=1" target="_blank" rel="noopener noreferrer">https://example.com/a?b=1</a>'));
  assert.equal(await page.evaluate(() => {
    document.getSelection()?.selectAllChildren(/** @type {Element} */ (document.querySelector('#rows .row')));
    return document.getSelection()?.toString();
  }), LINE);
});

scene('the colours are switched by a key and in the menu, and the choice is kept and in the link', async (scene) => {
  const { page, logs } = scene;
  const log = await logs.write('a.log', `${LINE}\n`);
  await scene.open(log);
  await untilHighlighted(scene, COLOURED);
  await page.keyboard.press('h');
  await untilHighlighted(scene, []);
  await scene.until(() => location.hash.includes('highlight=0'));
  await page.goto('about:blank');
  await scene.open(log);
  await scene.untilRows([LINE]);
  await page.click('#view-open');
  assert.equal(await page.isChecked('[data-option="highlight"]'), false);
  await untilHighlighted(scene, []);
  await page.click('[data-option="highlight"]');
  await untilHighlighted(scene, COLOURED);
  await scene.open('/');
  await scene.open(`${log}#highlight=0`);
  await scene.untilRows([LINE]);
  await untilHighlighted(scene, []);
});

scene('a line that grows or is redrawn gets the colours of its new text', async (scene) => {
  const { logs } = scene;
  const log = await logs.write('a.log', 'took 1');
  await scene.open(log);
  await untilHighlighted(scene, ['number:1']);
  // What was appended is a text of its own, in which a selection stays.
  await logs.append('a.log', '25 ms "a');
  await untilHighlighted(scene, ['number:1', 'number:25']);
  await logs.append('a.log', ' b"\rtook 9');
  await untilHighlighted(scene, ['number:925', 'string:"a b"']);
});

scene('only rows near the screen have colours, and the marks of find lie above them', async (scene) => {
  const { page, logs } = scene;
  const log = await logs.write('a.log', Array.from({ length: 3_000 }, (_, at) => `row=${at}\n`).join(''));
  await scene.open(log);
  await scene.untilState('live');
  await page.keyboard.press('g');
  await eventually('the first row', async () => (await page.evaluate(highlighted))[1] === 'number:0');
  const seen = await page.evaluate(highlighted);
  assert.ok(seen.length < 600, `${seen.length} places`);
  await page.keyboard.press('/');
  await page.keyboard.type('row=7');
  await eventually('matches', async () => (await page.evaluate(highlighted)).includes('found:row=7'));
  const priorities = await page.evaluate(() => [CSS.highlights.get('found')?.priority ?? 0, CSS.highlights.get('token-key')?.priority ?? 0, CSS.highlights.get('token-number')?.priority ?? 0]);
  assert.ok(priorities[0] > priorities[1] && priorities[0] > priorities[2], `${priorities}`);
});

scene('the merged page and the panes side by side have them, too', async (scene) => {
  const { page, logs } = scene;
  const one = await logs.write('a.log', `${LINE}\n`);
  const other = await logs.write('b.log', 'fine\n');
  await scene.open(`/_/merged?log=${one}&log=${other}`);
  await untilHighlighted(scene, COLOURED);
  await page.keyboard.press('h');
  await untilHighlighted(scene, []);
  await page.keyboard.press('h');
  await scene.open(`/_/beside?log=${one}&log=${other}`);
  await eventually('a pane', async () => {
    const frame = page.frames().find((frame) => frame.url().includes('a.log') && frame !== page.mainFrame());
    const seen = await frame?.evaluate(highlighted).catch(() => []);
    return JSON.stringify(seen) === JSON.stringify(COLOURED) || seen;
  });
});

for (const colorScheme of /** @type {const} */ (['light', 'dark'])) {
  scene(`the colours have enough contrast on every row, ${colorScheme}`, async (scene) => {
    const { page, logs } = scene;
    await scene.open(await logs.write('a.log', 'a line\n'));
    await scene.untilRows(['a line']);
    const names = [...KINDS.map((kind) => `token-${kind}`), ...['red', 'yellow', 'green', 'cyan', 'blue', 'magenta'].map((colour) => `colour-${colour}`)];
    const seen = await page.evaluate((names) => {
      const canvas = /** @type {CanvasRenderingContext2D} */ (document.createElement('canvas').getContext('2d', { willReadFrequently: true }));
      /** Relative luminance of layers over each other, as WCAG 2 defines it. @param {string[]} layers */
      const luminance = (layers) => {
        for (const layer of layers) {
          canvas.fillStyle = layer;
          canvas.fillRect(0, 0, 1, 1);
        }
        const [red, green, blue] = [...canvas.getImageData(0, 0, 1, 1).data].map((channel) => {
          const part = channel / 255;
          return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
        });
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
      };
      const row = /** @type {HTMLElement} */ (document.querySelector('#rows .row'));
      const probe = document.createElement('i');
      row.append(probe);
      /** @param {string} variable */
      const colour = (variable) => {
        probe.style.color = `var(${variable})`;
        return getComputedStyle(probe).color;
      };
      const page = colour('--bg');
      const grounds = { page: [page], hovered: [colour('--hover')], selected: [colour('--selected')], error: [page, colour('--level-error-ground')] };
      return names.flatMap((name) => {
        const { color, backgroundColor } = getComputedStyle(row, `::highlight(${name})`);
        return Object.entries(grounds).map(([ground, layers]) => {
          const under = name.startsWith('colour') ? [...layers, backgroundColor] : layers;
          const [lighter, darker] = [luminance([...under, color]), luminance(under)].sort((one, other) => other - one);
          return /** @type {[string, string, number]} */ ([`${name} on ${ground}`, color, (lighter + 0.05) / (darker + 0.05)]);
        });
      });
    }, names);
    assert.equal(new Set(seen.map(([, color]) => color)).size, 13, 'the names of the highlights are those of the style sheet');
    assert.deepEqual(seen.filter(([, , ratio]) => ratio < 4.5).map(([name, , ratio]) => `${name}: ${ratio.toFixed(2)}`), []);
  }, { context: { colorScheme } });
}
