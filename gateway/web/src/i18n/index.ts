// The words of the page. A dictionary is a plain object that TypeScript checks, so no key can be missing at run time
// and no library is needed.

import { computed, ref, type ComputedRef } from "vue";
import { recall, remember } from "@/ui/memory";
import { en, type Dictionary } from "./en";
import { ru } from "./ru";

export type Language = "en" | "ru";
export type { Dictionary };

export const DICTIONARIES: Record<Language, Dictionary> = { en, ru };
const KEY = "starling.language";

export function chooseLanguage(stored: string | null, browser: string): Language {
  if (stored === "en" || stored === "ru") return stored;
  return /^ru\b/i.test(browser) ? "ru" : "en";
}

const language = ref<Language>(chooseLanguage(recall(KEY), navigator.language));

export function useI18n(): { t: ComputedRef<Dictionary>; language: typeof language; setLanguage: (to: Language) => void } {
  return { t: computed(() => DICTIONARIES[language.value]), language, setLanguage };
}

function setLanguage(to: Language): void {
  language.value = to;
  document.documentElement.lang = to;
  remember(KEY, to);
}
