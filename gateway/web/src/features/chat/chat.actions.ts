// What a person does with one message. What comes of it the socket tells, to every device alike.

import { codeOf } from "@/api/client";
import * as api from "./chat.api";
import { newId } from "./chat.outbox";
import type { SessionActions } from "./chat.sessions";
import type { ChatState } from "./chat.state";
import type { Conversation, Message } from "./chat.types";

/** How long a deleted message can be brought back with one press. */
export const UNDO_MS = 8_000;

export function messageActions(state: ChatState, sessions: SessionActions) {
  let forgetDeleted: ReturnType<typeof setTimeout> | undefined;

  /** True when it was done; otherwise the reason is shown. */
  async function attempt(action: () => Promise<unknown>): Promise<boolean> {
    try {
      await action();
      state.notice.value = null;
      return true;
    } catch (error) {
      state.notice.value = codeOf(error);
      return false;
    }
  }

  /** A refusal comes over the socket, perhaps before the node has answered the request: so the last one is forgotten first. */
  function wish(conversation: Conversation, ask: () => Promise<unknown>): Promise<boolean> {
    conversation.refused = null;
    return attempt(ask);
  }

  const sayAgain = (conversation: Conversation, message: Message) =>
    wish(conversation, () => api.sayAgain(conversation.id, message.id, newId()));
  const sayFurther = (conversation: Conversation, message: Message) =>
    wish(conversation, () => api.sayFurther(conversation.id, message.id, newId()));

  async function edit(conversation: Conversation, message: Message, text: string): Promise<boolean> {
    const done = await attempt(() => api.editMessage(conversation.id, message.id, newId(), text));
    if (done) await sessions.refresh(conversation);
    return done;
  }

  /** Another answer, or another form of the question with all that follows it. */
  async function showThrough(conversation: Conversation, messageId: string): Promise<void> {
    if (await attempt(() => api.showThrough(conversation.id, messageId))) await sessions.refresh(conversation);
  }

  async function remove(conversation: Conversation, message: Message): Promise<void> {
    if (!(await attempt(() => api.changeMessage(conversation.id, message.id, { deleted: true })))) return;
    conversation.messages = conversation.messages.filter((other) => other.id !== message.id);
    state.deleted.value = { sessionId: conversation.id, messageId: message.id };
    clearTimeout(forgetDeleted);
    forgetDeleted = setTimeout(() => (state.deleted.value = null), UNDO_MS);
  }

  async function restore(): Promise<void> {
    const deleted = state.deleted.value;
    if (deleted === null) return;
    state.deleted.value = null;
    const done = await attempt(() => api.changeMessage(deleted.sessionId, deleted.messageId, { deleted: false }));
    const conversation = state.conversations.value[deleted.sessionId];
    if (done && conversation !== undefined) await sessions.refresh(conversation);
  }

  async function pin(conversation: Conversation, message: Message): Promise<void> {
    const pinned = message.pinned !== true;
    if (await attempt(() => api.changeMessage(conversation.id, message.id, { pinned }))) message.pinned = pinned;
  }

  async function loadFavourites(): Promise<void> {
    try {
      state.favourites.value = await api.fetchFavourites();
    } catch {
      // Nobody asked for them just now; the next change of the account fetches them.
    }
  }

  async function favour(conversation: Conversation, message: Message): Promise<void> {
    const known = state.favourites.value.some((favourite) => favourite.message_id === message.id);
    if (await attempt(() => api.setFavourite(conversation.id, message.id, !known))) await loadFavourites();
  }

  async function loadGateways(): Promise<void> {
    try {
      state.gateways.value = await api.fetchGateways();
    } catch {
      // The ones that are known stay: they are needed just when nothing answers.
    }
  }

  return { sayAgain, sayFurther, edit, showThrough, remove, restore, pin, favour, loadFavourites, loadGateways };
}

export type MessageActions = ReturnType<typeof messageActions>;
