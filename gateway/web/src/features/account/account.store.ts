// Who sits in front of the page. Shared by all features, therefore a store.

import { defineStore } from "pinia";
import { computed, ref } from "vue";
import { codeOf, onSignedOut } from "@/api/client";
import * as api from "./account.api";
import type { Person } from "./account.types";

/** `unreachable`: the node did not answer, so nobody knows yet. */
export type AccountStatus = "unknown" | "signed-in" | "signed-out" | "unreachable";

export const useAccountStore = defineStore("account", () => {
  const status = ref<AccountStatus>("unknown");
  const person = ref<Person | null>(null);
  const isAdministrator = computed(() => person.value?.role === "administrator");

  function enter(who: Person): void {
    person.value = who;
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
      if (codeOf(error) === "not_signed_in") leave();
      // A node that is away for a moment must not throw anybody out.
      else if (status.value !== "signed-in") status.value = "unreachable";
    }
  }

  async function signIn(name: string, password: string): Promise<void> {
    enter((await api.signIn(name, password)).person);
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

  onSignedOut(leave);

  return { status, person, isAdministrator, load, signIn, acceptWelcome, signOut };
});
