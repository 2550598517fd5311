// What a maker has written and not saved yet: it survives a closed tab. One entry for each character of each person.

import { recall, remember } from "@/ui/memory";
import { emptyDefinition } from "./characters.rules";
import type { Definition } from "./characters.types";

const KEY = "starling.unsaved-characters";
const MOST_ENTRIES = 10;

function all(): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(recall(KEY) ?? "{}");
    return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}

const nameOf = (person: string, character: string): string => `${person} ${character}`;

/** Only fields that are of the kind they should be; whatever else stands there was not written by this page. */
export function unsavedOf(person: string, character: string): Partial<Definition> | null {
  const entry = all()[nameOf(person, character)];
  if (typeof entry !== "object" || entry === null) return null;
  const sound = Object.entries(emptyDefinition()).filter(([field, usual]) => {
    const value: unknown = (entry as Record<string, unknown>)[field];
    return Array.isArray(usual) ? Array.isArray(value) && value.every((text) => typeof text === "string") : typeof value === typeof usual;
  });
  return Object.fromEntries(sound.map(([field]) => [field, (entry as Record<string, unknown>)[field]]));
}

/** Null forgets it. */
export function keepUnsaved(person: string, character: string, fields: Partial<Definition> | null): void {
  const { [nameOf(person, character)]: _, ...others } = all();
  // The newest last, the oldest beyond the bound are forgotten.
  const entries = Object.entries(fields === null ? others : { ...others, [nameOf(person, character)]: fields }).slice(-MOST_ENTRIES);
  remember(KEY, entries.length === 0 ? null : JSON.stringify(Object.fromEntries(entries)));
}
