// Times: parsed from lines, and formatted.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { load } from './modules.js';

const { formatAgo, formatTimeGap, parseTime } = await load('rows/times.js');

const NOW = new Date(2026, 10, 25, 12, 0, 0).getTime();
const local = (...parts) => new Date(...parts).getTime();

test('a time is parsed in all common log formats', () => {
  for (const [line, time] of [
    ['2026-11-25T02:07:30Z start', Date.UTC(2026, 10, 25, 2, 7, 30)],
    ['2026-11-25T02:07:30.123456789Z start', Date.UTC(2026, 10, 25, 2, 7, 30, 123)],
    ['[2026-11-25 02:07:30,045] INFO start', local(2026, 10, 25, 2, 7, 30, 45)],
    ['2026-11-25 02:07:30+02:00 start', Date.UTC(2026, 10, 25, 0, 7, 30)],
    ['2026-11-25 02:07:30.5 -0330 start', Date.UTC(2026, 10, 25, 5, 37, 30, 500)],
    ['2026/11/25 02:07:30 start', local(2026, 10, 25, 2, 7, 30)],
    ['level=info time="2026-11-25T02:07:30Z" msg=x', Date.UTC(2026, 10, 25, 2, 7, 30)],
    ['10.0.0.1 - - [25/Nov/2026:02:07:30 +0100] "GET / HTTP/1.1" 200', Date.UTC(2026, 10, 25, 1, 7, 30)],
    ['Nov 25 02:07:30 host sshd[1]: x', local(2026, 10, 25, 2, 7, 30)],
    ['Nov  5 02:07:30 host sshd[1]: x', local(2026, 10, 5, 2, 7, 30)],
    ['Dec 31 23:59:59 host last year', local(2025, 11, 31, 23, 59, 59)],
    ['I1125 02:07:30.123456   12 main.go:1] x', local(2026, 10, 25, 2, 7, 30, 123)],
    ['{"level":30,"time":1764036450123,"msg":"x"}', 1764036450123],
    ['{"ts":1764036450.25,"msg":"x"}', 1764036450250],
    ['1764036450 start', 1764036450000],
    ['02:07:30.5 start', local(2026, 10, 25, 2, 7, 30, 500)],
    ['[23:07:30] yesterday', local(2026, 10, 24, 23, 7, 30)],
  ]) {
    assert.equal(parseTime(line, NOW), time, line);
  }
});

test('other numbers are not mistaken for a time', () => {
  for (const line of [
    '', 'plain', '12345', 'port 1764036450123456', '2026-13-25T02:07:30Z', '2026-11-25T25:01:00Z', '2026-11-25T02:61:00Z', '1.2.3.4', 'version 2026-11-25',
    '00:11:22:33:44:55 is a hardware address', 'ratio 12:34', `${' '.repeat(300)}2026-11-25T02:07:30Z`,
  ]) {
    assert.equal(parseTime(line, NOW), null, line);
  }
});

test('ages and gaps are formatted', () => {
  assert.deepEqual([0, 59_999, 60_000, 3_600_000, 86_400_000].map(formatAgo), ['0 s', '59 s', '1 min', '1 h', '1 d']);
  assert.deepEqual([0, 99, 100, 5_540, -2_000, 61_000, 7_200_000].map(formatTimeGap), ['', '', '+0.1 s', '+5.5 s', '−2.0 s', '+1:01 min', '+2 h']);
});
