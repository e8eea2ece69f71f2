// The modules of the pages as node can import them: what they compute is tested without a browser.

import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { pathToFileURL } from 'node:url';

import { ROOT } from './program.js';

// Beside the sources no file tells node that they are modules, and an older node does not find out by itself.
const directory = mkdtempSync(path.join(tmpdir(), 'tailcast-page-'));
process.on('exit', () => rmSync(directory, { recursive: true, force: true }));
cpSync(path.join(ROOT, 'src/serve/web'), directory, { recursive: true });
writeFileSync(path.join(directory, 'package.json'), '{"type": "module"}');

/**
 * What a module exports.
 * @param {string} name
 */
export function load(name) {
  return import(pathToFileURL(path.join(directory, name)).href);
}
