// Messages on their way, kept in localStorage: neither a reload nor a lost connection may lose one. Sending one twice is
// harmless, because the node knows it by its outbox id; forgetting one too early is not, so only `accepted` removes it.

import type { ErrorCode } from "@/api/client";
import { recall, remember } from "@/ui/memory";
import type { OutboxEntry } from "./chat.types";

/** Far more than anybody types during an outage, and far less than localStorage holds. */
const MOST_ENTRIES = 200;

export class Outbox {
  #entries: OutboxEntry[] = [];
  /** After a refused write the stored list is older than ours and must not be believed. */
  #stored = true;

  constructor(
    readonly key: string,
    private readonly changed: (entries: readonly OutboxEntry[]) => void,
  ) {
    this.reload();
  }

  get entries(): readonly OutboxEntry[] {
    return this.#entries;
  }

  /** Also after a change from another tab of the same browser. */
  reload(): void {
    this.#entries = this.#read();
    this.changed(this.#entries);
  }

  /** False when it is full; the composer then keeps the text. */
  add(entry: OutboxEntry): boolean {
    if (this.#entries.length >= MOST_ENTRIES) return false;
    this.#update((entries) => [...entries, entry]);
    return true;
  }

  remove(outboxId: string): void {
    this.#update((entries) => entries.filter((entry) => entry.outbox_id !== outboxId));
  }

  setRefused(outboxId: string, refused: ErrorCode | null): void {
    this.#update((entries) => entries.map((entry) => (entry.outbox_id === outboxId ? { ...entry, refused } : entry)));
  }

  /** A local dialogue has become a real session. */
  moveSession(from: string, to: string): void {
    this.#update((entries) => entries.map((entry) => (entry.session_id === from ? { ...entry, session_id: to } : entry)));
  }

  clear(): void {
    this.#entries = [];
    remember(this.key, null);
    this.changed(this.#entries);
  }

  /** Reads before it writes: a second tab may have changed the list in the meantime. */
  #update(change: (entries: OutboxEntry[]) => OutboxEntry[]): void {
    this.#entries = change(this.#read());
    this.#stored = remember(this.key, JSON.stringify(this.#entries));
    this.changed(this.#entries);
  }

  #read(): OutboxEntry[] {
    return (this.#stored ? parseEntries(recall(this.key)) : null) ?? this.#entries;
  }
}

/** Null when there is nothing readable, for then the memory of the page is the better source. */
export function parseEntries(stored: string | null): OutboxEntry[] | null {
  if (stored === null) return null;
  try {
    const value: unknown = JSON.parse(stored);
    return Array.isArray(value) ? value.filter(isEntry) : null;
  } catch {
    return null;
  }
}

function isEntry(value: unknown): value is OutboxEntry {
  if (typeof value !== "object" || value === null) return false;
  const entry = value as Partial<Record<keyof OutboxEntry, unknown>>;
  return (
    typeof entry.outbox_id === "string" &&
    typeof entry.session_id === "string" &&
    typeof entry.character_id === "string" &&
    typeof entry.text === "string" &&
    typeof entry.at === "number"
  );
}

/** 128 bits of chance. Not `crypto.randomUUID`, which does not exist on a node reached over plain http at home. */
export function newId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

const LOCAL_PREFIX = "local-";

export function newLocalSessionId(): string {
  return LOCAL_PREFIX + newId();
}

export function isLocalSession(id: string): boolean {
  return id.startsWith(LOCAL_PREFIX);
}
