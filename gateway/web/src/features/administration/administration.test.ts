import { beforeEach, describe, expect, it } from "vitest";
import { createPinia, setActivePinia } from "pinia";
import { createApp, h, nextTick } from "vue";
import { createMemoryHistory, createRouter } from "vue-router";
import { useI18n } from "@/i18n";
import { useFakeGateway, type Answer } from "@/testing";
import { answerCode, isCodeAsked } from "../account/code.ask";
import { fetchAudit, fetchPeople, removeBan, saveSettings, setRoles } from "./administration.api";
import { changesOf, checkSetting, DOOR, draftOf, isNetworkAddress, LIMITS, MAIL, seenText, shortId } from "./administration.rules";
import ActLine from "./components/ActLine.vue";
import type { Act } from "./administration.types";

const { t, setLanguage } = useI18n();
const refused = (code: string): Answer => ({ status: 403, body: { error: { code } } });

async function settled(): Promise<void> {
  for (let turn = 0; turn < 20; turn += 1) await new Promise((done) => setImmediate(done));
  await nextTick();
}

beforeEach(() => {
  setActivePinia(createPinia());
  setLanguage("en");
});

describe("settings", () => {
  it("say only what was changed, in the kind that the node wants", () => {
    const before = draftOf(MAIL, { "mail.host": "old.example", "mail.port": 25, "mail.user": "u" });
    expect(before).toEqual({ "mail.host": "old.example", "mail.security": "", "mail.port": "25", "mail.user": "u", mail_password: "", "mail.from": "" });
    expect(changesOf(MAIL, before, { ...before })).toEqual({});
    const draft = { ...before, "mail.host": " new.example ", "mail.port": "465", "mail.user": "", mail_password: "secret" };
    expect(changesOf(MAIL, before, draft)).toEqual({ "mail.host": "new.example", "mail.port": 465, "mail.user": null });
  });

  it("let strangers ask unless it is set otherwise", () => {
    expect(draftOf(DOOR, {})["site.registration"]).toBe("true");
    const closed = draftOf(DOOR, { "site.registration": false });
    expect(closed["site.registration"]).toBe("false");
    expect(changesOf(DOOR, closed, { ...closed, "site.registration": "true" })).toEqual({ "site.registration": true });
  });

  it("are told apart from what cannot be one", () => {
    const [address] = LIMITS;
    const port = MAIL.find((field) => field.name === "mail.port")!;
    const site = DOOR.find((field) => field.name === "site.address")!;
    expect(checkSetting(address!, "", t.value)).toBeNull();
    expect(checkSetting(address!, "0", t.value)).toBe(t.value.keeping.settings.numberWrong(1, 100_000));
    for (const wrong of ["65536", "1.5", "-1", "many"]) expect(checkSetting(port, wrong, t.value), wrong).not.toBeNull();
    expect(checkSetting(port, " 465 ", t.value)).toBeNull();
    expect(checkSetting(site, "chat.example.org", t.value)).toBe(t.value.keeping.settings.addressWrong);
    expect(checkSetting(site, "https://chat.example.org", t.value)).toBeNull();
  });

  it("send a password only when one was typed", async () => {
    const bodies: unknown[] = [];
    useFakeGateway((_, body) => {
      bodies.push(body);
      return { status: 200, body: {} };
    });
    await saveSettings({ "mail.port": 465 }, null);
    await saveSettings({}, "secret");
    expect(bodies).toEqual([{ values: { "mail.port": 465 } }, { values: {}, mail_password: "secret" }]);
  });
});

describe("addresses", () => {
  it.each([
    ["203.0.113.7", true],
    [" 2001:db8::1 ", true],
    ["::ffff:192.0.2.1", true],
    ["203.0.113", false],
    ["203.0.113.256", false],
    ["example.org", false],
    ["", false],
  ])("%s: %s", (text, is) => expect(isNetworkAddress(text)).toBe(is));

  it("are one part of a path, colons and all", async () => {
    const { calls } = useFakeGateway(() => ({ status: 204 }));
    await removeBan("2001:db8::/x");
    expect(calls).toEqual(["DELETE /bans/2001%3Adb8%3A%3A%2Fx"]);
  });
});

describe("looking for people", () => {
  it("names only what is looked for, and escapes it", async () => {
    const { calls } = useFakeGateway(() => ({ status: 200, body: { people: [], total: 0, next: null } }));
    await fetchPeople({ search: " Рита & co ", state: "", role: "moderator" }, null);
    await fetchPeople({ search: "", state: "", role: "" }, "last");
    await fetchAudit(100, "ban.");
    expect(calls).toEqual([
      `GET /people?${new URLSearchParams({ search: "Рита & co", role: "moderator" }).toString()}`,
      "GET /people?after=last",
      "GET /audit?skip=100&action=ban.",
    ]);
  });

  it("says when somebody was here, not more exactly than is known", () => {
    expect(seenText(null, 0, t.value)).toBe(t.value.keeping.neverSeen);
    expect(seenText(1_000, 9 * 60_000, t.value)).toBe(t.value.keeping.seenNow);
    expect(seenText(0, 11 * 60_000, t.value)).toBe(t.value.keeping.seenAgo("11 min"));
  });
});

describe("a dangerous act", () => {
  it("waits for a code and is then done", async () => {
    let shown = false;
    const { calls } = useFakeGateway(() => (shown ? { status: 204 } : refused("second_factor_required")));
    const done = setRoles("p1", ["user"]);
    await settled();
    expect(isCodeAsked.value).toBe(true);
    shown = true;
    answerCode(true);
    await done;
    expect([isCodeAsked.value, calls]).toEqual([false, ["PUT /people/p1/roles", "PUT /people/p1/roles"]]);
  });

  it("stays refused without one, and can be tried again", async () => {
    const { calls } = useFakeGateway(() => refused("second_factor_required"));
    for (const times of [1, 2]) {
      const done = setRoles("p1", ["user"]);
      await settled();
      answerCode(false);
      await expect(done).rejects.toMatchObject({ code: "second_factor_required" });
      expect(calls).toHaveLength(times);
    }
  });

  it("asks for no code when that is not what is missing", async () => {
    useFakeGateway(() => refused("not_allowed"));
    await expect(setRoles("p1", ["user"])).rejects.toMatchObject({ code: "not_allowed" });
    expect(isCodeAsked.value).toBe(false);
  });
});

describe("a line of the log", () => {
  async function line(act: Partial<Act>): Promise<string> {
    const empty = { render: () => null };
    const router = createRouter({ history: createMemoryHistory(), routes: [{ path: "/:id?", name: "person", component: empty }] });
    await router.push("/");
    const whole: Act = { at: 0, by: "a".repeat(64), action: "account.block", subject: "b".repeat(64), address: "", device: "", detail: "", node: null, ...act };
    const root = document.createElement("div");
    const app = createApp({ render: () => h(ActLine, { act: whole }) });
    app.use(router).mount(root);
    const text = root.textContent ?? "";
    app.unmount();
    return text;
  }

  it("names people where it can, ids where they are gone, and things it does not know as they are", async () => {
    expect(await line({ by_name: "Мария", subject_name: "Рита", detail: "спам" })).toMatch(/Blocked.*Рита.*спам.*Мария/);
    expect(await line({})).toMatch(/Blocked.*bbbbbbbb….*account aaaaaaaa…/);
    expect(await line({ by: null, subject: "", action: "mesh.brand-new" })).toMatch(/mesh\.brand-new.*by itself/);
    expect(await line({ action: "settings.write", subject: "mail.host mail.port mail.from" })).toContain("mail.host mail.port mail.from");
    expect(shortId("203.0.113.7")).toBe("203.0.113.7");
  });
});
