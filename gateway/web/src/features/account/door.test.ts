// Coming in, as a person meets it: the steps of signing in, the two consents, the wait for a letter.

import { createPinia, setActivePinia } from "pinia";
import { createApp, h, nextTick, type Component } from "vue";
import { createMemoryHistory, createRouter } from "vue-router";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { useI18n } from "@/i18n";
import { useFakeGateway, type Answer } from "@/testing";
import { checkCode, checkEmail, checkSignUp } from "./account.rules";
import { useAccountStore } from "./account.store";
import SignInView from "./views/SignInView.vue";
import SignUpView from "./views/SignUpView.vue";
import { blocksOf } from "./terms.text";

const { t, setLanguage } = useI18n();
const person = { id: "p1", name: "Анна", role: "user" };
const TERMS = {
  open: true,
  confirmed_by: "mail",
  consents: [
    { kind: "terms", edition: 1, hash: "hash-terms", text: "# Terms\n\n1. One.\n2. Two." },
    { kind: "personal_data", edition: 1, hash: "hash-data", text: "# Data\n\nWords." },
  ],
};
const refusal = (status: number, code: string, headers?: Record<string, string>): Answer => ({ status, body: { error: { code } }, ...(headers ? { headers } : {}) });

let unmount: () => void = () => {};

async function open(view: Component): Promise<{ root: HTMLElement; find: (id: string) => HTMLElement | null; path: () => string }> {
  const empty = { render: () => null };
  const names = ["chat", "sign-in", "sign-up", "forgot"];
  const routes = names.map((name) => ({ path: name === "chat" ? "/" : `/${name}`, name, component: empty }));
  const router = createRouter({ history: createMemoryHistory(), routes });
  await router.push("/sign-in");
  const root = document.createElement("div");
  document.body.append(root);
  const app = createApp({ render: () => h(view) });
  app.use(router).mount(root);
  unmount = () => {
    app.unmount();
    root.remove();
  };
  await settled();
  return { root, find: (id) => root.querySelector(`[data-testid="${id}"]`), path: () => router.currentRoute.value.path };
}

async function settled(): Promise<void> {
  for (let turn = 0; turn < 20; turn += 1) await new Promise((done) => setImmediate(done));
  await nextTick();
}

async function fill(root: HTMLElement, values: Record<string, string>): Promise<void> {
  for (const [id, value] of Object.entries(values)) {
    const field = root.querySelector<HTMLInputElement>(`input#${id}`);
    if (field === null) throw new Error(`there is no field ${id}`);
    field.value = value;
    field.dispatchEvent(new Event("input"));
  }
  root.querySelector("form")?.dispatchEvent(new Event("submit", { cancelable: true }));
  await settled();
}

beforeEach(() => {
  setActivePinia(createPinia());
  setLanguage("en");
});
afterEach(() => unmount());

describe("rules", () => {
  it("know codes, addresses, and names that are none", () => {
    expect(checkCode("123 456", t.value)).toBeNull();
    expect(checkCode("12345", t.value)).toBe(t.value.door.codeWrong);
    expect(checkEmail(" rita@example.org ", t.value)).toBeNull();
    expect(checkEmail("rita", t.value)).toBe(t.value.errors.email_invalid);
    const form = { name: "Rita", email: "rita@example.org", password: "12345678", agreed: [true, true] };
    expect(Object.values(checkSignUp(form, t.value))).toEqual([null, null, null, null]);
    expect(checkSignUp({ ...form, name: "rita@example.org" }, t.value).name).toBe(t.value.door.nameNoAddress);
    expect(checkSignUp({ ...form, agreed: [true, false] }, t.value).consents).toBe(t.value.door.consentsMissing);
  });

  it("read the little Markdown of the terms", () => {
    expect(blocksOf("# A title\n\nA paragraph\nof two lines.\n\n1. One.\n2. Two,\n   longer.\n")).toEqual([
      { kind: "title", text: "A title" },
      { kind: "paragraph", text: "A paragraph of two lines." },
      { kind: "points", points: ["One.", "Two, longer."] },
    ]);
  });
});

describe("signing in", () => {
  it("asks for a code only when the node does, and sends it with the password", async () => {
    const bodies: unknown[] = [];
    useFakeGateway((call, body) => {
      if (call !== "POST /sign-in") return { status: 200, body: TERMS };
      bodies.push(body);
      const code = (body as { code?: string }).code;
      if (code === undefined) return refusal(403, "second_factor_required");
      return code === "111111" ? { status: 200, body: { person } } : refusal(403, "second_factor_wrong");
    });
    const { root, find, path } = await open(SignInView);
    expect(find("code")).toBeNull();
    await fill(root, { name: "Анна", password: "starling" });
    expect(find("code")).not.toBeNull();
    expect(find("error")).toBeNull();
    await fill(root, { code: "222222" });
    expect(find("error")?.textContent).toContain(t.value.errors.second_factor_wrong);
    expect((find("code") as HTMLInputElement).value).toBe("");
    await fill(root, { code: "111111" });
    expect(bodies.at(-1)).toEqual({ name: "Анна", password: "starling", code: "111111" });
    expect([useAccountStore().status, path()]).toEqual(["signed-in", "/"]);
  });

  it("says how long to wait", async () => {
    useFakeGateway((call) => (call === "POST /sign-in" ? refusal(429, "too_many_requests", { "Retry-After": "21" }) : { status: 200, body: TERMS }));
    const { root, find } = await open(SignInView);
    await fill(root, { name: "Анна", password: "starling" });
    expect(find("error")?.textContent).toContain("21 seconds");
  });

  it("offers another letter to whoever is not confirmed, or names the administrator", async () => {
    for (const confirmed_by of ["mail", "administrator"]) {
      const { calls } = useFakeGateway((call) => {
        if (call === "POST /sign-in") return refusal(403, "not_confirmed");
        return { status: 200, body: call === "POST /sign-up/resend" ? { confirmed_by, resend_after_seconds: 60 } : { ...TERMS, confirmed_by } };
      });
      const { root, find } = await open(SignInView);
      await fill(root, { name: "anna@example.org", password: "starling" });
      if (confirmed_by === "administrator") {
        expect(find("awaited")?.textContent).toContain(t.value.door.approvalText);
      } else {
        await fill(root, {});
        expect(calls).toContain("POST /sign-up/resend");
        expect((find("resend") as HTMLButtonElement).disabled).toBe(true);
        expect(find("resend")?.textContent).toContain("60 seconds");
      }
      unmount();
    }
  });

  it("hides what is closed: where strangers may not ask, there is no way to ask", async () => {
    useFakeGateway(() => ({ status: 200, body: { ...TERMS, open: false } }));
    const { root, find } = await open(SignInView);
    expect(find("to-sign-up")).toBeNull();
    expect(root.textContent).toContain(t.value.account.noAccount);
  });
});

describe("asking for an account", () => {
  it("ticks nothing by itself, wants each consent, and sends the hashes of the words that were shown", async () => {
    let wish: unknown = null;
    useFakeGateway((call, body) => {
      if (call !== "POST /sign-up") return { status: 200, body: TERMS };
      wish = body;
      return { status: 202, body: { confirmed_by: "mail", resend_after_seconds: 60 } };
    });
    const { root, find } = await open(SignUpView);
    const boxes = ["consent-terms", "consent-personal_data"].map((id) => find(id) as HTMLInputElement);
    expect(boxes.map((box) => box.checked)).toEqual([false, false]);
    boxes[0]!.click();
    await settled();
    expect(boxes[1]!.checked).toBe(false);
    await fill(root, { name: " Rita ", email: "rita@example.org", password: "12345678" });
    expect(wish).toBeNull();
    expect(find("error")?.textContent).toBe(t.value.door.consentsMissing);
    boxes[1]!.click();
    await fill(root, {});
    expect(wish).toEqual({
      name: "Rita",
      email: "rita@example.org",
      password: "12345678",
      language: "en",
      consents: { terms: "hash-terms", personal_data: "hash-data" },
    });
    expect(find("awaited")?.textContent).toContain("rita@example.org");
  });

  it("counts down to another letter by the clock", async () => {
    useFakeGateway((call) => ({ status: 200, body: call === "POST /sign-up" ? { confirmed_by: "mail", resend_after_seconds: 60 } : TERMS }));
    const { root, find } = await open(SignUpView);
    (find("consent-terms") as HTMLInputElement).click();
    (find("consent-personal_data") as HTMLInputElement).click();
    vi.useFakeTimers({ toFake: ["Date", "setInterval", "clearInterval"] });
    await fill(root, { name: "Rita", email: "rita@example.org", password: "12345678" });
    const button = find("resend") as HTMLButtonElement;
    expect(button.disabled).toBe(true);
    vi.advanceTimersByTime(59_000);
    await settled();
    expect([button.disabled, button.textContent?.trim()]).toEqual([true, t.value.door.resendIn(1)]);
    vi.advanceTimersByTime(1_500);
    await settled();
    expect([button.disabled, button.textContent?.trim()]).toEqual([false, t.value.door.resend]);
    vi.useRealTimers();
  });
});

describe("the account store", () => {
  it("throws out whoever is blocked, and nobody for trouble of a node", async () => {
    const account = useAccountStore();
    useFakeGateway(() => ({ status: 200, body: { person } }));
    await account.load();
    useFakeGateway(() => refusal(503, "storage_unavailable"));
    await account.load();
    expect(account.status).toBe("signed-in");
    useFakeGateway(() => refusal(403, "account_blocked"));
    await account.load();
    expect([account.status, account.farewell]).toEqual(["signed-out", "account_blocked"]);
    const { root } = await open(SignInView);
    expect(root.textContent).toContain(t.value.errors.account_blocked);
  });
});
