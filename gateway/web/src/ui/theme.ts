// Light or dark. public/first-paint.js applies the same rule before the first paint; here the switch and the changes
// of the system are followed.

import { ref } from "vue";
import { recall, remember } from "./memory";

export type Theme = "light" | "dark";

const KEY = "starling.theme";
const system = matchMedia("(prefers-color-scheme: dark)");

export function resolveTheme(stored: string | null, systemIsDark: boolean): Theme {
  if (stored === "light" || stored === "dark") return stored;
  return systemIsDark ? "dark" : "light";
}

const theme = ref<Theme>(resolveTheme(recall(KEY), system.matches));

system.addEventListener("change", () => apply(resolveTheme(recall(KEY), system.matches)));

function apply(to: Theme): void {
  theme.value = to;
  document.documentElement.dataset["theme"] = to;
  document.querySelector('meta[name="theme-color"]')?.setAttribute("content", to === "dark" ? "#10131b" : "#f5f4ef");
}

export function useTheme(): { theme: typeof theme; toggleTheme: () => void } {
  return { theme, toggleTheme };
}

function toggleTheme(): void {
  const to: Theme = theme.value === "dark" ? "light" : "dark";
  // Going back to what the system wants means following the system again.
  remember(KEY, to === resolveTheme(null, system.matches) ? null : to);
  apply(to);
}
