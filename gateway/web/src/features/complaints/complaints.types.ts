// What people complain of, word for word as gateway/API.md has it.

export const REASONS = ["harmful", "sexual", "violent", "hateful", "personal_data", "deceptive", "other"] as const;
export type Reason = (typeof REASONS)[number];

export const COMPLAINT_STATES = ["open", "taken", "decided"] as const;
export type ComplaintState = (typeof COMPLAINT_STATES)[number];

/** From the mildest to the strictest. */
export type Decision = "dismissed" | "author_warned" | "character_hidden" | "character_blocked" | "author_blocked";

/** What somebody complains of. */
export type About = { kind: "answer"; session_id: string; message_id: string } | { kind: "character"; character_id: string };

/** What is asked first: who is it about? */
export type AboutKind = About["kind"];

export interface OwnComplaint {
  id: string;
  state: ComplaintState;
  about: AboutKind;
  reason: Reason;
  character_id: string;
  character_name: string;
  words: string;
  excerpt: string;
  created_at: number;
  decision: Decision | null;
  decided_at: number | null;
}

export interface OwnComplaintsPage {
  complaints: OwnComplaint[];
  next: string | null;
}

export interface Who {
  id: string;
  /** `null` when the account is gone. */
  name: string | null;
}

export interface Decided {
  decision: Decision;
  by: Who;
  at: number;
}

export interface ComplaintRow {
  id: string;
  state: ComplaintState;
  about: AboutKind;
  reason: Reason;
  character_id: string;
  character_name: string;
  created_at: number;
  taken_by: Who | null;
  decided: Decided | null;
}

export interface ComplaintsPage {
  complaints: ComplaintRow[];
  undecided: number;
  next: string | null;
}

export interface ComplaintDetail {
  complaint: ComplaintRow;
  person: Who;
  words: string;
  excerpt: string;
  author: Who | null;
  decisions: Decided[];
  may_decide: Decision[];
}

/** What moderators decided about a character of one's own. */
export interface Warning {
  id: string;
  character_id: string;
  character_name: string | null;
  about: AboutKind;
  reason: Reason;
  decision: Decision;
  at: number;
}

export interface WarningsPage {
  warnings: Warning[];
  next: string | null;
}
