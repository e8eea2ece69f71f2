// What must hold in the text of all modules.
//
// The names in the pages' modules must not shadow globals of the browser.
//
// If a local `name`, `status` or `history` is misspelt or removed later, the code silently uses the browser's global,
// and no type checker reports it.

import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';

import ts from 'typescript';

import { ROOT } from './program.js';
import { scene } from './scene.js';

const WEB = path.join(ROOT, 'src/serve/web');

/**
 * All names that a module declares, with their lines: variables (also destructured ones), functions, classes, imports
 * and parameters. The parameter `event` is left out: all listeners have it, and `window.event` is the same object.
 * @param {string} file
 * @returns {{text: string, where: string}[]}
 */
function declaredNames(file) {
  const source = ts.createSourceFile(file, readFileSync(path.join(WEB, file), 'utf8'), ts.ScriptTarget.ES2023, true, ts.ScriptKind.JS);
  /** @type {{text: string, where: string}[]} */
  const found = [];
  /** @param {ts.BindingName | undefined} binding */
  const add = (binding) => {
    if (binding === undefined) return;
    if (ts.isIdentifier(binding)) {
      found.push({ text: binding.text, where: `${file}:${source.getLineAndCharacterOfPosition(binding.getStart(source)).line + 1}` });
    } else {
      for (const element of binding.elements) if (ts.isBindingElement(element)) add(element.name);
    }
  };
  /** @param {ts.Node} node */
  const visit = (node) => {
    const isEvent = ts.isParameter(node) && ts.isIdentifier(node.name) && node.name.text === 'event';
    if (ts.isVariableDeclaration(node) || (ts.isParameter(node) && !isEvent)) add(node.name);
    else if (ts.isFunctionDeclaration(node) || ts.isClassDeclaration(node) || ts.isImportSpecifier(node)) add(node.name);
    ts.forEachChild(node, visit);
  };
  visit(source);
  return found;
}

const modules = readdirSync(WEB, { recursive: true }).map(String).filter((name) => name.endsWith('.js'));

test('the names that modules declare are found', () => {
  assert.ok(modules.length > 40, `${modules.length} modules`);
  const names = declaredNames('viewer/main.js').map(({ text }) => text);
  for (const expected of ['Connection', 'log', 'generations', 'tail', 'onMessage', 'phase']) assert.ok(names.includes(expected), expected);
});

// The build leaves out lines that begin as a comment does, and types.
test('no line of a text over several lines looks like a comment, and no text like a type', () => {
  let texts = 0;
  for (const file of modules) {
    const source = ts.createSourceFile(file, readFileSync(path.join(WEB, file), 'utf8'), ts.ScriptTarget.ES2023, true, ts.ScriptKind.JS);
    /** @param {ts.Node} node */
    const visit = (node) => {
      if (ts.isTemplateExpression(node) || ts.isNoSubstitutionTemplateLiteral(node)) {
        texts += 1;
        assert.doesNotMatch(node.getText(source), /\n\s*(\/\/|\/\*)/, file);
      }
      if (ts.isStringLiteral(node) || ts.isTemplateLiteral(node) || ts.isRegularExpressionLiteral(node)) assert.ok(!node.getText(source).includes('/** @'), file);
      ts.forEachChild(node, visit);
    };
    visit(source);
  }
  assert.ok(texts > 50, `${texts} texts`);
});

scene('no name in a module shadows a global of the browser', async ({ page }) => {
  const globals = new Set(await page.evaluate(() => {
    const names = [];
    for (let object = window; object !== null; object = Object.getPrototypeOf(object)) names.push(...Object.getOwnPropertyNames(object));
    return names;
  }));
  for (const known of ['window', 'history', 'location', 'name', 'status', 'find', 'top', 'Selection']) assert.ok(globals.has(known), known);
  const hiding = modules.flatMap(declaredNames).filter(({ text }) => globals.has(text)).map(({ text, where }) => `${text} at ${where}`);
  assert.deepEqual(hiding, []);
});
