// The way out: from the composer over the outbox to the node, through every loss of the connection.

import { ApiError, codeOf, toErrorCode, type ErrorCode } from "@/api/client";
import type { RefusedFrame } from "@/api/frames";
import * as api from "./chat.api";
import { newConversation } from "./chat.conversation";
import { isLocalSession, newId } from "./chat.outbox";
import { addSession } from "./chat.sessions";
import { conversationFor, type ChatState } from "./chat.state";
import { fitFrame, isBlank } from "./chat.text";
import type { Conversation, OutboxEntry, Session } from "./chat.types";

/** A node that takes a message but does not acknowledge it for this long is hung: dial again. */
export const ACKNOWLEDGE_MS = 10_000;
/** After a refusal that will pass (rate limit, full disk) the message is tried again by itself. */
export const RETRY_MS = 5_000;
const PASSING: readonly ErrorCode[] = ["too_many_requests", "storage_unavailable", "unreachable"];

/** The side of the connection. */
function transportActions(state: ChatState) {
  let again = false;
  let connection = 0;
  let retry: ReturnType<typeof setTimeout> | undefined;

  /** Hands every waiting entry to the present connection, once, in order. */
  const flush = oneAtATime(async () => {
    again = false;
    for (const entry of state.live.outbox?.entries ?? []) {
      if (!(await transmit(entry))) break;
    }
    return again;
  });

  /** False ends this round: order matters more than haste. */
  async function transmit(entry: OutboxEntry): Promise<boolean> {
    if (state.connection.value !== "open") return false;
    if (entry.refused !== null || state.sent.value.has(entry.outbox_id)) return true;
    if (isLocalSession(entry.session_id)) {
      again = await makeReal(entry);
      return false;
    }
    const frame = { type: "send", outbox_id: entry.outbox_id, session_id: entry.session_id, text: entry.text } as const;
    if (state.live.socket?.send(frame) !== true) return false;
    markSent(state, entry.outbox_id, true);
    const sentOver = connection;
    setTimeout(() => {
      if (sentOver === connection && state.sent.value.has(entry.outbox_id)) state.live.socket?.restart();
    }, ACKNOWLEDGE_MS);
    return true;
  }

  /** The first message of a local dialogue makes its session. True when the round can go on at once. */
  async function makeReal(entry: OutboxEntry): Promise<boolean> {
    try {
      adopt(state, entry.session_id, await api.createSession(entry.character_id));
      return true;
    } catch (error) {
      const later = refuse(entry.outbox_id, codeOf(error), error instanceof ApiError ? error.retryAfterSeconds : null);
      return !later;
    }
  }

  /** True when the refusal will pass and the entry waits for another try. */
  function refuse(outboxId: string, code: ErrorCode, retryAfterSeconds: number | null): boolean {
    markSent(state, outboxId, false);
    // The entry waits in the browser until the person has signed in again.
    if (code === "not_signed_in") return true;
    if (!PASSING.includes(code)) {
      state.live.outbox?.setRefused(outboxId, code);
      return false;
    }
    clearTimeout(retry);
    retry = setTimeout(() => void flush(), (retryAfterSeconds ?? 0) * 1000 || RETRY_MS);
    return true;
  }

  /** A new connection knows nothing of what the old one was given; everything unacknowledged goes again. */
  function forgetSent(): void {
    connection += 1;
    state.sent.value = new Set();
  }

  return { flush, refuse, forgetSent };
}

/** The side of the person. */
export function deliveryActions(state: ChatState) {
  const transport = transportActions(state);

  /** False when nothing was taken: the composer keeps its text. */
  function send(conversation: Conversation, text: string): boolean {
    if (isBlank(text) || state.live.outbox === null) return false;
    const taken = state.live.outbox.add({
      outbox_id: newId(),
      session_id: conversation.id,
      character_id: conversation.characterId,
      text: fitFrame(text.trim()),
      at: Date.now(),
      refused: null,
    });
    if (taken) void transport.flush();
    return taken;
  }

  function retryEntry(outboxId: string): void {
    state.live.outbox?.setRefused(outboxId, null);
    void transport.flush();
  }

  function discard(outboxId: string): void {
    state.live.outbox?.remove(outboxId);
    markSent(state, outboxId, false);
  }

  function stop(conversation: Conversation): void {
    if (state.live.socket?.send({ type: "stop", session_id: conversation.id }) !== true) return;
    for (const live of conversation.live) live.stopping = true;
  }

  function accepted(outboxId: string): void {
    state.live.outbox?.remove(outboxId);
    markSent(state, outboxId, false);
  }

  function refusedByNode(frame: RefusedFrame): void {
    const code = toErrorCode(frame.code);
    if (frame.outbox_id === null) state.notice.value = code;
    else transport.refuse(frame.outbox_id, code, null);
  }

  return { ...transport, accepted, refusedByNode, send, retryEntry, discard, stop };
}

/** Two rounds at once would send twice; a call during a round asks for one more. True from a round asks the same. */
function oneAtATime(round: () => Promise<boolean>): () => Promise<void> {
  let running = false;
  let asked = false;
  return async () => {
    asked = true;
    if (running) return;
    running = true;
    try {
      while (asked) {
        asked = false;
        if (await round()) asked = true;
      }
    } finally {
      running = false;
    }
  };
}

function markSent(state: ChatState, outboxId: string, sent: boolean): void {
  const next = new Set(state.sent.value);
  if (sent) next.add(outboxId);
  else next.delete(outboxId);
  state.sent.value = next;
}

/** A local dialogue has got its session: its messages, its place on the screen and its outbox entries move over. */
function adopt(state: ChatState, localId: string, session: Session): void {
  addSession(state, session);
  const local = state.conversations.value[localId];
  const real = conversationFor(state, session.id, session.character_id);
  Object.assign(real, { ...newConversation(session.id, session.character_id), ...local, id: session.id, loaded: true });
  state.live.outbox?.moveSession(localId, session.id);
  if (state.openId.value === localId) state.openId.value = session.id;
  delete state.conversations.value[localId];
}

export type DeliveryActions = ReturnType<typeof deliveryActions>;
