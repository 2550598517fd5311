import { request } from "@/api/client";
import type { Session, SessionPage } from "./chat.types";

export async function fetchSessions(): Promise<Session[]> {
  return (await request<{ sessions: Session[] }>("GET", "/sessions")).sessions;
}

export function createSession(characterId: string): Promise<Session> {
  return request("POST", "/sessions", { character_id: characterId });
}

export function fetchSession(id: string, before?: string): Promise<SessionPage> {
  const query = before === undefined ? "" : `?before=${encodeURIComponent(before)}`;
  return request("GET", `/sessions/${encodeURIComponent(id)}${query}`);
}
