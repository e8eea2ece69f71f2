// What stands in a plain line: times, levels, numbers and so on, over lines of many programs.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { load } from './modules.js';

const { KINDS, READ_CHARS, tokenize } = await load('rows/tokens.js');

/** The tokens of a line that are not plain text, as `kind:text`. @param {string} line */
function tokensOf(line) {
  return tokenize(line).filter(([kind]) => kind !== '').map(([kind, from, to]) => `${kind}:${line.slice(from, to)}`);
}

/** @type {[program: string, line: string, tokens: string[]][]} */
const LINES = [
  ['nginx access', '192.0.2.7 - ann [28/Nov/2026:14:02:07 +0000] "GET /forecast?day=2 HTTP/1.1" 200 5316 "https://example.com/start" "Mozilla/5.0 (X11; Linux x86_64)"', [
    'address:192.0.2.7', 'time:28/Nov/2026:14:02:07 +0000', 'string:"GET /forecast?day=2 HTTP/1.1"', 'number:200', 'number:5316',
    'string:"https://example.com/start"', 'string:"Mozilla/5.0 (X11; Linux x86_64)"']],
  ['nginx error', '2026/11/28 14:02:07 [error] 31#31: *1 open() "/srv/www/a b.html" failed (2: No such file or directory), client: 2001:db8::1, upstream: "http://10.0.0.5:8080/x"', [
    'time:2026/11/28 14:02:07', 'error:error', 'number:31', 'number:31', 'number:1', 'string:"/srv/www/a b.html"', 'number:2', 'address:2001:db8::1',
    'string:"http://10.0.0.5:8080/x"']],
  ['syslog, RFC 3164', '<34>Nov  8 14:02:07 web-1 sshd[4242]: Failed password for root from 192.0.2.9 port 52144 ssh2', [
    'time:Nov  8 14:02:07', 'number:4242', 'address:192.0.2.9', 'number:52144']],
  ['syslog, RFC 5424', '<165>1 2026-11-28T14:02:07.003Z web-1 app 8710 ID47 - started', ['time:2026-11-28T14:02:07.003Z', 'number:8710']],
  ['log4j', '2026-11-28 14:02:07,123 WARN  [http-nio-8080-exec-3] c.e.app.Orders - slow query: 1250 ms, id=8f14e45f-ceea-467f-a8d9-0c5c1f1a2b3c', [
    'time:2026-11-28 14:02:07,123', 'warning:WARN', 'number:1250', 'key:id=', 'id:8f14e45f-ceea-467f-a8d9-0c5c1f1a2b3c']],
  ['Java stack trace', '\tat com.example.Orders.load(Orders.java:112) ~[app.jar:1.4.2]', ['path:Orders.java:112', 'number:1.4.2']],
  ['Python', "2026-11-28 14:02:07,123 ERROR app.jobs: can't read '/etc/app/jobs.toml' after 3 tries", [
    'time:2026-11-28 14:02:07,123', 'error:ERROR', "string:'/etc/app/jobs.toml'", 'number:3']],
  ['Python traceback', '  File "/srv/app/jobs.py", line 88, in run', ['string:"/srv/app/jobs.py"', 'number:88']],
  ['klog', 'E1128 14:02:07.123456       1 reflector.go:147] pkg/client/cache.go:229: Failed to watch *v1.Pod: dial tcp 10.96.0.1:443: i/o timeout', [
    'error:E', 'time:1128 14:02:07.123456', 'number:1', 'path:reflector.go:147', 'path:pkg/client/cache.go:229', 'address:10.96.0.1:443']],
  ['JSON', '{"level":"error","ts":"2026-11-28T14:02:07Z","msg":"payment failed","took":12.5,"ok":false,"trace":"4bf92f3577b34da6a3ce929d0e0e4736"}', [
    'key:"level"', 'error:"error"', 'key:"ts"', 'time:"2026-11-28T14:02:07Z"', 'key:"msg"', 'string:"payment failed"', 'key:"took"', 'number:12.5', 'key:"ok"',
    'key:"trace"', 'id:"4bf92f3577b34da6a3ce929d0e0e4736"']],
  ['logfmt', 'time=2026-11-28T14:02:07.5+01:00 level=warn msg="cache miss" key=user:42 dur=3.2ms path=/v1/items', [
    'key:time=', 'time:2026-11-28T14:02:07.5+01:00', 'key:level=', 'warning:warn', 'key:msg=', 'string:"cache miss"', 'key:key=', 'number:42', 'key:dur=', 'number:3.2ms',
    'key:path=', 'path:/v1/items']],
  ['PostgreSQL', '2026-11-28 14:02:07.123 UTC [1234] LOG:  checkpoint complete: wrote 42 buffers (0.3%); 0 WAL file(s) added; write=0.005 s', [
    'time:2026-11-28 14:02:07.123 UTC', 'number:1234', 'info:LOG', 'number:42', 'number:0.3%', 'number:0', 'key:write=', 'number:0.005']],
  ['PostgreSQL error', '2026-11-28 14:02:07 CET [1234] app@shop ERROR:  duplicate key value violates unique constraint "orders_pkey"', [
    'time:2026-11-28 14:02:07 CET', 'number:1234', 'error:ERROR', 'string:"orders_pkey"']],
  ['kernel', '[   12.345678] usb 1-1: new high-speed USB device number 2 using xhci_hcd', ['time:[   12.345678]', 'number:1', 'number:2']],
  ['Rust panic', "thread 'main' panicked at src/sensor.rs:112:9:", ["string:'main'", 'path:src/sensor.rs:112:9']],
  ['Rust tracing', '2026-11-28T14:02:07.123456Z  INFO tower_http::trace: finished processing request latency=4 ms status=200', [
    'time:2026-11-28T14:02:07.123456Z', 'info:INFO', 'key:latency=', 'number:4', 'key:status=', 'number:200']],
  ['systemd', 'Nov 28 14:02:07 web-1 systemd[1]: Started session-3.scope - Session 3 of User ann.', ['time:Nov 28 14:02:07', 'number:1', 'number:3']],
  ['Docker digest', 'Digest: sha256:9b7c9e1a2f6d0c4b8e5a3d7f1c2b4a6e8d0f9b7c9e1a2f6d0c4b8e5a3d7f1c2b', ['id:sha256:9b7c9e1a2f6d0c4b8e5a3d7f1c2b4a6e8d0f9b7c9e1a2f6d0c4b8e5a3d7f1c2b']],
  ['host and port', 'connected to db.internal:5432 and [2001:db8::2]:443 and localhost:6379', ['address:db.internal:5432', 'address:[2001:db8::2]:443', 'address:localhost:6379']],
  ['a link', 'see https://example.com/a/b?c=1 for 3 reasons', ['number:3']],
  ['seconds since 1970', '1795874527.25 query took 90ms', ['time:1795874527.25', 'number:90ms']],
  ['Windows', 'cannot open C:\\app\\logs\\a.log.', ['path:C:\\app\\logs\\a.log']],
  ['cargo', 'error: could not compile `app` (lib) due to 2 previous errors', ['error:error', 'string:`app`', 'number:2']],
  ['prose', "It's an error, they don't info-dump and/or warn; 3rd n/a I/O abcdef facade 2x", ['number:2x']],
  ['letters of other scripts', 'größe=3 日本語 42 naïve', ['number:3', 'number:42']],
  ['negative numbers', 'temp=-3.5 from -7 to +8, a-9', ['key:temp=', 'number:-3.5', 'number:-7', 'number:+8']],
];

for (const [program, line, tokens] of LINES) {
  test(`a line of ${program}`, () => assert.deepEqual(tokensOf(line), tokens));
}

/** Whether the tokens are the line, in its order. @param {string} line */
function assertWhole(line) {
  const tokens = tokenize(line);
  assert.equal(tokens.map(([, from, to]) => line.slice(from, to)).join(''), line, JSON.stringify(line));
  let at = 0;
  for (const [kind, from, to] of tokens) {
    assert.ok(from === at && to > from, `${JSON.stringify(line)}: ${kind} from ${from} to ${to}, after ${at}`);
    assert.ok(kind === '' || KINDS.includes(kind), kind);
    at = to;
  }
}

/** A random number generator whose numbers are the same in each run. @param {number} seed */
function generator(seed) {
  let state = seed;
  return (/** @type {number} */ below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state % below;
  };
}

test('the tokens of any line are the line', () => {
  const random = generator(20_261_128);
  const pieces = [
    ...LINES.map(([, line]) => line), ...LINES.flatMap(([, , tokens]) => tokens.map((token) => token.slice(token.indexOf(':') + 1))),
    '"', "'", '`', '\\', '[', ']', '<', '>', ':', '::', '=', '/', '.', '-', ' ', '\t', '\u0000', '\u{1f600}', '\ud800', '\udc00', 'é', '日', '0', 'a', 'E', '%', 'level=', '0x',
  ];
  assertWhole('');
  for (let turn = 0; turn < 20_000; turn += 1) {
    let line = '';
    for (let parts = 1 + random(8); parts > 0; parts -= 1) {
      const piece = pieces[random(pieces.length)];
      const from = random(piece.length);
      line += random(3) === 0 ? piece.slice(from, from + 1 + random(6)) : piece;
    }
    assertWhole(line);
  }
});

test('of a long line only the beginning is read, and no token is cut in two', () => {
  const word = '12345678 ';
  const line = word.repeat(1_000);
  const tokens = tokenize(line);
  assertWhole(line);
  const last = tokens.findLast(([kind]) => kind !== '');
  assert.ok(last !== undefined && last[2] <= READ_CHARS && last[2] > READ_CHARS - 2 * word.length, `${last}`);
  assertWhole('7'.repeat(READ_CHARS + 1));
  assert.deepEqual(tokensOf('7'.repeat(READ_CHARS + 1)), []);
});

test('the worst lines take about the time of others', () => {
  const repeated = (/** @type {string} */ part) => part.repeat(READ_CHARS).slice(0, READ_CHARS);
  const lines = ['a', '1', 'a-', 'a.', 'a/', '/', '1.', '1:', 'a:', ':', '"', "'", " '", " 'a", '"\\', '\\', '[', '[1', '2026-11-28 ', 'f', '0x', 'a=', 'level=', '::1', 'a.a:', '日'].map(repeated);
  // The first turn compiles the expressions.
  for (const line of lines) tokenize(line);
  for (const line of lines) {
    const began = performance.now();
    for (let turn = 0; turn < 10; turn += 1) tokenize(line);
    const took = (performance.now() - began) / 10;
    assert.ok(took < 20, `${JSON.stringify(line.slice(0, 10))}: ${took.toFixed(1)} ms`);
    assertWhole(line);
  }
});
