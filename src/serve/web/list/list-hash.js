// The state of the list as the URL's fragment: filter, order, tree, folded directories and picked logs.

import { canonicalLog } from '../url/multi-log.js';

/**
 * @typedef {object} State
 * @property {string} filter
 * @property {import('./listing.js').Sort} sort
 * @property {boolean} tree
 * @property {Set<string>} folded paths of directories
 * @property {Set<string>} picked addresses of logs
 */

const KEYS = /** @type {const} */ (['name', 'size', 'change']);

/**
 * @param {string} hash
 * @returns {State}
 */
export function parseState(hash) {
  // The paths of logs are not decoded: a path may be any bytes, also invalid UTF-8.
  /** @type {Set<string>} */
  const picked = new Set();
  const rest = hash.replace(/^#/, '').split('&').filter((part) => {
    if (!part.startsWith('log=')) return true;
    const log = canonicalLog(part.slice('log='.length));
    if (log !== null) picked.add(log);
    return false;
  });
  const fields = new URLSearchParams(rest.join('&'));
  const sort = fields.get('sort') ?? '';
  const by = KEYS.find((key) => key === sort.replace(/^-/, ''));
  return {
    filter: fields.get('filter') ?? '',
    sort: by === undefined ? { by: 'change', descending: true } : { by, descending: sort.startsWith('-') },
    tree: fields.get('tree') === '1',
    folded: new Set(fields.getAll('folded')),
    picked,
  };
}

/**
 * @param {State} state
 * @returns {string} with the `#`, or empty for the default state
 */
export function formatState({ filter, sort, tree, folded, picked }) {
  const fields = new URLSearchParams();
  if (filter !== '') fields.set('filter', filter);
  if (sort.by !== 'change' || !sort.descending) fields.set('sort', `${sort.descending ? '-' : ''}${sort.by}`);
  if (tree) fields.set('tree', '1');
  for (const path of folded) fields.append('folded', path);
  const parts = [fields.toString(), ...[...picked].map((log) => `log=${log}`)].filter((part) => part !== '');
  return parts.length === 0 ? '' : `#${parts.join('&')}`;
}
