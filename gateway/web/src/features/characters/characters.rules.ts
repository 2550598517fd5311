// What the page can tell a maker before it asks the node: limits, what is wrong, and what differs. The node checks again.

import type { Definition } from "./characters.types";

/** Characters of each text, the same as in crdt/src/records/character/definition.rs. */
export const LIMITS = {
  name: 50,
  nameMin: 2,
  description: 500,
  greeting: 1000,
  prompt: 2000,
  alternatives: 10,
  examples: 5,
  example: 1000,
  filters: 20,
  filter: 50,
  note: 200,
  temperature: 2,
  answerMin: 100,
  answerMax: 2000,
} as const;

export const PICTURE_BYTES_MAX = 2 * 1024 * 1024;
export const CARD_BYTES_MAX = 16 * 1024 * 1024;

/** Characters as the node counts them: code points, so that an emoji is one and not two. */
export function lengthOf(text: string): number {
  let count = 0;
  for (const _ of text) count += 1;
  return count;
}

export function emptyDefinition(): Definition {
  return {
    name: "",
    description: "",
    greeting: "",
    alternatives: [],
    prompt: "",
    examples: [],
    filters: [],
    temperature: 0.7,
    answer_characters_max: LIMITS.answerMax,
  };
}

export type FieldName = keyof Definition;

function isListWrong(list: string[], most: number, longest: number): boolean {
  return list.length > most || list.some((text) => text.trim() === "" || lengthOf(text) > longest);
}

/** The fields that the node would refuse. */
export function wrongFields(definition: Definition): FieldName[] {
  const { name, description, greeting, prompt, temperature, answer_characters_max: answer } = definition;
  const length = lengthOf(name.trim());
  const wrong: [FieldName, boolean][] = [
    ["name", length < LIMITS.nameMin || length > LIMITS.name],
    ["description", lengthOf(description) > LIMITS.description],
    ["greeting", lengthOf(greeting) > LIMITS.greeting],
    ["prompt", prompt.trim() === "" || lengthOf(prompt) > LIMITS.prompt],
    ["alternatives", isListWrong(definition.alternatives, LIMITS.alternatives, LIMITS.greeting)],
    ["examples", isListWrong(definition.examples, LIMITS.examples, LIMITS.example)],
    ["filters", isListWrong(definition.filters, LIMITS.filters, LIMITS.filter)],
    ["temperature", !(temperature >= 0 && temperature <= LIMITS.temperature)],
    ["answer_characters_max", !(Number.isInteger(answer) && answer >= LIMITS.answerMin && answer <= LIMITS.answerMax)],
  ];
  return wrong.filter(([, isWrong]) => isWrong).map(([field]) => field);
}

function isSame(left: Definition[FieldName], right: Definition[FieldName]): boolean {
  return JSON.stringify(left) === JSON.stringify(right);
}

/** The fields in which `after` differs, with what they say there: what a PATCH carries. */
export function changedFields(before: Definition, after: Definition): Partial<Definition> {
  const changed: Partial<Record<FieldName, Definition[FieldName]>> = {};
  for (const field of Object.keys(after) as FieldName[]) {
    if (!isSame(before[field], after[field])) changed[field] = after[field];
  }
  return changed as Partial<Definition>;
}

/** A piece of a text, in one version only or in both. */
export interface Piece {
  kind: "same" | "gone" | "new";
  text: string;
}

/** Longer ones are shown as gone and new as a whole: the comparison takes the product of both lengths. */
const WORDS_MAX = 1500;

/** What differs between two texts, word by word. */
export function compareTexts(before: string, after: string): Piece[] {
  const old = before.match(/\s+|[^\s]+/g) ?? [];
  const fresh = after.match(/\s+|[^\s]+/g) ?? [];
  if (old.length > WORDS_MAX || fresh.length > WORDS_MAX) return joined([["gone", before], ["new", after]]);
  // Lengths of the longest common run of words from each pair of places on.
  const width = fresh.length + 1;
  const common = new Uint16Array((old.length + 1) * width);
  const cell = (row: number, column: number): number => common[row * width + column] ?? 0;
  for (let row = old.length - 1; row >= 0; row -= 1) {
    for (let column = fresh.length - 1; column >= 0; column -= 1) {
      const isEqual = old[row] === fresh[column];
      common[row * width + column] = isEqual ? cell(row + 1, column + 1) + 1 : Math.max(cell(row + 1, column), cell(row, column + 1));
    }
  }
  const pieces: [Piece["kind"], string][] = [];
  let [row, column] = [0, 0];
  while (row < old.length || column < fresh.length) {
    if (row < old.length && column < fresh.length && old[row] === fresh[column]) {
      pieces.push(["same", old[row] ?? ""]);
      row += 1;
      column += 1;
    } else if (row < old.length && (column === fresh.length || cell(row + 1, column) >= cell(row, column + 1))) {
      pieces.push(["gone", old[row] ?? ""]);
      row += 1;
    } else {
      pieces.push(["new", fresh[column] ?? ""]);
      column += 1;
    }
  }
  return joined(pieces);
}

/** Neighbours of one kind become one piece; what is empty is left out. */
function joined(pieces: [Piece["kind"], string][]): Piece[] {
  const result: Piece[] = [];
  for (const [kind, text] of pieces) {
    const last = result.at(-1);
    if (text === "") continue;
    if (last?.kind === kind) last.text += text;
    else result.push({ kind, text });
  }
  return result;
}

/** A field's value as text, for comparing. */
export function asText(value: unknown): string {
  if (Array.isArray(value)) return value.map(String).join("\n");
  return value === null || value === undefined ? "" : String(value);
}
