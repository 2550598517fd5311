// What a frame does to a conversation: pure functions over plain data, without clock, network or screen, because this
// is where a message could be lost or doubled.

import type { Message, SessionFrame } from "@/api/frames";
import { countCharacters } from "./chat.text";
import type { Conversation, LiveAnswer, OutboxEntry, SessionPage } from "./chat.types";

export type Effect =
  /** The conversation may differ from what the node has stored. */
  | { kind: "refetch" }
  /** A finished answer, once, for those who listen instead of looking. */
  | { kind: "announce"; message: Message };

/** No token for this long: the answer is not believed in any more (a slow node may be reading for half a minute). */
export const SILENCE_MS = 45_000;
/** A question without any sign of an answer for this long gets a word of comfort. */
export const OVERDUE_MS = 20_000;
/** Stands where a token is missing, until the stored answer replaces the text. */
export const GAP_MARK = " […] ";

export function newConversation(id: string, characterId: string): Conversation {
  return {
    id,
    characterId,
    messages: [],
    hasMore: false,
    loaded: false,
    loadingOlder: false,
    error: null,
    live: [],
    waiting: {},
    queue: {},
    hasNewer: false,
    readId: null,
    typingElsewhere: false,
    refused: null,
    askedAt: {},
    outboxIds: {},
  };
}

/** The newest page. It is the truth where it overlaps; what is older and already loaded stays. */
export function applyNewestPage(conversation: Conversation, page: SessionPage, now: number): void {
  const first = page.messages[0];
  const known = first === undefined ? -1 : conversation.messages.findIndex((message) => message.id === first.id);
  const joins = known >= 0 || !page.has_more;
  const ids = new Set(page.messages.map((message) => message.id));
  const older = known > 0 ? conversation.messages.slice(0, known) : [];
  // Nothing is ever taken back: what the page lacks in its own stretch arrived while it was on its way.
  const newer = conversation.messages.filter((message) => !ids.has(message.id) && (first === undefined || message.id > first.id));
  conversation.messages = joins ? [...older, ...page.messages] : [...page.messages];
  for (const message of newer) upsertMessage(conversation, message, now);
  if (known < 0) conversation.hasMore = page.has_more;
  conversation.loaded = true;
  conversation.hasNewer = false;
  conversation.readId = laterId(conversation.readId, page.read_id ?? null);
  conversation.error = null;
  for (const message of page.messages) settle(conversation, message, Math.min(now, message.at));
}

/** A page from anywhere in the chat, instead of what is shown: the reader jumped there. */
export function applyPlace(conversation: Conversation, page: SessionPage): void {
  conversation.messages = [...page.messages];
  conversation.hasMore = page.has_more;
  conversation.hasNewer = page.has_newer ?? false;
  conversation.loaded = true;
  conversation.error = null;
}

export function applyNewerPage(conversation: Conversation, page: SessionPage): void {
  const known = new Set(conversation.messages.map((message) => message.id));
  conversation.messages = [...conversation.messages, ...page.messages.filter((message) => !known.has(message.id))];
  conversation.hasNewer = page.has_newer ?? false;
}

/** Ids sort by time. */
export function laterId(one: string | null, other: string | null): string | null {
  if (one === null || other === null) return one ?? other;
  return one > other ? one : other;
}

export function applyOlderPage(conversation: Conversation, page: SessionPage): void {
  const known = new Set(conversation.messages.map((message) => message.id));
  conversation.messages = [...page.messages.filter((message) => !known.has(message.id)), ...conversation.messages];
  conversation.hasMore = page.has_more;
}

/** A long conversation stays light: far-away messages are dropped and loaded again when somebody scrolls there. */
export function trimOldest(conversation: Conversation, keep: number): void {
  const surplus = conversation.messages.length - keep;
  if (surplus <= 0) return;
  conversation.messages = conversation.messages.slice(surplus);
  conversation.hasMore = true;
}

export function upsertMessage(conversation: Conversation, message: Message, now: number): void {
  const { messages } = conversation;
  const at = messages.findIndex((other) => other.id === message.id);
  if (at >= 0) {
    messages[at] = message;
  } else {
    messages.splice(placeFor(messages, message), 0, message);
  }
  settle(conversation, message, now);
}

/** In the order of the ids, as on every node; an answer right behind its question, however late it was finished. */
function placeFor(messages: Message[], message: Message): number {
  const question = messages.findIndex((other) => other.id === message.question_id);
  if (question >= 0) return question + 1;
  let place = messages.length;
  while (place > 0 && (messages[place - 1]?.id ?? "") > message.id) place -= 1;
  return place;
}

/** What follows from a stored message for everything that was provisional about it. */
function settle(conversation: Conversation, message: Message, now: number): void {
  if (message.role === "person") {
    if (message.state === "waiting") {
      conversation.askedAt[message.id] ??= now;
    } else {
      forgetWaiting(conversation, message.id);
    }
    return;
  }
  conversation.live = conversation.live.filter((live) => !isLiveOf(live, message));
  const question = conversation.messages.find((other) => other.id === message.question_id);
  if (question !== undefined) {
    question.state = "answered";
    forgetWaiting(conversation, question.id);
  }
}

function forgetWaiting(conversation: Conversation, questionId: string): void {
  delete conversation.waiting[questionId];
  delete conversation.queue[questionId];
  delete conversation.askedAt[questionId];
}

/** By the answer's own id: another answer to the same question may be on its way. */
function isLiveOf(live: LiveAnswer, message: Message): boolean {
  return live.answerId === message.id;
}

export function applyFrame(conversation: Conversation, frame: SessionFrame, now: number): Effect[] {
  switch (frame.type) {
    case "accepted":
      conversation.outboxIds[frame.message.id] = frame.outbox_id;
      conversation.refused = null;
      upsertMessage(conversation, frame.message, now);
      return [];
    case "message":
      // Whoever reads far above is not pulled down; the newest page brings it.
      if (!conversation.hasNewer) upsertMessage(conversation, frame.message, now);
      return [];
    case "answer_started":
      startAnswer(conversation, frame, now);
      return [];
    case "token":
      addToken(conversation, frame, now);
      return [];
    case "answer_finished":
      return finishAnswer(conversation, frame, now);
    case "answer_waiting":
      conversation.live = conversation.live.filter((live) => live.questionId !== frame.question_id);
      conversation.waiting[frame.question_id] = frame.code;
      conversation.queue[frame.question_id] = { ahead: frame.ahead ?? 0, seconds: frame.expected_seconds ?? 0 };
      return [];
    case "answer_refused": {
      const live = conversation.live.find((other) => other.answerId === frame.answer_id);
      conversation.live = conversation.live.filter((other) => other !== live);
      forgetWaiting(conversation, frame.question_id);
      // Whoever stopped it knows why there is none.
      conversation.refused = live?.stopping === true ? null : frame.code;
      return [];
    }
    case "gone":
      conversation.messages = conversation.messages.filter((message) => !frame.message_ids.includes(message.id));
      return [];
    case "read":
      conversation.readId = laterId(conversation.readId, frame.message_id);
      return [];
    case "typing":
      conversation.typingElsewhere = frame.is_typing;
      return [];
    default:
      return [];
  }
}

type FrameOf<Type extends SessionFrame["type"]> = Extract<SessionFrame, { type: Type }>;

function startAnswer(conversation: Conversation, frame: FrameOf<"answer_started">, now: number): void {
  // Another node took over: whatever the first one said is said again from the beginning.
  const others = conversation.live.filter(
    (live) => live.questionId !== frame.question_id && live.answerId !== frame.answer_id,
  );
  const known = conversation.live.find((live) => live.answerId === frame.answer_id && live.run === frame.run);
  const text = Array.from(known?.text ?? "").slice(0, frame.from).join("");
  const live: LiveAnswer = {
    ...newLive(frame.answer_id, now),
    questionId: frame.question_id,
    node: frame.node,
    model: frame.model,
    run: frame.run,
    why: frame.why ?? known?.why ?? null,
    text,
    heard: frame.from,
    broken: countCharacters(text) !== frame.from,
  };
  conversation.live = [...others, live];
  conversation.refused = null;
  const question = conversation.messages.find((message) => message.id === frame.question_id);
  if (question !== undefined) question.mark = "delivered";
  delete conversation.waiting[frame.question_id];
  delete conversation.queue[frame.question_id];
}

function newLive(answerId: string, now: number): LiveAnswer {
  return {
    answerId,
    questionId: null,
    node: null,
    model: null,
    run: null,
    why: null,
    text: "",
    heard: 0,
    broken: false,
    stopping: false,
    lastHeardAt: now,
  };
}

function addToken(conversation: Conversation, frame: FrameOf<"token">, now: number): void {
  let live = conversation.live.find((other) => other.answerId === frame.answer_id);
  if (live === undefined) {
    // A straggler of an answer that is already stored.
    if (conversation.messages.some((message) => message.id === frame.answer_id)) return;
    conversation.live.push(newLive(frame.answer_id, now));
    live = conversation.live.at(-1)!;
  }
  if (frame.at < live.heard) return;
  if (frame.at > live.heard) {
    live.broken = true;
    live.text += GAP_MARK;
  }
  live.text += frame.text;
  live.heard = frame.at + countCharacters(frame.text);
  const question = conversation.messages.find((message) => message.id === live?.questionId);
  if (question !== undefined) question.mark = "read";
  live.lastHeardAt = now;
}

function finishAnswer(conversation: Conversation, frame: FrameOf<"answer_finished">, now: number): Effect[] {
  const live = conversation.live.find((other) => isLiveOf(other, frame.message));
  const broken = live?.broken ?? false;
  let { message } = frame;
  if (frame.as_streamed === true) {
    // Its text is what was heard; where that is not whole, the chat says it.
    if (live === undefined || broken) {
      conversation.live = conversation.live.filter((other) => other !== live);
      return [{ kind: "refetch" }];
    }
    message = { ...message, text: live.text.trim() };
  }
  upsertMessage(conversation, message, now);
  const effects: Effect[] = [{ kind: "announce", message }];
  if (broken) effects.push({ kind: "refetch" });
  return effects;
}

/** Time passes: answers that fell silent are given up, overdue questions get a notice. True asks for a refetch. */
export function sweep(conversation: Conversation, now: number): boolean {
  const silent = conversation.live.filter((live) => now - live.lastHeardAt > SILENCE_MS);
  for (const live of silent) {
    if (live.questionId !== null) conversation.waiting[live.questionId] = "kept";
  }
  if (silent.length > 0) conversation.live = conversation.live.filter((live) => !silent.includes(live));
  for (const [questionId, since] of Object.entries(conversation.askedAt)) {
    const answering = conversation.live.some((live) => live.questionId === null || live.questionId === questionId);
    if (!answering && now - since > OVERDUE_MS) conversation.waiting[questionId] ??= "kept";
  }
  return silent.length > 0;
}

export type TimelineItem =
  | { kind: "message"; key: string; message: Message }
  | { kind: "live"; key: string; live: LiveAnswer }
  | { kind: "pending"; key: string; entry: OutboxEntry };

/** What the reader sees, in order. Keys outlive the way from outbox to message and from live answer to stored one. */
export function timeline(conversation: Conversation, outbox: readonly OutboxEntry[]): TimelineItem[] {
  // An answer that is said further is shown as it grows.
  const stored = conversation.messages.filter((message) => !conversation.live.some((live) => live.answerId === message.id));
  const items: TimelineItem[] = stored.map((message) => ({
    kind: "message",
    key: conversation.outboxIds[message.id] ?? message.id,
    message,
  }));
  for (const live of conversation.live) {
    const question = items.findIndex((item) => item.kind === "message" && item.message.id === live.questionId);
    items.splice(question < 0 ? items.length : question + 1, 0, { kind: "live", key: live.answerId, live });
  }
  const shown = new Set(items.map((item) => item.key));
  for (const entry of outbox) {
    if (entry.session_id !== conversation.id || shown.has(entry.outbox_id)) continue;
    items.push({ kind: "pending", key: entry.outbox_id, entry });
  }
  return items;
}

/** The node may tell all devices of a new message before it says `accepted` to this one: do not show it twice. */
export function recogniseOwn(conversation: Conversation, message: Message, outbox: readonly OutboxEntry[]): void {
  if (message.role !== "person" || conversation.messages.some((other) => other.id === message.id)) return;
  const taken = new Set(Object.values(conversation.outboxIds));
  const entry = outbox.find(
    (candidate) =>
      candidate.session_id === conversation.id && candidate.text === message.text && !taken.has(candidate.outbox_id),
  );
  if (entry !== undefined) conversation.outboxIds[message.id] = entry.outbox_id;
}
