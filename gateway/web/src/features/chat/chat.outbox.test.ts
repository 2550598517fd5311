import { beforeEach, describe, expect, it, vi } from "vitest";
import { draftOf, keepDraft } from "./chat.drafts";
import { newId, Outbox, parseEntries } from "./chat.outbox";
import { countCharacters, fitFrame } from "./chat.text";
import type { OutboxEntry } from "./chat.types";

const entry = (id: string): OutboxEntry => ({ outbox_id: id, session_id: "s", character_id: "c", text: "t", at: 1, refused: null });
const ids = (outbox: Outbox): string[] => outbox.entries.map((each) => each.outbox_id);

beforeEach(() => localStorage.clear());

describe("Outbox", () => {
  it("is found again by a new page and keeps its order", () => {
    const first = new Outbox("k", () => {});
    first.add(entry("a"));
    first.add(entry("b"));
    expect(ids(new Outbox("k", () => {}))).toEqual(["a", "b"]);
  });

  it("does not undo what another tab did", () => {
    const here = new Outbox("k", () => {});
    const there = new Outbox("k", () => {});
    here.add(entry("a"));
    there.add(entry("b"));
    here.remove("a");
    expect(ids(new Outbox("k", () => {}))).toEqual(["b"]);
    expect(ids(here)).toEqual(["b"]);
  });

  it("works on when the browser refuses to store", () => {
    const outbox = new Outbox("k", () => {});
    outbox.add(entry("a"));
    vi.spyOn(Storage.prototype, "setItem").mockImplementation(() => {
      throw new DOMException("full", "QuotaExceededError");
    });
    outbox.add(entry("b"));
    outbox.add(entry("c"));
    expect(ids(outbox)).toEqual(["a", "b", "c"]);
  });

  it("says no when it is full instead of losing something", () => {
    const outbox = new Outbox("k", () => {});
    for (let index = 0; index < 200; index += 1) expect(outbox.add(entry(`e${index}`))).toBe(true);
    expect(outbox.add(entry("one too many"))).toBe(false);
    expect(outbox.entries).toHaveLength(200);
  });

  it("ignores what is not an entry", () => {
    expect(parseEntries(JSON.stringify([entry("a"), null, 7, { outbox_id: "b" }]))).toEqual([entry("a")]);
    expect(parseEntries("{broken")).toBeNull();
    expect(parseEntries("{}")).toBeNull();
  });

  it("makes ids the contract takes, never twice the same", () => {
    const made = new Set(Array.from({ length: 1000 }, newId));
    expect(made.size).toBe(1000);
    for (const id of made) expect(id).toMatch(/^[0-9a-f]{32}$/);
  });
});

describe("text", () => {
  it("counts an emoji as one character", () => {
    expect(countCharacters("аб😀")).toBe(3);
  });

  it("keeps both ends of a pasted book, and everything that the node would keep", () => {
    const book = `${"н".repeat(900)}${"😀".repeat(50_000)}${"к".repeat(100)}`;
    const fitted = Array.from(fitFrame(book));
    expect(fitted).toHaveLength(2000);
    expect(fitted.slice(0, 900).join("")).toBe("н".repeat(900));
    expect(fitted.slice(-100).join("")).toBe("к".repeat(100));
    expect(new TextEncoder().encode(JSON.stringify({ text: fitFrame(book) })).length).toBeLessThan(16 * 1024 - 300);
    expect(fitFrame("short")).toBe("short");
  });
});

describe("drafts", () => {
  it("belong to their dialogue and vanish when they are empty", () => {
    keepDraft("s1", "half a thought");
    keepDraft("s2", "another");
    keepDraft("s2", "");
    expect(draftOf("s1")).toBe("half a thought");
    expect(draftOf("s2")).toBe("");
  });
});
