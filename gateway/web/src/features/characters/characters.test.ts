import { createPinia, setActivePinia } from "pinia";
import { beforeEach, describe, expect, it } from "vitest";
import { useAccountStore } from "@/features/account";
import { useFakeGateway, type Answer } from "@/testing";
import { changedFields, compareTexts, emptyDefinition, lengthOf, wrongFields } from "./characters.rules";
import type { Definition, Edited } from "./characters.types";
import { keepUnsaved, unsavedOf } from "./characters.unsaved";
import { NEW, useEditor } from "./useEditor";

const WOLF: Definition = { ...emptyDefinition(), name: "Волк", prompt: "Ты Волк из серых гор." };

function edited(rest: Partial<Edited> = {}): Edited {
  return {
    id: "wolf",
    shown_name: "Волк",
    draft: WOLF,
    published: null,
    is_changed: true,
    versions: 0,
    has_avatar: false,
    has_card: false,
    too_long: [],
    conflicts: [],
    twin: null,
    ...rest,
  };
}

describe("what a field may hold", () => {
  it.each<[string, Partial<Definition>, string[]]>([
    ["is counted in whole characters", { name: "🦊🦊" }, []],
    ["is long enough", { name: " Я " }, ["name"]],
    ["is not too long", { name: "x".repeat(51), description: "x".repeat(501), greeting: "x".repeat(1001) }, ["name", "description", "greeting"]],
    ["is just short enough", { name: "x".repeat(50), description: "x".repeat(500), prompt: "x".repeat(2000) }, []],
    ["is there", { prompt: " " }, ["prompt"]],
    ["is in no list empty", { alternatives: ["", "Привет"], examples: ["x"], filters: ["x".repeat(51)] }, ["alternatives", "filters"]],
    ["is not in too long a list", { examples: ["1", "2", "3", "4", "5", "6"] }, ["examples"]],
    ["is a number in its range", { temperature: 2.1, answer_characters_max: 99 }, ["temperature", "answer_characters_max"]],
    ["is a number at all", { temperature: Number.NaN, answer_characters_max: 100.5 }, ["temperature", "answer_characters_max"]],
  ])("%s", (_, fields, wrong) => {
    expect(wrongFields({ ...WOLF, ...fields })).toEqual(wrong);
  });

  it("counts an emoji as one", () => {
    expect(lengthOf("лис 🦊")).toBe(5);
  });
});

describe("differences", () => {
  it("names only the fields that changed", () => {
    expect(changedFields(WOLF, { ...WOLF })).toEqual({});
    expect(changedFields(WOLF, { ...WOLF, temperature: 1, filters: ["война"] })).toEqual({ temperature: 1, filters: ["война"] });
  });

  it("shows which words are gone and which are new", () => {
    expect(compareTexts("Ты Волк из серых гор.", "Ты Волк из белых гор!")).toEqual([
      { kind: "same", text: "Ты Волк из " },
      { kind: "gone", text: "серых" },
      { kind: "new", text: "белых" },
      { kind: "same", text: " " },
      { kind: "gone", text: "гор." },
      { kind: "new", text: "гор!" },
    ]);
    expect(compareTexts("", "")).toEqual([]);
    const long = "слово ".repeat(2000);
    expect(compareTexts(long, "слово")).toEqual([
      { kind: "gone", text: long },
      { kind: "new", text: "слово" },
    ]);
  });
});

describe("what is not saved", () => {
  beforeEach(() => localStorage.clear());

  it("is kept for each person and character, and forgotten", () => {
    keepUnsaved("anna", "wolf", { name: "Пёс" });
    expect(unsavedOf("anna", "wolf")).toEqual({ name: "Пёс" });
    expect(unsavedOf("oleg", "wolf")).toBeNull();
    keepUnsaved("anna", "wolf", null);
    expect(unsavedOf("anna", "wolf")).toBeNull();
    for (let number = 0; number < 30; number += 1) keepUnsaved("anna", String(number), { name: "x" });
    expect([unsavedOf("anna", "0"), unsavedOf("anna", "29")]).toEqual([null, { name: "x" }]);
  });

  it("takes nothing from storage that is not a field", () => {
    localStorage.setItem("starling.unsaved-characters", JSON.stringify({ "anna wolf": { name: 7, filters: [1], prompt: "Ты.", evil: true } }));
    expect(unsavedOf("anna", "wolf")).toEqual({ prompt: "Ты." });
  });
});

describe("the editor", () => {
  let answers: Record<string, Answer> = {};
  let bodies: Record<string, unknown> = {};
  let calls: string[] = [];

  beforeEach(() => {
    localStorage.clear();
    setActivePinia(createPinia());
    useAccountStore().person = { id: "anna", name: "Анна", role: "administrator" };
    answers = {};
    bodies = {};
    ({ calls } = useFakeGateway((call, body) => {
      bodies[call] = body;
      return answers[call] ?? { status: 404, body: { error: { code: "not_found" } } };
    }));
  });

  it("does not ask the node to save what is wrong", async () => {
    const editor = useEditor();
    await editor.load(NEW);
    expect(await editor.save()).toBe(false);
    expect([editor.wrong.value, editor.isChecked.value, calls]).toEqual([["name", "prompt"], true, []]);
  });

  it("makes a new one, and then sends only what changed", async () => {
    answers["POST /characters"] = { status: 201, body: edited() };
    answers["PATCH /characters/wolf"] = { status: 200, body: edited({ draft: { ...WOLF, greeting: "Р-р." } }) };
    const editor = useEditor();
    await editor.load(NEW);
    Object.assign(editor.form, { name: WOLF.name, prompt: WOLF.prompt });
    expect([await editor.save(), editor.isUnsaved.value]).toEqual([true, false]);
    editor.form.greeting = "Р-р.";
    expect(editor.isUnsaved.value).toBe(true);
    expect(await editor.save()).toBe(true);
    expect(bodies["PATCH /characters/wolf"]).toEqual({ greeting: "Р-р." });
  });

  it("keeps what was written when the node refuses, and names the twin", async () => {
    const twin = { id: "dog", name: "Пёс" };
    answers["GET /characters/wolf"] = { status: 200, body: edited() };
    answers["PATCH /characters/wolf"] = { status: 409, body: { error: { code: "character_name_taken", message: "taken", twin } } };
    const editor = useEditor();
    await editor.load("wolf");
    editor.form.name = "Пёс";
    expect(await editor.save()).toBe(false);
    expect([editor.form.name, editor.isUnsaved.value, editor.done.value]).toEqual(["Пёс", true, null]);
    expect(editor.refusal.value).toContain("“Пёс”");
    editor.discard();
    expect([editor.form.name, editor.isUnsaved.value]).toEqual(["Волк", false]);
  });

  it("brings back what a closed tab had not saved", async () => {
    answers["GET /characters/wolf"] = { status: 200, body: edited() };
    keepUnsaved("anna", "wolf", { prompt: "Ты Волк. Вой." });
    const editor = useEditor();
    await editor.load("wolf");
    expect([editor.form.prompt, editor.form.name, editor.wasRestored.value]).toEqual(["Ты Волк. Вой.", "Волк", true]);
  });

  it("saves before it publishes, and does not publish what it could not save", async () => {
    answers["GET /characters/wolf"] = { status: 200, body: edited() };
    answers["POST /characters/wolf/publish"] = { status: 201, body: edited({ published: "v1" }) };
    const editor = useEditor();
    await editor.load("wolf");
    editor.form.greeting = "Р-р.";
    expect(await editor.publish("first")).toBe(false);
    expect(calls).not.toContain("POST /characters/wolf/publish");
    answers["PATCH /characters/wolf"] = { status: 200, body: edited({ draft: { ...WOLF, greeting: "Р-р." } }) };
    expect(await editor.publish("first")).toBe(true);
    expect(bodies["POST /characters/wolf/publish"]).toEqual({ note: "first" });
  });

  it("refuses a picture over 2 MB without sending it", async () => {
    answers["GET /characters/wolf"] = { status: 200, body: edited() };
    const editor = useEditor();
    await editor.load("wolf");
    expect(await editor.setPicture(new File([new Uint8Array(2 * 1024 * 1024 + 1)], "large.png"))).toBe(false);
    expect(editor.refusal.value).not.toBeNull();
    expect(calls).toEqual(["GET /characters/wolf"]);
  });
});
