// The characters of the mesh; the chat needs their names and greetings too, therefore a store.

import { defineStore } from "pinia";
import { ref } from "vue";
import { codeOf, type ErrorCode } from "@/api/client";
import { fetchCharacters } from "./characters.api";
import type { Character } from "./characters.types";

export const useCharactersStore = defineStore("characters", () => {
  const characters = ref<Character[]>([]);
  const loaded = ref(false);
  const error = ref<ErrorCode | null>(null);

  async function load(): Promise<void> {
    try {
      characters.value = await fetchCharacters();
      loaded.value = true;
      error.value = null;
    } catch (cause) {
      error.value = codeOf(cause);
    }
  }

  function byId(id: string): Character | null {
    return characters.value.find((character) => character.id === id) ?? null;
  }

  return { characters, loaded, error, load, byId };
});
