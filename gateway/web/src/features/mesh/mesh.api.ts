import { request } from "@/api/client";
import { withCode, type Role } from "@/features/account";
import type { BreakerChange, EarlierInvites, MachineInvite, MeshNode, PersonLink } from "./mesh.types";

export async function fetchMesh(): Promise<MeshNode[]> {
  return (await request<{ nodes: MeshNode[] }>("GET", "/mesh")).nodes;
}

export function createPersonLink(role: Role): Promise<PersonLink> {
  return request("POST", "/people/links", { role });
}

/** One machine may join with it. */
export function createMachineInvite(roles: readonly string[], minutes: number): Promise<MachineInvite> {
  return withCode(() => request("POST", "/invites", { uses: 1, minutes, roles, residency: null }));
}

/** By its id, or by all of it. */
export function revokeMachineInvite(invite: string): Promise<void> {
  return withCode(() => request("POST", "/invites/revoke", { invite, reason: "" }));
}

/** Invites that were made before, and what became of them. */
export function fetchInvites(after: string | null): Promise<EarlierInvites> {
  return request("GET", after === null ? "/invites" : `/invites?after=${encodeURIComponent(after)}`);
}

/** When this gateway left nodes alone and trusted them again, the newest first. */
export async function fetchBreakers(): Promise<BreakerChange[]> {
  return (await request<{ changes: BreakerChange[] }>("GET", "/mesh/breakers")).changes;
}
