// A test in a browser: logs, a server and a page, with a detailed report of a failure.
//
// Each scene has its own browser context; all scenes of a test file share the browser. Script errors and policy
// violations are recorded from before the first script of a page, and fail the scene at its end.

import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { chmod } from 'node:fs/promises';
import path from 'node:path';
import { after, test } from 'node:test';

import { chromium } from 'playwright-core';

import { DEADLINE_MS, Logs, Program, ROOT } from './program.js';

const NEEDED = 'the tests of the pages need the Debian package `chromium`; `tests/run` installs it';
const FLAGS = [
  '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update',
  '--disable-sync', '--disable-dev-shm-usage', '--enable-precise-memory-info', '--js-flags=--expose-gc',
];
/** Serves scripts and styles from the source tree, so that a change needs no new build of the program. */
const PAGE_FROM_DISK = process.env.TAILCAST_PAGE_FROM_DISK !== undefined;

/** @type {Promise<import('playwright-core').Browser> | undefined} */
let starting;

/** The browser of this test file. */
export function browser() {
  starting ??= chromium.launch({
    executablePath: process.env.TAILCAST_CHROMIUM ?? '/usr/bin/chromium',
    args: [...FLAGS, ...(process.getuid?.() === 0 ? ['--no-sandbox'] : [])],
    timeout: 3 * DEADLINE_MS,
  }).catch((error) => { throw new Error(`can't start Chromium: ${error.message}\n${NEEDED}`); });
  return starting;
}

/** Whether the hook that closes the browser is registered. */
let ending = false;

/**
 * Runs a scene as a test of Node's test runner.
 * @param {string} name the promise it keeps
 * @param {(scene: Scene) => Promise<void>} play
 * @param {{serve?: string[], shell?: string, context?: import('playwright-core').BrowserContextOptions}} [options]
 */
export function scene(name, play, options = {}) {
  if (!ending) after(async () => (await starting)?.close());
  ending = true;
  test(name, { timeout: 8 * DEADLINE_MS }, async () => {
    const scene = await Scene.begin(options);
    try {
      await play(scene);
      scene.assertNoTrouble();
    } catch (error) {
      throw new Error(`${error.message}\n${await scene.report()}`, { cause: error });
    } finally {
      await scene.end();
    }
  });
}

export class Scene {
  /** Script errors and violations of the content security policy, on any page of the scene. @type {string[]} */
  troubles = [];

  static async begin({ serve = [], shell, context = {}, logs } = {}) {
    const scene = new Scene();
    scene.logs = logs ?? await Logs.make();
    if (shell !== undefined) await chmod(scene.logs.directory, 0o755);
    scene.program = await Program.serve([scene.logs.directory, ...serve], { shell });
    scene.context = await (await browser()).newContext({ viewport: { width: 1200, height: 800 }, ...context });
    scene.context.setDefaultTimeout(DEADLINE_MS);
    await scene.#witness();
    scene.page = await scene.context.newPage();
    return scene;
  }

  async end() {
    await this.context.close();
    await this.program.kill();
    await this.logs.remove();
  }

  /** Opens a target of the server. @param {string} target */
  async open(target, page = this.page) {
    await page.goto(`${this.program.origin}${target}`);
  }

  /**
   * Waits until a function returns true on the page.
   * @template T
   * @param {(argument: T) => unknown} condition
   * @param {T} [argument]
   */
  async until(condition, argument, page = this.page) {
    const until = Date.now() + DEADLINE_MS;
    for (;;) {
      // A navigation interrupts this evaluation, not the wait.
      const holds = await page.evaluate(condition, argument).catch((error) => {
        if (/context was destroyed|navigat/i.test(error.message)) return false;
        throw error;
      });
      if (holds === true) return;
      if (Date.now() > until) throw new Error(`\`${condition}\` with ${JSON.stringify(argument)}: not within ${DEADLINE_MS} ms`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  /** @param {string} selector @param {string} text */
  async untilText(selector, text, page = this.page) {
    await this.until(([selector, text]) => document.querySelector(selector)?.textContent === text, [selector, text], page);
  }

  /**
   * Turns the wheel over the rows, and waits until the browser says that its smooth scroll has ended: one that has
   * hardly begun looks as if it stood still.
   * @param {number} pixels downwards
   */
  async scroll(pixels, page = this.page) {
    await page.evaluate(() => {
      delete document.body.dataset.scrolled;
      document.querySelector('#log')?.addEventListener('scrollend', () => { document.body.dataset.scrolled = ''; }, { once: true });
    });
    await page.mouse.move(600, 400);
    await page.mouse.wheel(0, pixels);
    await this.until(() => document.body.dataset.scrolled === '', undefined, page);
  }

  /** Waits for a state of the status bar. @param {string} state */
  async untilState(state, page = this.page) {
    await this.until((state) => {
      const line = document.querySelector('#state');
      return line instanceof HTMLElement && line.dataset.state === state;
    }, state, page);
  }

  /** Waits until the page has exactly these rows. @param {string[]} wanted */
  async untilRows(wanted, page = this.page) {
    const until = Date.now() + DEADLINE_MS;
    for (;;) {
      const rows = await this.rows(page).catch(() => []);
      if (rows.length === wanted.length && rows.every((row, at) => row === wanted[at])) return;
      if (Date.now() > until) {
        const at = wanted.findIndex((row, at) => rows[at] !== row);
        throw new Error(`${rows.length} rows instead of ${wanted.length}; the first difference is at ${at}: ${JSON.stringify(rows[at])} instead of ${JSON.stringify(wanted[at])}`);
      }
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  /** The texts of the rows on the page. @returns {Promise<string[]>} */
  rows(page = this.page) {
    return page.evaluate(() => [...document.querySelectorAll('#rows .row')].map((row) => row.textContent ?? ''));
  }

  /** Waits until the page has exactly these rows and markers, a marker as `[kind]`. @param {string[]} wanted */
  async untilRowsAndMarks(wanted) {
    await this.until((wanted) => JSON.stringify([...document.querySelectorAll('#rows .row, #rows .marker')]
      .map((row) => (row instanceof HTMLElement && row.dataset.marker ? `[${row.dataset.marker}]` : row.textContent))) === JSON.stringify(wanted), wanted);
  }

  /** @param {string} selector */
  text(selector, page = this.page) {
    return page.evaluate((selector) => document.querySelector(selector)?.textContent, selector);
  }

  assertNoTrouble() {
    assert.deepEqual(this.troubles, []);
  }

  /** The state of all pages and the server's output, for the report of a failure. */
  async report() {
    const pages = await Promise.all(this.context.pages().map(async (page) => {
      const seen = page.evaluate(() => ({
        url: location.href,
        title: document.title,
        state: document.querySelector('#state')?.textContent,
        marks: [...document.querySelectorAll('#rows .marker')].map((mark) => mark.textContent),
        last: [...document.querySelectorAll('#rows .row')].slice(-10).map((row) => row.outerHTML.slice(0, 300)),
        text: document.body.innerText.slice(0, 1500),
      }));
      const late = new Promise((resolve) => setTimeout(resolve, 2000, 'does not answer'));
      return JSON.stringify(await Promise.race([seen, late]).catch(String), null, 2);
    }));
    return `pages: ${pages.join('\n')}\ntroubles: ${JSON.stringify(this.troubles)}\nthe server: ${this.program.said}`;
  }

  async #witness() {
    await this.context.exposeBinding('tailcastTrouble', ({ page }, text) => {
      this.troubles.push(`${text} on ${page.url()}`);
    });
    await this.context.addInitScript(() => {
      document.addEventListener('securitypolicyviolation', (event) => {
        // @ts-ignore The binding above defines it.
        window.tailcastTrouble(`policy: ${event.effectiveDirective} ${event.blockedURI} ${event.sample}`);
      });
    });
    this.context.on('weberror', (error) => this.troubles.push(`error: ${error.error().stack}`));
    this.context.on('console', (message) => {
      // The console also shows error statuses and lost connections, which are no script errors.
      const fromNetwork = /^Failed to load resource|WebSocket connection to|ERR_/.test(message.text());
      if (message.type() === 'error' && !fromNetwork) this.troubles.push(`console: ${message.text()}`);
    });
    if (PAGE_FROM_DISK) {
      await this.context.route(/\/_\/page\/[0-9a-f]+\//, async (route) => {
        const file = path.join(ROOT, 'src/serve/web', new URL(route.request().url()).pathname.replace(/^.*?\/_\/page\/[0-9a-f]+\//, ''));
        if (!existsSync(file)) return route.fallback();
        const contentType = { '.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml' }[path.extname(file)];
        return route.fulfill({ body: readFileSync(file), contentType });
      });
    }
  }
}

/** `line 1`, `line 2` and so on. @param {number} from @param {number} to */
export function lines(from, to) {
  return Array.from({ length: to - from + 1 }, (_, at) => `line ${from + at}`);
}

/** @param {string[]} lines */
export function text(lines) {
  return lines.map((line) => `${line}\n`).join('');
}
