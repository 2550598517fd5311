import { request } from "@/api/client";
import type { Message } from "@/api/frames";
import type { Choice, Favourite, Gateway, Hit, Session, SessionPage, Summary } from "./chat.types";

export async function fetchSessions(): Promise<Session[]> {
  return (await request<{ sessions: Session[] }>("GET", "/sessions")).sessions;
}

export function createSession(characterId: string): Promise<Session> {
  return request("POST", "/sessions", { character_id: characterId });
}

/** Which page of a chat; without any of these the newest. */
export interface Place {
  before?: string;
  after?: string;
  around?: string;
  at?: number;
}

export function fetchSession(id: string, place: Place = {}): Promise<SessionPage> {
  const query = Object.entries(place).map(([name, value]) => `${name}=${encodeURIComponent(String(value))}`);
  return request("GET", `/sessions/${encodeURIComponent(id)}${query.length === 0 ? "" : `?${query.join("&")}`}`);
}

const messagePath = (sessionId: string, messageId: string): string =>
  `/sessions/${encodeURIComponent(sessionId)}/messages/${encodeURIComponent(messageId)}`;

export function sayAgain(sessionId: string, messageId: string, outboxId: string): Promise<unknown> {
  return request("POST", `${messagePath(sessionId, messageId)}/answers`, { outbox_id: outboxId });
}

export function sayFurther(sessionId: string, messageId: string, outboxId: string): Promise<unknown> {
  return request("POST", `${messagePath(sessionId, messageId)}/continuation`, { outbox_id: outboxId });
}

export function editMessage(sessionId: string, messageId: string, outboxId: string, text: string): Promise<Message> {
  return request("POST", `${messagePath(sessionId, messageId)}/edits`, { outbox_id: outboxId, text });
}

export function fetchChoice(sessionId: string, messageId: string): Promise<Choice> {
  return request("GET", `${messagePath(sessionId, messageId)}/choice`);
}

export interface MessageChange {
  deleted?: boolean;
  pinned?: boolean;
  excluded?: boolean;
}

export function changeMessage(sessionId: string, messageId: string, change: MessageChange): Promise<Message> {
  return request("PATCH", messagePath(sessionId, messageId), change);
}

export function showThrough(sessionId: string, messageId: string): Promise<Session> {
  return request("PATCH", `/sessions/${encodeURIComponent(sessionId)}`, { current_id: messageId });
}

export async function fetchFavourites(): Promise<Favourite[]> {
  return (await request<{ favourites: Favourite[] }>("GET", "/favourites")).favourites;
}

export function setFavourite(sessionId: string, messageId: string, favourite: boolean): Promise<unknown> {
  const path = `/favourites/${encodeURIComponent(sessionId)}/${encodeURIComponent(messageId)}`;
  return favourite ? request("PUT", path, {}) : request("DELETE", path);
}

export async function fetchSummaries(sessionId: string): Promise<Summary[]> {
  return (await request<{ summaries: Summary[] }>("GET", `/sessions/${encodeURIComponent(sessionId)}/summaries`)).summaries;
}

export function putSummary(sessionId: string, lastId: string, text: string): Promise<Summary> {
  return request("PUT", `/sessions/${encodeURIComponent(sessionId)}/summaries/${encodeURIComponent(lastId)}`, { text });
}

export function search(words: string, before?: string): Promise<{ hits: Hit[]; has_more: boolean; is_complete: boolean }> {
  const more = before === undefined ? "" : `&before=${encodeURIComponent(before)}`;
  return request("GET", `/search?q=${encodeURIComponent(words)}${more}`);
}

export async function fetchGateways(): Promise<Gateway[]> {
  return (await request<{ gateways: Gateway[] }>("GET", "/gateways")).gateways;
}
