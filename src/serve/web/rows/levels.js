// The log level of a row: from the server's annotation, else from the rules for its text. The server sends the rules.

import { serverUrl } from '../net/wire.js';

/** Only the beginning of a line is searched for its level. */
const LOOK_CHARS = 4_000;

/** A level for a pattern, or for each of its named groups. @typedef {{level?: string, pattern: string}} Rule */
/** @typedef {{level?: string, expression: RegExp}} CompiledRule */

export class Levels {
  /** @type {CompiledRule[]} */
  #rules = [];
  /** @type {WeakMap<import('./tail.js').Row, string>} */
  #cache = new WeakMap();

  /** @param {() => void} changed called when the rules have arrived */
  async load(changed) {
    try {
      const answer = await fetch(serverUrl('/_/levels.json'));
      if (!answer.ok) return;
      this.#rules = compileRules(await answer.json());
      this.#cache = new WeakMap();
      changed();
    } catch {
      // Without rules only annotations give a level.
    }
  }

  /**
   * @param {import('./tail.js').Row} row a row on the page
   * @returns {string} `error`, `warning` and so on; empty if it has none
   */
  of(row) {
    let level = this.#cache.get(row);
    if (level === undefined) {
      level = row.annotation?.level ?? levelOf(this.#rules, row.element?.textContent ?? '');
      this.#cache.set(row, level);
    }
    return level;
  }

  /**
   * The level of a row that is not on the page.
   * @param {import('../net/wire.js').WireRow} row
   */
  ofWire([, html, note]) {
    return note?.level ?? (this.#rules.length > 0 ? levelOf(this.#rules, plainText(html)) : '');
  }

  /** Must be called when the row changed. @param {import('./tail.js').Row} row */
  forget(row) {
    this.#cache.delete(row);
  }

  /** @param {import('./tail.js').Entry[]} entries in sight */
  show(entries) {
    for (const entry of entries) {
      if (entry.marker !== undefined || entry.element === null) continue;
      const level = this.of(entry);
      if ((entry.element.dataset.level ?? '') === level) continue;
      if (level === '') delete entry.element.dataset.level;
      else entry.element.dataset.level = level;
    }
  }
}

/** @type {Record<string, string>} */
const ENTITIES = { '&lt;': '<', '&gt;': '>', '&quot;': '"', '&#39;': "'", '&amp;': '&' };

/** The text of a row's HTML, as the server writes it. @param {string} html */
export function plainText(html) {
  return html.replace(/<[^>]*>/g, '').replace(/&(?:lt|gt|quot|#39|amp);/g, (entity) => ENTITIES[entity]);
}

/** @param {Rule[]} rules */
export function compileRules(rules) {
  return rules.map(({ level, pattern }) => ({ level, expression: new RegExp(pattern, 'u') }));
}

/**
 * The level of the first rule that matches the text, if it is one that the page shows.
 * @param {CompiledRule[]} rules
 * @param {string} text
 */
export function levelOf(rules, text) {
  const head = text.slice(0, LOOK_CHARS);
  for (const { level, expression } of rules) {
    const match = expression.exec(head);
    if (match === null) continue;
    const group = Object.entries(match.groups ?? {}).find(([, matched]) => matched !== undefined);
    const found = level ?? group?.[0].replace(/\d+$/, '');
    return found === 'error' || found === 'warning' ? found : '';
  }
  return '';
}
