// Coming in from outside: asking for an account, and for another password.

import { request } from "@/api/client";
import type { Language } from "@/i18n";
import type { Erasure, Next, SignUpTerms, SignUpWish } from "./account.types";

export function fetchTerms(language: Language): Promise<SignUpTerms> {
  return request("GET", `/sign-up?language=${language}`);
}

export function signUp(wish: SignUpWish): Promise<Next> {
  return request("POST", "/sign-up", wish);
}

export function resend(email: string): Promise<Next> {
  return request("POST", "/sign-up/resend", { email });
}

export function confirm(token: string): Promise<void> {
  return request("POST", "/sign-up/confirm", { token });
}

export function forgot(email: string): Promise<Next> {
  return request("POST", "/password/forgot", { email });
}

export function reset(token: string, password: string): Promise<void> {
  return request("POST", "/password/reset", { token, password });
}

export function fetchErasure(id: string): Promise<Erasure> {
  return request("GET", `/erasures/${encodeURIComponent(id)}`);
}

/** A link for the browser: the act is a text that anybody may fetch who knows its number. */
export function actAddress(id: string): string {
  return `/api/v1/erasures/${encodeURIComponent(id)}/act`;
}
