import type { ErrorCode } from "@/api/client";
import type { Ending, Message, NodeName, WaitingCode, Why } from "@/api/frames";

export type { Ending, Message, NodeName };

export interface Session {
  id: string;
  character_id: string;
  title: string;
  updated_at: number;
  unread?: number;
}

export interface SessionPage {
  id: string;
  character_id: string;
  title: string;
  messages: Message[];
  has_more: boolean;
  has_newer?: boolean;
  read_id?: string | null;
}

/** A message that a search found. */
export interface Hit {
  session_id: string;
  message_id: string;
  role: "person" | "character";
  at: number;
  snippet: string;
  /** First character and number of characters of each word that was looked for. */
  marks: [number, number][];
}

export interface Favourite {
  message_id: string;
  session_id: string;
  character_id: string;
  added_at: number;
  note: string | null;
  message: Message | null;
}

export interface Summary {
  first_id: string;
  last_id: string;
  origin: "extract" | "model" | "person";
  text: string;
}

/** Where else the mesh can be entered. */
export interface Gateway {
  node_id: string;
  name: string;
  origin: string;
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

export type ChoiceTerm =
  | "round_trip"
  | "reload"
  | "queue"
  | "prefill"
  | "decode"
  | "displaced"
  | "slowdown"
  | "risk"
  | "battery"
  | "heat"
  | "trust";

/** A node with what asking it was expected to cost; the terms add up to the total, and what is nothing is left out. */
export interface ScoredNode {
  node: NodeName;
  model: string;
  total_ms: number;
  terms_ms: Partial<Record<ChoiceTerm, number>>;
}

/** Why a node was asked for an answer. */
export interface Choice {
  candidates: number;
  how: "cheapest" | "stayed" | "drawn";
  winner: ScoredNode;
  runner_up: ScoredNode | null;
}

/** An answer while it is being said. */
export interface LiveAnswer {
  answerId: string;
  /** Null when the page came in the middle of an answer and never saw its beginning. */
  questionId: string | null;
  node: NodeName | null;
  model: string | null;
  /** Names the attempt to say it: what was heard of it stays true as long as it is the same. */
  run: string | null;
  why: Why | null;
  text: string;
  /** Characters heard. */
  heard: number;
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
  /** How many questions wait before one, and for how many seconds at least. */
  queue: Record<string, { ahead: number; seconds: number }>;
  /** Whether the page shows the newest messages; else it has jumped to older ones. */
  hasNewer: boolean;
  /** The newest message that the person has read on any device. */
  readId: string | null;
  /** Another device of the person is being typed into. */
  typingElsewhere: boolean;
  /** Why the answer that was asked for last does not come. */
  refused: WaitingCode | null;
  /** When this page first saw a question that has no answer yet. */
  askedAt: Record<string, number>;
  /** The outbox id a message had while it was on its way, so that its element on the screen stays the same. */
  outboxIds: Record<string, string>;
}
