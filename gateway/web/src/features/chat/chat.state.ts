// The memory of the chat store; its actions live in chat.sessions.ts and chat.delivery.ts.

import { ref, shallowRef } from "vue";
import type { ErrorCode } from "@/api/client";
import type { LiveSocket, SocketState } from "@/api/socket";
import { newConversation } from "./chat.conversation";
import type { Outbox } from "./chat.outbox";
import type { Conversation, Favourite, Gateway, OutboxEntry, Session } from "./chat.types";

/** Dialogues kept in memory; the one that was opened longest ago is forgotten and loaded again on demand. */
const MOST_CONVERSATIONS = 8;

export function createChatState() {
  return {
    sessions: ref<Session[]>([]),
    sessionsLoaded: ref(false),
    conversations: ref<Record<string, Conversation>>({}),
    /** The dialogue on the screen. */
    openId: ref<string | null>(null),
    connection: ref<SocketState>("closed"),
    otherVersion: ref(false),
    outbox: shallowRef<readonly OutboxEntry[]>([]),
    /** Outbox ids handed to the present connection, and not yet acknowledged. */
    sent: ref<ReadonlySet<string>>(new Set()),
    announcement: ref<{ characterId: string; text: string } | null>(null),
    notice: ref<ErrorCode | null>(null),
    favourites: ref<Favourite[]>([]),
    /** The message that was deleted last, as long as it can be brought back with one press. */
    deleted: ref<{ sessionId: string; messageId: string } | null>(null),
    /** Where else the mesh can be entered when this gateway is gone. */
    gateways: ref<Gateway[]>([]),
    // Not shown, therefore not reactive.
    live: { socket: null as LiveSocket | null, outbox: null as Outbox | null },
  };
}

export type ChatState = ReturnType<typeof createChatState>;

export function conversationFor(state: ChatState, id: string, characterId: string): Conversation {
  const known = state.conversations.value[id];
  if (known !== undefined) return known;
  const ids = Object.keys(state.conversations.value);
  if (ids.length >= MOST_CONVERSATIONS) {
    const oldest = ids.find((other) => other !== state.openId.value);
    if (oldest !== undefined) delete state.conversations.value[oldest];
  }
  state.conversations.value[id] = newConversation(id, characterId);
  return state.conversations.value[id]!;
}
