import type { NodeName } from "@/api/frames";

export const ROLES = ["user", "manager", "moderator", "administrator"] as const;
export type Role = (typeof ROLES)[number];

export interface Person {
  id: string;
  name: string;
  /** The most powerful one. */
  role: Role;
}

export interface Me {
  person: Person;
  node: NodeName;
}

export type ConsentKind = "terms" | "personal_data";
/** Who lets a new account in. */
export type ConfirmedBy = "mail" | "administrator";

/** What a stranger must know who wants an account. */
export interface SignUpTerms {
  open: boolean;
  confirmed_by: ConfirmedBy;
  consents: { kind: ConsentKind; edition: number; hash: string; text: string }[];
}

export interface SignUpWish {
  name: string;
  email: string;
  password: string;
  language: string;
  /** The hashes of the words that were agreed to. */
  consents: Partial<Record<ConsentKind, string>>;
}

export interface Next {
  confirmed_by: ConfirmedBy;
  resend_after_seconds: number;
}

export interface OwnAccount {
  name: string;
  email: string | null;
  roles: Role[];
  created_at: number;
  second_factor: boolean;
}

export interface Device {
  id: string;
  label: string;
  signed_in_at: number;
  seen_at: number;
  is_this: boolean;
}

export type Scope = "models" | "chat" | "embeddings" | "metrics";

/** A key of a program, without its secret. */
export interface ProgramKey {
  id: string;
  label: string;
  scopes: Scope[];
  created_at: number;
  /** `null` when it lasts until it is taken back. */
  expires_at: number | null;
}

export interface Consent {
  kind: ConsentKind;
  given: boolean;
  text_hash: string;
  edition: number;
  at: number;
  address: string;
}

export interface Secret {
  secret: string;
  address: string;
}

export interface Erasure {
  id: string;
  at: number;
  receipts: { node: NodeName; at: number; envelopes: number; keys: number }[];
  waiting: NodeName[];
}

export const NAME_MIN = 2;
export const NAME_MAX = 50;
export const PASSWORD_MIN = 8;
