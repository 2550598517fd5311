// Judgements about figures, apart from their looks.

import type { Liveness, MeshNode } from "./mesh.types";

export type Level = "good" | "warn" | "bad";

/** Yellow over 75 %, red over 90 %. */
export function level(percent: number): Level {
  if (percent > 90) return "bad";
  return percent > 75 ? "warn" : "good";
}

/** Green works, yellow is there or may be, red is gone. */
export function levelOf(liveness: Liveness): Level {
  if (liveness === "gone") return "bad";
  return liveness === "serving" ? "good" : "warn";
}

export function share(part: number, whole: number): number {
  return whole > 0 ? Math.min(100, Math.max(0, (part / whole) * 100)) : 0;
}

/** This node first, then those in reach, then by name: the order must not jump with every refresh. */
export function inOrder(nodes: readonly MeshNode[]): MeshNode[] {
  const rank = (node: MeshNode): number => (node.is_self ? 0 : node.state === "connected" ? 1 : 2);
  return [...nodes].sort((a, b) => rank(a) - rank(b) || a.name.localeCompare(b.name) || a.id.localeCompare(b.id));
}

export interface Point {
  x: number;
  y: number;
}

/** The others on an ellipse around this node, beginning at the top. */
export function ringPosition(index: number, count: number, centre: Point, radius: Point): Point {
  // Two nodes stand left and right rather than one above the other, where the picture has no room.
  const start = count === 2 ? Math.PI : -Math.PI / 2;
  const angle = start + (index / Math.max(1, count)) * 2 * Math.PI;
  return { x: centre.x + radius.x * Math.cos(angle), y: centre.y + radius.y * Math.sin(angle) };
}

/** What a machine that joins may do. */
export const MACHINES = {
  usual: ["gateway", "worker", "relay", "storage"],
  worker: ["worker"],
  storage: ["storage"],
} as const;
export type MachineKind = keyof typeof MACHINES;

/** How long an invite for a machine may last: an hour, a day, a week. */
export const INVITE_HOURS = [1, 24, 168] as const;
