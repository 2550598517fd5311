import { computed, type ComputedRef } from "vue";
import { useAccountStore } from "@/features/account";

/** Whether the person makes characters: managers and administrators do. The node decides; this only shows or hides. */
export function useIsMaker(): ComputedRef<boolean> {
  const account = useAccountStore();
  return computed(() => ["manager", "administrator"].includes(account.person?.role ?? ""));
}
