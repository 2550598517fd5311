import { createPinia, setActivePinia } from "pinia";
import { createApp, h, nextTick, type Component } from "vue";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Message } from "@/api/frames";
import { answerTo, question, useFakeGateway } from "@/testing";
import { newConversation } from "../chat.conversation";
import ChatComposer from "./ChatComposer.vue";
import LiveMessage from "./LiveMessage.vue";
import StoredMessage from "./StoredMessage.vue";

let unmount: () => void = () => {};

function mount(component: Component, props: Record<string, unknown>): HTMLElement {
  const root = document.createElement("div");
  document.body.append(root);
  const app = createApp({ render: () => h(component, props) });
  app.mount(root);
  unmount = () => {
    app.unmount();
    root.remove();
  };
  return root;
}

const byId = (root: HTMLElement, id: string): HTMLElement | null => root.querySelector(`[data-testid="${id}"]`);

beforeEach(() => {
  localStorage.clear();
  setActivePinia(createPinia());
});
afterEach(() => unmount());

describe("ChatComposer", () => {
  function composer() {
    const onSend = vi.fn();
    const conversation = newConversation("s1", "c1");
    const root = mount(ChatComposer, { conversation, characterName: "Скворушка", onSend });
    const field = byId(root, "composer") as HTMLTextAreaElement;
    const type = async (text: string): Promise<void> => {
      field.value = text;
      field.dispatchEvent(new Event("input"));
      await nextTick();
    };
    const press = (init: KeyboardEventInit): boolean => field.dispatchEvent(new KeyboardEvent("keydown", { key: "Enter", cancelable: true, ...init }));
    return { root, onSend, type, press };
  }

  it("sends on Enter, and only then", async () => {
    const { onSend, type, press } = composer();
    await type("hello");
    expect(press({ shiftKey: true })).toBe(true);
    expect(press({ isComposing: true })).toBe(true);
    expect(onSend).not.toHaveBeenCalled();
    expect(press({})).toBe(false);
    expect(onSend).toHaveBeenCalledExactlyOnceWith("hello");
  });

  it("sends nothing that has no visible character", async () => {
    const { onSend, type, press } = composer();
    await type(" \n\t ");
    press({});
    expect(onSend).not.toHaveBeenCalled();
  });

  it("counts only near the limit", async () => {
    const { root, type } = composer();
    const near = (): string | undefined => byId(root, "composer-note")?.dataset["nearLimit"];
    await type("x".repeat(899));
    expect(near()).toBe("false");
    await type("x".repeat(900));
    expect(near()).toBe("true");
    expect(byId(root, "composer-note")?.textContent).toContain("100");
    await type("x".repeat(1003));
    expect(byId(root, "composer-note")?.textContent).toContain("3");
  });
});

describe("messages", () => {
  it("are text and never markup", () => {
    const message = answerTo("q1", "a1", { text: "<img src=x onerror=alert(1)> **bold**", truncated: true });
    const root = mount(StoredMessage, { message, conversation: newConversation("s1", "c1"), characterName: "C" });
    expect(root.querySelector("img")).toBeNull();
    expect(byId(root, "message-text")?.textContent).toBe("<img src=x onerror=alert(1)> **bold** [...]");
    expect(byId(root, "answered-by")?.textContent).toContain("node-one");
    expect(byId(root, "message")?.dataset).toMatchObject({ role: "character", state: "done", messageId: "a1" });
  });

  it("say of a stored answer that it was stopped, also when this page did not see that", () => {
    const props = { conversation: newConversation("s1", "c1"), characterName: "C" };
    const words = (message: Message): string => mount(StoredMessage, { ...props, message }).textContent ?? "";
    expect(words(answerTo("q1", "a1", { ending: "stopped" }))).toContain("stopped");
    unmount();
    expect(words(answerTo("q1", "a1"))).not.toContain("stopped");
  });

  it("say why it was this node, when somebody asks, and that it was not kept", async () => {
    const scored = (name: string, total_ms: number, terms_ms: object) => ({ node: { id: name, name }, model: "m", total_ms, terms_ms });
    const choice = {
      candidates: 3,
      how: "stayed",
      winner: scored("pc-home", 520.5, { round_trip: 20.5, decode: 500 }),
      runner_up: scored("vds", 700, { round_trip: 5, queue: 195, decode: 500 }),
    };
    const gateway = useFakeGateway((call) => (call.includes("/a1/") ? { status: 200, body: choice } : { status: 404, body: { error: { code: "not_found" } } }));
    const props = { conversation: newConversation("s1", "c1"), characterName: "C" };
    const opened = async (message: Message): Promise<HTMLElement> => {
      const root = mount(StoredMessage, { ...props, message });
      expect(byId(root, "why-choice")).toBeNull();
      byId(root, "why-open")?.click();
      await vi.waitFor(() => expect(byId(root, "why-choice") ?? byId(root, "why-error")).not.toBeNull());
      return root;
    };
    const root = await opened(answerTo("q1", "a1"));
    expect(gateway.calls).toEqual(["GET /sessions/s1/messages/a1/choice"]);
    const rows = [...root.querySelectorAll<HTMLElement>("[data-term]")].map((row) => row.dataset["term"]);
    expect(rows).toEqual(["round_trip", "queue", "decode", "total"]);
    const words = byId(root, "why-choice")?.textContent ?? "";
    for (const expected of ["pc-home", "vds", "521", "195", "3"]) expect(words).toContain(expected);
    unmount();
    expect(byId(await opened(answerTo("q1", "a2")), "why-error")?.textContent).toBeTruthy();
  });

  it("say that an answer is still to come", () => {
    const conversation = newConversation("s1", "c1");
    const root = mount(StoredMessage, { message: question("q1"), conversation, characterName: "C" });
    expect(byId(root, "waiting")).toBeNull();
    unmount();
    conversation.waiting["q1"] = "no_node_can_answer";
    expect(byId(mount(StoredMessage, { message: question("q1"), conversation, characterName: "C" }), "waiting")?.textContent?.trim()).toBeTruthy();
  });

  it("show typing only until the first token", () => {
    const live = { answerId: "a1", questionId: "q1", node: null, model: null, text: "", nextIndex: 0, broken: false, stopping: false, lastHeardAt: 0 };
    const props = { conversation: newConversation("s1", "c1"), characterName: "C" };
    const before = mount(LiveMessage, { ...props, live });
    expect(byId(before, "typing")).not.toBeNull();
    unmount();
    const after = mount(LiveMessage, { ...props, live: { ...live, text: "Ч" } });
    expect(byId(after, "typing")).toBeNull();
    expect(byId(after, "message-text")?.textContent).toBe("Ч");
  });
});
