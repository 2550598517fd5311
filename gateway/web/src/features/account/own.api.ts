// A person's own account.

import { request, requestFile } from "@/api/client";
import type { Consent, Device, OwnAccount, ProgramKey, Scope, Secret } from "./account.types";

export function fetchAccount(): Promise<OwnAccount> {
  return request("GET", "/account");
}

export async function fetchDevices(): Promise<Device[]> {
  return (await request<{ devices: Device[] }>("GET", "/account/devices")).devices;
}

export function signOutDevice(id: string): Promise<void> {
  return request("DELETE", `/account/devices/${encodeURIComponent(id)}`);
}

export function signOutEverywhere(): Promise<void> {
  return request("POST", "/sign-out/everywhere");
}

export function changePassword(old: string, fresh: string): Promise<void> {
  return request("POST", "/account/password", { old, new: fresh });
}

export async function fetchKeys(): Promise<ProgramKey[]> {
  return (await request<{ keys: ProgramKey[] }>("GET", "/keys")).keys;
}

/** Without `days` it lasts until it is taken back. The secret is shown this once. */
export function makeKey(label: string, scopes: Scope[], days: number | null): Promise<{ secret: string; key: ProgramKey }> {
  return request("POST", "/keys", { label, scopes, ...(days === null ? {} : { days }) });
}

export function takeKeyBack(id: string): Promise<void> {
  return request("DELETE", `/keys/${encodeURIComponent(id)}`);
}

export async function fetchConsents(): Promise<Consent[]> {
  return (await request<{ consents: Consent[] }>("GET", "/account/consents")).consents;
}

export function beginSecondFactor(): Promise<Secret> {
  return request("POST", "/account/second-factor/begin");
}

export function setSecondFactor(secret: string, code: string, password: string): Promise<void> {
  return request("PUT", "/account/second-factor", { secret, code, password });
}

/** For what is dangerous: this device has shown a code, and may for a quarter of an hour. */
export function showCode(code: string): Promise<void> {
  return request("POST", "/account/second-factor/show", { code });
}

export function removeSecondFactor(password: string, code: string): Promise<void> {
  return request("POST", "/account/second-factor/remove", { password, code });
}

export function fetchExport(): Promise<Blob> {
  return requestFile("/account/export");
}

export function deleteAccount(password: string, code: string | undefined): Promise<{ erasure: string }> {
  return request("POST", "/account/delete", { password, ...(code === undefined ? {} : { code }) });
}
