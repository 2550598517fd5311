import { describe, expect, it } from "vitest";
import { DICTIONARIES } from "@/i18n";
import { featherOf, initialOf } from "./avatar";
import { resolveTheme } from "./theme";
import { age, bytes, clockTime, dayGroup, dayTitle, sameDay } from "./time";

const { en, ru } = DICTIONARIES;
const NOON = Date.UTC(2026, 10, 21, 12, 0);
const HOUR = 3_600_000;

describe("time", () => {
  it("shows the clock of the language", () => {
    expect(clockTime(Date.UTC(2026, 10, 21, 9, 5), "ru")).toBe("09:05:00");
    expect(clockTime(Date.UTC(2026, 10, 21, 21, 5), "en")).toBe("21:05:00");
  });

  it("counts calendar days, not spans of 24 hours", () => {
    expect(dayGroup(NOON - 11 * HOUR, NOON)).toBe("today");
    expect(dayGroup(NOON - 13 * HOUR, NOON)).toBe("yesterday");
    expect(dayGroup(NOON - 36.5 * HOUR, NOON)).toBe("lastWeek");
    expect(dayGroup(NOON - 7 * 24 * HOUR, NOON)).toBe("earlier");
    expect(dayGroup(NOON + HOUR, NOON)).toBe("today");
    expect(sameDay(NOON, NOON + 11 * HOUR)).toBe(true);
    expect(sameDay(NOON, NOON + 12 * HOUR)).toBe(false);
  });

  it("names days, with the year only when it is another one", () => {
    expect(dayTitle(NOON, NOON, "ru", ru)).toBe("Сегодня");
    expect(dayTitle(NOON - 24 * HOUR, NOON, "en", en)).toBe("Yesterday");
    expect(dayTitle(Date.UTC(2026, 2, 8, 12), NOON, "ru", ru)).toBe("8 марта");
    expect(dayTitle(Date.UTC(2025, 2, 8, 12), NOON, "en", en)).toBe("8 March 2025");
  });

  it("says ages in the largest unit that still says something", () => {
    expect(age(240, ru)).toBe("0 с");
    expect(age(59_400, ru)).toBe("59 с");
    expect(age(60_000, en)).toBe("1 min");
    expect(age(3 * HOUR, en)).toBe("3 h");
    expect(age(49 * HOUR, ru)).toBe("2 дня");
    expect(age(-5000, en)).toBe("0 s");
  });
});

describe("amounts", () => {
  it("writes bytes as people read them", () => {
    expect(bytes(5, "en", en)).toBe("5 B");
    expect(bytes(1536, "en", en)).toBe("1.5 KiB");
    expect(bytes(16 * 1024 ** 3, "ru", ru)).toBe("16 ГиБ");
    expect(bytes(5000 * 1024 ** 4, "en", en)).toBe("5,000 TiB");
  });
});

describe("looks", () => {
  it("follows the system until somebody chooses", () => {
    expect(resolveTheme(null, true)).toBe("dark");
    expect(resolveTheme("light", true)).toBe("light");
    expect(resolveTheme("nonsense", false)).toBe("light");
  });

  it("gives every id the same feather everywhere, and different ids different ones", () => {
    expect(featherOf("abc")).toBe(featherOf("abc"));
    expect(new Set(Array.from({ length: 100 }, (_, index) => featherOf(`id-${index}`))).size).toBe(8);
    expect(initialOf("скворушка")).toBe("С");
    expect(initialOf("  😀x")).toBe("😀");
    expect(initialOf("")).toBe("?");
  });
});
