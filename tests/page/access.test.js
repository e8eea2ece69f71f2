// Accessibility: every page and state can be used by keyboard, with low vision and with a screen reader.

import assert from 'node:assert/strict';

import { violations } from './axe.js';
import { lines, scene, text } from './scene.js';

/** The page's states, each reached by a keyboard. @type {Record<string, (scene: import('./scene.js').Scene) => Promise<void>>} */
const STATES = {
  async list(scene) {
    await scene.open('/');
  },
  async 'list without a match'(scene) {
    await scene.page.keyboard.press('/');
    await scene.page.keyboard.type('nothing like it');
    await scene.until(() => !document.querySelector('#no-match')?.hasAttribute('hidden'));
  },
  async live(scene) {
    await scene.open(scene.logs.path('a.log'));
    await scene.untilState('live');
  },
  async paused(scene) {
    await scene.page.keyboard.press('f');
    await scene.untilState('paused');
    await scene.logs.append('a.log', 'below\n');
    await scene.untilText('#new-lines-count', '1 new line');
  },
  async help(scene) {
    await scene.page.keyboard.press('?');
    await scene.until(() => document.querySelector('dialog[open]') !== null);
  },
  async find(scene) {
    await scene.page.keyboard.press('Escape');
    await scene.until(() => document.querySelector('dialog[open]') === null);
    await scene.page.keyboard.press('/');
    await scene.page.keyboard.type('line');
    await scene.until(() => document.activeElement instanceof HTMLInputElement && document.activeElement.value === 'line');
  },
  async menu(scene) {
    await scene.page.keyboard.press('Escape');
    await scene.page.click('#view-open');
    await scene.until(() => document.querySelector('#view-menu:popover-open') !== null);
  },
  async level(scene) {
    await scene.page.click('#view-menu label:has(input[value="warning"])');
    await scene.until(() => document.querySelectorAll('#rows .row').length === 2);
    await scene.page.keyboard.press('Escape');
  },
  async waiting(scene) {
    await scene.open(scene.logs.path('not-yet.log'));
    await scene.untilState('waiting');
  },
  async empty(scene) {
    await scene.logs.write('empty.log', '');
    await scene.open(scene.logs.path('empty.log'));
    await scene.untilState('live');
  },
  async refusal(scene) {
    await scene.open('/etc/passwd');
  },
  async reconnecting(scene) {
    await scene.open(scene.logs.path('a.log'));
    await scene.untilState('live');
    await scene.program.kill();
    await scene.untilState('reconnecting');
  },
};

for (const colorScheme of /** @type {const} */ (['light', 'dark'])) {
  scene(`no page and no state violates WCAG 2 A or AA, ${colorScheme}`, async (scene) => {
    const colours = [...Array(16).keys()].map((at) => `\x1b[${at < 8 ? 30 + at : 82 + at}mcolour ${at}\x1b[0m \x1b[${at < 8 ? 40 + at : 92 + at}mground ${at}\x1b[0m`);
    await scene.logs.write('a.log', text([...lines(1, 100), ...colours, '\x1b[2mfaint\x1b[0m', '\x1b[7minverse\x1b[0m', '::error::bad', '::warning::not good', 'see https://example.org/']));
    await scene.logs.write('b.log', 'another\n');
    /** @type {Record<string, unknown>} */
    const found = {};
    for (const [name, reach] of Object.entries(STATES)) {
      await reach(scene);
      const here = await violations(scene.page);
      if (here.length > 0) found[name] = here;
    }
    assert.deepEqual(found, {});
  }, { context: { colorScheme, reducedMotion: 'reduce' } });
}

/** The name of the focused element, and whether it is visible and has a focus indicator. */
const focused = () => {
  const element = document.activeElement;
  if (!(element instanceof HTMLElement) || element === document.body) return null;
  const style = getComputedStyle(element);
  const shows = (style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) > 0) || style.boxShadow !== 'none';
  const box = element.getBoundingClientRect();
  return {
    name: element.id || element.getAttribute('aria-label') || element.textContent?.trim() || element.localName,
    shows,
    inSight: box.width > 0 && box.bottom > 0 && box.top < innerHeight,
  };
};

scene('every control can be reached by keyboard, and the focus is visible', async (scene) => {
  const { logs, page } = scene;
  for (const name of ['a.log', 'b.log', 'c.log']) await logs.write(name, text(lines(1, 300)));
  for (const target of ['/', logs.path('a.log')]) {
    await scene.open(target);
    if (target !== '/') await scene.untilState('live');
    const wanted = await page.evaluate(() => [...document.querySelectorAll('a[href], button, input, select, [tabindex]')]
      .filter((element) => element instanceof HTMLElement && element.checkVisibility({ visibilityProperty: true }) && !element.matches(':disabled, :not(a, button, input, select)[tabindex="-1"]'))
      .map((element) => element.id || element.getAttribute('aria-label') || element.textContent?.trim()));
    assert.ok(wanted.length >= 5, JSON.stringify(wanted));
    const reached = new Set();
    // On the viewer page the log has the focus at first, so Tab goes through all controls. In the list Tab stops at one
    // row only, and the arrow keys move to the others: there may be ten thousand rows.
    const walk = Array.from({ length: 2 * wanted.length + 10 }, () => 'Tab');
    if (target === '/') walk.push('/', 'ArrowDown', 'ArrowDown', 'ArrowDown');
    for (const key of walk) {
      await page.keyboard.press(key);
      const at = await page.evaluate(focused);
      if (at === null) continue;
      assert.ok(at.shows, `the focus on ${at.name} does not show`);
      assert.ok(at.inSight, `${at.name} has the focus and is not in sight`);
      reached.add(at.name);
    }
    // Arrow keys reach the other rows of the list.
    if (target === '/') {
      await page.locator('#logs a').first().focus();
      for (let step = 0; step < 3; step += 1) {
        const at = await page.evaluate(focused);
        assert.ok(at?.shows && at.inSight, JSON.stringify(at));
        reached.add(at.name);
        await page.keyboard.press('ArrowDown');
      }
    }
    assert.deepEqual(wanted.filter((name) => !reached.has(name)), [], `not reached on ${target}; reached: ${JSON.stringify([...reached])}`);
  }
});

scene('nothing is animated if the reader prefers reduced motion', async (scene) => {
  const { logs, page } = scene;
  const log = await logs.write('a.log', text(lines(1, 300)));
  await scene.open(log);
  await scene.untilState('live');
  await page.keyboard.press('f');
  await scene.untilState('paused');
  await logs.append('a.log', 'more\n');
  await scene.untilText('#new-lines-count', '1 new line');
  await scene.program.kill();
  await scene.untilState('reconnecting');
  const moving = await page.evaluate(() => document.getAnimations().map((animation) => animation.effect instanceof KeyframeEffect && animation.effect.target?.id));
  assert.deepEqual(moving, []);
  // Without that preference there are animations, so the assertion above can fail.
  await page.emulateMedia({ reducedMotion: 'no-preference' });
  await scene.until(() => document.getAnimations().length > 0);
}, { context: { reducedMotion: 'reduce' } });

scene('with forced colours toggles and the new-lines button are still recognisable', async (scene) => {
  const { logs, page } = scene;
  const log = await logs.write('a.log', text(lines(1, 300)));
  await scene.open(log);
  await scene.untilState('live');
  /** @param {string} selector */
  const edge = (selector) => page.evaluate((selector) => {
    const style = getComputedStyle(/** @type {Element} */ (document.querySelector(selector)));
    return JSON.stringify([style.borderColor, style.backgroundColor, style.color, style.outlineStyle]);
  }, selector);
  const following = await edge('#follow');
  await page.keyboard.press('f');
  await scene.untilState('paused');
  await page.mouse.move(5, 400);
  assert.notEqual(await edge('#follow'), following, 'a pressed button looks like one that is not');
  const button = await page.evaluate(() => {
    const style = getComputedStyle(/** @type {Element} */ (document.querySelector('#new-lines')));
    return [style.borderStyle, style.borderWidth];
  });
  assert.deepEqual(button.map((value) => value === 'none' || value === '0px'), [false, false], 'the button of new lines has no edge');
}, { context: { forcedColors: 'active' } });

scene('a screen reader announces the number of new lines, not each line', async (scene) => {
  const { logs, page } = scene;
  const log = await logs.write('a.log', text(lines(1, 300)));
  await page.addInitScript(() => {
    /** @type {{words: string, at: number}[]} */
    const said = /** @type {any} */ (window).said = [];
    document.addEventListener('DOMContentLoaded', () => {
      const aloud = /** @type {HTMLElement} */ (document.querySelector('#announce'));
      new MutationObserver(() => said.push({ words: aloud.textContent ?? '', at: performance.now() })).observe(aloud, { childList: true, characterData: true, subtree: true });
    });
  });
  await scene.open(log);
  await scene.until(() => document.querySelector('#announce')?.textContent === 'Live');
  for (let line = 301; line <= 312; line += 1) {
    await logs.append('a.log', `line ${line}\n`);
    await scene.until((wanted) => [...document.querySelectorAll('#rows .row')].at(-1)?.textContent === wanted, `line ${line}`);
  }
  await scene.until(() => {
    const numbers = /** @type {any} */ (window).said.map((/** @type {{words: string}} */ { words }) => Number(/^(\d+) new lines?$/.exec(words)?.[1] ?? 0));
    return numbers.reduce((/** @type {number} */ sum, /** @type {number} */ number) => sum + number, 0) === 12;
  });
  /** @type {{words: string, at: number}[]} */
  const said = await page.evaluate(() => /** @type {any} */ (window).said);
  // The history is never announced, and there is a pause between announcements, however slowly lines arrive.
  const tooSoon = said.filter(({ at }, index) => index > 0 && at - said[index - 1].at < 2_500);
  assert.deepEqual(tooSoon, [], JSON.stringify(said));
  assert.equal(await page.getAttribute('#announce', 'role'), 'status');
});

scene('Enter activates the focused button or link instead of its shortcut in the log', async (scene) => {
  const { logs, page } = scene;
  const log = await logs.write('a.log', text(lines(1, 300)));
  await scene.open(log);
  await scene.untilState('live');
  await page.locator('#follow').focus();
  await page.keyboard.press('Enter');
  await scene.untilState('paused');
  await page.locator('#find-open').focus();
  await page.keyboard.press('Enter');
  await scene.until(() => document.activeElement?.id === 'find-text');
  await page.locator('.home').focus();
  await page.keyboard.press('Enter');
  await scene.until(() => location.pathname === '/');
});
