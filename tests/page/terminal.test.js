// Recorded output of real tools looks on the page as in a terminal: the headless xterm.js.

import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import path from 'node:path';

import xterm from '@xterm/headless';

import { ROOT } from './program.js';
import { scene } from './scene.js';

const GOLDENS = path.join(ROOT, 'tests/it/goldens');
const COLUMNS = 120;
const ROWS = 40;
const TAB_COLUMNS = 8;
const NAMES = ['black', 'red', 'green', 'yellow', 'blue', 'magenta', 'cyan', 'white'];

/**
 * A character and its look. Colours are computed values of the page; empty for the default colours.
 * @typedef {{text: string, fg: string, bg: string, bold: boolean, faint: boolean, italic: boolean, underline: boolean, strike: boolean}} Cell
 */

/** The page's colours, by palette index, `fg` and `bg`. @typedef {Record<string, string>} Palette */

/** All rows of a terminal after these bytes, with the scrollback. @param {Buffer} log @param {Palette} palette */
async function inTerminal(log, palette) {
  const terminal = new xterm.Terminal({ cols: COLUMNS, rows: ROWS, scrollback: 10_000, allowProposedApi: true });
  await new Promise((resolve) => terminal.write(log, () => resolve(undefined)));
  const { active } = terminal.buffer;
  /** @type {Cell[][]} */
  const rows = [];
  for (let at = 0; at < active.length; at += 1) {
    const line = active.getLine(at);
    assert.ok(line !== undefined);
    const cells = [];
    for (let column = 0; column < line.length; column += 1) {
      const cell = line.getCell(column);
      if (cell === undefined || cell.getWidth() === 0) continue;
      const look = lookOf(cell, palette);
      for (const text of cell.getChars() || ' ') cells.push({ text, ...look });
    }
    if (line.isWrapped) rows[rows.length - 1].push(...cells);
    else rows.push(cells);
  }
  return seen(rows);
}

/** @param {import('@xterm/headless').IBufferCell} cell @param {Palette} palette */
function lookOf(cell, palette) {
  /** @param {boolean} isDefault @param {boolean} isRgb @param {number} number */
  const color = (isDefault, isRgb, number) => {
    if (isDefault) return '';
    if (isRgb) return rgb(number >> 16, (number >> 8) & 255, number & 255);
    if (number < 16) return palette[number];
    if (number > 231) return rgb(...same(8 + 10 * (number - 232)));
    const part = (/** @type {number} */ n) => (n % 6 === 0 ? 0 : 55 + 40 * (n % 6));
    const cube = number - 16;
    return rgb(part(Math.floor(cube / 36)), part(Math.floor(cube / 6)), part(cube));
  };
  let fg = color(cell.isFgDefault(), cell.isFgRGB(), cell.getFgColor());
  let bg = color(cell.isBgDefault(), cell.isBgRGB(), cell.getBgColor());
  if (cell.isInverse()) [fg, bg] = [bg || palette.bg, fg || palette.fg];
  return {
    fg,
    bg,
    bold: Boolean(cell.isBold()),
    faint: Boolean(cell.isDim()),
    italic: Boolean(cell.isItalic()),
    underline: Boolean(cell.isUnderline()),
    strike: Boolean(cell.isStrikethrough()),
  };
}

/** @param {number} n @returns {[number, number, number]} */
const same = (n) => [n, n, n];

/** @param {number} red @param {number} green @param {number} blue */
const rgb = (red, green, blue) => `rgb(${red}, ${green}, ${blue})`;

/** The page's colours with these names. @param {string[]} names @returns {Palette} */
function paletteOfPage(names) {
  const row = document.querySelector('#rows .row');
  if (row === null) throw new Error('no row');
  const probe = document.createElement('span');
  row.append(probe);
  /** @param {string} name */
  const computed = (name) => {
    probe.style.color = `var(--${name})`;
    return getComputedStyle(probe).color;
  };
  /** @type {Palette} */
  const palette = { fg: computed('fg'), bg: computed('bg') };
  names.forEach((name, i) => {
    palette[i] = computed(name);
    palette[i + 8] = computed(`bright-${name}`);
  });
  probe.remove();
  return palette;
}

/** The rows on the page, with the computed style of each character. @returns {Cell[][]} */
function onPage() {
  return [...document.querySelectorAll('#rows .row')].map((row) => {
    const own = getComputedStyle(row).color;
    /** @type {Cell[]} */
    const cells = [];
    const texts = document.createTreeWalker(row, NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) {
      const look = { fg: '', bg: '', bold: false, faint: false, italic: false, underline: false, strike: false };
      const nearest = texts.currentNode.parentElement;
      if (nearest !== null && nearest !== row) {
        const { color, fontWeight, fontStyle } = getComputedStyle(nearest);
        look.fg = color === own ? '' : color;
        look.bold = Number(fontWeight) >= 700;
        look.italic = fontStyle === 'italic';
      }
      for (let element = nearest; element !== null && element !== row; element = element.parentElement) {
        const style = getComputedStyle(element);
        if (look.bg === '' && style.backgroundColor !== 'rgba(0, 0, 0, 0)') look.bg = style.backgroundColor;
        look.faint ||= Number(style.opacity) < 1;
        // The page itself underlines links.
        look.underline ||= element.tagName !== 'A' && style.textDecorationLine.includes('underline');
        look.strike ||= style.textDecorationLine.includes('line-through');
      }
      for (const text of texts.currentNode.textContent ?? '') cells.push({ text, ...look });
    }
    return cells;
  });
}

/**
 * The visible parts of rows: a tab becomes blanks, a blank shows only its background and lines, and blanks at the end
 * of a row and empty rows at the end of the screen are dropped.
 * @param {Cell[][]} rows
 */
function seen(rows) {
  const trimmed = rows.map((row) => {
    /** @type {Cell[]} */
    const cells = [];
    for (const cell of row) {
      const blanks = cell.text === '\t' ? TAB_COLUMNS - (cells.length % TAB_COLUMNS) : 1;
      const text = cell.text === '\t' || cell.text === '\u00a0' ? ' ' : cell.text;
      const isBlank = text === ' ';
      const isLined = cell.underline || cell.strike;
      const shown = isBlank ? { ...cell, fg: isLined ? cell.fg : '', bold: false, faint: false, italic: false } : cell;
      for (let i = 0; i < blanks; i += 1) cells.push({ ...shown, text });
    }
    while (cells.length > 0 && cells[cells.length - 1].text === ' ' && !cells[cells.length - 1].underline) cells.pop();
    return cells;
  });
  while (trimmed.length > 0 && trimmed[trimmed.length - 1].length === 0) trimmed.pop();
  return trimmed;
}

/** A row as text, with each change of look in brackets. @param {Cell[] | undefined} row */
function told(row) {
  let last = '';
  return (row ?? []).map(({ text, ...look }) => {
    const now = Object.values(look).map(String).join(' ').replaceAll('false', '').replace(/ +/g, ' ').trim();
    const change = now === last ? '' : `[${now}]`;
    last = now;
    return change + text;
  }).join('');
}

/** The first rows that differ; empty if all are equal. @param {Cell[][]} page @param {Cell[][]} terminal */
function differences(page, terminal) {
  const differing = [];
  for (let at = 0; at < Math.max(page.length, terminal.length); at += 1) {
    if (JSON.stringify(page[at]) !== JSON.stringify(terminal[at])) {
      differing.push(`row ${at}:\n  page     ${told(page[at])}\n  terminal ${told(terminal[at])}`);
    }
  }
  return differing.slice(0, 4).join('\n');
}

const names = readdirSync(GOLDENS).filter((name) => name.endsWith('.log')).sort();

scene('every recorded log looks on the page as in a terminal, at once and in pieces', async (scene) => {
  assert.ok(names.length >= 18, names.join(' '));
  const { logs, page } = scene;
  for (const name of names) {
    const log = readFileSync(path.join(GOLDENS, name));
    // All of the log, or its first half, exists when the page opens. The rest is written in pieces, which may end
    // within escape sequences.
    for (const begun of [log.length, Math.floor(log.length / 2)]) {
      const target = await logs.write(name, log.subarray(0, begun));
      await scene.open(target);
      await scene.until(() => document.querySelector('#rows .row') !== null);
      // Read before the rest is written, because a log that redraws its rows may have none for a moment.
      const palette = await page.evaluate(paletteOfPage, NAMES);
      const piece = Math.ceil((log.length - begun) / 5);
      for (let at = begun; at < log.length; at += piece) await logs.append(name, log.subarray(at, at + piece));
      const terminal = await inTerminal(log, palette);
      const until = Date.now() + 20_000;
      for (;;) {
        const differing = differences(seen(await page.evaluate(onPage)), terminal);
        if (differing === '') break;
        if (Date.now() > until) throw new Error(`${name}, opened at byte ${begun} of ${log.length}:\n${differing}`);
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    }
  }
});
