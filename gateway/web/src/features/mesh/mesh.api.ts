import { request } from "@/api/client";
import type { Role } from "@/features/account";
import type { MeshNode, PersonLink } from "./mesh.types";

export async function fetchMesh(): Promise<MeshNode[]> {
  return (await request<{ nodes: MeshNode[] }>("GET", "/mesh")).nodes;
}

export function createPersonLink(role: Role): Promise<PersonLink> {
  return request("POST", "/people/links", { role });
}
