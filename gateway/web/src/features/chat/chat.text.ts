// The length rules of a person's message (gateway/API.md): up to 1000 characters; a longer one keeps its first 900 and
// its last 100, which the node does.

export const TEXT_LIMIT = 1000;
/** From here on the composer counts aloud. */
export const TEXT_NEAR_LIMIT = 900;

/** Code points, as the node counts. */
export function countCharacters(text: string): number {
  let count = 0;
  for (const _ of text) count += 1;
  return count;
}

export function isBlank(text: string): boolean {
  return text.trim() === "";
}

/**
 * A pasted book would not fit into a frame (16 KiB). What the node throws away anyway is left out here: both ends are
 * kept at full length, so the node's own cut gives the same text and marks it as cut.
 */
export function fitFrame(text: string): string {
  const points = Array.from(text);
  if (points.length <= 2 * TEXT_LIMIT) return text;
  return points.slice(0, TEXT_LIMIT).join("") + points.slice(-TEXT_LIMIT).join("");
}
