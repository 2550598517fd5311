// Complaints: made by anybody, decided by moderators.

import { request } from "@/api/client";
import type { About, ComplaintDetail, ComplaintsPage, ComplaintState, Decision, OwnComplaint, OwnComplaintsPage, Reason, WarningsPage } from "./complaints.types";

const one = (id: string): string => `/complaints/${encodeURIComponent(id)}`;

function query(parts: Record<string, string | null>): string {
  const named = Object.entries(parts).filter((part): part is [string, string] => part[1] !== null && part[1] !== "");
  return named.length === 0 ? "" : `?${new URLSearchParams(named).toString()}`;
}

export function complain(about: About, reason: Reason, words: string): Promise<OwnComplaint> {
  return request("POST", "/complaints", { about, reason, ...(words === "" ? {} : { words }) });
}

export function fetchOwnComplaints(after: string | null): Promise<OwnComplaintsPage> {
  return request("GET", `/complaints/mine${query({ after })}`);
}

export function fetchWarnings(after: string | null): Promise<WarningsPage> {
  return request("GET", `/account/warnings${query({ after })}`);
}

export function fetchComplaints(state: ComplaintState | "", after: string | null): Promise<ComplaintsPage> {
  return request("GET", `/complaints${query({ state, after })}`);
}

export function fetchComplaint(id: string): Promise<ComplaintDetail> {
  return request("GET", one(id));
}

export function takeComplaint(id: string): Promise<void> {
  return request("POST", `${one(id)}/take`);
}

export function decideComplaint(id: string, decision: Decision): Promise<void> {
  return request("POST", `${one(id)}/decide`, { decision });
}
