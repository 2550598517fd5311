// Looking after people and after what holds for the whole mesh. What the node may want a code for asks for one by itself.

import { request, requestFile } from "@/api/client";
import { withCode, type Role } from "@/features/account";
import type { AuditPage, Ban, PeoplePage, PeopleQuery, PersonDetail, ResetLink, Settings, SettingValue, TestLetter } from "./administration.types";

function query(parts: Record<string, string>): string {
  const named = Object.entries(parts).filter(([, value]) => value !== "");
  return named.length === 0 ? "" : `?${new URLSearchParams(named).toString()}`;
}

const one = (id: string): string => `/people/${encodeURIComponent(id)}`;

export function fetchPeople(wanted: PeopleQuery, after: string | null): Promise<PeoplePage> {
  return request("GET", `/people${query({ ...wanted, search: wanted.search.trim(), after: after ?? "" })}`);
}

export function fetchPerson(id: string): Promise<PersonDetail> {
  return request("GET", one(id));
}

export function approve(id: string): Promise<void> {
  return request("POST", `${one(id)}/approve`);
}

export function setBlocked(id: string, blocked: boolean, reason: string): Promise<void> {
  return request("POST", `${one(id)}/block`, { blocked, reason });
}

export function setRoles(id: string, roles: Role[]): Promise<void> {
  return withCode(() => request("PUT", `${one(id)}/roles`, { roles }));
}

export function makeResetLink(id: string): Promise<ResetLink> {
  return withCode(() => request("POST", `${one(id)}/reset-link`));
}

export function takeSecondFactorOff(id: string): Promise<void> {
  return withCode(() => request("DELETE", `${one(id)}/second-factor`));
}

export function fetchSettings(): Promise<Settings> {
  return request("GET", "/settings");
}

export function saveSettings(values: Record<string, SettingValue>, mailPassword: string | null): Promise<Settings> {
  return withCode(() => request("PUT", "/settings", { values, ...(mailPassword === null ? {} : { mail_password: mailPassword }) }));
}

export function sendTestLetter(to: string): Promise<TestLetter> {
  return request("POST", "/settings/test-mail", { to });
}

export async function fetchBans(): Promise<Ban[]> {
  return (await request<{ bans: Ban[] }>("GET", "/bans")).bans;
}

export function addBan(address: string, reason: string, minutes: number): Promise<void> {
  return request("POST", "/bans", { address, reason, minutes });
}

export function removeBan(address: string): Promise<void> {
  return request("DELETE", `/bans/${encodeURIComponent(address)}`);
}

export function fetchAudit(skip: number, action: string): Promise<AuditPage> {
  return request("GET", `/audit${query({ skip: String(skip), action })}`);
}

export function fetchAuditExport(): Promise<Blob> {
  return requestFile("/audit/export");
}
