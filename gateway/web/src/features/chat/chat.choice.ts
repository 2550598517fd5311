// Why a node was asked: what of it a person is shown.

import type { Choice, ChoiceTerm } from "./chat.types";

export interface ComparedTerm {
  term: ChoiceTerm;
  winner: number;
  runnerUp: number;
}

const ORDER: ChoiceTerm[] = [
  "round_trip",
  "reload",
  "queue",
  "prefill",
  "decode",
  "displaced",
  "slowdown",
  "risk",
  "battery",
  "heat",
  "trust",
];

/** The terms that are anything on one side at least, in the order in which they come about. */
export function comparedTerms(choice: Choice): ComparedTerm[] {
  const all = ORDER.map((term) => ({
    term,
    winner: choice.winner.terms_ms[term] ?? 0,
    runnerUp: choice.runner_up?.terms_ms[term] ?? 0,
  }));
  return all.filter((row) => row.winner !== 0 || row.runnerUp !== 0);
}
