import { onScopeDispose, ref, type Ref } from "vue";

/** True where there is room for a sidebar (Tailwind's `lg`). */
export function useIsWide(): Ref<boolean> {
  const query = matchMedia("(min-width: 1024px)");
  const wide = ref(query.matches);
  const follow = (): void => void (wide.value = query.matches);
  query.addEventListener("change", follow);
  onScopeDispose(() => query.removeEventListener("change", follow));
  return wide;
}
