import type { ErrorCode } from "@/api/client";
import type { Ending, Message, NodeName, WaitingCode } from "@/api/frames";

export type { Ending, Message, NodeName };

export interface Session {
  id: string;
  character_id: string;
  title: string;
  updated_at: number;
}

export interface SessionPage {
  id: string;
  character_id: string;
  title: string;
  messages: Message[];
  has_more: boolean;
}

/** A message on its way: kept until the node has said `accepted`. */
export interface OutboxEntry {
  outbox_id: string;
  /** A real session, or the local id of a dialogue that no node knows yet. */
  session_id: string;
  /** Needed to begin that dialogue. */
  character_id: string;
  text: string;
  at: number;
  /** Set when the node refused it for good; the person decides what happens. */
  refused: ErrorCode | null;
}

/** An answer while it is being said. */
export interface LiveAnswer {
  answerId: string;
  /** Null when the page came in the middle of an answer and never saw its beginning. */
  questionId: string | null;
  node: NodeName | null;
  model: string | null;
  text: string;
  nextIndex: number;
  /** A token is missing; the stored message will tell the truth. */
  broken: boolean;
  stopping: boolean;
  lastHeardAt: number;
}

/** `kept`: nobody said why, but the answer is long overdue. */
export type WaitingNotice = WaitingCode | "kept";

export interface Conversation {
  id: string;
  characterId: string;
  messages: Message[];
  hasMore: boolean;
  loaded: boolean;
  loadingOlder: boolean;
  error: ErrorCode | null;
  live: LiveAnswer[];
  waiting: Record<string, WaitingNotice>;
  /** When this page first saw a question that has no answer yet. */
  askedAt: Record<string, number>;
  /** The outbox id a message had while it was on its way, so that its element on the screen stays the same. */
  outboxIds: Record<string, string>;
}
