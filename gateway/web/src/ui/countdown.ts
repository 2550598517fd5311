import { computed, onScopeDispose, ref, type ComputedRef } from "vue";

export interface Countdown {
  /** Whole seconds that are left; 0 when it is over. */
  left: ComputedRef<number>;
  start: (seconds: number) => void;
}

/** Counts down by the clock and not by ticks: a tab in the background ticks late. */
export function useCountdown(): Countdown {
  const end = ref(0);
  const now = ref(Date.now());
  let timer: ReturnType<typeof setInterval> | undefined;
  const left = computed(() => Math.max(0, Math.ceil((end.value - now.value) / 1000)));

  function tick(): void {
    now.value = Date.now();
    if (left.value === 0) clearInterval(timer);
  }

  function start(seconds: number): void {
    clearInterval(timer);
    now.value = Date.now();
    end.value = now.value + seconds * 1000;
    timer = setInterval(tick, 500);
  }

  onScopeDispose(() => clearInterval(timer));
  return { left, start };
}
