// What a frame does to a conversation: pure functions over plain data, without clock, network or screen, because this
// is where a message could be lost or doubled.

import type { Message, SessionFrame } from "@/api/frames";
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
  conversation.error = null;
  for (const message of page.messages) settle(conversation, message, Math.min(now, message.at));
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
  delete conversation.askedAt[questionId];
}

function isLiveOf(live: LiveAnswer, message: Message): boolean {
  return live.answerId === message.id || (live.questionId !== null && live.questionId === message.question_id);
}

export function applyFrame(conversation: Conversation, frame: SessionFrame, now: number): Effect[] {
  switch (frame.type) {
    case "accepted":
      conversation.outboxIds[frame.message.id] = frame.outbox_id;
      upsertMessage(conversation, frame.message, now);
      return [];
    case "message":
      upsertMessage(conversation, frame.message, now);
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
  const live = { ...newLive(frame.answer_id, now), questionId: frame.question_id, node: frame.node, model: frame.model };
  conversation.live = [...others, live];
  delete conversation.waiting[frame.question_id];
}

function newLive(answerId: string, now: number): LiveAnswer {
  return {
    answerId,
    questionId: null,
    node: null,
    model: null,
    text: "",
    nextIndex: 0,
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
  if (frame.index < live.nextIndex) return;
  if (frame.index > live.nextIndex) {
    live.broken = true;
    live.text += GAP_MARK;
  }
  live.text += frame.text;
  live.nextIndex = frame.index + 1;
  live.lastHeardAt = now;
}

function finishAnswer(conversation: Conversation, frame: FrameOf<"answer_finished">, now: number): Effect[] {
  const broken = conversation.live.some((live) => isLiveOf(live, frame.message) && live.broken);
  upsertMessage(conversation, frame.message, now);
  const effects: Effect[] = [{ kind: "announce", message: frame.message }];
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
  const items: TimelineItem[] = conversation.messages.map((message) => ({
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
