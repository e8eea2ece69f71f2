// The pure parts of the list and of the pages with several logs: sorting, filtering, URLs and names.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';

import { load } from './modules.js';
import { ROOT } from './program.js';

const { flat, sortLogs, filterLogs, tree, filterWords } = await load('list/listing.js');
const { presenceOf } = await load('list/log-row.js');
const { formatState, parseState } = await load('list/list-hash.js');
const { multiLogUrl, canonicalLog, parseLogs, shortNames, displayPath } = await load('url/multi-log.js');

const NOW = 1_000_000_000;

/** @param {string} path @param {number} size @param {number} ago */
function log(path, size = 1, ago = 60_000) {
  return { path, href: path, size, modified: NOW - ago, viewers: 0 };
}

const paths = (/** @type {{path: string}[]} */ logs) => logs.map((one) => one.path);

test('favourite logs come first, then those that are being written, in a stable order', () => {
  const logs = [log('/old', 1, 90_000), log('/b-now', 1, 10), log('/a-now', 1, 5_000), log('/starred', 1, 999_999), log('/newer', 1, 20_000)];
  const favourites = new Set(['/starred']);
  const byChange = { by: 'change', descending: true };
  assert.deepEqual(paths(sortLogs(logs, byChange, favourites, NOW)), ['/starred', '/a-now', '/b-now', '/newer', '/old']);
  // A new line in one of them does not change the order.
  logs[2].modified = NOW;
  assert.deepEqual(paths(sortLogs(logs, byChange, favourites, NOW)), ['/starred', '/a-now', '/b-now', '/newer', '/old']);
  assert.deepEqual(paths(sortLogs(logs, { by: 'name', descending: false }, favourites, NOW)), ['/starred', '/a-now', '/b-now', '/newer', '/old']);
});

test('logs are sorted by name, with numbers in numerical order, or by size', () => {
  const logs = [log('/w-10.log', 5), log('/w-9.log', 70), log('/W-1.log', 600)];
  assert.deepEqual(paths(sortLogs(logs, { by: 'name', descending: false }, new Set(), NOW)), ['/W-1.log', '/w-9.log', '/w-10.log']);
  assert.deepEqual(paths(sortLogs(logs, { by: 'size', descending: true }, new Set(), NOW)), ['/W-1.log', '/w-9.log', '/w-10.log']);
});

test('a filter matches paths that contain every word, in any case', () => {
  const logs = [log('/srv/App/error.log'), log('/srv/app/access.log'), log('/srv/error.log')];
  assert.deepEqual(paths(filterLogs(logs, filterWords(' APP  err '))), ['/srv/App/error.log']);
  assert.deepEqual(paths(filterLogs(logs, filterWords(''))), paths(logs));
  assert.equal(flat(logs).length, 3);
});

test('a tree joins directories with a single entry, shows totals, and can be folded', () => {
  const logs = [log('/var/log/app/a.log', 10, 50), log('/var/log/app/deep/er/b.log', 20, 20_000), log('/var/log/c.log', 5)];
  const byName = { by: 'name', descending: false };
  const lines = (/** @type {(path: string) => boolean} */ isOpen) => tree(logs, byName, isOpen, NOW).map((/** @type {any} */ line) => (
    line.kind === 'log' ? `${'  '.repeat(line.depth)}${line.log.path.slice(line.cut)}` : `${'  '.repeat(line.depth)}${line.label} ${line.count} ${line.size}`));
  assert.deepEqual(lines(() => true), ['/var/log/ 3 35', '  app/ 2 30', '    deep/er/ 1 20', '      b.log', '    a.log', '  c.log']);
  assert.deepEqual(lines((path) => path !== '/var/log/app'), ['/var/log/ 3 35', '  app/ 2 30', '  c.log']);
  assert.deepEqual(tree([log('/a.log'), log('/b.log')], byName, () => true, NOW).map((/** @type {any} */ line) => [line.depth, line.cut]), [[0, 1], [0, 1]]);
});

test('the state of the list can be restored from its URL, and invalid parts of a URL are ignored', () => {
  const state = { filter: 'a & b=#%', sort: { by: 'size', descending: true }, tree: true, folded: new Set(['/var/log & more']), picked: new Set(['/a%FF.log', '/b%26c.log']) };
  assert.deepEqual(parseState(formatState(state)), state);
  assert.equal(formatState(parseState('')), '');
  assert.deepEqual(parseState('#sort=evil&tree=yes&log=evil.example/x&log=javascript:alert(1)&log=/_/logs&unknown'), parseState(''));
});

test('only paths of logs are accepted from a URL', () => {
  assert.equal(canonicalLog('/var/log/a.log'), '/var/log/a.log');
  assert.equal(canonicalLog('%2Fvar%2Flog%2Fa+b.log'), '/var/log/a%2Bb.log');
  assert.equal(canonicalLog('/a%FF%0A%25.log'), '/a%FF%0A%25.log');
  assert.equal(canonicalLog('/100%.log'), '/100%25.log');
  assert.equal(canonicalLog('/a?x=1'), '/a%3Fx%3D1');
  assert.equal(canonicalLog('//evil.example/a.log'), '/evil.example/a.log');
  assert.equal(canonicalLog('/\\evil.example/a'), '/%5Cevil.example/a');
  for (const bad of ['', 'a.log', 'http://evil.example/a', 'javascript:1', '/', '/dir/', '/_/logs', '/x/../_/beside', '/%2e%2e/_/logs', '/..//evil.example/x']) {
    assert.equal(canonicalLog(bad), null, bad);
  }
});

test('repeated logs in a URL and those over the limit are ignored', () => {
  assert.deepEqual(parseLogs('?log=/b&x=1&log=/a&log=/b&log=%2Fa&log=evil', 4), ['/b', '/a']);
  assert.deepEqual(parseLogs('?log=/a&log=/b&log=/c', 2), ['/a', '/b']);
  assert.deepEqual(parseLogs(new URL(multiLogUrl('beside', ['/a%FF', '/b%26']), 'http://x').search, 4), ['/a%FF', '/b%26']);
});

test('names are the shortest that are unique, and misleading characters stay encoded', () => {
  assert.deepEqual(shortNames(['/srv/a/app.log', '/srv/b/app.log', '/srv/b/db.log']), ['a/app.log', 'b/app.log', 'db.log']);
  assert.deepEqual(shortNames(['/app.log']), ['app.log']);
  assert.equal(displayPath('/gr%C3%BCn%20%3C.log'), '/grün <.log');
  assert.equal(displayPath('/a%FF%C3%BC.log'), '/a%FF%C3%BC.log');
  assert.equal(displayPath('/two%0Alines%E2%80%AEgol.%C3%BC'), '/two%0Alines%E2%80%AEgol.ü');
});

/** @param {string} colour */
function linear(colour) {
  return [1, 3, 5].map((at) => Number.parseInt(colour.slice(at, at + 2), 16) / 255).map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
}

/** @param {string} a @param {string} b */
function contrast(a, b) {
  const [low, high] = [a, b].map((colour) => linear(colour).reduce((sum, part, at) => sum + part * [0.2126, 0.7152, 0.0722][at], 0)).sort((x, y) => x - y);
  return (high + 0.05) / (low + 0.05);
}

/** Normal vision, and without the cones for red, for green and for blue (Machado et al. 2009, severity 1). */
const EYES = [
  [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
  [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
  [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
  [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
];

/** A linear colour in Oklab, in which distances are perceptual. @param {number[]} colour */
function lab([r, g, b]) {
  const l = Math.cbrt(0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b);
  const m = Math.cbrt(0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b);
  const s = Math.cbrt(0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b);
  return [0.2104542553 * l + 0.793617785 * m - 0.0040720468 * s, 1.9779984951 * l - 2.428592205 * m + 0.4505937099 * s, 0.0259040371 * l + 0.7827717662 * m - 0.808675766 * s];
}

test('the colours of merged logs have enough contrast, and colour-blind readers can distinguish them', () => {
  const merged = readFileSync(path.join(ROOT, 'src/serve/web/styles/multi-log.css'), 'utf8');
  const common = readFileSync(path.join(ROOT, 'src/serve/web/styles/base.css'), 'utf8');
  const pairs = [...merged.matchAll(/--log-\d: light-dark\((#\w{6}), (#\w{6})\)/g)];
  assert.equal(pairs.length, 8);
  for (const theme of [1, 2]) {
    const grounds = ['bg', 'hover', 'press', 'selected'].map((name) => new RegExp(`--${name}: light-dark\\((#\\w{6}), (#\\w{6})\\)`).exec(common)?.[theme] ?? '');
    const colours = pairs.map((pair) => pair[theme]);
    for (const [at, colour] of colours.entries()) {
      for (const ground of grounds) assert.ok(contrast(colour, ground) >= 4.5, `${colour} on ${ground}: ${contrast(colour, ground)}`);
      for (const other of colours.slice(at + 1)) {
        for (const [eye, matrix] of EYES.entries()) {
          const [one, two] = [colour, other].map(linear).map((light) => lab(matrix.map((row) => Math.min(1, Math.max(0, row.reduce((sum, part, index) => sum + part * light[index], 0))))));
          const distance = Math.hypot(...one.map((part, index) => part - two[index]));
          assert.ok(distance >= 0.06, `${colour} and ${other} with eye ${eye}: ${distance}`);
        }
      }
    }
  }
});

test('who views a log is told by the first name, or by a number where there are no names', () => {
  assert.equal(presenceOf({ viewers: 0 }), '');
  assert.equal(presenceOf({ viewers: 3 }), '3');
  assert.equal(presenceOf({ viewers: 3, names: ['ann'] }), 'ann');
  assert.equal(presenceOf({ viewers: 3, names: ['ann', 'bob', 'eve'] }), 'ann +2');
});
