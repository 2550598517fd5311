import { beforeEach, describe, expect, it } from "vitest";
import { createPinia, setActivePinia } from "pinia";
import { createApp, h, nextTick } from "vue";
import { useI18n } from "@/i18n";
import { useFakeGateway, type Answer } from "@/testing";
import InviteMachine from "./components/InviteMachine.vue";

const { t, setLanguage } = useI18n();

async function settled(): Promise<void> {
  for (let turn = 0; turn < 20; turn += 1) await new Promise((done) => setImmediate(done));
  await nextTick();
}

function show(): { find: <Kind extends HTMLElement>(id: string) => Kind | null; press: (id: string) => Promise<void>; text: () => string } {
  const root = document.createElement("div");
  document.body.append(root);
  createApp({ render: () => h(InviteMachine) }).mount(root);
  const find = <Kind extends HTMLElement>(id: string): Kind | null => root.querySelector<Kind>(`[data-testid="${id}"]`);
  return {
    find,
    press: async (id) => {
      const button = find<HTMLButtonElement>(id)!;
      // happy-dom sends no form when its button is pressed.
      if (button.type === "submit") button.form!.dispatchEvent(new Event("submit"));
      else button.click();
      await settled();
    },
    text: () => root.textContent ?? "",
  };
}

beforeEach(() => {
  document.body.innerHTML = "";
  setActivePinia(createPinia());
  setLanguage("en");
});

describe("an invite for a machine", () => {
  it("is asked for as chosen, shown as command and picture, and taken back by its name", async () => {
    const bodies: unknown[] = [];
    const { calls } = useFakeGateway((call, body): Answer => {
      bodies.push(body);
      if (call === "POST /invites") return { status: 201, body: { id: "ab12", invite: "starling1secret", expires_at: 1_800_000_000_000 } };
      return { status: 204 };
    });
    const page = show();
    expect(page.find("machine-invite")).toBeNull();
    page.find<HTMLSelectElement>("machine-kind")!.value = "worker";
    page.find("machine-kind")!.dispatchEvent(new Event("change"));
    await page.press("make-invite");
    expect(page.find<HTMLTextAreaElement>("machine-invite")!.value).toBe("./x join starling1secret");
    expect(document.querySelector("svg[role=img] path")!.getAttribute("d")).not.toBe("");
    await page.press("revoke-made");
    expect(page.find("machine-invite")).toBeNull();
    expect(page.text()).toContain(t.value.mesh.inviteRevoked);
    expect(calls).toEqual(["POST /invites", "POST /invites/revoke"]);
    expect(bodies).toEqual([
      { uses: 1, minutes: 60, roles: ["worker"], residency: null },
      { invite: "ab12", reason: "" },
    ]);
  });

  it("stays shown when it cannot be taken back, and the reason is said", async () => {
    useFakeGateway((call): Answer => {
      if (call === "POST /invites") return { status: 201, body: { id: "ab12", invite: "starling1secret", expires_at: 1_800_000_000_000 } };
      return { status: 409, body: { error: { code: "no_operator" } } };
    });
    const page = show();
    await page.press("make-invite");
    await page.press("revoke-made");
    expect(page.find("machine-invite")).not.toBeNull();
    expect(page.text()).toContain(t.value.errors.no_operator);
    expect(page.text()).not.toContain(t.value.mesh.inviteRevoked);
  });
});
