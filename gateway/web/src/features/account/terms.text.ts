// The words that people agree to come as Markdown, of which they use little: a title, paragraphs, numbered points.

export type Block = { kind: "title"; text: string } | { kind: "paragraph"; text: string } | { kind: "points"; points: string[] };

const POINT = /^\d+\.\s+/;

export function blocksOf(markdown: string): Block[] {
  const parts = markdown.split(/\n{2,}/).map((part) => part.trim());
  return parts.filter((part) => part !== "").map(blockOf);
}

function blockOf(part: string): Block {
  if (part.startsWith("# ")) return { kind: "title", text: part.slice(2).trim() };
  if (!POINT.test(part)) return { kind: "paragraph", text: part.replace(/\s*\n\s*/g, " ") };
  const points: string[] = [];
  for (const line of part.split("\n")) {
    // A line without a number goes on with the point before it.
    if (POINT.test(line)) points.push(line.replace(POINT, ""));
    else points[points.length - 1] += ` ${line.trim()}`;
  }
  return { kind: "points", points };
}
