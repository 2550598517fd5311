export { useCharactersStore } from "./characters.store";
export type { Character } from "./characters.types";
