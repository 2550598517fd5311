// Who sits in front of the page. Shared by all features, therefore a store.

import { defineStore } from "pinia";
import { computed, ref } from "vue";
import { codeOf, onSignedOut, type ErrorCode } from "@/api/client";
import * as api from "./account.api";
import * as own from "./own.api";
import type { Person } from "./account.types";

/** `unreachable`: the node did not answer, so nobody knows yet. */
export type AccountStatus = "unknown" | "signed-in" | "signed-out" | "unreachable";

/** A device with one of these is not signed in any more, and asking again would not change it. */
const SIGNED_OUT: ErrorCode[] = ["not_signed_in", "token_reused", "account_blocked", "not_allowed"];

export const useAccountStore = defineStore("account", () => {
  const status = ref<AccountStatus>("unknown");
  const person = ref<Person | null>(null);
  const isAdministrator = computed(() => person.value?.role === "administrator");
  /** May look after people: see them, and shut them out. */
  const isKeeper = computed(() => isAdministrator.value || person.value?.role === "moderator");
  /** Why this device was signed out, when that was not the person's own wish. */
  const farewell = ref<ErrorCode | null>(null);
  /** The erasure that the person asked for last: its receipts are shown where the account was. */
  const erasure = ref<string | null>(null);

  function enter(who: Person): void {
    person.value = who;
    erasure.value = null;
    farewell.value = null;
    status.value = "signed-in";
  }

  function leave(): void {
    person.value = null;
    status.value = "signed-out";
  }

  async function load(): Promise<void> {
    try {
      enter((await api.fetchMe()).person);
    } catch (error) {
      const code = codeOf(error);
      if (SIGNED_OUT.includes(code)) {
        // Nobody needs to be told that a sign-in has simply run out.
        if (code !== "not_signed_in") farewell.value = code;
        leave();
      }
      // A node that is away for a moment must not throw anybody out.
      else if (status.value !== "signed-in") status.value = "unreachable";
    }
  }

  async function signIn(name: string, password: string, code?: string): Promise<void> {
    enter((await api.signIn(name, password, code)).person);
  }

  async function acceptWelcome(token: string, name: string, password: string): Promise<void> {
    enter((await api.acceptWelcome(token, name, password)).person);
  }

  /** `forget` runs while it is still known who leaves, so that their traces can be found and wiped. */
  async function signOut(forget: () => void): Promise<void> {
    await api.signOut();
    forget();
    leave();
  }

  /** As `signOut`, on every device. */
  async function signOutEverywhere(forget: () => void): Promise<void> {
    await own.signOutEverywhere();
    forget();
    leave();
  }

  /** The account is gone, on every node, for good. */
  async function remove(password: string, code: string | undefined, forget: () => void): Promise<string> {
    const id = (await own.deleteAccount(password, code)).erasure;
    erasure.value = id;
    forget();
    leave();
    return id;
  }

  onSignedOut(leave);

  return { status, person, isAdministrator, isKeeper, farewell, erasure, load, signIn, acceptWelcome, signOut, signOutEverywhere, remove };
});
