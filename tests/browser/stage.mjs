// What a test plays on: a mesh, a browser, and people in front of it. Everything ends with the test, and a test that
// fails leaves its logs and pictures behind.

import assert from "node:assert/strict";
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { delimiter, join } from "node:path";
import { test } from "node:test";
import { chromium } from "playwright-core";
import { startMesh, until } from "./harness.mjs";

const SCENARIO_MS = 90_000;
const PICTURES = join(import.meta.dirname, "screenshots");
const LOG_TAIL_LINES = 40;
const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

export const PHONE = { viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true };
export const DESKTOP = { viewport: { width: 1280, height: 800 } };

export const PASSWORD = "correct horse battery";

/** The page asks who is signed in; "nobody" is an answer, but the browser writes every 401 to its console. */
const NOBODY = /\/api\/v1\/(me|refresh)\b.*\b401\b/;
/** What the browser writes while a node is away. */
export const NODE_AWAY = /net::ERR_|WebSocket connection to/;

function chromiumPath() {
  const names = ["chromium", "chromium-browser", "google-chrome"];
  const places = ["/usr/bin", ...(process.env.PATH ?? "").split(delimiter)];
  const paths = names.flatMap((name) => places.map((place) => join(place, name)));
  const found = paths.find((path) => existsSync(path));
  if (found === undefined) throw new Error("Chromium is not here; on Debian: apt-get install chromium");
  return found;
}

/** A test with a mesh and a browser of its own. */
export function scenario(name, body) {
  test(name, async () => {
    const stage = new Stage(name);
    let timer;
    const late = new Promise((_, reject) => {
      timer = setTimeout(() => reject(new Error(`the whole test took over ${SCENARIO_MS} ms`)), SCENARIO_MS);
    });
    try {
      await Promise.race([stage.play(body), late]);
    } catch (error) {
      await stage.tell();
      throw error;
    } finally {
      clearTimeout(timer);
      await stage.clear();
    }
  });
}

class Stage {
  #visitors = [];
  #browser = null;
  #mesh = null;

  constructor(name) {
    this.slug = name.toLowerCase().replace(/[^a-z0-9]+/g, "-").slice(0, 60);
  }

  async play(body) {
    rmSync(join(PICTURES, "failed", this.slug), { recursive: true, force: true });
    const args = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"];
    args.push("--disable-background-networking", "--disable-component-update", "--disable-sync");
    const browser = chromium.launch({ executablePath: chromiumPath(), headless: true, args });
    [this.#browser, this.#mesh] = await Promise.all([browser, startMesh()]);
    await body(this, this.#mesh);
    for (const visitor of this.#visitors) visitor.assertNoTrouble();
  }

  /** A person with a browser of their own: contexts share neither cookies nor storage. */
  async visitor(node, { device = DESKTOP, language = "ru", theme = "light", expected = [] } = {}) {
    const context = await this.#browser.newContext({ ...device, locale: language === "ru" ? "ru-RU" : "en-GB", colorScheme: theme });
    context.setDefaultTimeout(15_000);
    const visitor = new Visitor(node, context, await context.newPage(), expected);
    this.#visitors.push(visitor);
    return visitor;
  }

  /** The usual beginning: a person takes B's first link, then signs in at A with name and password. */
  async personAtBoth({ a, b }, name, options) {
    const atB = await this.visitor(b, options);
    await atB.welcome(await b.firstLink(), name);
    const atA = await this.visitor(a, options);
    await atA.signIn(name);
    return { atA, atB };
  }

  async tell() {
    const directory = join(PICTURES, "failed", this.slug);
    mkdirSync(directory, { recursive: true });
    const nodes = this.#mesh === null ? [] : [this.#mesh.a, this.#mesh.b];
    for (const node of nodes) {
      writeFileSync(join(directory, `${node.name}.log`), node.log);
      console.error(`---- the end of the log of ${node.name} (the whole is in ${directory})`);
      console.error(node.log.trimEnd().split("\n").slice(-LOG_TAIL_LINES).join("\n"));
    }
    for (const [index, visitor] of this.#visitors.entries()) {
      const path = join(directory, `visitor-${index + 1}.png`);
      await visitor.page.screenshot({ path, timeout: 5_000 }).catch(() => {});
      console.error(`---- visitor ${index + 1} at ${visitor.node.name}, ${visitor.page.url()}, in ${path}`);
      console.error([...visitor.troubles, ...visitor.frames.slice(-15).map((frame) => JSON.stringify(frame))].join("\n"));
    }
  }

  async clear() {
    await this.#browser?.close().catch(() => {});
    await this.#mesh?.clear();
  }
}

/** One page in one browser context. It notes whatever a page of ours must never do. */
export class Visitor {
  /** Frames from the node, as they came. */
  frames = [];
  troubles = [];

  constructor(node, context, page, expected) {
    this.node = node;
    this.context = context;
    this.page = page;
    this.expected = [NOBODY, ...expected];
    page.on("console", (message) => this.#noteConsole(message));
    page.on("pageerror", (error) => this.troubles.push(`exception: ${error.stack}`));
    page.on("request", (request) => this.#noteAddress(request.url()));
    page.on("websocket", (socket) => this.#follow(socket));
    // Chromium also writes a violation to the console; this one says which directive and where.
    void page.addInitScript(() => {
      addEventListener("securitypolicyviolation", (event) =>
        console.error(`policy violation: ${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}:${event.lineNumber}`),
      );
    });
  }

  #noteConsole(message) {
    if (message.type() !== "error" && message.type() !== "warning") return;
    const text = `console ${message.type()}: ${message.location().url} ${message.text()}`;
    if (!this.expected.some((pattern) => pattern.test(text))) this.troubles.push(text);
  }

  #noteAddress(url) {
    const { host, protocol } = new URL(url);
    const isOurs = host === new URL(this.node.origin).host && ["http:", "ws:"].includes(protocol);
    if (!isOurs) this.troubles.push(`a request to another place: ${url}`);
  }

  #follow(socket) {
    this.#noteAddress(socket.url());
    socket.on("framereceived", ({ payload }) => this.frames.push(JSON.parse(payload.toString())));
  }

  assertNoTrouble() {
    assert.deepEqual(this.troubles, [], `the page of ${this.node.name} did what it must not do`);
  }

  get(testId) {
    return this.page.getByTestId(testId);
  }

  open(path) {
    return this.page.goto(this.node.origin + path);
  }

  async fillIn(name, password) {
    await this.get("name").fill(name);
    await this.get("password").fill(password);
    await this.get("submit").click();
  }

  async welcome(link, name, password = PASSWORD) {
    await this.open(link);
    await this.fillIn(name, password);
    await this.get("composer").waitFor();
  }

  async signIn(name, password = PASSWORD) {
    await this.open("/");
    await this.fillIn(name, password);
    await this.get("composer").waitFor();
  }

  async send(text) {
    await this.get("composer").fill(text);
    await this.get("send").click();
  }

  /** Sends and waits for the whole answer. */
  async ask(text) {
    const before = await this.answers().count();
    await this.send(text);
    await this.answers().nth(before).waitFor();
  }

  answers() {
    return this.page.locator('[data-testid="message"][data-role="character"][data-state="done"]');
  }

  bubble(text) {
    return this.page.locator('[data-testid="message"][data-role="person"]').filter({ hasText: text });
  }

  /** The messages on the screen, old to new. */
  messages() {
    return this.get("message").evaluateAll((elements) =>
      elements.map((element) => ({
        id: element.dataset.messageId ?? null,
        role: element.dataset.role,
        state: element.dataset.state,
        text: element.querySelector('[data-testid="message-text"]')?.textContent ?? "",
      })),
    );
  }

  sessionId() {
    return until("the address names the dialogue", () => new URL(this.page.url()).searchParams.get("dialogue"));
  }

  /** What the API says to this person, with the cookie of this browser. */
  async api(path) {
    const response = await this.context.request.get(`${this.node.origin}/api/v1${path}`);
    return { status: response.status(), body: await response.json() };
  }

  /** The messages of the open dialogue as the node has them. */
  async stored(sessionId) {
    const { status, body } = await this.api(`/sessions/${sessionId ?? (await this.sessionId())}`);
    assert.equal(status, 200);
    return body.messages;
  }

  /** Takes a picture, and holds the page against what every page of ours must be. */
  async inspect(name) {
    // Nothing may be in motion: a half-transparent word has too little contrast.
    await this.page.evaluate(async () => {
      await document.fonts.ready;
      const ending = document.getAnimations().filter((animation) => animation.effect?.getComputedTiming().endTime !== Infinity);
      await Promise.allSettled(ending.map((animation) => animation.finished));
    });
    mkdirSync(PICTURES, { recursive: true });
    await this.page.screenshot({ path: join(PICTURES, `${name}.png`) });
    const { width, inner } = await this.page.evaluate(() => ({ width: document.scrollingElement.scrollWidth, inner: innerWidth }));
    assert.ok(width <= inner, `${name}: ${width} px wide in a window of ${inner} px`);
    assert.equal(inner, this.page.viewportSize().width, `${name}: the window is not as wide as the device`);
    await this.page.evaluate(AXE);
    const found = await this.page.evaluate(async () => {
      const tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"];
      const { violations, passes } = await globalThis.axe.run(document, { runOnly: { type: "tag", values: tags } });
      return { passes: passes.length, violations: violations.flatMap(({ id, nodes }) => nodes.map((node) => `${id}: ${node.html} ${node.failureSummary}`)) };
    });
    assert.ok(found.passes > 5, `${name}: axe looked at nothing`);
    assert.deepEqual(found.violations, [], `${name}: axe`);
  }
}
