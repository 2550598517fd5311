// One character while it is made: the form, the draft as the node has it, and what can be done with both.

import { computed, reactive, ref, watch, type ComputedRef, type Ref } from "vue";
import { ApiError, codeOf } from "@/api/client";
import { useAccountStore } from "@/features/account";
import { useI18n } from "@/i18n";
import { saveFile } from "@/ui/saveFile";
import { useAsking } from "@/ui/refusal";
import * as api from "./characters.api";
import { changedFields, emptyDefinition, PICTURE_BYTES_MAX, wrongFields, type FieldName } from "./characters.rules";
import type { CardFormat, Definition, Edited } from "./characters.types";
import { keepUnsaved, unsavedOf } from "./characters.unsaved";

/** The address of a character that does not exist yet. */
export const NEW = "new";
/** What is written is kept on this device after so long a pause. */
const KEEP_AFTER_MS = 400;

export interface Editor {
  /** `null` until it is there, and for a new one until it is saved first. */
  edited: Ref<Edited | null>;
  form: Definition;
  isLoading: Ref<boolean>;
  isUnsaved: ComputedRef<boolean>;
  wrong: ComputedRef<FieldName[]>;
  /** Whether somebody tried to save: before that nobody is scolded. */
  isChecked: Ref<boolean>;
  busy: Ref<boolean>;
  refusal: ComputedRef<string | null>;
  /** What went well, in words. */
  done: Ref<string | null>;
  wasRestored: Ref<boolean>;
  /** Another number, another picture. */
  stamp: Ref<number>;
  load: (id: string) => Promise<void>;
  save: () => Promise<boolean>;
  discard: () => void;
  publish: (note: string) => Promise<boolean>;
  withdraw: () => Promise<boolean>;
  remove: () => Promise<boolean>;
  rollBack: (version: string) => Promise<boolean>;
  setPicture: (file: File) => Promise<boolean>;
  exportCard: (format: CardFormat) => Promise<boolean>;
}

/** Why the last try failed, with the name of the character that has what was wanted. */
function wordsFor(error: unknown, t: ReturnType<typeof useI18n>["t"]["value"]): string | null {
  if (error === null) return null;
  const words = t.errors[codeOf(error)];
  return error instanceof ApiError && error.twin !== null ? `${words} ${t.editor.taken(error.twin.name)}` : words;
}

const EXTENSIONS: Record<string, string> = { "application/json": "json", "image/png": "png", "application/zip": "charx" };

export function useEditor(): Editor {
  const { t } = useI18n();
  const account = useAccountStore();
  const edited = ref<Edited | null>(null);
  const form = reactive(emptyDefinition());
  const id = ref(NEW);
  const isLoading = ref(false);
  const isChecked = ref(false);
  const wasRestored = ref(false);
  const done = ref<string | null>(null);
  const stamp = ref(Date.now());
  const { busy, refusal, ask } = useAsking();

  const saved = computed(() => edited.value?.draft ?? emptyDefinition());
  const changes = computed(() => changedFields(saved.value, form));
  const isUnsaved = computed(() => Object.keys(changes.value).length > 0);
  const wrong = computed(() => wrongFields(form));

  let timer: ReturnType<typeof setTimeout> | undefined;
  const keep = (): void => keepUnsaved(account.person?.id ?? "", id.value, isUnsaved.value ? { ...changes.value } : null);
  watch(
    changes,
    () => {
      if (isLoading.value) return;
      clearTimeout(timer);
      timer = setTimeout(keep, KEEP_AFTER_MS);
    },
    { deep: true },
  );

  function fill(definition: Definition): void {
    // A copy of plain values: what stands in the form must not change what the node said.
    Object.assign(form, JSON.parse(JSON.stringify(definition)) as Definition);
  }

  /** What the node says now; `fields` stay as they stand in the form. */
  function take(now: Edited, fields: Partial<Definition> = {}): void {
    edited.value = now;
    id.value = now.id;
    fill({ ...now.draft, ...fields });
  }

  async function load(wanted: string): Promise<void> {
    isLoading.value = true;
    id.value = wanted;
    edited.value = null;
    isChecked.value = false;
    done.value = null;
    fill(emptyDefinition());
    await ask(async () => {
      if (wanted !== NEW) take(await api.fetchCharacter(wanted));
    });
    const unsaved = unsavedOf(account.person?.id ?? "", wanted);
    if (unsaved !== null && refusal.value === null) Object.assign(form, unsaved);
    wasRestored.value = isUnsaved.value;
    isLoading.value = false;
  }

  /** One thing at a time; says what came of it. */
  async function act(words: string | null, work: () => Promise<void>): Promise<boolean> {
    done.value = null;
    wasRestored.value = false;
    const went = await ask(work);
    if (went) done.value = words;
    return went;
  }

  async function save(): Promise<boolean> {
    isChecked.value = true;
    if (wrong.value.length > 0) return false;
    return act(t.value.editor.saved, async () => {
      const now = await (edited.value === null ? api.createCharacter({ ...form }) : api.changeCharacter(edited.value.id, changes.value));
      clearTimeout(timer);
      keepUnsaved(account.person?.id ?? "", id.value, null);
      take(now);
      isChecked.value = false;
    });
  }

  function discard(): void {
    fill(saved.value);
    wasRestored.value = false;
    isChecked.value = false;
    clearTimeout(timer);
    keep();
  }

  const own = (): string => edited.value?.id ?? "";
  /** What people write while the node works on something else stays. */
  const refresh = async (): Promise<void> => take(await api.fetchCharacter(own()), changes.value);

  async function publish(note: string): Promise<boolean> {
    if (isUnsaved.value && !(await save())) return false;
    return act(t.value.editor.publishedNow, async () => take(await api.publish(own(), note)));
  }

  const withdraw = (): Promise<boolean> =>
    act(t.value.editor.withdrawn, async () => {
      await api.withdraw(own());
      await refresh();
    });

  const remove = (): Promise<boolean> =>
    act(null, async () => {
      await api.deleteCharacter(own());
      clearTimeout(timer);
      keepUnsaved(account.person?.id ?? "", own(), null);
      fill(saved.value);
    });

  const rollBack = (version: string): Promise<boolean> =>
    act(t.value.editor.rolledBack, async () => {
      take(await api.rollBack(own(), version));
      stamp.value = Date.now();
    });

  const setPicture = (file: File): Promise<boolean> =>
    act(t.value.editor.pictureSaved, async () => {
      // The node would say the same, but only after the whole file has gone up.
      if (file.size > PICTURE_BYTES_MAX) throw new ApiError("picture_too_large", 413, "A picture may have 2 MB.");
      await api.putAvatar(own(), file);
      stamp.value = Date.now();
      await refresh();
    });

  const exportCard = (format: CardFormat): Promise<boolean> =>
    act(null, async () => {
      const card = await api.fetchCard(own(), format);
      saveFile(card, `${form.name.replace(/[\\/:*?"<>|]/g, "_")}.${EXTENSIONS[card.type] ?? "json"}`);
    });

  return {
    edited,
    form,
    isLoading,
    isUnsaved,
    wrong,
    isChecked,
    busy,
    refusal: computed(() => wordsFor(refusal.value, t.value)),
    done,
    wasRestored,
    stamp,
    load,
    save,
    discard,
    publish,
    withdraw,
    remove,
    rollBack,
    setPicture,
    exportCard,
  };
}
