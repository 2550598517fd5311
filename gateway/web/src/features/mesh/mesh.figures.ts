// Judgements about figures, apart from their looks.

import type { Dictionary, Language } from "@/i18n";
import { age, fullTime } from "@/ui/time";
import type { BreakerChange, EarlierInvite, Liveness, MeshNode } from "./mesh.types";

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

/** What became of an invite, in a line. */
export function inviteText(invite: EarlierInvite, t: Dictionary, language: Language): string {
  const time = (at: number): string => fullTime(at, language);
  const made = invite.made_at === null ? t.mesh.invites.byCommand : t.mesh.invites.made(invite.made_by?.name ?? t.complaints.gone, time(invite.made_at));
  const used = invite.used_by.map(({ name }) => name).join(", ");
  const parts = [made, used === "" ? null : t.mesh.invites.usedBy(used)];
  if (invite.state === "revoked" && invite.revoked_at !== null) parts.push(t.mesh.invites.revokedAt(time(invite.revoked_at)));
  if ((invite.state === "open" || invite.state === "expired") && invite.expires_at !== null) {
    parts.push(invite.state === "open" ? t.mesh.validUntil(time(invite.expires_at)) : t.mesh.invites.endedAt(time(invite.expires_at)));
  }
  return parts.filter((part) => part !== null).join(" · ");
}

/** What a change of a breaker means for the node behind it. */
export function breakerText(change: BreakerChange, t: Dictionary): string {
  const words = t.mesh.breakers;
  if (change.to === "half_open") return words.tried(change.node_name);
  if (change.to === "closed") return words.trusted(change.node_name);
  return change.pause_ms === null ? words.leftAlone(change.node_name) : words.leftAloneFor(change.node_name, age(change.pause_ms, t));
}
