import { onScopeDispose, ref, type Ref } from "vue";

/** The present as a value that ticks, for ages and waiting times on the screen. */
export function useNow(everyMs: number): Ref<number> {
  const now = ref(Date.now());
  const timer = setInterval(() => (now.value = Date.now()), everyMs);
  onScopeDispose(() => clearInterval(timer));
  return now;
}
