// What a refusal says to a person.

import { ref, type Ref } from "vue";
import { ApiError, codeOf } from "@/api/client";
import type { Dictionary } from "@/i18n";

export function refusalText(error: unknown, t: Dictionary): string {
  if (error instanceof ApiError && error.retryAfterSeconds !== null) return t.account.retryAfter(error.retryAfterSeconds);
  return t.errors[codeOf(error)];
}

export interface Asking {
  busy: Ref<boolean>;
  /** What the last try was refused with. */
  refusal: Ref<unknown>;
  /** True when it went well. One at a time: whoever presses twice asks once. */
  ask: (work: () => Promise<void>) => Promise<boolean>;
}

/** A form or a button that asks the node for something and shows what came of it. */
export function useAsking(): Asking {
  const busy = ref(false);
  const refusal = ref<unknown>(null);

  async function ask(work: () => Promise<void>): Promise<boolean> {
    if (busy.value) return false;
    busy.value = true;
    refusal.value = null;
    try {
      await work();
      return true;
    } catch (error) {
      refusal.value = error;
      return false;
    } finally {
      busy.value = false;
    }
  }

  return { busy, refusal, ask };
}
