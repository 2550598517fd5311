import { beforeEach, describe, expect, it } from "vitest";
import { createPinia, setActivePinia } from "pinia";
import { createApp, h, nextTick } from "vue";
import { useI18n } from "@/i18n";
import { useFakeGateway, type Answer } from "@/testing";
import InviteMachine from "./components/InviteMachine.vue";
import { breakerText, inviteText } from "./mesh.figures";
import type { EarlierInvite } from "./mesh.types";

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
      if (call === "GET /invites") return { status: 200, body: { invites: [], next: null } };
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
    expect(calls.filter((call) => call.startsWith("POST"))).toEqual(["POST /invites", "POST /invites/revoke"]);
    expect(bodies).toEqual([
      { uses: 1, minutes: 60, roles: ["worker"], residency: null },
      { invite: "ab12", reason: "" },
    ]);
  });

  it("stays shown when it cannot be taken back, and the reason is said", async () => {
    useFakeGateway((call): Answer => {
      if (call === "GET /invites") return { status: 200, body: { invites: [], next: null } };
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

describe("earlier invites", () => {
  const invite = (rest: Partial<EarlierInvite>): EarlierInvite => ({
    id: "ab12",
    state: "open",
    roles: "worker",
    uses: 2,
    used_by: [],
    made_at: 1_700_000_000_000,
    made_by: { id: "vera", name: "Вера" },
    expires_at: 1_800_000_000_000,
    revoked_at: null,
    ...rest,
  });

  it("say by whom they were made, who came in, and what became of them", () => {
    const text = (rest: Partial<EarlierInvite>) => inviteText(invite(rest), t.value, "en");
    expect(text({})).toContain("Вера");
    expect(text({})).toContain("Valid until");
    expect(text({ made_by: { id: "vera", name: null } })).toContain(t.value.complaints.gone);
    expect(text({ made_at: null, made_by: null, state: "used", used_by: [{ id: "n", name: "pc-home", at: 5 }] })).toBe(
      `${t.value.mesh.invites.byCommand} · ${t.value.mesh.invites.usedBy("pc-home")}`,
    );
    expect(text({ state: "revoked", revoked_at: 1_750_000_000_000 })).toContain("taken back");
    expect(text({ state: "expired" })).toContain("ended");
  });

  it("are taken back while they are open, after a second press, and looked at anew", async () => {
    let state: EarlierInvite["state"] = "open";
    const { calls } = useFakeGateway((call): Answer => {
      if (call === "GET /invites") return { status: 200, body: { invites: [invite({ state })], next: null } };
      state = "revoked";
      return { status: 204 };
    });
    const page = show();
    await settled();
    await page.press("revoke-earlier");
    expect(calls).toEqual(["GET /invites"]);
    await page.press("revoke-earlier-yes");
    expect(calls).toEqual(["GET /invites", "POST /invites/revoke", "GET /invites"]);
    expect(page.find("earlier-invite")!.dataset["state"]).toBe("revoked");
    expect(page.find("revoke-earlier")).toBeNull();
  });
});

describe("a change of a breaker", () => {
  it("is told in words", () => {
    const change = { at: 1, node_id: "n", node_name: "pc-home", model: "m", operation: "generate", from: "closed", to: "open", pause_ms: 30_000 } as const;
    expect(breakerText(change, t.value)).toBe(t.value.mesh.breakers.leftAloneFor("pc-home", "30 s"));
    expect(breakerText({ ...change, pause_ms: null }, t.value)).toBe(t.value.mesh.breakers.leftAlone("pc-home"));
    expect(breakerText({ ...change, from: "open", to: "half_open" }, t.value)).toBe(t.value.mesh.breakers.tried("pc-home"));
    expect(breakerText({ ...change, from: "half_open", to: "closed" }, t.value)).toBe(t.value.mesh.breakers.trusted("pc-home"));
  });
});
