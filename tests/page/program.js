// The real program, serving the logs of a test on a free port.

import { spawn } from 'node:child_process';
import { appendFile, mkdtemp, realpath, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

/** No test waits longer than this for one condition. */
export const DEADLINE_MS = 20_000;

export const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const BINARY = process.env.TAILCAST_BINARY ?? path.join(ROOT, 'target/debug/tailcast');
const ANSI = /\x1b\[[0-9;]*m/g;
/** The environment without settings for the program. */
const ENVIRONMENT = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('TAILCAST_')));

/** Running servers, which must not outlive the tests. @type {Set<import('node:child_process').ChildProcess>} */
const running = new Set();
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});

/** Waits for a condition. If it fails, the error contains what `look` returned last. */
export async function eventually(what, look, deadline = DEADLINE_MS) {
  const until = Date.now() + deadline;
  for (;;) {
    const seen = await look();
    if (seen === true) return;
    if (Date.now() > until) throw new Error(`${what}: not within ${deadline} ms; seen last: ${JSON.stringify(seen)}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** A temporary directory of logs. */
export class Logs {
  static async make(prefix = 'tailcast-') {
    const logs = new Logs();
    logs.directory = await realpath(await mkdtemp(path.join(tmpdir(), prefix)));
    return logs;
  }

  /** The path of a log. A name may be any bytes. */
  path(name) {
    if (typeof name === 'string') return path.join(this.directory, name);
    return Buffer.concat([Buffer.from(`${this.directory}/`), name]);
  }

  /** Writes a whole log. Returns its path, which is also its URL path if its name needs no encoding. */
  async write(name, content) {
    await writeFile(this.path(name), content);
    return this.path(name);
  }

  async append(name, content) {
    await appendFile(this.path(name), content);
    return this.path(name);
  }

  async rename(from, to) {
    await rename(this.path(from), this.path(to));
  }

  async remove() {
    await rm(this.directory, { recursive: true, force: true });
  }
}

/** A running server. `kill` waits for its end, so that the port is free afterwards. */
export class Program {
  #child;
  #said = '';
  #ended;

  /**
   * @param {string[]} args after `serve`
   * @param {{port?: number, shell?: string}} [options] `shell` is a shell command to which the program's is appended
   */
  static async serve(args, { port = 0, shell } = {}) {
    const program = new Program();
    const whole = ['serve', '--port', String(port), ...args];
    const options = { stdio: ['ignore', 'pipe', 'pipe'], env: ENVIRONMENT };
    const child = shell === undefined
      ? spawn(BINARY, whole, options)
      : spawn('sh', ['-c', `${shell} "$0" "$@"`, BINARY, ...whole], options);
    running.add(child);
    program.#child = child;
    program.#ended = new Promise((resolve) => child.once('close', resolve)).then(() => running.delete(child));
    let out = '';
    child.stdout.on('data', (data) => { out += data; });
    child.stderr.on('data', (data) => { program.#said += String(data).replace(ANSI, ''); });
    child.on('error', (error) => { program.#said += `can't run ${BINARY}: ${error.message}\nhint: \`cargo build\` makes it`; });
    await eventually('the server says its address', () => {
      const address = /https?:\/\/[^\s/]+/.exec(out);
      if (address !== null) program.origin = address[0];
      else if (child.exitCode !== null) throw new Error(`the server ended: ${program.said}`);
      return address !== null || program.said;
    });
    return program;
  }

  get port() {
    return Number(new URL(this.origin).port);
  }

  /** The end of its output on stderr. */
  get said() {
    return this.#said.slice(-4000);
  }

  get pid() {
    return this.#child.pid;
  }

  async kill(signal = 'SIGKILL') {
    if (this.#child.exitCode === null && this.#child.signalCode === null) this.#child.kill(signal);
    await this.#ended;
  }

  /** The number of viewers in its health answer. */
  async viewers() {
    const answer = await fetch(`${this.origin}/_/healthz`);
    return (await answer.json()).viewers;
  }
}
