// Dangerous acts want a code of the authenticator app, shown on this device a short while ago. Any feature may wrap such an act;
// the one dialogue that asks stands in the frame of the page.

import { ref, type Ref } from "vue";
import { codeOf } from "@/api/client";

/** Whether the dialogue is open. */
export const isCodeAsked: Ref<boolean> = ref(false);

let asking: Promise<boolean> | null = null;
let finish: (shown: boolean) => void = () => {};

/** True when a code was shown; false when the person would rather not. Two acts at once wait for the same code. */
function askForCode(): Promise<boolean> {
  asking ??= new Promise((resolve) => {
    isCodeAsked.value = true;
    finish = (shown) => {
      asking = null;
      isCodeAsked.value = false;
      resolve(shown);
    };
  });
  return asking;
}

/** What the dialogue came to. */
export function answerCode(shown: boolean): void {
  // A dialogue that closes says so a moment later once more.
  if (isCodeAsked.value) finish(shown);
}

/** Does it, and asks for a code when the node wants one. Without a code it stays refused. */
export async function withCode<Result>(act: () => Promise<Result>): Promise<Result> {
  try {
    return await act();
  } catch (error) {
    if (codeOf(error) !== "second_factor_required" || !(await askForCode())) throw error;
    return act();
  }
}
