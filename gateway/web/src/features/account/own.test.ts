// The own account: what the page does with a secret, a password and a name before anything goes to the node.

import { createPinia, setActivePinia } from "pinia";
import { createApp, h, nextTick, ref, type Component } from "vue";
import { createMemoryHistory, createRouter } from "vue-router";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { useI18n } from "@/i18n";
import { useFakeGateway } from "@/testing";
import { useAccountStore } from "./account.store";
import DeleteSection from "./components/DeleteSection.vue";
import KeysSection from "./components/KeysSection.vue";
import SecondFactorSection from "./components/SecondFactorSection.vue";
import { deviceName } from "./device.name";

const { t, setLanguage } = useI18n();
let unmount: () => void = () => {};

async function mount(component: Component, props: Record<string, unknown>) {
  const empty = { render: () => null };
  const routes = [
    { path: "/", name: "chat", component: empty },
    { path: "/erased/:id", name: "erased", component: empty },
  ];
  const router = createRouter({ history: createMemoryHistory(), routes });
  await router.push("/");
  const root = document.createElement("div");
  document.body.append(root);
  const app = createApp({ render: () => h(component, props) });
  app.use(router).mount(root);
  unmount = () => {
    app.unmount();
    root.remove();
  };
  const find = (id: string): HTMLElement => {
    const found = root.querySelector<HTMLElement>(`[data-testid="${id}"]`);
    if (found === null) throw new Error(`there is no ${id}`);
    return found;
  };
  const fill = (id: string, value: string): void => {
    (find(id) as HTMLInputElement).value = value;
    find(id).dispatchEvent(new Event("input"));
  };
  const press = async (id: string): Promise<void> => {
    find(id).click();
    await settled();
  };
  return { root, find, fill, press, path: () => router.currentRoute.value.path };
}

async function settled(): Promise<void> {
  for (let turn = 0; turn < 20; turn += 1) await new Promise((done) => setImmediate(done));
  await nextTick();
}

beforeEach(() => {
  setActivePinia(createPinia());
  setLanguage("en");
});
afterEach(() => unmount());

describe("the name of a device", () => {
  it.each([
    ["Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", "Firefox · Linux"],
    ["Mozilla/5.0 (Linux; Android 15; Pixel 9) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Mobile Safari/537.36", "Chrome · Android"],
    ["Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36 Edg/142.0.0.0", "Edge · Windows"],
    ["Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0 YaBrowser/25.10 Safari/537.36", "Yandex Browser · Windows"],
    ["Mozilla/5.0 (iPhone; CPU iPhone OS 19_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/19.0 Mobile/15E148 Safari/604.1", "Safari · iPhone"],
    ["Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/19.0 Safari/605.1.15", "Safari · macOS"],
    ["curl/8.5.0", null],
  ])("%s", (label, name) => expect(deviceName(label)).toBe(name));
});

describe("keys for programs", () => {
  it("are made for what is chosen, shown once, and taken back after a question", async () => {
    const key = { id: "k1", label: "a script", scopes: ["chat"], created_at: 1, expires_at: 2 };
    let keys: unknown[] = [];
    const bodies: unknown[] = [];
    useFakeGateway((call, body) => {
      if (call === "GET /keys") return { status: 200, body: { keys } };
      if (call === "DELETE /keys/k1") {
        keys = [];
        return { status: 204 };
      }
      expect(call).toBe("POST /keys");
      bodies.push(body);
      keys = [key];
      return { status: 201, body: { secret: "sk-starling1-AAAA", key } };
    });
    const page = await mount(KeysSection, { isAdministrator: false });
    await settled();
    expect(page.root.textContent).toContain(t.value.own.noKeys);
    expect(page.root.querySelector('[data-testid="scope-metrics"]'), "only administrators may read figures").toBeNull();
    expect((page.find("make-key") as HTMLButtonElement).disabled).toBe(true);
    page.fill("key-label", " a script ");
    await page.press("scope-models");
    await page.press("make-key");
    expect(bodies).toEqual([{ label: "a script", scopes: ["chat"], days: 90 }]);
    expect((page.find("key-secret") as HTMLInputElement).value).toBe("sk-starling1-AAAA");
    expect(page.find("key").textContent).toContain(t.value.own.keyEnded);
    await page.press("take-key-back");
    expect(keys, "nothing goes before the question is answered").toHaveLength(1);
    await page.press("take-key-back-yes");
    expect(page.root.textContent).toContain(t.value.own.noKeys);
    expect(page.root.textContent).not.toContain(t.value.own.keySecret);
  });
});

describe("the second factor", () => {
  it("shows the secret as a picture and as text, and is on only when a code of it was right", async () => {
    const isSet = ref(false);
    const bodies: unknown[] = [];
    useFakeGateway((call, body) => {
      if (call === "POST /account/second-factor/begin") {
        return { status: 200, body: { secret: "GEZDGNBVGY3TQOJQ", address: "otpauth://totp/Starling:rita?secret=GEZDGNBVGY3TQOJQ&issuer=Starling" } };
      }
      bodies.push(body);
      return bodies.length === 1 ? { status: 403, body: { error: { code: "second_factor_wrong" } } } : { status: 200, body: {} };
    });
    const { root, find, fill, press } = await mount(SecondFactorSection, {
      modelValue: isSet.value,
      "onUpdate:modelValue": (value: boolean) => (isSet.value = value),
    });
    await press("begin-second-factor");
    expect((find("secret") as HTMLTextAreaElement).value).toBe("GEZD GNBV GY3T QOJQ");
    expect(root.querySelector("svg[role=img] path")?.getAttribute("d")).toMatch(/^M\d+ \d+h7v1h-7z/);
    // Nothing is asked for without a code and a password.
    await press("set-second-factor-save");
    expect(bodies).toEqual([]);
    fill("set-code", "123 456");
    fill("set-password", "starling");
    await press("set-second-factor-save");
    expect([isSet.value, find("error").textContent?.trim()]).toEqual([false, t.value.errors.second_factor_wrong]);
    await press("set-second-factor-save");
    expect(bodies.at(-1)).toEqual({ secret: "GEZDGNBVGY3TQOJQ", code: "123 456", password: "starling" });
    expect(isSet.value).toBe(true);
  });
});

describe("deleting the account", () => {
  it("wants the name, the password and a code, and ends where the receipts are", async () => {
    const account = useAccountStore();
    let body: unknown = null;
    useFakeGateway((call, sent) => {
      if (call === "POST /account/delete") body = sent;
      return call === "POST /account/delete" ? { status: 202, body: { erasure: "e1" } } : { status: 200, body: { person: { id: "p1", name: "Рита", role: "user" } } };
    });
    await account.load();
    const { fill, find, press, path } = await mount(DeleteSection, { name: "Рита", needsCode: true });
    await press("delete-account");
    fill("delete-name", "рита");
    fill("delete-password", "starling");
    fill("delete-code", "123456");
    await press("delete-for-good");
    expect([body, find("error").textContent]).toEqual([null, t.value.own.deleteNameWrong]);
    fill("delete-name", "Рита");
    await press("delete-for-good");
    expect(body).toEqual({ password: "starling", code: "123456" });
    expect([account.status, account.erasure, path()]).toEqual(["signed-out", "e1", "/erased/e1"]);
  });

  it("tells the only administrator what to do first", async () => {
    useFakeGateway(() => ({ status: 409, body: { error: { code: "conflict" } } }));
    const { fill, find, press } = await mount(DeleteSection, { name: "Рита", needsCode: false });
    await press("delete-account");
    fill("delete-name", "Рита");
    fill("delete-password", "starling");
    await press("delete-for-good");
    expect(find("error").textContent?.trim()).toBe(t.value.own.onlyAdministrator);
    expect(useAccountStore().erasure).toBeNull();
  });
});
