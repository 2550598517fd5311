// Real `starling` processes in temporary data directories. Whatever becomes of a test, they end with it.

import { spawn } from "node:child_process";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { setTimeout as delay } from "node:timers/promises";

const BINARY = resolve(process.env.STARLING_BIN ?? join(import.meta.dirname, "../../target/debug/starling"));
const COMMAND_MS = 20_000;
const START_MS = 20_000;
/** A node that is asked to stop has this long. */
export const STOP_MS = 5_000;
const POLL_MS = 50;

/** Polls until `condition` gives something truthy and returns that; an exception counts as "not yet". */
export async function until(what, condition, deadlineMs = 15_000) {
  const end = Date.now() + deadlineMs;
  for (;;) {
    let seen;
    try {
      seen = await condition();
      if (seen) return seen;
    } catch (error) {
      seen = error;
    }
    if (Date.now() > end) throw new Error(`not within ${deadlineMs} ms: ${what} (last: ${String(seen).slice(0, 500)})`);
    await delay(POLL_MS);
  }
}

/** Every process of ours that may still live. The engine is among them only while it is slowed down. */
const alive = new Set();
/** Directories that go with the last process. */
const roots = new Set();

function reap() {
  for (const pid of alive) signal(pid, "SIGKILL");
  for (const root of roots) rmSync(root, { recursive: true, force: true });
}

/** False when there is no such process any more. */
function signal(pid, name) {
  try {
    return process.kill(pid, name);
  } catch (error) {
    if (error.code !== "ESRCH") throw error;
    return false;
  }
}

process.on("exit", reap);
for (const name of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(name, () => process.exit(1));

function launch(args) {
  const env = { ...process.env, NO_COLOR: "1" };
  for (const name of ["STARLING_DATA_DIR", "STARLING_LAUNCHER", "RUST_LOG"]) delete env[name];
  const child = spawn(BINARY, args, { env, stdio: ["ignore", "pipe", "pipe"] });
  child.text = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8");
    stream.on("data", (text) => (child.text += text));
  }
  child.ended = once(child, "close").then(([code, how]) => ({ code, how }));
  child.ended.then(
    () => alive.delete(child.pid),
    () => {},
  );
  if (child.pid !== undefined) alive.add(child.pid);
  return child;
}

/** Runs a command to its end; anything but success is an error with what it said. */
async function command(args) {
  const child = launch(args);
  const timer = setTimeout(() => child.kill("SIGKILL"), COMMAND_MS);
  const { code, how } = await child.ended;
  clearTimeout(timer);
  if (code !== 0) throw new Error(`starling ${args.join(" ")}: ${how ?? `exit code ${code}`}\n${child.text}`);
  return child.text;
}

// Below the range from which the system takes ports for outgoing connections: nobody takes one while its node is down.
const [FIRST_PORT, PORTS] = [20_000, 12_000];
const given = new Set();

/** A port that is free for TCP and UDP on 127.0.0.1. */
async function freePort() {
  for (let attempt = 0; attempt < 200; attempt += 1) {
    const port = FIRST_PORT + Math.floor(Math.random() * PORTS);
    if (!given.has(port) && (await isFree(port))) {
      given.add(port);
      return port;
    }
  }
  throw new Error("no free port found");
}

async function isFree(port) {
  const tcp = createServer();
  const udp = createSocket("udp4");
  try {
    tcp.listen(port, "127.0.0.1");
    await once(tcp, "listening");
    udp.bind(port, "127.0.0.1");
    await once(udp, "listening");
    return true;
  } catch {
    return false;
  } finally {
    if (tcp.listening) tcp.close();
    udp.close();
  }
}

/** One node: a data directory, two ports, and the process while it runs. */
export class Node {
  #child = null;
  #past = "";
  #endSlowness = async () => {};

  constructor(name, directory, http, meshPort) {
    this.name = name;
    this.directory = directory;
    this.origin = `http://${http}`;
    this.settings = ["--name", name, "--http", http, "--mesh-listen", `127.0.0.1:${meshPort}`];
  }

  /** What the process has printed, over all its starts. */
  get log() {
    return this.#past + (this.#child?.text ?? "");
  }

  #command(...args) {
    return command(["--data-dir", this.directory, ...args]);
  }

  init(model) {
    return this.#command("init", ...this.settings, "--model", model);
  }

  async invite() {
    const printed = await this.#command("invite");
    const invite = printed.match(/starling1\w+/)?.[0];
    if (invite === undefined) throw new Error(`no invite in: ${printed}`);
    return invite;
  }

  join(invite, model) {
    return this.#command("join", invite, ...this.settings, "--model", model);
  }

  async status() {
    return JSON.parse(await this.#command("status", "--json"));
  }

  async start() {
    const child = launch(["--data-dir", this.directory, "run"]);
    this.#child = child;
    await until(
      `${this.name} is up`,
      async () => {
        if (child.exitCode !== null || child.signalCode !== null) return true;
        return child.text.includes("Starling is up.") && (await fetch(`${this.origin}/healthz`)).ok;
      },
      START_MS,
    );
    if (child.exitCode !== null || child.signalCode !== null) throw new Error(`${this.name} ended at once:\n${child.text}`);
  }

  /** The path of the one-time link for the first administrator, as the node prints it. */
  firstLink() {
    return until(`${this.name} prints the first link`, () => this.log.match(/(\/welcome#\S+)\n/)?.[1]);
  }

  /** Asks the node to stop. It must do so in good order and in time; returns the milliseconds. */
  async stop() {
    const began = Date.now();
    const child = this.#child;
    child.kill("SIGTERM");
    const ended = await Promise.race([child.ended, delay(STOP_MS, null, { ref: false })]);
    if (ended === null) throw new Error(`${this.name} is still there ${STOP_MS} ms after SIGTERM`);
    this.#forget();
    if (ended.code !== 0) throw new Error(`${this.name} was asked to stop and ended with ${JSON.stringify(ended)}`);
    return Date.now() - began;
  }

  /** As a power cut does. */
  async kill() {
    this.#child.kill("SIGKILL");
    await this.#child.ended;
    this.#forget();
  }

  async clear() {
    await this.fullSpeed();
    if (this.#child !== null) await this.kill();
  }

  #forget() {
    this.#past = `${this.log}\n---- ended ----\n`;
    this.#child = null;
  }

  /**
   * Makes the engine as slow as a large model on a small machine, by letting its process run for a moment at a time:
   * the built-in model says its answers in 20 ms, too fast for anybody to press "stop". `fullSpeed` ends it.
   */
  async slowDown(pauseMs = 80) {
    await this.fullSpeed();
    const pid = this.#enginePid();
    let slow = true;
    const pulse = async () => {
      while (slow && signal(pid, "SIGSTOP")) {
        await delay(pauseMs);
        if (!signal(pid, "SIGCONT")) return;
        await delay(1);
      }
    };
    alive.add(pid);
    const ended = pulse().finally(() => alive.delete(pid));
    this.#endSlowness = async () => {
      slow = false;
      await ended;
    };
  }

  fullSpeed() {
    return this.#endSlowness();
  }

  #enginePid() {
    for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
      try {
        // The name in brackets may hold spaces; the parent is the second field behind it.
        const parent = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ").at(-1).split(" ")[1];
        if (Number(parent) !== this.#child.pid) continue;
        if (readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0")[1] === "engine") return Number(pid);
      } catch {
        // It ended while we looked.
      }
    }
    throw new Error(`${this.name} has no engine process`);
  }
}

/**
 * Two nodes that know each other: `b` made the mesh and has the built-in model, `a` joined with its invite and has none.
 * `clear` ends both and removes what they wrote.
 */
export async function startMesh() {
  if (!existsSync(BINARY)) throw new Error(`${BINARY} is not there: build it, or set STARLING_BIN to another one`);
  const root = mkdtempSync(join(tmpdir(), "starling-browser-"));
  roots.add(root);
  const make = async (name) => new Node(name, join(root, name), `127.0.0.1:${await freePort()}`, await freePort());
  const [a, b] = [await make("node-a"), await make("node-b")];
  const clear = async () => {
    await Promise.all([a.clear(), b.clear()]);
    rmSync(root, { recursive: true, force: true });
    roots.delete(root);
  };
  try {
    await b.init("built-in");
    await b.start();
    await a.join(await b.invite(), "none");
    await a.start();
    await ready(a, b);
  } catch (error) {
    error.message += `\n${[a, b].map((node) => `---- ${node.name}\n${node.log}`).join("\n")}`;
    await clear();
    throw error;
  }
  return { a, b, clear };
}

/** Until `a` knows that `b` answers. */
export function ready(a, b) {
  return until(`${a.name} knows the model of ${b.name}`, async () => {
    const { members } = await a.status();
    return members.some((member) => member.name === b.name && member.state === "connected" && member.models.length > 0);
  });
}

/** Until both hold the same changes. */
export function same(a, b) {
  return until("both nodes hold the same", async () => (await a.status()).root === (await b.status()).root);
}
