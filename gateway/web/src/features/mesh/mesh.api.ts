import { request } from "@/api/client";
import type { MeshNode, PersonLink } from "./mesh.types";

export async function fetchMesh(): Promise<MeshNode[]> {
  return (await request<{ nodes: MeshNode[] }>("GET", "/mesh")).nodes;
}

export function createPersonLink(role: "user" | "administrator"): Promise<PersonLink> {
  return request("POST", "/people/links", { role });
}
