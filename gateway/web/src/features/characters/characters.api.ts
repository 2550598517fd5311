import { request, requestFile } from "@/api/client";
import type { CardFormat, Character, Definition, Differing, Edited, TrialMessage, Version } from "./characters.types";

interface Page {
  characters: Character[];
  next?: string | null;
}

/** Every character, page by page: the chats need the name of each. With `mine` those that the person may change. */
export async function fetchCharacters(mine = false): Promise<Character[]> {
  const characters: Character[] = [];
  let after: string | null = null;
  do {
    const query: string = after === null ? "" : `&after=${encodeURIComponent(after)}`;
    const page: Page = await request<Page>("GET", `/characters?limit=100${mine ? "&mine=true" : ""}${query}`);
    characters.push(...page.characters);
    after = page.next ?? null;
  } while (after !== null);
  return characters;
}

const at = (id: string): string => `/characters/${encodeURIComponent(id)}`;
/** A model may think for 25 seconds about a test chat. */
const TRIAL_DEADLINE_MS = 30_000;

export const createCharacter = (fields: Partial<Definition>): Promise<Edited> => request("POST", "/characters", fields);

/** `name` in place of the card's own. */
export function importCard(card: Blob, name?: string): Promise<Edited> {
  return request("POST", `/characters/import${name === undefined ? "" : `?name=${encodeURIComponent(name)}`}`, card);
}

export const fetchCharacter = (id: string): Promise<Edited> => request("GET", at(id));

export const changeCharacter = (id: string, fields: Partial<Definition>): Promise<Edited> => request("PATCH", at(id), fields);

export const deleteCharacter = (id: string): Promise<void> => request("DELETE", at(id));

export const putAvatar = (id: string, picture: Blob): Promise<void> => request("PUT", `${at(id)}/avatar`, picture);

/** Another `stamp` is another picture to the browser. */
export const avatarUrl = (id: string, stamp: string | number): string => `/api/v1${at(id)}/avatar?v=${stamp}`;

export const fetchCard = (id: string, format: CardFormat): Promise<Blob> => requestFile(`${at(id)}/card?format=${format}`);

export const publish = (id: string, note: string): Promise<Edited> => request("POST", `${at(id)}/publish`, { note });

export const withdraw = (id: string): Promise<void> => request("POST", `${at(id)}/withdraw`);

export function fetchVersions(id: string, after: string | null): Promise<{ versions: Version[]; next: string | null }> {
  return request("GET", `${at(id)}/versions?limit=20${after === null ? "" : `&after=${encodeURIComponent(after)}`}`);
}

export async function fetchDifference(id: string, from: string, to: string): Promise<Differing[]> {
  const answer = await request<{ fields: Differing[] }>("GET", `${at(id)}/difference?from=${from}&to=${to}`);
  return answer.fields;
}

export const rollBack = (id: string, version: string): Promise<Edited> => request("POST", `${at(id)}/roll-back`, { version });

export function tryOut(id: string, messages: TrialMessage[]): Promise<{ text: string; model: string }> {
  return request("POST", `${at(id)}/trial`, { messages }, TRIAL_DEADLINE_MS);
}
