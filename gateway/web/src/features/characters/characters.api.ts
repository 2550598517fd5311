import { request } from "@/api/client";
import type { Character } from "./characters.types";

export async function fetchCharacters(): Promise<Character[]> {
  return (await request<{ characters: Character[] }>("GET", "/characters")).characters;
}
