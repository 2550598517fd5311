import { request } from "@/api/client";
import type { Me, Person } from "./account.types";

export function fetchMe(): Promise<Me> {
  return request("GET", "/me");
}

/** The code is that of the authenticator app, for those who have one. */
export function signIn(name: string, password: string, code?: string): Promise<{ person: Person }> {
  return request("POST", "/sign-in", { name, password, ...(code === undefined ? {} : { code }) });
}

export function acceptWelcome(token: string, name: string, password: string): Promise<{ person: Person }> {
  return request("POST", "/welcome", { token, name, password });
}

export function signOut(): Promise<void> {
  return request("POST", "/sign-out");
}
