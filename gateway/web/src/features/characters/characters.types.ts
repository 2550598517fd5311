export interface Character {
  id: string;
  name: string;
  description: string;
  greeting: string;
  has_avatar?: boolean;
  /** Whether people can chat with it. */
  is_published?: boolean;
  /** Whether another character has its name or prompt. */
  has_conflict?: boolean;
}

/** What makes a character. */
export interface Definition {
  name: string;
  description: string;
  greeting: string;
  alternatives: string[];
  prompt: string;
  examples: string[];
  /** Topics that it keeps out of. */
  filters: string[];
  temperature: number;
  answer_characters_max: number;
}

/** A field of an imported card that is longer than ours may be; it stays in the card until it is shortened. */
export interface TooLong {
  field: string;
  length: number;
  limit: number;
  text: string;
}

/** A character as its maker sees it. */
export interface Edited {
  id: string;
  shown_name: string;
  draft: Definition;
  /** The version that people chat with. */
  published: string | null;
  /** Whether the draft differs from it. */
  is_changed: boolean;
  versions: number;
  has_avatar: boolean;
  has_card: boolean;
  too_long: TooLong[];
  conflicts: { kind: "name" | "prompt"; holder_id: string; holder_name: string }[];
  twin: { id: string; name: string; score: number } | null;
}

export interface Version {
  id: string;
  at: number;
  by: string;
  note: string;
  is_published: boolean;
}

export interface Differing {
  field: string;
  before: unknown;
  after: unknown;
}

export interface TrialMessage {
  role: "person" | "character";
  text: string;
}

export type CardFormat = "original" | "json" | "png";
