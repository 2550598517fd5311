import { beforeEach, describe, expect, it, vi } from "vitest";
import { createPinia, setActivePinia } from "pinia";
import { createApp, h, nextTick, type Component } from "vue";
import DecisionForm from "@/features/administration/components/DecisionForm.vue";
import { useI18n } from "@/i18n";
import { useFakeGateway, type Answer } from "@/testing";
import ComplaintForm from "./components/ComplaintForm.vue";
import OwnComplaintsSection from "./components/OwnComplaintsSection.vue";
import { countWords, isReady, outcomeText, progressText, WORDS_MAX } from "./complaints.rules";
import type { ComplaintRow, OwnComplaint } from "./complaints.types";

const { t, setLanguage } = useI18n();

async function settled(): Promise<void> {
  for (let turn = 0; turn < 20; turn += 1) await new Promise((done) => setImmediate(done));
  await nextTick();
}

function show(component: Component, props: Record<string, unknown> = {}) {
  const root = document.createElement("div");
  document.body.append(root);
  createApp({ render: () => h(component, props) }).mount(root);
  const find = <Kind extends HTMLElement>(id: string): Kind | null => root.querySelector<Kind>(`[data-testid="${id}"]`);
  return {
    find,
    choose: async (id: string) => {
      const radio = find<HTMLInputElement>(id)!;
      radio.checked = true;
      radio.dispatchEvent(new Event("change"));
      await settled();
    },
    press: async (id: string) => {
      const button = find<HTMLButtonElement>(id)!;
      // happy-dom sends no form when its button is pressed.
      if (button.type === "submit") button.form!.dispatchEvent(new Event("submit"));
      else button.click();
      await settled();
    },
    text: () => root.textContent ?? "",
  };
}

const own = (rest: Partial<OwnComplaint>): OwnComplaint => ({
  id: "c1",
  state: "open",
  about: "answer",
  reason: "harmful",
  character_id: "fox",
  character_name: "Лис",
  words: "",
  excerpt: "Прыгай!",
  created_at: 1000,
  decision: null,
  decided_at: null,
  ...rest,
});

beforeEach(() => {
  document.body.innerHTML = "";
  setActivePinia(createPinia());
  setLanguage("en");
});

describe("what a report needs", () => {
  it("is a reason, and words where the reason says nothing", () => {
    expect(isReady("", "words")).toBe(false);
    expect(isReady("sexual", "")).toBe(true);
    expect([isReady("other", "  "), isReady("other", " x ")]).toEqual([false, true]);
    expect([isReady("sexual", "я".repeat(WORDS_MAX)), isReady("sexual", "я".repeat(WORDS_MAX + 1))]).toEqual([true, false]);
    expect(countWords(" 🦊🦊 ")).toBe(2);
  });
});

describe("what became of it", () => {
  it("is told to whoever reported, without who decided", () => {
    expect(outcomeText(own({}), t.value)).toBe(t.value.complaints.ownStates.open);
    expect(outcomeText(own({ state: "taken" }), t.value)).toBe(t.value.complaints.ownStates.taken);
    expect(outcomeText(own({ state: "decided", decision: "character_hidden" }), t.value)).toBe(t.value.complaints.outcomes.character_hidden);
  });

  it("is told to moderators with who is at it, also when that account is gone", () => {
    const row: ComplaintRow = { ...own({}), taken_by: null, decided: null };
    expect(progressText(row, t.value)).toBe("");
    expect(progressText({ ...row, taken_by: { id: "n", name: "Надя" } }, t.value)).toContain("Надя");
    const decided = { decision: "dismissed", by: { id: "n", name: null }, at: 5 } as const;
    expect(progressText({ ...row, decided }, t.value)).toBe(`${t.value.complaints.decisions.dismissed} · ${t.value.complaints.gone}`);
  });

  it("stands on the own page, the next page behind the first", async () => {
    const { calls } = useFakeGateway((call): Answer => {
      const next = call.includes("after") ? null : "x y";
      return { status: 200, body: { complaints: [own({ id: call })], next } };
    });
    const page = show(OwnComplaintsSection);
    await settled();
    document.querySelector<HTMLButtonElement>("button")!.click();
    await settled();
    expect(calls).toEqual(["GET /complaints/mine", "GET /complaints/mine?after=x+y"]);
    expect(document.querySelectorAll('[data-testid="own-complaint"]')).toHaveLength(2);
    expect(page.text()).toContain(t.value.complaints.ownStates.open);
  });
});

describe("the form of a report", () => {
  const about = { kind: "answer", session_id: "s1", message_id: "m1" };

  it("sends the reason and the words once, and says that it went", async () => {
    const bodies: unknown[] = [];
    useFakeGateway((_, body): Answer => {
      bodies.push(body);
      return { status: 201, body: own({}) };
    });
    const onClose = vi.fn();
    const page = show(ComplaintForm, { about, onClose });
    expect(page.find<HTMLButtonElement>("complaint-send")!.disabled).toBe(true);
    await page.press("complaint-send");
    expect(bodies).toEqual([]);
    await page.choose("reason-harmful");
    const words = page.find<HTMLTextAreaElement>("complaint-words")!;
    words.value = " Это опасно. ";
    words.dispatchEvent(new Event("input"));
    await page.press("complaint-send");
    expect(bodies).toEqual([{ about, reason: "harmful", words: "Это опасно." }]);
    expect(page.text()).toContain(t.value.complaints.sent);
    await page.press("complaint-close");
    expect(onClose).toHaveBeenCalledOnce();
  });

  it("keeps what was written when it is refused, and says why", async () => {
    useFakeGateway((): Answer => ({ status: 409, body: { error: { code: "complaints_full" } } }));
    const page = show(ComplaintForm, { about });
    await page.choose("reason-sexual");
    await page.press("complaint-send");
    expect(page.text()).toContain(t.value.errors.complaints_full);
    expect(page.find("complaint-send")).not.toBeNull();
  });
});

describe("a decision", () => {
  it("that takes nothing is made at once, a strict one is asked twice", async () => {
    const bodies: unknown[] = [];
    useFakeGateway((_, body): Answer => {
      bodies.push(body);
      return { status: 204 };
    });
    const onDecided = vi.fn();
    const page = show(DecisionForm, { id: "c1", choices: ["dismissed", "character_blocked"], onDecided });
    expect(page.find("decision-author_blocked")).toBeNull();
    await page.choose("decision-character_blocked");
    await page.press("decide");
    expect(bodies).toEqual([]);
    await page.press("decide-yes");
    expect(bodies).toEqual([{ decision: "character_blocked" }]);
    await page.choose("decision-dismissed");
    await page.press("decide");
    expect(bodies).toHaveLength(2);
    expect(onDecided).toHaveBeenCalledTimes(2);
  });

  it("of somebody faster is fetched", async () => {
    useFakeGateway((): Answer => ({ status: 409, body: { error: { code: "complaint_decided" } } }));
    const onDecided = vi.fn();
    const page = show(DecisionForm, { id: "c1", choices: ["dismissed"], onDecided });
    await page.choose("decision-dismissed");
    await page.press("decide");
    expect(onDecided).toHaveBeenCalledOnce();
    expect(page.text()).toContain(t.value.complaints.already);
  });
});
