import { request } from "@/api/client";
import type { Character } from "./characters.types";

interface Page {
  characters: Character[];
  next?: string | null;
}

/** Every character, page by page: the chats need the name of each. */
export async function fetchCharacters(): Promise<Character[]> {
  const characters: Character[] = [];
  let after: string | null = null;
  do {
    const query: string = after === null ? "" : `&after=${encodeURIComponent(after)}`;
    const page: Page = await request<Page>("GET", `/characters?limit=100${query}`);
    characters.push(...page.characters);
    after = page.next ?? null;
  } while (after !== null);
  return characters;
}
