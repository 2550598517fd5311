// The chat, shared by its own views, the navigation and the characters: therefore a store. It joins the parts: memory
// (chat.state.ts), dialogues (chat.sessions.ts), the way out (chat.delivery.ts) and, here, the way in.

import { defineStore } from "pinia";
import { computed } from "vue";
import { CONTRACT_VERSION, type ServerFrame, type SessionFrame } from "@/api/frames";
import { complaintsNews } from "@/api/news";
import { LiveSocket, socketUrl, type SocketState } from "@/api/socket";
import { applyFrame, laterId, recogniseOwn, sweep } from "./chat.conversation";
import { messageActions, type MessageActions } from "./chat.actions";
import { deliveryActions, type DeliveryActions } from "./chat.delivery";
import { forgetDrafts } from "./chat.drafts";
import { isLocalSession, Outbox } from "./chat.outbox";
import { sayOpen, sessionActions, touchSession, type SessionActions } from "./chat.sessions";
import { createChatState, type ChatState } from "./chat.state";
import type { Conversation } from "./chat.types";

const SWEEP_MS = 5_000;
/** Several frames of a dialogue the list does not have yet cause one request, not many. */
const RELOAD_LIST_MS = 800;

export const useChatStore = defineStore("chat", () => {
  const state = createChatState();
  const sessions = sessionActions(state);
  const delivery = deliveryActions(state);
  const actions = messageActions(state, sessions);
  const connection = connectionActions(state, sessions, delivery, actions);
  const open = computed(() => (state.openId.value === null ? null : (state.conversations.value[state.openId.value] ?? null)));

  return {
    sessions: state.sessions,
    sessionsLoaded: state.sessionsLoaded,
    conversations: state.conversations,
    openId: state.openId,
    open,
    connection: state.connection,
    otherVersion: state.otherVersion,
    outbox: state.outbox,
    sent: state.sent,
    announcement: state.announcement,
    notice: state.notice,
    favourites: state.favourites,
    deleted: state.deleted,
    gateways: state.gateways,
    ...actions,
    loadSessions: sessions.loadSessions,
    openSession: sessions.open,
    begin: sessions.begin,
    openLatest: sessions.openLatest,
    refresh: sessions.refresh,
    loadOlder: sessions.loadOlder,
    loadNewer: sessions.loadNewer,
    jump: sessions.jump,
    trim: sessions.trim,
    send: delivery.send,
    stop: delivery.stop,
    retryEntry: delivery.retryEntry,
    discard: delivery.discard,
    connect: connection.connect,
    disconnect: connection.disconnect,
    redialNow: connection.redialNow,
    markRead: connection.markRead,
    sayTyping: connection.sayTyping,
  };
});

function connectionActions(state: ChatState, sessions: SessionActions, delivery: DeliveryActions, actions: MessageActions) {
  let sweeper: ReturnType<typeof setInterval> | undefined;
  let unlisten = (): void => {};
  const read = frameReader(state, sessions, delivery, actions);

  /** `probe` is asked when a dial is refused: the cause may be the sign-in, which only HTTP tells. */
  function connect(personId: string, probe: () => void): void {
    if (state.live.socket !== null) return;
    state.live.outbox = new Outbox(`starling.outbox.${personId}`, (entries) => (state.outbox.value = entries));
    state.live.socket = new LiveSocket(socketUrl(location), { onFrame: read, onState, onRefused: probe });
    state.live.socket.open();
    sweeper = setInterval(sweepAll, SWEEP_MS);
    unlisten = listenToBrowser(state);
  }

  /** After signing out nothing of this person may stay, neither in memory nor in the browser. */
  function disconnect(forget: boolean): void {
    clearInterval(sweeper);
    unlisten();
    state.live.socket?.close();
    state.live.socket = null;
    if (forget) {
      state.live.outbox?.clear();
      forgetDrafts();
    }
    state.live.outbox = null;
    state.outbox.value = [];
    state.sessions.value = [];
    state.sessionsLoaded.value = false;
    state.conversations.value = {};
    state.openId.value = null;
    delivery.forgetSent();
  }

  function onState(to: SocketState): void {
    const before = state.connection.value;
    state.connection.value = to;
    if (to !== "open") return;
    void actions.loadFavourites();
    void actions.loadGateways();
    const looked = state.openId.value === null ? undefined : state.conversations.value[state.openId.value];
    if (looked !== undefined) sayOpen(state, looked);
    delivery.forgetSent();
    void delivery.flush();
    if (before !== "lost") return;
    // What was said while we were away never comes as a frame.
    void sessions.loadSessions();
    void sessions.refreshOpen();
  }

  function sweepAll(): void {
    const now = Date.now();
    for (const conversation of Object.values(state.conversations.value)) {
      if (sweep(conversation, now)) void sessions.refresh(conversation);
    }
  }

  /** The person has the newest message before their eyes. */
  function markRead(conversation: Conversation): void {
    const last = conversation.messages.at(-1);
    if (last === undefined || laterId(conversation.readId, last.id) === conversation.readId) return;
    if (state.live.socket?.send({ type: "read", session_id: conversation.id, message_id: last.id }) !== true) return;
    conversation.readId = last.id;
    const session = state.sessions.value.find((other) => other.id === conversation.id);
    if (session !== undefined) session.unread = 0;
  }

  function sayTyping(conversation: Conversation, isTyping: boolean): void {
    if (isLocalSession(conversation.id)) return;
    state.live.socket?.send({ type: "typing", session_id: conversation.id, is_typing: isTyping });
  }

  function redialNow(): void {
    state.live.socket?.redialNow();
  }

  return { connect, disconnect, redialNow, markRead, sayTyping };
}

/** What the browser knows sooner than the socket: the network, a look at the page, another tab. */
function listenToBrowser(state: ChatState): () => void {
  const ending = new AbortController();
  const { signal } = ending;
  const redial = (): void => state.live.socket?.redialNow();
  window.addEventListener("online", redial, { signal });
  window.addEventListener("offline", () => state.live.socket?.restart(), { signal });
  document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && redial(), { signal });
  window.addEventListener(
    "storage",
    (event) => {
      if (event.key === state.live.outbox?.key) state.live.outbox.reload();
    },
    { signal },
  );
  return () => ending.abort();
}

function frameReader(state: ChatState, sessions: SessionActions, delivery: DeliveryActions, actions: MessageActions) {
  let reload: ReturnType<typeof setTimeout> | undefined;

  /** Counted from the first frame, not from the last: in a lively dialogue there is always another one. */
  function reloadListSoon(): void {
    reload ??= setTimeout(() => {
      reload = undefined;
      void sessions.loadSessions();
    }, RELOAD_LIST_MS);
  }

  function readSessionFrame(frame: SessionFrame): void {
    const conversation = state.conversations.value[frame.session_id];
    if (conversation !== undefined) {
      if (frame.type === "message") recogniseOwn(conversation, frame.message, state.outbox.value);
      for (const effect of applyFrame(conversation, frame, Date.now())) {
        if (effect.kind === "refetch") void sessions.refresh(conversation);
        else if (conversation.id === state.openId.value) announce(conversation.characterId, effect.message.text);
      }
    }
    // Only after the conversation has the message: the entry on the screen must not vanish in between.
    if (frame.type === "accepted") delivery.accepted(frame.outbox_id);
    if ("message" in frame) noteInList(frame.session_id, frame.message.at);
  }

  function noteInList(sessionId: string, at: number): void {
    const known = touchSession(state, sessionId, at);
    const title = state.sessions.value.find((session) => session.id === sessionId)?.title;
    // The node makes the title from the first message, and a dialogue may have begun on another device.
    if (!known || title === "") reloadListSoon();
  }

  function announce(characterId: string, text: string): void {
    state.announcement.value = { characterId, text };
  }

  return function read(frame: ServerFrame): void {
    if (frame.type === "hello") {
      state.otherVersion.value = frame.version !== CONTRACT_VERSION;
    } else if (frame.type === "account") {
      void actions.loadFavourites();
    } else if (frame.type === "complaints") {
      complaintsNews.value += 1;
    } else if (frame.type === "error") {
      delivery.refusedByNode(frame);
    } else if ("session_id" in frame) {
      readSessionFrame(frame);
    }
  };
}
