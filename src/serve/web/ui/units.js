// Formats sizes, counts, ages and clock times for all pages.

const WHOLE = new Intl.NumberFormat('en-US');
const BYTE_UNITS = ['KiB', 'MiB', 'GiB', 'TiB', 'PiB'];

/**
 * @param {number} count
 * @param {string} one
 * @param {string} [many]
 */
export function plural(count, one, many = `${one}s`) {
  return `${WHOLE.format(count)} ${count === 1 ? one : many}`;
}

/** @param {number} bytes */
export function formatSize(bytes) {
  if (bytes < 1024) return `${bytes} B`;
  let value = bytes;
  let unit = -1;
  do {
    value /= 1024;
    unit += 1;
  } while (value >= 1023.5 && unit < BYTE_UNITS.length - 1);
  return `${value < 9.95 ? value.toFixed(1) : Math.round(value)} ${BYTE_UNITS[unit]}`;
}

/**
 * How long something took: `0.4 s`, `12 s`, `3 min 2 s`, `2 h 5 min`.
 * @param {number} ms
 */
export function formatSpan(ms) {
  if (ms < 10_000) return `${Math.floor(ms / 100) / 10} s`;
  const seconds = Math.floor(ms / 1000);
  const [hours, minutes, rest] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
  const parts = hours > 0 ? [[hours, 'h'], [minutes, 'min']] : [[minutes, 'min'], [rest, 's']];
  return parts.filter(([count]) => count !== 0).map(([count, unit]) => `${count} ${unit}`).join(' ');
}

/**
 * Age, in the largest whole unit. A time in the future, from a clock that is ahead, gives "just now".
 * @param {number} ms
 */
export function formatAge(ms) {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  if (seconds < 1) return 'just now';
  if (seconds < 60) return `${seconds} s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)} h ago`;
  return plural(Math.floor(seconds / 86_400), 'day') + ' ago';
}

/** @param {number} at milliseconds since the epoch */
export function formatClock(at) {
  const time = new Date(at);
  return [time.getHours(), time.getMinutes(), time.getSeconds()].map((part) => String(part).padStart(2, '0')).join(':');
}

/** @param {number} at milliseconds since the epoch */
export function formatDateTime(at) {
  const time = new Date(at);
  const date = [time.getFullYear(), time.getMonth() + 1, time.getDate()].map((part) => String(part).padStart(2, '0')).join('-');
  return `${date} ${formatClock(at)}`;
}
