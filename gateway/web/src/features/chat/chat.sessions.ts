// Dialogues: the list of them, opening one, its older messages.

import { codeOf } from "@/api/client";
import * as api from "./chat.api";
import { applyNewerPage, applyNewestPage, applyOlderPage, applyPlace, trimOldest } from "./chat.conversation";
import { isLocalSession, newLocalSessionId } from "./chat.outbox";
import { conversationFor, type ChatState } from "./chat.state";
import type { Conversation, Session } from "./chat.types";

/** Messages kept in memory and on the page while the reader is at the bottom. */
const KEEP_MESSAGES = 150;

/** What comes from the node. */
function loadActions(state: ChatState) {
  async function loadSessions(): Promise<void> {
    try {
      state.sessions.value = await api.fetchSessions();
      state.sessionsLoaded.value = true;
      state.notice.value = null;
    } catch (error) {
      state.notice.value = codeOf(error);
    }
  }

  async function refresh(conversation: Conversation): Promise<void> {
    try {
      const page = await api.fetchSession(conversation.id);
      conversation.characterId = page.character_id;
      applyNewestPage(conversation, page, Date.now());
      rename(page.id, page.title);
    } catch (error) {
      conversation.error = codeOf(error);
    }
  }

  /** A piece of the chat from long ago, instead of the newest one. */
  async function jump(conversation: Conversation, place: api.Place): Promise<void> {
    try {
      applyPlace(conversation, await api.fetchSession(conversation.id, place));
    } catch (error) {
      state.notice.value = codeOf(error);
    }
  }

  async function loadNewer(conversation: Conversation): Promise<void> {
    const last = conversation.messages.at(-1);
    if (last === undefined || !conversation.hasNewer || conversation.loadingOlder) return;
    conversation.loadingOlder = true;
    try {
      const page = await api.fetchSession(conversation.id, { after: last.id });
      if (conversation.messages.at(-1)?.id === last.id) applyNewerPage(conversation, page);
    } catch (error) {
      state.notice.value = codeOf(error);
    } finally {
      conversation.loadingOlder = false;
    }
  }

  async function refreshOpen(): Promise<void> {
    const conversation = state.openId.value === null ? undefined : state.conversations.value[state.openId.value];
    if (conversation !== undefined && !isLocalSession(conversation.id)) await refresh(conversation);
  }

  async function loadOlder(conversation: Conversation): Promise<void> {
    const first = conversation.messages[0];
    if (first === undefined || !conversation.hasMore || conversation.loadingOlder) return;
    conversation.loadingOlder = true;
    try {
      const page = await api.fetchSession(conversation.id, { before: first.id });
      // A refresh in the meantime may have replaced the list; then this page no longer joins it.
      if (conversation.messages[0]?.id === first.id) applyOlderPage(conversation, page);
    } catch (error) {
      state.notice.value = codeOf(error);
    } finally {
      conversation.loadingOlder = false;
    }
  }

  function trim(conversation: Conversation): void {
    trimOldest(conversation, KEEP_MESSAGES);
  }

  function rename(id: string, title: string): void {
    const session = state.sessions.value.find((other) => other.id === id);
    if (session !== undefined) session.title = title;
  }

  return { loadSessions, refresh, refreshOpen, loadOlder, loadNewer, jump, trim };
}

/** Which dialogue is on the screen. */
export function sessionActions(state: ChatState) {
  const load = loadActions(state);

  function open(id: string): void {
    const session = state.sessions.value.find((other) => other.id === id);
    const conversation = conversationFor(state, id, session?.character_id ?? "");
    state.openId.value = id;
    if (isLocalSession(id)) return;
    void load.refresh(conversation);
    sayOpen(state, conversation);
  }

  /** A dialogue that no node knows yet; it becomes a session with its first message. */
  function begin(characterId: string): void {
    const open = state.openId.value === null ? undefined : state.conversations.value[state.openId.value];
    // A second press on "new dialogue" must not pile up empty ones.
    if (open !== undefined && isEmptyDialogue(state, open) && open.characterId === characterId) return;
    const unused = state.sessions.value[0];
    const known = unused === undefined ? undefined : state.conversations.value[unused.id];
    if (known?.loaded && isEmptyDialogue(state, known) && known.characterId === characterId) {
      state.openId.value = known.id;
      return;
    }
    const id = newLocalSessionId();
    conversationFor(state, id, characterId);
    state.openId.value = id;
  }

  /** What the bare address shows: a dialogue that is still on its way, else the newest, else a fresh one. */
  function openLatest(fallbackCharacterId: string | null): void {
    const underway = state.outbox.value.find((entry) => isLocalSession(entry.session_id));
    const newest = state.sessions.value[0];
    if (underway !== undefined) {
      conversationFor(state, underway.session_id, underway.character_id);
      state.openId.value = underway.session_id;
    } else if (newest !== undefined) {
      open(newest.id);
    } else if (fallbackCharacterId !== null) {
      begin(fallbackCharacterId);
    }
  }

  return { ...load, open, begin, openLatest };
}

export type SessionActions = ReturnType<typeof sessionActions>;

function isEmptyDialogue(state: ChatState, conversation: Conversation): boolean {
  return conversation.messages.length === 0 && !state.outbox.value.some((entry) => entry.session_id === conversation.id);
}

/** News in a dialogue moves it to the top. False when the list does not have it yet. */
export function touchSession(state: ChatState, id: string, at: number): boolean {
  const session = state.sessions.value.find((other) => other.id === id);
  if (session === undefined) return false;
  if (at > session.updated_at) {
    session.updated_at = at;
    state.sessions.value = [...state.sessions.value].sort((a, b) => b.updated_at - a.updated_at);
  }
  return true;
}

export function addSession(state: ChatState, session: Session): void {
  state.sessions.value = [session, ...state.sessions.value.filter((other) => other.id !== session.id)];
}

/** Tells the node which dialogue is looked at, and what of a running answer is here already: it goes on from there. */
export function sayOpen(state: ChatState, conversation: Conversation): void {
  if (isLocalSession(conversation.id)) return;
  const live = conversation.live.find((answer) => answer.run !== null && !answer.broken);
  const cursor = live === undefined ? {} : { cursor: { answer_id: live.answerId, run: live.run ?? "", at: live.heard } };
  state.live.socket?.send({ type: "open", session_id: conversation.id, ...cursor });
}
