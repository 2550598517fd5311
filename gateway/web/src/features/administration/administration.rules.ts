// What settings may be, and what of a form is really a change. The node checks again.

import type { Dictionary } from "@/i18n";
import { age } from "@/ui/time";
import type { SettingValue } from "./administration.types";

export type SettingKind = "flag" | "text" | "email" | "address" | "number" | "security" | "secret";
export type SettingName = keyof Dictionary["keeping"]["settings"]["fields"];

export interface Field {
  name: SettingName;
  kind: SettingKind;
  /** What holds while nothing is set. */
  byDefault?: string;
  least?: number;
  most?: number;
}

/** Not a setting like the others: it is kept sealed and never told. */
export const MAIL_PASSWORD = "mail_password";

export const DOOR: Field[] = [
  { name: "site.registration", kind: "flag" },
  { name: "site.address", kind: "address" },
];
export const MAIL: Field[] = [
  { name: "mail.host", kind: "text" },
  { name: "mail.security", kind: "security" },
  { name: "mail.port", kind: "number", least: 1, most: 65_535 },
  { name: "mail.user", kind: "text" },
  { name: MAIL_PASSWORD, kind: "secret" },
  { name: "mail.from", kind: "email" },
];
export const LIMITS: Field[] = [
  { name: "limits.requests_per_second_address", kind: "number", byDefault: "100", least: 1, most: 100_000 },
  { name: "limits.requests_per_second_account", kind: "number", byDefault: "50", least: 1, most: 100_000 },
  { name: "complaints.text_days", kind: "number", byDefault: "30", least: 1, most: 3650 },
];

/** The form as it stands when it opens; an empty text is "nothing is set". Who sets nothing lets strangers ask. */
export function draftOf(fields: Field[], values: Record<string, SettingValue>): Record<string, string> {
  return Object.fromEntries(
    fields.map(({ name, kind }) => {
      const value = values[name] ?? null;
      return [name, kind === "flag" ? String(value !== false) : value === null ? "" : String(value)];
    }),
  );
}

export function checkSetting(field: Field, text: string, t: Dictionary): string | null {
  const value = text.trim();
  const words = t.keeping.settings;
  if (value === "") return null;
  if (field.kind === "email" && !value.includes("@")) return t.errors.email_invalid;
  if (field.kind === "address" && !/^https?:\/\/[^/\s]/.test(value)) return words.addressWrong;
  if (field.kind !== "number") return null;
  const [least, most] = [field.least ?? 0, field.most ?? Number.MAX_SAFE_INTEGER];
  const number = Number(value);
  return /^\d+$/.test(value) && number >= least && number <= most ? null : words.numberWrong(least, most);
}

function valueOf(kind: SettingKind, text: string): SettingValue {
  const value = text.trim();
  if (kind === "flag") return value === "true";
  if (value === "") return null;
  return kind === "number" ? Number(value) : value;
}

/** Only what is other than before: two administrators who change two things do not undo each other. */
export function changesOf(fields: Field[], before: Record<string, string>, draft: Record<string, string>): Record<string, SettingValue> {
  const changed = fields.filter(({ name, kind }) => kind !== "secret" && (draft[name] ?? "").trim() !== (before[name] ?? ""));
  return Object.fromEntries(changed.map(({ name, kind }) => [name, valueOf(kind, draft[name] ?? "")]));
}

/** For how long an address can be refused, in minutes. */
export const BAN_MINUTES = { hour: 60, day: 1_440, week: 10_080, month: 43_200, year: 525_600 } as const;
export type BanTime = keyof typeof BAN_MINUTES;

/** Looks like a network address; the node reads it for good. */
export function isNetworkAddress(text: string): boolean {
  const value = text.trim();
  const parts = value.split(".");
  const isV4 = parts.length === 4 && parts.every((part) => /^\d{1,3}$/.test(part) && Number(part) <= 255);
  return isV4 || (value.includes(":") && /^[0-9a-f:.]{2,45}$/i.test(value));
}

/** Of an id only the beginning: enough to tell two apart, and all that fits a line. Other words stay whole. */
export function shortId(text: string): string {
  return /^[0-9a-f]{32,}$/.test(text) ? `${text.slice(0, 8)}…` : text;
}

/** "Last here" is kept to ten minutes. */
const SEEN_NOW_MS = 10 * 60_000;

export function seenText(seenAt: number | null, now: number, t: Dictionary): string {
  if (seenAt === null) return t.keeping.neverSeen;
  return now - seenAt < SEEN_NOW_MS ? t.keeping.seenNow : t.keeping.seenAgo(age(now - seenAt, t));
}
