// The parts of the merged page without a browser: the order of rows that arrive and of those from pages, and clocks.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { load } from './modules.js';

const { LogClock, formatShift, parseShift } = await load('merged/log-clock.js');
const { formatShifts, parseShifts } = await load('merged/clock-offsets.js');
const { Journey } = await load('merged/journey.js');
const { MergedLoader } = await load('merged/loader.js');
const { MergeBuffer } = await load('merged/merge-buffer.js');
const { ROWS_MAX } = await load('merged/live-log.js');
const { Pager } = await load('merged/pager.js');
const { behind, END, placeOf, START } = await load('merged/place.js');
const { ToldPlaces } = await load('merged/told-places.js');
const { parseTime } = await load('rows/times.js');

const ALL = { logs: new Set([0, 1, 2, 3]), passes: null, filter: '' };
/** In these tests a row's text is its time in ms, if it is a number. @param {string} html */
const parse = (html) => (/^\d+/.test(html) ? Number.parseInt(html, 10) : null);

test('offsets of clocks are typed and shown in units, and kept in a link', () => {
  for (const [typed, ms, shown] of [
    ['', 0, ''], ['0', 0, ''], ['+1.5s', 1_500, '+1s500ms'], ['-2h', -7_200_000, '-2h'], ['−1h 30m', -5_400_000, '-1h30m'], ['250ms', 250, '+250ms'], ['1d', 86_400_000, '+1d'],
  ]) {
    assert.equal(parseShift(typed), ms, typed);
    assert.equal(formatShift(ms), shown, typed);
    assert.equal(parseShift(shown), ms, shown);
  }
  for (const typed of ['an hour', '5', '1h+2m', '2w', '--1s']) assert.equal(parseShift(typed), null, typed);
  assert.equal(formatShifts([0, 1_500, -3_600_000]), '2:1500,3:-3600000');
  assert.deepEqual(parseShifts('2:1500,3:-3600000', 3), [0, 1_500, -3_600_000]);
  assert.deepEqual(parseShifts('9:1,x,1:2x,-1:5,2:7', 2), [0, 7]);
});

test('the time of an arriving line is read as the server reads those of its pages', () => {
  const clock = new LogClock(parseTime);
  const text = '2026-11-28 14:02:07 a line';
  const local = new Date(2026, 10, 28, 14, 2, 7).getTime();
  const now = local + 5_000;
  assert.equal(clock.timeOf(text, undefined, now), local, 'without a page, the zone is that of the reader');
  clock.learn(text, local + 5.5 * 3_600_000);
  assert.equal(clock.timeOf('2026-11-28 14:02:08 b', undefined, now), local + 5.5 * 3_600_000 + 1_000);
  clock.learn('a line without a time', local);
  clock.learn('2026-11-28 14:00:00 in a line whose own time is elsewhere', local + 77_777);
  assert.equal(clock.timeOf('2026-11-28 14:02:08 b', undefined, now), local + 5.5 * 3_600_000 + 1_000);
  clock.shift = -250;
  assert.equal(clock.timeOf('2026-11-28 14:02:08 b', undefined, now), local + 5.5 * 3_600_000 + 750);
  assert.equal(clock.timeOf('text', { time: 10_000 }, now), 9_750, 'the stamp of a container');
  // The page reads this log wrongly, so its lines stand where they arrive.
  const other = new LogClock(parseTime);
  other.learn(text, local + 77_777);
  assert.equal(other.timeOf(text, undefined, now), null);
});

test('a line stands behind those before it, a wrong clock moves nothing, and arrival orders what says no time', () => {
  const clock = new LogClock(parse);
  assert.equal(clock.keyOf(null, -8e15, 500), 500, 'no line has said a time');
  assert.equal(clock.keyOf(null, 500, null), 500, 'nobody knows when it arrived');
  assert.equal(clock.keyOf(1_000, 500, 1_200), 1_000);
  assert.equal(clock.keyOf(null, 1_000, 1_300), 1_000, 'it came with the line before it');
  clock.learn('1000', 1_000);
  assert.equal(clock.keyOf(null, 1_000, 9_000), 1_000, 'it belongs to the line before it');
  assert.equal(clock.keyOf(900, 1_000, 9_000), 1_000);
  assert.equal(clock.keyOf(1e12, 1_000, 9_000), 69_000, 'at most a minute ahead');
});

test('a date in a message does not stop a log without times', () => {
  const now = Date.UTC(2026, 10, 28, 14);
  const dated = 'renewed until 2026-11-28 15:00:00Z';
  /** @param {InstanceType<typeof LogClock>} clock @param {number} at */
  const arrive = (clock, at, before = 0, text = dated) => clock.keyOf(clock.timeOf(text, undefined, at), before, at);
  // Nothing is known of the log: the date may be a time.
  const fresh = new LogClock(parseTime);
  const first = arrive(fresh, now);
  assert.equal(arrive(fresh, now + 500, first, 'of that line'), first);
  assert.equal(arrive(fresh, now + 90_000, first, 'another line'), now + 90_000);
  // A page had such a date, which the server does not take for a time.
  const looked = new LogClock(parseTime);
  looked.learn(dated, now - 1_234_567);
  assert.equal(looked.isTimed, false);
  assert.equal(arrive(looked, now), now);
  assert.equal(arrive(looked, now + 500, now, 'another line'), now + 500);
  // A page of lines without times.
  const plain = new LogClock(parseTime);
  for (let nth = 0; nth < 100; nth += 1) plain.learn('a line', now - 1_000 * nth);
  assert.equal(arrive(plain, now), now);
  // Among many dates, one is the time of arrival by chance.
  for (let nth = 0; nth < 100; nth += 1) looked.learn(dated, now - 1_234_567);
  looked.learn(dated, Date.UTC(2026, 10, 28, 15));
  assert.equal(looked.isTimed, false);
  assert.equal(arrive(looked, now), now);
  // The rows of a container have stamps.
  const stamped = new LogClock(parseTime);
  stamped.learn('a line', now, { time: now });
  assert.equal(stamped.isTimed, true);
});

test('what the server reads and the page does not is asked for', () => {
  const clock = new LogClock(parse);
  assert.equal(clock.isUnknown, true);
  clock.learn('@150', 150);
  assert.deepEqual([clock.isUnknown, clock.isAsked], [false, false], 'it may be the time of its arrival');
  clock.isTimedByServer = true;
  assert.equal(clock.isAsked, true);
  assert.equal(clock.timeOf('77 of a message', undefined, 1_000), null);
  clock.learn('160 x', 160);
  assert.equal(clock.isAsked, false, 'the page reads its times');
});

/** @param {string[]} rows @param {number} from */
const patch = (rows, from = 0) => {
  let at = from;
  const wire = rows.map((row) => {
    const offset = at;
    at += 10;
    return [offset, row];
  });
  return { type: 'rows', from, next: at, rows: wire };
};
/** Waits until what was begun has gone on. */
const settled = () => new Promise((resolve) => { setTimeout(resolve); });

/** @param {any[]} entries */
const texts = (entries) => entries.map(({ html, marker }) => html ?? `[${marker}]`);

test('a late line stands where its time says, and a row that changes keeps its place', () => {
  const buffer = new MergeBuffer(2, parse);
  buffer.paged.atStart = true;
  for (const log of [0, 1]) buffer.live[log].begin({ generation: `g-${log}-1`, offset: 0 });
  buffer.patch(0, patch(['100 a', '300 c', '900 e']), 'g-0-1', 1_000);
  buffer.patch(1, patch(['200 b', 'of b', '400 late']), 'g-1-1', 1_000);
  const list = ['100 a', '200 b', 'of b', '300 c', '400 late', '900 e'];
  assert.deepEqual(texts(buffer.after(START, 99, ALL)), list);
  assert.deepEqual(texts(buffer.before(END, 99, ALL)), list);
  const third = buffer.after(START, 99, ALL)[2];
  assert.deepEqual(texts(buffer.after(third, 2, ALL)), ['of b', '300 c']);
  assert.deepEqual(texts(buffer.before(third, 1, ALL)), ['200 b']);
  buffer.patch(1, { type: 'rows', from: 20, next: 40, rows: [[20, '400 late and more'], [30, '2']] }, 'g-1-1', 1_000);
  assert.deepEqual(texts(buffer.after(START, 99, ALL)).slice(4), ['400 late and more', '2', '900 e']);
  // A row that says its time only when it is complete.
  buffer.patch(0, { type: 'rows', from: 30, next: 31, rows: [[30, 'x']] }, 'g-0-1', 1_000);
  buffer.patch(0, { type: 'rows', from: 30, next: 39, rows: [[30, '1000 g']] }, 'g-0-1', 1_000);
  buffer.patch(1, { type: 'rows', from: 40, next: 50, rows: [[40, '950 f']] }, 'g-1-1', 1_000);
  assert.deepEqual(texts(buffer.before(END, 3, ALL)), ['900 e', '950 f', '1000 g']);
  buffer.setShift(1, 100);
  assert.deepEqual(texts(buffer.before(END, 3, ALL)), ['900 e', '1000 g', '950 f']);
});

/** Random numbers that are the same in each run. @param {number} seed */
function chance(seed) {
  let state = seed;
  return (/** @type {number} */ below) => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

/** A server with logs that grow. Each row is ten bytes long. */
class Server {
  /** The keys of the rows of each log. @type {number[][]} */
  logs;
  #bound;

  /** @param {number[][]} logs @param {(below: number) => number} random */
  constructor(logs, random) {
    this.logs = logs;
    this.#bound = random;
  }

  /** The order of all rows that are there. */
  all() {
    const rows = this.logs.flatMap((keys, log) => keys.map((key, nth) => ({ key, log, nth })));
    return rows.sort((a, b) => a.key - b.key || a.log - b.log || a.nth - b.nth).map(({ key, log, nth }) => `${key} ${log}:${nth}`);
  }

  /** @param {any[]} asked @param {'from' | 'before'} way @param {{count: number}} wanted */
  async rows(asked, way, { count }) {
    const logs = asked.map(({ path }) => Number(path));
    const places = asked.map(({ place, time }, at) => {
      const keys = this.logs[logs[at]];
      if (time) return keys.filter((key) => key < Math.round(Number(time) * 1_000)).length;
      return place ? place.offset / 10 : way === 'from' ? 0 : keys.length;
    });
    const heads = [...places];
    /** @type {{log: number, nth: number, key: number}[]} */
    const taken = [];
    // A page may be shorter than wanted.
    for (let left = 1 + this.#bound(Math.min(count, 40)); left > 0; left -= 1) {
      let best = -1;
      heads.forEach((head, at) => {
        const key = this.logs[logs[at]][way === 'from' ? head : head - 1];
        if (key === undefined) return;
        const other = best < 0 ? undefined : this.logs[logs[best]][way === 'from' ? heads[best] : heads[best] - 1];
        if (other === undefined || (way === 'from' ? key < other : key >= other)) best = at;
      });
      if (best < 0) break;
      const nth = way === 'from' ? heads[best]++ : (heads[best] -= 1);
      taken.push({ log: best, nth, key: this.logs[logs[best]][nth] });
    }
    if (way === 'before') taken.reverse();
    const [from, next] = way === 'from' ? [places, heads] : [heads, places];
    const parts = logs.map((log, at) => {
      const length = this.logs[log].length;
      const place = (/** @type {number} */ nth) => ({ generation: `g-${log}-1-x`, offset: nth * 10 });
      return { from: place(from[at]), next: place(next[at]), at_start: from[at] === 0, at_end: next[at] === length, live: next[at] === length ? place(length) : null, key: this.logs[log][next[at] - 1] ?? null };
    });
    return {
      logs: parts, at_start: parts.every((one) => one.at_start), at_end: parts.every((one) => one.at_end),
      files: logs.map((log, at) => ({ log: at, generation: `g-${log}-1-x` })), of: taken.map(({ log }) => log),
      rows: taken.map(({ log, nth, key }) => [nth * 10, `${key} ${logs[log]}:${nth}`]), times: taken.map(({ key }) => key), keys: taken.map(({ key }) => key),
    };
  }
}

test('pages and rows that arrive are one list, without a row lost or shown twice', async () => {
  for (let seed = 1; seed <= 60; seed += 1) {
    const random = chance(seed);
    const count = 1 + random(4);
    let clock = 1_000;
    const logs = Array.from({ length: count }, () => {
      let key = 1_000;
      return Array.from({ length: random(200) }, () => (key += random(4)));
    });
    clock = Math.max(clock, ...logs.flat()) + 1;
    const server = new Server(logs, random);
    const buffer = new MergeBuffer(count, parse);
    const pager = new Pager({ buffer, api: server, logs: logs.map((_, log) => String(log)), logsOn: () => new Set(logs.keys()), filter: () => ({}), changed: () => {} });
    const first = await pager.seek('end');
    first.logs.forEach((read, log) => {
      buffer.live[log].begin(read.live);
      buffer.live[log].key = read.key ?? buffer.live[log].key;
    });
    const check = () => {
      const all = server.all();
      const list = texts(buffer.after(START, Infinity, ALL));
      const at = list.length === 0 ? 0 : all.indexOf(list[0]);
      assert.deepEqual(list, all.slice(at, at + list.length), `seed ${seed}`);
      assert.deepEqual(texts(buffer.before(END, Infinity, ALL)), list, `seed ${seed}`);
      if (list.length === 0) return 0;
      if (buffer.paged.isJoined) assert.equal(at + list.length, all.length, `seed ${seed}: the end`);
      if (buffer.paged.atStart) assert.equal(at, 0, `seed ${seed}: the beginning`);
      return list.length;
    };
    check();
    for (let step = 0; step < 60; step += 1) {
      const turn = random(8);
      if (turn === 0) pager.up();
      else if (turn === 1) pager.down();
      else if (turn === 2) await pager.seek(['end', 'start'][random(2)]);
      else if (turn === 3) {
        const rows = buffer.after(START, Infinity, ALL);
        if (rows.length > 0) await pager.seek({ row: rows[random(rows.length)] });
      } else if (turn === 4) await pager.seek({ time: String((1_000 + random(clock - 900)) / 1_000) });
      else {
        const log = random(count);
        const keys = server.logs[log];
        const offset = keys.length * 10;
        const rows = Array.from({ length: 1 + random(5) }, () => {
          // Some logs are late.
          keys.push(Math.max(keys.at(-1) ?? 0, (clock += random(3)) - (log === 0 ? 0 : random(60))));
          return `${keys.at(-1)} ${log}:${keys.length - 1}`;
        });
        buffer.patch(log, patch(rows, offset), `g-${log}-1-x`, clock);
      }
      // Requests end at once.
      await new Promise((resolve) => { setImmediate(resolve); });
      check();
    }
    for (let pages = 0; !buffer.paged.atStart || !buffer.paged.isJoined; pages += 1) {
      assert.ok(pages < 2_000);
      if (!buffer.paged.atStart) pager.up();
      if (!buffer.paged.isJoined) pager.down();
      await new Promise((resolve) => { setImmediate(resolve); });
    }
    assert.equal(check(), server.all().length);
  }
});

/** A list of logs on such a server. @param {any} server @param {number} count */
async function opened(server, count) {
  const buffer = new MergeBuffer(count, parse);
  const on = new Set(Array.from({ length: count }, (_, log) => log));
  const pager = new Pager({ buffer, api: server, logs: [...on].map(String), logsOn: () => on, filter: () => ({}), changed: () => {}, recovered: () => {} });
  const first = await pager.seek('end');
  first.logs.forEach((/** @type {any} */ read, /** @type {number} */ log) => {
    if (read.live === undefined) return;
    buffer.live[log].begin(read.live);
    buffer.live[log].key = read.key ?? buffer.live[log].key;
  });
  /** @param {number} log @param {number[]} keys of the rows that arrive */
  const arrive = (log, keys) => {
    const known = server.logs[log].length;
    server.logs[log].push(...keys);
    buffer.patch(log, patch(keys.map((key, nth) => `${key} ${log}:${known + nth}`), known * 10), `g-${log}-1-x`, 1e9);
  };
  return { buffer, pager, arrive };
}

test('rows that did not fit are loaded again in their order, each once', async () => {
  const server = new Server([[], []], (below) => below - 1);
  const { buffer, pager, arrive } = await opened(server, 2);
  buffer.paged.atStart = true;
  arrive(1, Array.from({ length: ROWS_MAX + 100 }, () => 1_001));
  for (let nth = 0; nth < 13_000; nth += 1_000) arrive(0, Array.from({ length: 1_000 }, (_, at) => 1_002 + Math.floor((nth + at) / 3_000)));
  assert.deepEqual(texts(buffer.after(START, Infinity, ALL)), server.all());
  buffer.isFollowing = false;
  buffer.trim(START, START);
  assert.equal(buffer.paged.isJoined, false);
  for (let pages = 0; !buffer.paged.isJoined; pages += 1) {
    assert.ok(pages < 500);
    await pager.down();
  }
  assert.deepEqual(texts(buffer.after(START, Infinity, ALL)), server.all());
});

test('the ends of what is drawn follow the rows that get other places', async () => {
  const server = new Server([[]], (below) => below - 1);
  const { buffer, pager, arrive } = await opened(server, 1);
  buffer.paged.atStart = true;
  arrive(0, Array.from({ length: 20 }, () => 1_001));
  const drawn = buffer.after(START, 10, ALL).slice(2);
  const rowViewport = { from: placeOf(drawn[0]), to: behind(drawn[7]), last: drawn[7], isEmpty: false, covers: () => false, entries: () => drawn.values() };
  pager.isSeeking = true;
  const loader = new MergedLoader(/** @type {any} */ ({ buffer, pager, rowViewport, follow: { following: false }, rowFilter: () => ALL }));
  loader.attached = false;
  arrive(0, Array.from({ length: ROWS_MAX }, () => 1_001));
  loader.draw();
  const rows = texts(buffer.after(START, Infinity, ALL));
  assert.deepEqual(texts(buffer.before(rowViewport.from, Infinity, ALL)), rows.slice(0, 2));
  assert.deepEqual(texts(buffer.after(rowViewport.to, Infinity, ALL)), rows.slice(10));
});

test('rows of a page make way for the same rows of a stream, also on the screen', async () => {
  const server = new Server([[1, 2, 3], [1, 2]], (below) => below - 1);
  const { buffer } = await opened(server, 2);
  assert.equal(buffer.isFlooded, false);
  buffer.giveWay(0);
  assert.equal(buffer.isFlooded, false, 'none of them comes again');
  buffer.live[0].start = { generation: 'g-0-1-x', offset: 10 };
  buffer.giveWay(0);
  assert.deepEqual(texts(buffer.paged.rows), ['1 0:0', '1 1:0', '2 1:1']);
  assert.equal(buffer.isFlooded, true, 'the screen is drawn anew');
});

test('the others wait for a log that cannot be read now, and not for one that may not be read', async () => {
  const server = new Server([Array.from({ length: 100 }, (_, nth) => nth), Array.from({ length: 100 }, (_, nth) => nth)], (below) => below - 1);
  /** @type {string | null} */
  let error = null;
  const api = {
    logs: server.logs,
    /** @param {any[]} asked @param {'from' | 'before'} way @param {{count: number}} wanted */
    async rows(asked, way, wanted) {
      const answer = await server.rows(asked, way, wanted);
      const at = asked.findIndex(({ path }) => path === '1');
      if (error === null || at < 0) return answer;
      const kept = answer.of.map((of) => of !== at);
      const rest = (/** @type {any[]} */ all) => all.filter((_, nth) => kept[nth]);
      const logs = answer.logs.map((log, nth) => (nth === at ? { error, message: 'it is not there' } : log));
      return { ...answer, logs, of: rest(answer.of), rows: rest(answer.rows), times: rest(answer.times), keys: rest(answer.keys) };
    },
  };
  const { buffer, pager } = await opened(api, 2);
  const before = texts(buffer.paged.rows);
  error = 'unreachable';
  const waiting = pager.up();
  await new Promise((resolve) => { setImmediate(resolve); });
  assert.match(pager.failure, /^1: it is not there$/);
  assert.deepEqual(texts(buffer.paged.rows), before);
  error = null;
  await waiting;
  while (!buffer.paged.atStart) await pager.up();
  assert.equal(pager.failure, '');
  assert.deepEqual(texts(buffer.paged.rows), server.all());
  await pager.seek('end');
  error = 'gone';
  await pager.up();
  assert.equal(pager.failure, '');
  assert.equal(pager.missing, '1: it is not there');
  while (!buffer.paged.atStart) await pager.up();
  assert.equal(buffer.paged.rows.filter(({ log }) => log === 0).length, 100);
  // A search says that it could not look everywhere.
  server.logs[0] = [];
  error = 'unreachable';
  await assert.rejects(pager.find('before', { q: 'x' }, true, new AbortController().signal), /it is not there/);
});

test('the rows of a log that could not be read are asked for again when it can be read', async (context) => {
  context.mock.timers.enable({ apis: ['setTimeout'] });
  const server = new Server([[1, 2]], (below) => below - 1);
  let isThere = false;
  let asked = 0;
  let recovered = 0;
  const api = {
    /** @param {any[]} logs @param {'from' | 'before'} way @param {{count: number}} wanted */
    async rows(logs, way, wanted) {
      asked += 1;
      const answer = await server.rows(logs.map((log) => ({ ...log, path: '0' })), way, wanted);
      return isThere ? answer : { ...answer, logs: [{ error: 'unreachable', message: 'its machine does not answer' }], of: [], rows: [], times: [], keys: [] };
    },
  };
  const pager = new Pager(/** @type {any} */ ({
    buffer: new MergeBuffer(1, parse), api, logs: ['/a.log'], logsOn: () => new Set([0]), filter: () => ({}), changed: () => {}, recovered: () => { recovered += 1; },
  }));
  const wait = async () => {
    context.mock.timers.tick(5_000);
    for (let turn = 0; turn < 10; turn += 1) await new Promise((resolve) => { setImmediate(resolve); });
  };
  await pager.seek('end');
  assert.equal(pager.missing, '/a.log: its machine does not answer');
  await wait();
  assert.deepEqual([asked, recovered], [2, 0]);
  isThere = true;
  await wait();
  assert.deepEqual([asked, recovered], [3, 1]);
  await pager.seek('end');
  assert.equal(pager.missing, '');
  await wait();
  assert.equal(asked, 4);
});

test('the way to a time leads to the first line that is not before it, also among those that arrived', async () => {
  const server = new Server([Array.from({ length: 50 }, (_, nth) => 1_000 + nth), Array.from({ length: 50 }, (_, nth) => 1_000 + nth)], (below) => below - 1);
  const { buffer, pager, arrive } = await opened(server, 2);
  arrive(0, Array.from({ length: 200 }, (_, nth) => 2_000 + nth));
  arrive(1, [2_190, 2_195]);
  /** @type {string[][]} */
  const shown = [];
  const loader = {
    attached: true,
    showEnd: () => shown.push(['end']),
    reveal: (/** @type {any} */ row) => shown.push(texts([row])),
    show: (/** @type {any} */ place) => shown.push(texts(buffer.after(place, 1, ALL))),
  };
  const parts = { buffer, pager, loader, follow: { following: false, resume: () => {} }, rowViewport: { firstInSight: () => null }, rowFilter: () => ALL, changed: () => {}, say: assert.fail };
  const journey = new Journey(/** @type {any} */ (parts));
  const { signal } = new AbortController();
  for (const [time, row] of [['2.003', '2003 0:53'], ['2.150', '2150 0:200'], ['2.191', '2191 0:241'], ['1.030', '1030 0:30'], ['1.000', '1000 0:0']]) {
    const go = await journey.findTime(time, signal);
    assert.ok(shown.length > 0, 'the screen shows the new list at once');
    await go();
    assert.equal(journey.cursor?.html, row);
    assert.deepEqual(shown.at(-1), [row]);
    shown.length = 0;
  }
  // Who is overtaken does nothing.
  const go = await journey.findTime('2.003', signal);
  await journey.toEnd();
  shown.length = 0;
  const { cursor } = journey;
  await go();
  assert.deepEqual(shown, []);
  assert.equal(journey.cursor, cursor);
  // Nor who goes on to a row that is here.
  const first = journey.goTo(buffer.live[0].at(10), false);
  while (shown.length === 0) await null;
  const second = buffer.live[0].at(12);
  await journey.goTo(second, true);
  await first;
  assert.equal(journey.cursor, second);
  // A row among those that arrived is shown where it stands.
  await journey.goTo(buffer.live[0].at(10), false);
  assert.deepEqual(shown.at(-1), ['2010 0:60']);
  await (await journey.findTime('3.000', signal))();
  assert.deepEqual(shown.at(-1), ['end']);
});

test('rows for which a log has no room stay in the list, until there are too many', () => {
  const buffer = new MergeBuffer(2, parse);
  buffer.paged.atStart = true;
  for (const log of [0, 1]) buffer.live[log].begin({ generation: `g-${log}-1`, offset: 0 });
  buffer.patch(1, patch(['5000 quiet']), 'g-1-1', 1e9);
  const rows = Array.from({ length: 3 * ROWS_MAX }, (_, nth) => `${nth} busy`);
  for (let at = 0; at < rows.length; at += 1_000) buffer.patch(0, patch(rows.slice(at, at + 1_000), at * 10), 'g-0-1', 1e9);
  const list = texts(buffer.after(START, Infinity, ALL));
  assert.equal(list.length, rows.length + 1);
  assert.equal(list[5_001], '5000 quiet');
  buffer.trim(END, END);
  const kept = texts(buffer.after(START, Infinity, ALL));
  assert.deepEqual(kept, list.slice(list.length - kept.length));
  buffer.patch(0, patch(['20000 more'], rows.length * 10), 'g-0-1', 1e9);
  buffer.isFollowing = false;
  buffer.paged.rows.push(...Array.from({ length: 9_000 }, (_, nth) => ({ ...buffer.paged.rows.at(-1), offset: buffer.paged.rows.at(-1).offset + (nth + 1) / 10_000 })));
  buffer.trim(START, START);
  assert.equal(buffer.paged.isJoined, false);
  assert.equal(buffer.paged.rows.length, 8_000);
});

test('a row whose time only the server reads is shown where the server places it, and moves no other', async () => {
  const buffer = new MergeBuffer(2, parse);
  buffer.paged.atStart = true;
  for (const log of [0, 1]) buffer.live[log].begin({ generation: `g-${log}-1`, offset: 0 });
  buffer.clocks[1].isTimedByServer = true;
  buffer.clocks[1].learn('@50', 50);
  /** @type {[number, any, number][]} */
  const asked = [];
  /** @type {any} */
  let answer = null;
  const told = new ToldPlaces({
    buffer, changed: () => {}, look: async () => assert.fail('something is known of the log'),
    ask: async (log, place, count) => {
      asked.push([log, place, count]);
      return answer;
    },
  });
  const shown = () => texts(buffer.after(START, 99, ALL));
  buffer.patch(0, patch(['100 a', '300 c', '900 e']), 'g-0-1', 1_000);
  buffer.patch(1, patch(['@200', '  more', '@800']), 'g-1-1', 1_000);
  assert.deepEqual(shown(), ['100 a', '300 c', '900 e'], 'nobody knows yet where the others stand');
  // The last row does not fit into the answer, and a row of another file has the same offset.
  const row = (/** @type {number} */ offset) => /** @type {const} */ ([offset, '']);
  answer = { files: [{ log: 0, generation: 'g-1-1' }, { log: 0, generation: 'g-9-9' }], of: [0, 0, 1], rows: [row(0), row(10), row(20)], times: [200, 200, 1], keys: [200, 200, 1] };
  told.run();
  told.run();
  await settled();
  assert.deepEqual(asked, [[1, { generation: 'g-1-1', offset: 0 }, 3]], 'one question at a time');
  assert.deepEqual(shown(), ['100 a', '@200', '  more', '300 c', '900 e']);
  assert.equal(buffer.after(START, 99, ALL)[1].told, 200);
  const drawn = buffer.after(START, 99, ALL);
  for (const entry of drawn) entry.element = {};
  const places = drawn.map(placeOf);
  buffer.addMarker(1, 'rotated', 'rotated', true, 5_000);
  buffer.patch(1, patch(['@850']), 'g-1-2', 5_000);
  buffer.live[1].turnTo('g-1-2');
  const awaited = (/** @type {string} */ generation) => buffer.live[1].awaited.filter(({ entry }) => entry.generation === generation).map(({ entry }) => entry);
  buffer.tell(1, awaited('g-1-1'), new Map([[20, { time: 800, key: 800 }]]));
  buffer.tell(1, awaited('g-1-2'), new Map([[0, { time: 850, key: 850 }]]));
  assert.deepEqual(drawn.map(placeOf), places);
  assert.deepEqual(shown().slice(4), ['@800', '[rotated]', '@850', '900 e']);
  // What the server does not know stands where it arrived.
  buffer.patch(1, { type: 'rows', from: 10, next: 20, rows: [[10, '@2000']] }, 'g-1-2', 6_000);
  buffer.tell(1, awaited('g-1-2'), new Map());
  assert.equal(shown().at(-1), '@2000');
  buffer.setShift(1, 100);
  assert.deepEqual(buffer.after(START, 99, ALL).filter(({ log }) => log === 1).map(({ told: time }) => time), [300, 300, 900, undefined, 950, undefined]);
});
