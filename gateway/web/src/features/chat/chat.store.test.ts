import { createPinia, setActivePinia } from "pinia";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { complaintsNews } from "@/api/news";
import { answerTo, FakeWebSocket, question, useFakeGateway, useFakeWebSocket, type Answer } from "@/testing";
import { ACKNOWLEDGE_MS, RETRY_MS } from "./chat.delivery";
import { useChatStore } from "./chat.store";

const SESSION = { id: "s1", character_id: "c1", title: "Talk", updated_at: 1 };
let answers: Record<string, Answer>;
let calls: string[];

function openStore() {
  setActivePinia(createPinia());
  const chat = useChatStore();
  chat.connect("p1", () => {});
  return chat;
}

async function settled(): Promise<void> {
  await vi.advanceTimersByTimeAsync(0);
}

beforeEach(() => {
  vi.useFakeTimers({ now: 1_000_000 });
  localStorage.clear();
  useFakeWebSocket();
  answers = {
    "GET /sessions": { status: 200, body: { sessions: [SESSION] } },
    "GET /sessions/s1": { status: 200, body: { ...SESSION, messages: [question("q1", { state: "answered" })], has_more: false } },
    "POST /sessions": { status: 201, body: { ...SESSION, id: "s2", title: "" } },
  };
  calls = useFakeGateway((call) => answers[call] ?? { status: 404, body: { error: { code: "not_found" } } }).calls;
});

afterEach(() => {
  useChatStore().disconnect(false);
  vi.useRealTimers();
});

async function openTalk() {
  const chat = openStore();
  FakeWebSocket.latest.accept();
  await chat.loadSessions();
  chat.openSession("s1");
  await settled();
  return chat;
}

const stored = (): { outbox_id: string }[] => JSON.parse(localStorage.getItem("starling.outbox.p1") ?? "[]") as { outbox_id: string }[];

it("passes on that the queue of complaints has changed", async () => {
  await openTalk();
  const before = complaintsNews.value;
  FakeWebSocket.latest.receive({ type: "complaints" });
  expect(complaintsNews.value).toBe(before + 1);
});

describe("outbox", () => {
  it("keeps a message until it is accepted, and then shows it once", async () => {
    const chat = await openTalk();
    expect(chat.send(chat.open!, " hello ")).toBe(true);
    await settled();
    const sent = FakeWebSocket.latest.sent;
    expect(sent).toEqual([{ type: "send", outbox_id: stored()[0]?.outbox_id, session_id: "s1", text: "hello" }]);
    const id = stored()[0]!.outbox_id;
    FakeWebSocket.latest.receive({ type: "accepted", outbox_id: id, session_id: "s1", message: question("q2", { text: "hello" }) });
    expect(stored()).toEqual([]);
    expect(chat.open!.messages.map((message) => message.id)).toEqual(["q1", "q2"]);
  });

  it("sends again after a reconnect, with the same id, and fetches what was missed", async () => {
    const chat = await openTalk();
    chat.send(chat.open!, "hello");
    await settled();
    const first = FakeWebSocket.latest;
    const before = calls.filter((call) => call === "GET /sessions/s1").length;
    first.drop();
    expect(chat.connection).toBe("lost");
    chat.send(chat.open!, "offline words");
    await vi.advanceTimersByTimeAsync(1000);
    const second = FakeWebSocket.latest;
    expect(second).not.toBe(first);
    second.accept();
    await settled();
    expect(second.sent.map((frame) => frame.type === "send" && frame.text)).toEqual(["hello", "offline words"]);
    expect(second.sent[0]).toEqual(first.sent[0]);
    expect(calls.filter((call) => call === "GET /sessions/s1").length).toBe(before + 1);
  });

  it("says after a reconnect what it has of a running answer, so that it goes on from there", async () => {
    const chat = await openTalk();
    const first = FakeWebSocket.latest;
    expect(first.opened).toEqual([{ type: "open", session_id: "s1" }]);
    first.receive({ type: "answer_started", session_id: "s1", question_id: "q1", answer_id: "a1", node: null, model: "m", stream: 1, run: "7f", from: 0 });
    first.receive({ type: "token", session_id: "s1", answer_id: "a1", at: 0, text: "Привет, " });
    first.drop();
    await vi.advanceTimersByTimeAsync(1000);
    const second = FakeWebSocket.latest;
    second.accept();
    expect(second.opened).toEqual([{ type: "open", session_id: "s1", cursor: { answer_id: "a1", run: "7f", at: 8 } }]);
    second.receive({ type: "answer_started", session_id: "s1", question_id: "q1", answer_id: "a1", node: null, model: "m", stream: 1, run: "7f", from: 8 });
    second.receive({ type: "token", session_id: "s1", answer_id: "a1", at: 8, text: "мир" });
    expect(chat.open!.live[0]?.text).toBe("Привет, мир");
  });

  it("does not send twice over one connection", async () => {
    const chat = await openTalk();
    chat.send(chat.open!, "one");
    chat.send(chat.open!, "two");
    await settled();
    chat.send(chat.open!, "three");
    await settled();
    expect(FakeWebSocket.latest.sent.map((frame) => frame.type === "send" && frame.text)).toEqual(["one", "two", "three"]);
  });

  it("survives a reload of the page", async () => {
    const chat = await openTalk();
    FakeWebSocket.latest.drop();
    chat.send(chat.open!, "typed before the reload");
    const id = stored()[0]?.outbox_id;
    chat.disconnect(false);
    openStore();
    FakeWebSocket.latest.accept();
    await settled();
    expect(FakeWebSocket.latest.sent).toEqual([{ type: "send", outbox_id: id, session_id: "s1", text: "typed before the reload" }]);
  });

  it("dials again when a message is never acknowledged", async () => {
    const chat = await openTalk();
    chat.send(chat.open!, "hello");
    await settled();
    const sockets = FakeWebSocket.all.length;
    await vi.advanceTimersByTimeAsync(ACKNOWLEDGE_MS - 1);
    expect(chat.connection).toBe("open");
    await vi.advanceTimersByTimeAsync(1000);
    expect(FakeWebSocket.all.length).toBe(sockets + 1);
  });

  it("gives every connection its own time to acknowledge", async () => {
    const chat = await openTalk();
    chat.send(chat.open!, "hello");
    await vi.advanceTimersByTimeAsync(ACKNOWLEDGE_MS - 1000);
    FakeWebSocket.latest.drop();
    await vi.advanceTimersByTimeAsync(500);
    FakeWebSocket.latest.accept();
    await vi.advanceTimersByTimeAsync(2000);
    expect(chat.connection).toBe("open");
    await vi.advanceTimersByTimeAsync(ACKNOWLEDGE_MS);
    expect(chat.connection).toBe("lost");
  });

  it("tries again by itself after a refusal that passes, and asks the person after one that does not", async () => {
    const chat = await openTalk();
    chat.send(chat.open!, "hello");
    await settled();
    const id = stored()[0]!.outbox_id;
    FakeWebSocket.latest.receive({ type: "error", outbox_id: id, code: "too_many_requests", message: "" });
    await vi.advanceTimersByTimeAsync(RETRY_MS);
    expect(FakeWebSocket.latest.sent).toHaveLength(2);
    FakeWebSocket.latest.receive({ type: "error", outbox_id: id, code: "not_found", message: "" });
    expect(chat.outbox[0]?.refused).toBe("not_found");
    await vi.advanceTimersByTimeAsync(RETRY_MS);
    expect(FakeWebSocket.latest.sent).toHaveLength(2);
    chat.retryEntry(id);
    await settled();
    expect(FakeWebSocket.latest.sent).toHaveLength(3);
  });

  it("forgets everything of a person who signs out", async () => {
    const chat = await openTalk();
    FakeWebSocket.latest.drop();
    chat.send(chat.open!, "secret");
    expect(stored()).toHaveLength(1);
    chat.disconnect(true);
    expect(localStorage.getItem("starling.outbox.p1")).toBeNull();
    expect(chat.conversations).toEqual({});
  });
});

describe("a new dialogue", () => {
  it("becomes a session with its first message and keeps the message", async () => {
    const chat = await openTalk();
    chat.begin("c1");
    expect(chat.openId).toMatch(/^local-/);
    expect(calls).not.toContain("POST /sessions");
    chat.send(chat.open!, "first words");
    await settled();
    expect(chat.openId).toBe("s2");
    expect(FakeWebSocket.latest.sent).toMatchObject([{ type: "send", session_id: "s2", text: "first words" }]);
  });

  it("waits in the outbox while no session can be made", async () => {
    const chat = await openTalk();
    answers["POST /sessions"] = "unreachable";
    chat.begin("c1");
    chat.send(chat.open!, "first words");
    await settled();
    expect(FakeWebSocket.latest.sent).toEqual([]);
    expect(stored()).toHaveLength(1);
    answers["POST /sessions"] = { status: 201, body: { ...SESSION, id: "s2" } };
    await vi.advanceTimersByTimeAsync(RETRY_MS);
    expect(FakeWebSocket.latest.sent).toMatchObject([{ session_id: "s2", text: "first words" }]);
  });

  it("is not begun twice while it is empty", async () => {
    const chat = await openTalk();
    chat.begin("c1");
    const first = chat.openId;
    chat.begin("c1");
    expect(chat.openId).toBe(first);
    chat.begin("c2");
    expect(chat.openId).not.toBe(first);
  });
});

describe("frames", () => {
  it("fetches the dialogue again when a token was lost", async () => {
    const chat = await openTalk();
    const socket = FakeWebSocket.latest;
    const before = calls.filter((call) => call === "GET /sessions/s1").length;
    socket.receive({ type: "answer_started", session_id: "s1", question_id: "q1", answer_id: "a1", node: { id: "n", name: "n" }, model: "m", stream: 1, run: "r1", from: 0 });
    socket.receive({ type: "token", session_id: "s1", answer_id: "a1", at: 1, text: "b" });
    expect(calls.filter((call) => call === "GET /sessions/s1").length).toBe(before);
    socket.receive({ type: "answer_finished", session_id: "s1", message: answerTo("q1", "a1"), reason: "end" });
    await settled();
    expect(calls.filter((call) => call === "GET /sessions/s1").length).toBe(before + 1);
    expect(chat.announcement).toEqual({ characterId: "c1", text: "the whole answer" });
  });

  it("notices a dialogue that began on another device", async () => {
    await openTalk();
    const before = calls.filter((call) => call === "GET /sessions").length;
    FakeWebSocket.latest.receive({ type: "message", session_id: "elsewhere", message: question("x1") });
    FakeWebSocket.latest.receive({ type: "message", session_id: "elsewhere", message: question("x2") });
    await vi.advanceTimersByTimeAsync(2000);
    expect(calls.filter((call) => call === "GET /sessions").length).toBe(before + 1);
  });

  it("stops only over an open connection, and says so on the answer", async () => {
    const chat = await openTalk();
    const socket = FakeWebSocket.latest;
    socket.receive({ type: "answer_started", session_id: "s1", question_id: "q1", answer_id: "a1", node: { id: "n", name: "n" }, model: "m", stream: 1, run: "r1", from: 0 });
    chat.stop(chat.open!);
    expect(socket.sent).toEqual([{ type: "stop", session_id: "s1" }]);
    expect(chat.open!.live[0]?.stopping).toBe(true);
  });
});
