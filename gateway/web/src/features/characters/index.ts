export { default as CharacterAvatar } from "./components/CharacterAvatar.vue";
export { useCharactersStore } from "./characters.store";
export type { Character } from "./characters.types";
