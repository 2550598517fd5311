// The frames of the WebSocket, word for word as gateway/API.md has them.

export interface NodeName {
  id: string;
  name: string;
}

export interface AnsweredBy {
  node_id: string;
  node_name: string;
  model: string;
}

export interface Message {
  id: string;
  role: "person" | "character";
  text: string;
  at: number;
  truncated: boolean;
  state: "waiting" | "answered" | "done";
  answered_by: AnsweredBy | null;
  question_id?: string | null;
  /** Why an answer ended; a question has none. */
  ending?: Ending | null;
}

export type Ending = "end" | "length" | "stopped";
export type WaitingCode = "no_node_can_answer" | "all_nodes_busy";

export type ClientFrame =
  | { type: "send"; outbox_id: string; session_id: string; text: string }
  | { type: "stop"; session_id: string };

export interface AcceptedFrame {
  type: "accepted";
  outbox_id: string;
  session_id: string;
  message: Message;
}

export interface RefusedFrame {
  type: "error";
  outbox_id: string | null;
  code: string;
  message: string;
}

/** Frames about one session; the chat feature applies them to its conversation. */
export type SessionFrame =
  | AcceptedFrame
  | { type: "message"; session_id: string; message: Message }
  | { type: "answer_started"; session_id: string; question_id: string; answer_id: string; node: NodeName; model: string }
  | { type: "token"; session_id: string; answer_id: string; index: number; text: string }
  | { type: "answer_finished"; session_id: string; message: Message; reason: Ending }
  | { type: "answer_waiting"; session_id: string; question_id: string; code: WaitingCode };

export type ServerFrame = SessionFrame | RefusedFrame | { type: "hello"; version: number; node: NodeName };

/** The version of the contract that this page was written for. */
export const CONTRACT_VERSION = 1;
