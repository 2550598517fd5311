// What follows from a complaint for the page: pure functions, apart from the looks.

import type { Dictionary } from "@/i18n";
import type { ComplaintRow, Decision, OwnComplaint, Reason, Who } from "./complaints.types";

/** Characters that a person may add; the node counts again. */
export const WORDS_MAX = 1000;

/** Characters as the node counts them: a smiley is one. */
export function countWords(words: string): number {
  return [...words.trim()].length;
}

/** Somebody who says "other" has to say what. */
export function isReady(reason: Reason | "", words: string): reason is Reason {
  const count = countWords(words);
  return reason !== "" && count <= WORDS_MAX && (reason !== "other" || count > 0);
}

export function whoText(who: Who, t: Dictionary): string {
  return who.name ?? t.complaints.gone;
}

/** What became of it, for whoever complained. */
export function outcomeText(complaint: OwnComplaint, t: Dictionary): string {
  return complaint.decision === null ? t.complaints.ownStates[complaint.state === "taken" ? "taken" : "open"] : t.complaints.outcomes[complaint.decision];
}

/** Who is at it, or what was decided by whom. */
export function progressText(row: ComplaintRow, t: Dictionary): string {
  if (row.decided !== null) return `${t.complaints.decisions[row.decided.decision]} · ${whoText(row.decided.by, t)}`;
  return row.taken_by === null ? "" : t.complaints.takenBy(whoText(row.taken_by, t));
}

/** What is easier undone than the others is not asked twice. */
export function isMild(decision: Decision): boolean {
  return decision === "dismissed" || decision === "author_warned";
}
