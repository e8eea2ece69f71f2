// How the pages look: light or dark, as the system or the reader wants, and readable in both.

import assert from 'node:assert/strict';

import { scene } from './scene.js';

/** Brightness of the ground, of the text and of a coloured word, 0 to 255. */
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

scene('the pages are light or dark as the system or the reader wants', async (scene) => {
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
  // The system says dark; the reader chooses, and the choice stays.
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
