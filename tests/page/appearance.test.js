// The pages in the light and the dark theme.

import assert from 'node:assert/strict';

import { scene } from './scene.js';

/** The brightness of the background, of the text and of a coloured word, 0 to 255. */
const look = () => {
  const canvas = document.createElement('canvas').getContext('2d');
  /** @param {string} colour */
  const brightness = (colour) => {
    if (canvas === null) return NaN;
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    const [red, green, blue] = canvas.getImageData(0, 0, 1, 1).data;
    return (red + green + blue) / 3;
  };
  const word = document.querySelector('#rows span[style]') ?? document.body;
  const { backgroundColor, color } = getComputedStyle(document.body);
  return [backgroundColor, color, getComputedStyle(word).color].map(brightness);
};

scene('the pages are light or dark as the system or the reader chooses', async (scene) => {
  const { logs, page } = scene;
  const log = await logs.write('a.log', 'plain \x1b[32mgreen\x1b[0m\n');
  /** @param {boolean} light @param {string} what */
  const assertLook = async (light, what) => {
    const seen = await page.evaluate(look);
    const [ground, text, word] = seen;
    const fits = light ? ground > 200 && text < 100 && word < 130 : ground < 50 && text > 150 && word > 130;
    assert.ok(fits, `${what}: ground, text, word: ${JSON.stringify(seen)}`);
  };
  for (const target of ['/', log, '/etc/passwd']) {
    for (const colorScheme of /** @type {const} */ (['light', 'dark'])) {
      await page.emulateMedia({ colorScheme });
      await scene.open(target);
      if (target === log) await scene.untilRows(['plain green']);
      await assertLook(colorScheme === 'light', `${target} ${colorScheme}`);
    }
  }
  // The system is dark; the reader's choice overrides it and is stored.
  await scene.open(log);
  await scene.untilRows(['plain green']);
  const choose = () => page.evaluate(() => /** @type {HTMLElement} */ (document.querySelector('[data-theme-switch]')).click());
  await choose();
  await assertLook(true, 'chosen light');
  await page.reload();
  await scene.untilRows(['plain green']);
  await assertLook(true, 'light after a reload');
  await choose();
  await assertLook(false, 'chosen dark');
  await page.emulateMedia({ colorScheme: 'light' });
  await assertLook(false, 'dark whatever the system says');
});

/** The least contrast of text that WCAG 2 AA allows. */
const CONTRAST_MIN = 4.5;

/** Each piece of text in the rows, with its contrast to its background. */
const contrasts = () => {
  const canvas = /** @type {CanvasRenderingContext2D} */ (document.createElement('canvas').getContext('2d', { willReadFrequently: true }));
  /** The colour that results when these are painted over each other. @param {string[]} layers */
  const painted = (layers) => {
    for (const layer of layers) {
      canvas.fillStyle = layer;
      canvas.fillRect(0, 0, 1, 1);
    }
    return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  /** Relative luminance, as WCAG 2 defines it. @param {number[]} channels */
  const luminance = (channels) => {
    const [red, green, blue] = channels.map((channel) => {
      const part = channel / 255;
      return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  return [...document.querySelectorAll('#rows .row')].flatMap((row) => {
    const walker = document.createTreeWalker(row, NodeFilter.SHOW_TEXT);
    const found = [];
    while (walker.nextNode()) {
      const grounds = [];
      let opacity = 1;
      for (let element = walker.currentNode.parentElement; element; element = element.parentElement) {
        grounds.unshift(getComputedStyle(element).backgroundColor);
        opacity *= Number(getComputedStyle(element).opacity);
      }
      const ground = painted(grounds);
      const pure = painted([...grounds, getComputedStyle(/** @type {Element} */ (walker.currentNode.parentElement)).color]);
      const text = pure.map((channel, at) => channel * opacity + ground[at] * (1 - opacity));
      const [lighter, darker] = [luminance(text), luminance(ground)].sort((one, other) => other - one);
      found.push(/** @type {[string, number]} */ ([walker.currentNode.textContent ?? '', (lighter + 0.05) / (darker + 0.05)]));
    }
    return found;
  });
};

const NAMES = ['black', 'red', 'green', 'yellow', 'blue', 'magenta', 'cyan', 'white'];
/** Name, SGR parameter of the text colour, SGR parameter of the background. @type {[string, number, number][]} */
const COLOURS = [...NAMES.entries()].flatMap(([at, name]) => [[name, 30 + at, 40 + at], [`bright ${name}`, 90 + at, 100 + at]]);

for (const colorScheme of /** @type {const} */ (['light', 'dark'])) {
  scene(`text in every terminal colour has enough contrast, ${colorScheme}`, async (scene) => {
    const { logs, page } = scene;
    const plain = COLOURS.flatMap(([name, text, ground]) => [
      `\x1b[${text}m${name}\x1b[0m`, `\x1b[1;${text}mbold ${name}\x1b[0m`, `\x1b[2;${text}mfaint ${name}\x1b[0m`,
      `\x1b[${ground}mon ${name}\x1b[0m`, `\x1b[7;${text}minverse ${name}\x1b[0m`,
    ]);
    const pairs = COLOURS.flatMap(([name, text]) => COLOURS.filter(([other]) => other.replace('bright ', '') !== name.replace('bright ', ''))
      .map(([other, , ground]) => `\x1b[${text};${ground}m${name} on ${other}\x1b[0m`));
    const log = await logs.write('a.log', [...plain, ...pairs, '\x1b[2mfaint\x1b[0m', '\x1b[7minverse\x1b[0m', ''].join('\n'));
    await scene.open(log);
    await scene.until(() => [...document.querySelectorAll('#rows .row')].at(-1)?.textContent === 'inverse');
    for (const hovered of [false, true]) {
      if (hovered) await page.evaluate(() => document.styleSheets[0].insertRule('.row { background: var(--hover); }', document.styleSheets[0].cssRules.length));
      const seen = await page.evaluate(contrasts);
      assert.ok(seen.length >= plain.length + pairs.length + 2, `${seen.length} pieces`);
      const dim = seen.filter(([, ratio]) => ratio < CONTRAST_MIN).map(([words, ratio]) => `${words} ${ratio.toFixed(2)}`);
      assert.equal(dim.join(', '), '', hovered ? 'under the pointer' : 'as it stands');
    }
  }, { context: { colorScheme } });
}
