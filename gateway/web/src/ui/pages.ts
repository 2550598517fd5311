// Lists that come in pages: the first one whenever something else is wanted, and what follows on request.

import { ref, type Ref } from "vue";
import { useAsking } from "./refusal";

export interface Pages<Page> {
  /** All that is there so far, with what the newest page says; null before anything is. */
  page: Ref<Page | null>;
  busy: Ref<boolean>;
  refusal: Ref<unknown>;
  /** The first page anew: what is wanted has changed. */
  load: () => Promise<void>;
  more: () => Promise<void>;
}

/** `fetchPage` asks for the page behind a place, `join` puts two together. An answer that comes after a newer question is thrown away. */
export function usePages<Page extends { next: string | null }>(
  fetchPage: (after: string | null) => Promise<Page>,
  join: (before: Page, next: Page) => Page,
): Pages<Page> {
  const { busy, refusal, ask } = useAsking();
  const page = ref<Page | null>(null) as Ref<Page | null>;
  let asked = 0;

  async function load(): Promise<void> {
    const mine = (asked += 1);
    refusal.value = null;
    try {
      const found = await fetchPage(null);
      if (mine === asked) page.value = found;
    } catch (error) {
      if (mine === asked) refusal.value = error;
    }
  }

  async function more(): Promise<void> {
    const before = page.value;
    if (before?.next == null) return;
    const mine = asked;
    await ask(async () => {
      const next = await fetchPage(before.next);
      if (mine === asked) page.value = join(before, next);
    });
  }

  return { page, busy, refusal, load, more };
}
