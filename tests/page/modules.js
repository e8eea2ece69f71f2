// Imports the pages' modules into Node, to test their pure parts without a browser.

import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { pathToFileURL } from 'node:url';

import { ROOT } from './program.js';

// A copy, because the sources have no `package.json` that declares them as modules, which older versions of Node need.
const directory = mkdtempSync(path.join(tmpdir(), 'tailcast-page-'));
process.on('exit', () => rmSync(directory, { recursive: true, force: true }));
cpSync(path.join(ROOT, 'src/serve/web'), directory, { recursive: true });
writeFileSync(path.join(directory, 'package.json'), '{"type": "module"}');

/**
 * The exports of a module.
 * @param {string} name
 */
export function load(name) {
  return import(pathToFileURL(path.join(directory, name)).href);
}
