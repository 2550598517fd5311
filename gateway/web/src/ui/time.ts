// Times and amounts as people read them. The present is an argument: nothing here looks at a clock.

import type { Dictionary, Language } from "@/i18n";

const DAY_MS = 86_400_000;
const LOCALES: Record<Language, string> = { en: "en-GB", ru: "ru-RU" };

export type DayGroup = "today" | "yesterday" | "lastWeek" | "earlier";

function startOfDay(at: number): number {
  return new Date(at).setHours(0, 0, 0, 0);
}

/** Whole calendar days between two moments; rounding swallows the hour of a change to summer time. */
function daysBetween(at: number, now: number): number {
  return Math.round((startOfDay(now) - startOfDay(at)) / DAY_MS);
}

export function dayGroup(at: number, now: number): DayGroup {
  const days = daysBetween(at, now);
  if (days <= 0) return "today";
  if (days === 1) return "yesterday";
  return days < 7 ? "lastWeek" : "earlier";
}

export function sameDay(a: number, b: number): boolean {
  return startOfDay(a) === startOfDay(b);
}

export function clockTime(at: number, language: Language): string {
  return new Date(at).toLocaleTimeString(LOCALES[language], { hour: "2-digit", minute: "2-digit", second: "2-digit" });
}

export function dayTitle(at: number, now: number, language: Language, t: Dictionary): string {
  const group = dayGroup(at, now);
  if (group === "today") return t.chat.today;
  if (group === "yesterday") return t.chat.yesterday;
  const sameYear = new Date(at).getFullYear() === new Date(now).getFullYear();
  return new Date(at).toLocaleDateString(LOCALES[language], {
    day: "numeric",
    month: "long",
    ...(sameYear ? {} : { year: "numeric" }),
  });
}

export function fullTime(at: number, language: Language): string {
  return new Date(at).toLocaleString(LOCALES[language], { dateStyle: "long", timeStyle: "medium" });
}

/** How long ago, in the largest unit that still says something. */
export function age(milliseconds: number, t: Dictionary): string {
  const seconds = Math.max(0, Math.round(milliseconds / 1000));
  if (seconds < 60) return t.units.seconds(seconds);
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return t.units.minutes(minutes);
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return t.units.hours(hours);
  return t.units.days(Math.floor(hours / 24));
}

export function amount(value: number, language: Language, digits = 0): string {
  return value.toLocaleString(LOCALES[language], { maximumFractionDigits: digits });
}

export function bytes(value: number, language: Language, t: Dictionary): string {
  let rest = value;
  let unit = 0;
  while (rest >= 1024 && unit < t.units.bytes.length - 1) {
    rest /= 1024;
    unit += 1;
  }
  return `${amount(rest, language, rest < 10 && unit > 0 ? 1 : 0)} ${t.units.bytes[unit] ?? ""}`;
}
