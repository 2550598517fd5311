import { beforeEach, describe, expect, it } from "vitest";
import { answerTo, question } from "@/testing";
import {
  applyFrame,
  applyNewestPage,
  applyOlderPage,
  GAP_MARK,
  newConversation,
  OVERDUE_MS,
  recogniseOwn,
  SILENCE_MS,
  sweep,
  timeline,
  trimOldest,
  upsertMessage,
} from "./chat.conversation";
import type { Conversation, OutboxEntry } from "./chat.types";

const node = { id: "n1", name: "node-one" };
let talk: Conversation;

beforeEach(() => {
  talk = newConversation("s1", "c1");
  upsertMessage(talk, question("q1"), 0);
});

function start(answerId = "a1", questionId = "q1", run = "r1", from = 0): void {
  const rest = { node, model: "m", stream: 1, run, from } as const;
  applyFrame(talk, { type: "answer_started", session_id: "s1", question_id: questionId, answer_id: answerId, ...rest }, 10);
}
function token(at: number, text: string, answerId = "a1", now = 20): void {
  applyFrame(talk, { type: "token", session_id: "s1", answer_id: answerId, at, text }, now);
}
function finish(message = answerTo("q1", "a1")) {
  return applyFrame(talk, { type: "answer_finished", session_id: "s1", message, reason: "end" }, 30);
}

describe("streaming", () => {
  it("shows an empty answer between its start and its first token, then appends one by one", () => {
    start();
    expect(talk.live).toHaveLength(1);
    expect(talk.live[0]?.text).toBe("");
    token(0, "Чирр");
    expect(talk.live[0]?.text).toBe("Чирр");
    token(4, "!");
    expect(talk.live[0]).toMatchObject({ text: "Чирр!", broken: false, node, model: "m" });
  });

  it("replaces the live answer by the stored one and calls the question answered", () => {
    start();
    token(0, "the ");
    const effects = finish();
    expect(talk.live).toEqual([]);
    expect(talk.messages.map((message) => message.id)).toEqual(["q1", "a1"]);
    expect(talk.messages[0]?.state).toBe("answered");
    expect(effects.map((effect) => effect.kind)).toEqual(["announce"]);
  });

  it("ignores a token it already has", () => {
    start();
    token(0, "a");
    token(1, "b");
    token(0, "a");
    token(1, "b");
    expect(talk.live[0]?.text).toBe("ab");
    expect(talk.live[0]?.broken).toBe(false);
  });

  it("marks a gap and asks for the truth when the answer is finished", () => {
    start();
    token(0, "a");
    token(2, "c");
    expect(talk.live[0]).toMatchObject({ text: `a${GAP_MARK}c`, broken: true });
    expect(finish().map((effect) => effect.kind)).toContain("refetch");
  });

  it("joins an answer in the middle without its beginning, as a broken one", () => {
    token(7, "late");
    expect(talk.live[0]).toMatchObject({ answerId: "a1", questionId: null, broken: true });
    finish();
    expect(talk.live).toEqual([]);
  });

  it("goes on where it was when another gateway takes up the same run, and begins over with another one", () => {
    start();
    token(0, "Привет, ");
    start("a1", "q1", "r1", 8);
    token(8, "мир");
    expect(talk.live[0]).toMatchObject({ text: "Привет, мир", broken: false, heard: 11 });
    start("a1", "q1", "r2", 0);
    expect(talk.live[0]).toMatchObject({ text: "", run: "r2", heard: 0 });
  });

  it("takes the text of a finished answer from what was streamed, and only from a whole one", () => {
    start();
    token(0, " Чирик ");
    applyFrame(talk, { type: "answer_finished", session_id: "s1", message: answerTo("q1", "a1", { text: "" }), reason: "end", as_streamed: true }, 30);
    expect(talk.messages[1]?.text).toBe("Чирик");
    start("a2");
    token(5, "middle", "a2");
    const effects = applyFrame(talk, { type: "answer_finished", session_id: "s1", message: answerTo("q1", "a2", { text: "" }), reason: "end", as_streamed: true }, 40);
    expect(effects).toEqual([{ kind: "refetch" }]);
    expect(talk.messages.map((message) => message.id)).toEqual(["q1", "a1"]);
  });

  it("takes away what is gone, and marks a question as delivered and read", () => {
    start();
    expect(talk.messages[0]?.mark).toBe("delivered");
    token(0, "a");
    expect(talk.messages[0]?.mark).toBe("read");
    finish();
    applyFrame(talk, { type: "gone", session_id: "s1", message_ids: ["a1"] }, 50);
    expect(talk.messages.map((message) => message.id)).toEqual(["q1"]);
  });

  it("starts over when another node takes the question", () => {
    start("a1");
    token(0, "half");
    start("a2");
    expect(talk.live.map((live) => [live.answerId, live.text])).toEqual([["a2", ""]]);
    token(0, "whole", "a2");
    expect(talk.live[0]?.text).toBe("whole");
  });

  it("does not raise a finished answer from the dead by a late token", () => {
    start();
    finish();
    token(5, "ghost");
    expect(talk.live).toEqual([]);
  });
});

describe("waiting", () => {
  it("keeps the reason until an answer starts", () => {
    applyFrame(talk, { type: "answer_waiting", session_id: "s1", question_id: "q1", code: "all_nodes_busy" }, 0);
    expect(talk.waiting).toEqual({ q1: "all_nodes_busy" });
    start();
    expect(talk.waiting).toEqual({});
  });

  it("ends a live answer whose node gave up", () => {
    start();
    applyFrame(talk, { type: "answer_waiting", session_id: "s1", question_id: "q1", code: "no_node_can_answer" }, 0);
    expect(talk.live).toEqual([]);
  });

  it("says why another answer does not come, until one is begun", () => {
    start();
    finish();
    applyFrame(talk, { type: "answer_started", session_id: "s1", question_id: "q1", answer_id: "a2", stream: 2, run: "2", from: 0, node: null, model: "m" }, 0);
    applyFrame(talk, { type: "answer_refused", session_id: "s1", question_id: "q1", answer_id: "a2", code: "all_nodes_busy" }, 0);
    expect([talk.live, talk.waiting, talk.refused]).toEqual([[], {}, "all_nodes_busy"]);
    start();
    expect(talk.refused).toBe(null);
  });

  it("comforts after a while without any sign, and not before", () => {
    expect(sweep(talk, OVERDUE_MS)).toBe(false);
    expect(talk.waiting).toEqual({});
    sweep(talk, OVERDUE_MS + 1);
    expect(talk.waiting).toEqual({ q1: "kept" });
    finish();
    expect(talk.waiting).toEqual({});
  });

  it("gives up an answer that fell silent and asks for the truth", () => {
    start();
    token(0, "a", "a1", 100);
    expect(sweep(talk, 100 + SILENCE_MS)).toBe(false);
    expect(sweep(talk, 101 + SILENCE_MS)).toBe(true);
    expect(talk.live).toEqual([]);
    expect(talk.waiting).toEqual({ q1: "kept" });
  });
});

describe("order", () => {
  it("never puts an answer above its question, however wrong a clock is", () => {
    upsertMessage(talk, answerTo("q1", "a1", { at: 1 }), 0);
    expect(talk.messages.map((message) => message.id)).toEqual(["q1", "a1"]);
  });

  it("puts an answer behind its question and not behind a later one, while it grows and afterwards", () => {
    upsertMessage(talk, question("q2", { at: 3000 }), 0);
    start();
    token(0, "late");
    expect(timeline(talk, []).map((item) => item.key)).toEqual(["q1", "a1", "q2"]);
    finish(answerTo("q1", "a1", { at: 9000 }));
    expect(timeline(talk, []).map((item) => item.key)).toEqual(["q1", "a1", "q2"]);
  });

  it("sorts by id, whatever the clocks say, and replaces by id", () => {
    upsertMessage(talk, question("q3", { at: 2000 }), 0);
    upsertMessage(talk, question("q2", { at: 3000 }), 0);
    upsertMessage(talk, question("q2", { at: 2000, text: "changed" }), 0);
    expect(talk.messages.map((message) => message.id)).toEqual(["q1", "q2", "q3"]);
    expect(talk.messages[1]?.text).toBe("changed");
  });
});

describe("pages", () => {
  const page = (ids: string[], hasMore: boolean) => ({
    id: "s1",
    character_id: "c1",
    title: "",
    has_more: hasMore,
    messages: ids.map((id) => question(id, { at: Number(id.slice(1)) * 1000, state: "answered" })),
  });

  it("joins older messages without doubling one", () => {
    applyNewestPage(talk, page(["q3", "q4"], true), 0);
    applyOlderPage(talk, page(["q1", "q2", "q3"], false));
    expect(talk.messages.map((message) => message.id)).toEqual(["q1", "q2", "q3", "q4"]);
    expect(talk.hasMore).toBe(false);
  });

  it("keeps what is older when the newest page overlaps", () => {
    applyNewestPage(talk, page(["q1", "q2"], false), 0);
    applyNewestPage(talk, page(["q2", "q3"], true), 0);
    expect(talk.messages.map((message) => message.id)).toEqual(["q1", "q2", "q3"]);
    expect(talk.hasMore).toBe(false);
  });

  it("drops what does not join: no silent hole in the middle", () => {
    applyNewestPage(talk, page(["q1", "q2"], false), 0);
    applyNewestPage(talk, page(["q8", "q9"], true), 0);
    expect(talk.messages.map((message) => message.id)).toEqual(["q8", "q9"]);
    expect(talk.hasMore).toBe(true);
  });

  it("keeps a frame that overtook the page", () => {
    upsertMessage(talk, question("q9", { at: 9000 }), 0);
    applyNewestPage(talk, page(["q1", "q2"], false), 0);
    expect(talk.messages.map((message) => message.id)).toEqual(["q1", "q2", "q9"]);
  });

  it("keeps an answer that overtook the page, also one to an older question and from a slow clock", () => {
    upsertMessage(talk, answerTo("q1", "q1-answer", { at: 1 }), 0);
    applyNewestPage(talk, page(["q1", "q2"], false), 0);
    expect(talk.messages.map((message) => message.id)).toEqual(["q1", "q1-answer", "q2"]);
  });

  it("trims the oldest and knows that there is more", () => {
    applyNewestPage(talk, page(["q1", "q2", "q3"], false), 0);
    trimOldest(talk, 2);
    expect(talk.messages.map((message) => message.id)).toEqual(["q2", "q3"]);
    expect(talk.hasMore).toBe(true);
  });
});

describe("timeline", () => {
  const entry: OutboxEntry = { outbox_id: "o1", session_id: "s1", character_id: "c1", text: "hello", at: 5, refused: null };

  it("shows a message once on its way from outbox to store, under one key", () => {
    const before = timeline(talk, [entry]).map((item) => item.key);
    expect(before).toEqual(["q1", "o1"]);
    applyFrame(talk, { type: "accepted", outbox_id: "o1", session_id: "s1", message: question("q2", { text: "hello" }) }, 0);
    // The entry is still in the outbox for a moment: it must not be seen twice.
    expect(timeline(talk, [entry]).map((item) => [item.kind, item.key])).toEqual([
      ["message", "q1"],
      ["message", "o1"],
    ]);
  });

  it("recognises its own message in a broadcast that overtakes the acknowledgement", () => {
    const broadcast = question("q2", { text: "hello" });
    recogniseOwn(talk, broadcast, [entry]);
    applyFrame(talk, { type: "message", session_id: "s1", message: broadcast }, 0);
    expect(timeline(talk, [entry]).map((item) => item.key)).toEqual(["q1", "o1"]);
  });

  it("leaves the entries of other dialogues out", () => {
    expect(timeline(talk, [{ ...entry, session_id: "s2" }]).map((item) => item.key)).toEqual(["q1"]);
  });
});
