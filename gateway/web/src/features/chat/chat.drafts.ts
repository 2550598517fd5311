// Unsent text in the composer, per dialogue: it survives a reload and a look into another dialogue.

import { recall, remember } from "@/ui/memory";

const KEY = "starling.drafts";
const MOST_DRAFTS = 30;

function all(): Record<string, string> {
  try {
    const value: unknown = JSON.parse(recall(KEY) ?? "{}");
    return typeof value === "object" && value !== null ? (value as Record<string, string>) : {};
  } catch {
    return {};
  }
}

export function draftOf(conversationId: string): string {
  const draft = all()[conversationId];
  return typeof draft === "string" ? draft : "";
}

export function keepDraft(conversationId: string, text: string): void {
  const { [conversationId]: _, ...others } = all();
  // The newest last, the oldest beyond the bound are forgotten.
  const drafts = Object.entries(text === "" ? others : { ...others, [conversationId]: text }).slice(-MOST_DRAFTS);
  remember(KEY, drafts.length === 0 ? null : JSON.stringify(Object.fromEntries(drafts)));
}

export function forgetDrafts(): void {
  remember(KEY, null);
}
