import type { Consent, Device, Role } from "@/features/account";

export const STATES = ["active", "waiting", "blocked"] as const;
export type PersonState = (typeof STATES)[number];

export interface PersonRow {
  id: string;
  name: string;
  email: string | null;
  roles: Role[];
  state: PersonState;
  created_at: number;
  seen_at: number | null;
  devices: number;
}

export interface PeopleQuery {
  search: string;
  state: PersonState | "";
  role: Role | "";
}

export interface PeoplePage {
  people: PersonRow[];
  total: number;
  next: string | null;
}

export interface PersonDetail {
  person: PersonRow;
  devices: { devices: Device[] };
  consents: Consent[];
  second_factor: boolean;
  chats: number;
  messages: number;
  written_at: number | null;
}

export interface ResetLink {
  path: string;
  expires_at: number;
}

export type SettingValue = string | number | boolean | null;

export interface Settings {
  values: Record<string, SettingValue>;
  has_mail_password: boolean;
}

export interface TestLetter {
  sent: boolean;
  error: string | null;
}

export interface Ban {
  address: string;
  reason: string;
  until: number;
}

export interface Act {
  at: number;
  by: string | null;
  by_name?: string;
  action: string;
  subject: string;
  subject_name?: string;
  address: string;
  device: string;
  detail: string;
  node: string | null;
}

export interface AuditPage {
  acts: Act[];
  total: number;
  broken: string[];
}
