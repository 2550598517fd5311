import { onScopeDispose, ref, type Ref } from "vue";
import { codeOf, type ErrorCode } from "@/api/client";
import { fetchMesh } from "./mesh.api";
import type { MeshNode } from "./mesh.types";

export const REFRESH_MS = 5_000;

export interface MeshNews {
  nodes: Ref<MeshNode[]>;
  /** When this news arrived; every age on the page grows from here. */
  fetchedAt: Ref<number | null>;
  error: Ref<ErrorCode | null>;
  refresh: () => Promise<void>;
}

/** The mesh as this node sees it, refreshed while somebody looks. Only this page needs it: no store. */
export function useMesh(): MeshNews {
  const nodes = ref<MeshNode[]>([]);
  const fetchedAt = ref<number | null>(null);
  const error = ref<ErrorCode | null>(null);
  let underway = false;

  async function refresh(): Promise<void> {
    if (underway) return;
    underway = true;
    try {
      nodes.value = await fetchMesh();
      fetchedAt.value = Date.now();
      error.value = null;
    } catch (cause) {
      // The old figures stay, visibly growing older: better than an empty page.
      error.value = codeOf(cause);
    } finally {
      underway = false;
    }
  }

  function refreshIfSeen(): void {
    if (document.visibilityState === "visible") void refresh();
  }

  const timer = setInterval(refreshIfSeen, REFRESH_MS);
  document.addEventListener("visibilitychange", refreshIfSeen);
  onScopeDispose(() => {
    clearInterval(timer);
    document.removeEventListener("visibilitychange", refreshIfSeen);
  });
  void refresh();
  return { nodes, fetchedAt, error, refresh };
}
