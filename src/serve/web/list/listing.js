// The lines of the list: logs that pass the filter, sorted, flat or as a tree. Pure functions; no document.

/** A log that changed within this time counts as "writing now", unless it is the output of a command that has ended. */
export const WRITING_MS = 10_000;
const BY_NAME = new Intl.Collator('en', { numeric: true, sensitivity: 'base' });

/**
 * @typedef {'name' | 'size' | 'change'} Key
 * @typedef {{path: string, name?: string, href: string, size: number, modified: number, viewers: number, names?: string[], exit?: {status: number | null}, duration?: number, away?: boolean, isGone?: boolean, lower?: string}} Log
 * @typedef {{by: Key, descending: boolean}} Sort
 *
 * @typedef {object} LogLine
 * @property {'log'} kind
 * @property {string} key
 * @property {Log} log
 * @property {number} depth
 * @property {number} cut index in the path at which the shown part begins
 *
 * @typedef {object} DirectoryLine
 * @property {'directory'} kind
 * @property {string} key
 * @property {string} label
 * @property {number} depth
 * @property {number} count number of logs in it
 * @property {number} size their total size in bytes
 * @property {number} modified time of the last change of one of them
 * @property {boolean} isExpanded
 *
 * @typedef {LogLine | DirectoryLine} Line
 *
 * @typedef {{path: string, label: string, directories: Map<string, Directory>, logs: Log[], count: number, size: number, modified: number}} Directory
 */

/** @param {Log | DirectoryLine | Directory} thing @param {number} now */
export function isWriting(thing, now) {
  const hasEnded = 'exit' in thing && thing.exit !== undefined;
  return !hasEnded && now - thing.modified < WRITING_MS;
}

/** @param {string} filter */
export function filterWords(filter) {
  return filter.toLowerCase().split(/\s+/).filter((word) => word !== '');
}

/**
 * The logs in order, favourites first. In the order by change, logs that are being written come first, sorted by name:
 * sorted by time they would change places with every line.
 * @param {Iterable<Log>} logs
 * @param {Sort} sort
 * @param {Set<string>} stars
 * @param {number} now
 * @returns {Log[]}
 */
export function sortLogs(logs, sort, stars, now) {
  const compare = comparison(sort, now);
  return [...logs].sort((a, b) => Number(stars.has(b.href)) - Number(stars.has(a.href)) || compare(a, b) || BY_NAME.compare(a.path, b.path));
}

/**
 * @param {Sort} sort
 * @param {number} now
 * @returns {(a: Sizes, b: Sizes) => number}
 * @typedef {{path: string, size: number, modified: number}} Sizes
 */
function comparison({ by, descending }, now) {
  const sign = descending ? -1 : 1;
  if (by === 'name') return (a, b) => sign * BY_NAME.compare(a.path, b.path);
  if (by === 'size') return (a, b) => sign * (a.size - b.size);
  /** @param {Sizes} one */
  const changed = ({ modified }) => (now - modified < WRITING_MS ? now : modified);
  return (a, b) => sign * (changed(a) - changed(b));
}

/**
 * @param {Log[]} logs
 * @param {string[]} words a path with its name must contain all of them; case is ignored
 */
export function filterLogs(logs, words) {
  if (words.length === 0) return logs;
  return logs.filter((log) => {
    log.lower ??= `${log.path} ${log.name ?? ''}`.toLowerCase();
    const { lower } = log;
    return words.every((word) => lower.includes(word));
  });
}

/** @param {Log[]} logs @returns {Line[]} */
export function flat(logs) {
  return logs.map((log) => ({ kind: 'log', key: log.href, log, depth: 0, cut: 0 }));
}

/**
 * The logs as a tree. A directory that contains only another directory is joined with it.
 * @param {Log[]} logs in order
 * @param {Sort} sort
 * @param {(path: string) => boolean} isOpen
 * @param {number} now
 * @returns {Line[]}
 */
export function tree(logs, sort, isOpen, now) {
  const root = directory('', '');
  for (const log of logs) {
    let at = root;
    add(at, log);
    const parts = log.path.split('/');
    for (const part of parts.slice(1, -1)) {
      let next = at.directories.get(part);
      if (next === undefined) at.directories.set(part, next = directory(`${at.path}/${part}`, part));
      at = next;
      add(at, log);
    }
    at.logs.push(log);
  }
  /** @type {Line[]} */
  const lines = [];
  const compare = comparison(sort, now);
  /** @param {Directory} within @param {number} depth */
  const visit = (within, depth) => {
    const directories = [...within.directories.values()].map(joinSingle).sort((a, b) => compare(a, b) || BY_NAME.compare(a.path, b.path));
    for (const { path, label, count, size, modified, ...rest } of directories) {
      const isExpanded = isOpen(path);
      lines.push({ kind: 'directory', key: `${path}/`, label: `${label}/`, depth, count, size, modified, isExpanded });
      if (isExpanded) visit({ path, label, count, size, modified, ...rest }, depth + 1);
    }
    for (const log of within.logs) lines.push({ kind: 'log', key: log.href, log, depth, cut: within.path.length + 1 });
  };
  const topDirectory = joinSingle({ ...root, label: '' });
  // The common directory of all logs is one line.
  if (topDirectory.path === '') visit(root, 0);
  else visit({ ...root, directories: new Map([[topDirectory.path, { ...topDirectory, label: topDirectory.path }]]), logs: [] }, 0);
  return lines;
}

/** @param {string} path @param {string} label @returns {Directory} */
function directory(path, label) {
  return { path, label, directories: new Map(), logs: [], count: 0, size: 0, modified: 0 };
}

/** @param {Directory} to @param {Log} log */
function add(to, log) {
  to.count += 1;
  to.size += log.size;
  to.modified = Math.max(to.modified, log.modified);
}

/** @param {Directory} outer @returns {Directory} */
function joinSingle(outer) {
  let inner = outer;
  let { label } = outer;
  while (inner.logs.length === 0 && inner.directories.size === 1) {
    [inner] = inner.directories.values();
    label = label === '' ? inner.label : `${label}/${inner.label}`;
  }
  return { ...inner, label };
}
