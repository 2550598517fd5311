// MOCK of a node's gateway, for looking at the page and for its tests: it speaks the contract of gateway/API.md, but a
// script answers (mock/script.mjs), nothing is stored, and every password is as good as another.
//
//   node mock/server.mjs [port]      serves dist/ and the API on 127.0.0.1
//
// People: "Анна" (administrator) and "Олег" (user), password "starling". One-time link: /welcome#mock-token.

import { randomUUID } from "node:crypto";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { WebSocketServer } from "ws";
import { answerTo, CHARACTERS, meshNow, NODES, tokensOf, tricksIn } from "./script.mjs";

const DIST = fileURLToPath(new URL("../dist/", import.meta.url));
const PORT = Number(process.argv[2] ?? 8788);
const TOKEN_MS = Number(process.env.MOCK_TOKEN_MS ?? 45);
const CSP = "default-src 'self'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'";
const TYPES = { ".html": "text/html; charset=utf-8", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml" };
const PAGE = 50;

const people = new Map([
  ["Анна", { id: "person-anna", name: "Анна", role: "administrator", password: "starling" }],
  ["Олег", { id: "person-oleg", name: "Олег", role: "user", password: "starling" }],
]);
const links = new Map([["mock-token", "administrator"]]);
const cookies = new Map();
const sessions = new Map();
const seenOutboxIds = new Map();
const sockets = new Set();
const running = new Map();
let counter = 0;

/** Sortable like the real ids, and short enough to read in a log. */
const newId = () => `mock-${String(++counter).padStart(6, "0")}-${randomUUID().slice(0, 8)}`;
const pause = (ms) => new Promise((done) => setTimeout(done, ms));
const shown = ({ password: _, ...person }) => person;

function addSession(owner, characterId, title, updatedAt) {
  const session = { id: newId(), owner, character_id: characterId, title, updated_at: updatedAt, messages: [] };
  sessions.set(session.id, session);
  return session;
}

function addExchange(session, question, answer, at) {
  const asked = { id: newId(), role: "person", text: question, at, truncated: false, state: "answered", answered_by: null };
  const answered_by = { node_id: NODES[0].id, node_name: NODES[0].name, model: "built-in" };
  const told = { id: newId(), role: "character", text: answer, at: at + 4000, truncated: false, state: "done", ending: "end", answered_by, question_id: asked.id };
  session.messages.push(asked, told);
}

function seed() {
  const now = Date.now();
  const hour = 3_600_000;
  const long = addSession("person-anna", CHARACTERS[1].id, "Долгий разговор о картах", now - 100 * hour);
  for (let turn = 1; turn <= 80; turn += 1) addExchange(long, `Вопрос номер ${turn}: что на этой карте?`, `Ответ номер ${turn}: здесь река, а за ней — старая дорога.`, now - (180 - turn) * hour);
  const recent = addSession("person-anna", CHARACTERS[0].id, "Привет! Как тебя зовут?", now - hour);
  addExchange(recent, "Привет! Как тебя зовут?", answerTo("зовут"), now - 25 * hour);
  addExchange(recent, "Расскажи сказку.", answerTo("сказку"), now - hour);
  addSession("person-anna", CHARACTERS[2].id, "A question about the wind", now - 26 * hour);
}

class Refused extends Error {
  constructor(status, code, message = code) {
    super(message);
    Object.assign(this, { status, code });
  }
}

const personOf = (request) => cookies.get(/starling_session=([^;]+)/.exec(request.headers.cookie ?? "")?.[1]) ?? null;

async function bodyOf(request) {
  let text = "";
  for await (const chunk of request) text += chunk;
  try {
    return text === "" ? {} : JSON.parse(text);
  } catch {
    throw new Refused(400, "body_invalid");
  }
}

function enter(person, status) {
  const cookie = randomUUID();
  cookies.set(cookie, person);
  return { status, body: { person: shown(person) }, cookie: `starling_session=${cookie}; HttpOnly; SameSite=Strict; Path=/` };
}

function welcome({ token, name, password }) {
  if (!links.has(token)) throw new Refused(403, "link_invalid");
  if (typeof name !== "string" || [...name].length < 2 || [...name].length > 50) throw new Refused(400, "name_invalid");
  if ([...(password ?? "")].length < 8) throw new Refused(400, "password_too_short");
  if (people.has(name)) throw new Refused(409, "name_taken");
  const person = { id: `person-${randomUUID()}`, name, role: links.get(token), password };
  people.set(name, person);
  // The well-known link stays valid, or the mock could be looked at only once.
  if (token !== "mock-token") links.delete(token);
  return enter(person, 201);
}

function signIn({ name, password }) {
  const person = people.get(name);
  if (person?.password !== password) throw new Refused(401, "name_or_password_wrong");
  return enter(person, 200);
}

function ownSession(person, id) {
  const session = sessions.get(id);
  if (session?.owner !== person.id) throw new Refused(404, "not_found");
  return session;
}

const summary = ({ id, character_id, title, updated_at }) => ({ id, character_id, title, updated_at });

function pageOf(session, before) {
  const end = before === null ? session.messages.length : session.messages.findIndex((message) => message.id === before);
  if (end < 0) throw new Refused(404, "not_found");
  const start = Math.max(0, end - PAGE);
  const { id, character_id, title } = session;
  return { id, character_id, title, messages: session.messages.slice(start, end), has_more: start > 0 };
}

async function api(request, url) {
  const route = `${request.method} ${url.pathname.replace("/api/v1", "")}`;
  const body = request.method === "POST" ? await bodyOf(request) : {};
  if (route === "POST /welcome") return welcome(body);
  if (route === "POST /sign-in") return signIn(body);
  const person = personOf(request);
  if (person === null) throw new Refused(401, "not_signed_in");
  if (route === "POST /sign-out") return { status: 204, cookie: "starling_session=; Max-Age=0; Path=/" };
  if (route === "GET /me") return { status: 200, body: { person: shown(person), node: NODES[0] } };
  if (route === "GET /characters") return { status: 200, body: { characters: CHARACTERS } };
  if (route === "GET /mesh") return { status: 200, body: { nodes: meshNow() } };
  if (route === "POST /people/links") {
    if (person.role !== "administrator") throw new Refused(403, "not_allowed");
    const token = randomUUID();
    links.set(token, body.role);
    return { status: 201, body: { path: `/welcome#${token}`, expires_at: Date.now() + 86_400_000 } };
  }
  if (route === "GET /sessions") {
    const own = [...sessions.values()].filter((session) => session.owner === person.id);
    return { status: 200, body: { sessions: own.sort((a, b) => b.updated_at - a.updated_at).map(summary) } };
  }
  if (route === "POST /sessions") {
    if (!CHARACTERS.some((character) => character.id === body.character_id)) throw new Refused(404, "not_found");
    return { status: 201, body: summary(addSession(person.id, body.character_id, "", Date.now())) };
  }
  const one = /^GET \/sessions\/([^/]+)$/.exec(route);
  if (one !== null) return { status: 200, body: pageOf(ownSession(person, decodeURIComponent(one[1])), url.searchParams.get("before")) };
  throw new Refused(404, "not_found");
}

async function serveFile(url) {
  const path = normalize(decodeURIComponent(url.pathname)).replace(/^(\.\.[/\\])+/, "");
  for (const candidate of [path, "/index.html"]) {
    try {
      const body = await readFile(join(DIST, candidate));
      return { body, type: TYPES[extname(candidate)] ?? "application/octet-stream" };
    } catch {
      // Not a file of the page: the page itself finds out what the address means.
    }
  }
  return { body: Buffer.from("The mock serves dist/: run `npm run build` first."), type: "text/plain" };
}

async function answerHttp(request, response) {
  const url = new URL(request.url, "http://mock");
  if (!url.pathname.startsWith("/api/")) {
    const { body, type } = await serveFile(url);
    response.writeHead(200, { "Content-Type": type, "Content-Security-Policy": CSP }).end(body);
    return;
  }
  try {
    const { status, body, cookie } = await api(request, url);
    response.writeHead(status, { "Content-Type": "application/json", ...(cookie ? { "Set-Cookie": cookie } : {}) });
    response.end(body === undefined ? undefined : JSON.stringify(body));
  } catch (error) {
    const known = error instanceof Refused ? error : new Refused(500, "unknown", String(error));
    response.writeHead(known.status, { "Content-Type": "application/json" });
    response.end(JSON.stringify({ error: { code: known.code, message: known.message } }));
  }
}

function tell(personId, frame) {
  for (const socket of sockets) if (socket.person.id === personId) socket.send(JSON.stringify(frame));
}

function cut(text) {
  const points = [...text];
  return points.length <= 1000 ? { text, truncated: false } : { text: points.slice(0, 900).join("") + points.slice(-100).join(""), truncated: true };
}

function receive(socket, frame) {
  if (!["send", "stop"].includes(frame.type)) return;
  if (frame.type === "stop") {
    const answer = running.get(frame.session_id);
    if (answer !== undefined) answer.stopped = true;
    return;
  }
  const session = sessions.get(frame.session_id);
  const tricks = tricksIn(frame.text);
  if (session?.owner !== socket.person.id || tricks.refuse) {
    socket.send(JSON.stringify({ type: "error", outbox_id: frame.outbox_id, code: tricks.refuse ? "body_invalid" : "not_found", message: "refused" }));
    return;
  }
  const known = seenOutboxIds.get(frame.outbox_id);
  const message = known ?? { id: newId(), role: "person", ...cut(frame.text), at: Date.now(), state: "waiting", answered_by: null };
  if (tricks.drop && known === undefined) {
    // Before anything is stored: the page has to send it again.
    seenOutboxIds.set(frame.outbox_id, { ...message, text: message.text });
    session.messages.push(seenOutboxIds.get(frame.outbox_id));
    for (const each of sockets) each.terminate();
    return;
  }
  if (known === undefined) {
    seenOutboxIds.set(frame.outbox_id, message);
    session.messages.push(message);
    session.title ||= [...message.text].slice(0, 40).join("");
    session.updated_at = message.at;
  }
  socket.send(JSON.stringify({ type: "accepted", outbox_id: frame.outbox_id, session_id: session.id, message }));
  if (known === undefined || (message.state === "waiting" && !running.has(session.id))) void answer(session, message, tricks);
}

async function answer(session, question, tricks) {
  const say = (frame) => tell(session.owner, { session_id: session.id, ...frame });
  if (tricks.wait || tricks.busy) {
    await pause(300);
    say({ type: "answer_waiting", question_id: question.id, code: tricks.busy ? "all_nodes_busy" : "no_node_can_answer" });
    await pause(6000);
  }
  const text = answerTo(question.text);
  await pause(200);
  const state = { stopped: false };
  running.set(session.id, state);
  let said = "";
  let node = NODES[0];
  if (tricks.swap) {
    const first = newId();
    say({ type: "answer_started", question_id: question.id, answer_id: first, stream: (counter += 1), run: first, from: 0, node: NODES[1], model: "qwen3-8b-q4" });
    await pause(600);
    tell(session.owner, [counter, 0, "Эта половина пропадёт вместе с узлом…"]);
    await pause(900);
    node = NODES[0];
  }
  const id = newId();
  const stream = (counter += 1);
  say({ type: "answer_started", question_id: question.id, answer_id: id, stream, run: id, from: 0, node, model: "built-in" });
  await pause(tricks.slow ? 4000 : 700);
  for (const [index, token] of tokensOf(text).entries()) {
    if (state.stopped) break;
    const at = [...said].length;
    said += token;
    if (!(tricks.gap && index === 4)) tell(session.owner, [stream, at, token]);
    await pause(tricks.slow ? TOKEN_MS * 6 : TOKEN_MS);
  }
  running.delete(session.id);
  question.state = "answered";
  const answered_by = { node_id: node.id, node_name: node.name, model: "built-in" };
  const ending = state.stopped ? "stopped" : "end";
  const message = { id, role: "character", text: said, at: Date.now(), truncated: false, state: "done", ending, answered_by, question_id: question.id };
  session.messages.push(message);
  session.updated_at = message.at;
  say({ type: "answer_finished", stream, message, reason: ending, as_streamed: false });
  say({ type: "message", message: question });
}

seed();
const server = createServer((request, response) => void answerHttp(request, response));
const upgrader = new WebSocketServer({ noServer: true, maxPayload: 16 * 1024 });

server.on("upgrade", (request, stream, head) => {
  const person = personOf(request);
  if (person === null || request.url !== "/api/v1/ws") {
    stream.end("HTTP/1.1 401 Unauthorized\r\n\r\n");
    return;
  }
  upgrader.handleUpgrade(request, stream, head, (socket) => {
    socket.person = person;
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
    socket.on("message", (data) => receive(socket, JSON.parse(String(data))));
    socket.send(JSON.stringify({ type: "hello", version: 2, node: NODES[0] }));
  });
});

server.listen(PORT, "127.0.0.1", () => console.log(`MOCK gateway on http://127.0.0.1:${PORT} (welcome#mock-token)`));
