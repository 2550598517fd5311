// The screens of people on real data, on a phone and on a desktop, light and dark, in both languages: pictures, and what holds for all.

import assert from "node:assert/strict";
import { until } from "./harness.mjs";
import { DESKTOP, NODE_AWAY, PASSWORD, PHONE, scenario } from "./stage.mjs";
import { Authenticator } from "./totp.mjs";

const LOOKS = [
  ["phone", PHONE, "light", "ru"],
  ["phone", PHONE, "dark", "en"],
  ["desktop", DESKTOP, "light", "en"],
  ["desktop", DESKTOP, "dark", "ru"],
];
/** What the browser writes to its console when a node refuses, as the tour wants it to. */
const REFUSED = [/\b(40[139]|429)\b/];

async function post(visitor, path, data, method = "post") {
  const response = await visitor.context.request[method](`${visitor.node.origin}/api/v1${path}`, { data });
  assert.ok(response.ok(), `${path}: ${response.status()} ${await response.text()}`);
  return response.status() === 204 ? null : response.json();
}

/** Gives whoever is signed in a second factor. */
async function secondFactor(visitor, password = PASSWORD) {
  const { secret } = await post(visitor, "/account/second-factor/begin", {});
  const app = new Authenticator(secret);
  await post(visitor, "/account/second-factor", { secret, code: await app.code(), password }, "put");
  return app;
}

for (const [device, options, theme, language] of LOOKS) {
  // Red when: a screen is wider than the window, axe finds a fault, the browser writes an error to its console, or a screen does not
  // come up at all.
  scenario(`Coming in on a ${device}, ${theme}, ${language}`, async (stage, { a, b }) => {
    const admin = await stage.visitor(b, { expected: REFUSED });
    await admin.welcome(await b.firstLink(), "Мария");
    await secondFactor(admin);
    const visitor = await stage.visitor(b, { device: options, theme, language, expected: REFUSED });
    const picture = (name) => visitor.inspect(`people-${device}-${theme}-${language}-${name}`);
    await visitor.open("/sign-in");
    await visitor.get("to-sign-up").waitFor();
    await picture("01-sign-in");
    await visitor.fillIn("Мария", PASSWORD);
    await visitor.get("code").waitFor();
    await visitor.get("code").fill("000000");
    await visitor.get("submit-code").click();
    await visitor.get("error").waitFor();
    await picture("02-code");
    await visitor.get("back").click();
    for (let wrong = 0; wrong < 4; wrong += 1) {
      await Promise.all([visitor.page.waitForResponse(/sign-in$/), visitor.fillIn("Рита", `wrong password ${wrong}`)]);
    }
    await visitor.get("error").filter({ hasText: /\d (секунд|second)/ }).waitFor();
    await picture("03-locked");
    await visitor.get("to-sign-up").click();
    await visitor.get("consent-terms").waitFor();
    await picture("04-sign-up");
    await visitor.get("submit").click();
    await visitor.get("error").first().waitFor();
    await visitor.get("read-terms").click();
    await visitor.get("consent-terms").scrollIntoViewIfNeeded();
    await picture("05-sign-up-wrong");
    await visitor.get("name").fill(`Рита-${device}-${theme}`);
    await visitor.get("email").fill(`rita-${device}-${theme}@example.org`);
    await visitor.get("password").fill(PASSWORD);
    await visitor.get("consent-terms").check();
    await visitor.get("consent-personal_data").check();
    await visitor.get("submit").click();
    await visitor.get("awaited").waitFor();
    await picture("06-approval");
    await visitor.get("to-sign-in").click();
    await visitor.fillIn(`Рита-${device}-${theme}`, PASSWORD);
    await visitor.get("awaited").waitFor();
    await picture("07-unconfirmed");
    await visitor.open("/forgot");
    await visitor.get("to-sign-in").waitFor();
    await picture("08-forgot-no-mail");
    const mail = { "mail.host": "127.0.0.1", "mail.port": 9, "mail.security": "none", "mail.from": "starling@example.org", "site.address": b.origin };
    await post(admin, "/settings", { values: mail }, "put");
    await visitor.open("/forgot");
    await visitor.get("email").fill("rita@example.org");
    await visitor.get("submit").click();
    await visitor.get("resend").waitFor();
    await picture("09-letter");
    await visitor.open("/confirm#nonsense");
    await visitor.get("confirm").click();
    await visitor.get("error").waitFor();
    await picture("10-confirm");
    await visitor.open("/reset#nonsense");
    await visitor.get("password").fill("short");
    await visitor.get("submit").click();
    await visitor.get("error").waitFor();
    await picture("11-reset");
  });
}

/** Somebody who asked for an account and was let in. */
async function newcomer(admin, visitor, name) {
  const { body: terms } = await visitor.api("/sign-up?language=ru");
  const consents = Object.fromEntries(terms.consents.map(({ kind, hash }) => [kind, hash]));
  const email = `${name}@example.org`;
  await post(visitor, "/sign-up", { name, email, password: PASSWORD, language: "ru", consents });
  const { body: found } = await admin.api(`/people?search=${encodeURIComponent(name)}`);
  await post(admin, `/people/${found.people[0].id}/approve`, {});
  await post(visitor, "/sign-in", { name, password: PASSWORD });
  return found.people[0].id;
}

for (const [device, options, theme, language] of LOOKS) {
  // Red when: a screen of the own account is wider than the window or has a fault, or an act of it does not come to its end.
  scenario(`One's own account on a ${device}, ${theme}, ${language}`, async (stage, { a, b }) => {
    const admin = await stage.visitor(b, { expected: REFUSED });
    await admin.welcome(await b.firstLink(), "Мария");
    const visitor = await stage.visitor(b, { device: options, theme, language, expected: REFUSED });
    const picture = (name) => visitor.inspect(`people-${device}-${theme}-${language}-${name}`);
    await newcomer(admin, visitor, "rita");
    const other = await stage.visitor(b, { device: PHONE });
    await post(other, "/sign-in", { name: "rita", password: PASSWORD });
    await visitor.open("/account");
    await visitor.get("device").nth(1).waitFor();
    await visitor.get("consent").first().waitFor();
    await picture("20-account");
    await visitor.get("sign-out-device").click();
    await visitor.get("device").nth(1).waitFor({ state: "detached" });
    assert.equal((await other.api("/me")).status, 401);
    await visitor.get("sign-out-everywhere").click();
    await visitor.get("sign-out-everywhere-yes").waitFor();
    await visitor.page.keyboard.press("Escape");
    await visitor.get("old-password").fill("not it at all");
    await visitor.get("new-password").fill("another horse battery");
    await visitor.get("change-password").click();
    await visitor.get("error").waitFor();
    await visitor.get("section-password-change").scrollIntoViewIfNeeded();
    await picture("21-password");
    await visitor.get("old-password").fill(PASSWORD);
    await visitor.get("change-password").click();
    await visitor.get("done").waitFor();
    await visitor.get("key-label").fill("скрипт");
    await visitor.get("make-key").click();
    await visitor.get("key-secret").waitFor();
    await visitor.get("section-keys").evaluate((section) => section.scrollIntoView());
    await picture("26-keys");
    await visitor.get("take-key-back").click();
    await visitor.get("take-key-back-yes").click();
    await visitor.get("key").waitFor({ state: "detached" });
    await visitor.get("begin-second-factor").click();
    await visitor.get("secret").waitFor();
    await visitor.get("section-second-factor").evaluate((section) => section.scrollIntoView());
    await picture("22-second-factor");
    const app = new Authenticator((await visitor.get("secret").inputValue()).replaceAll(" ", ""));
    await visitor.get("set-code").fill(await app.code());
    await visitor.get("set-password").fill("another horse battery");
    await visitor.get("set-second-factor-save").click();
    await visitor.get("remove-second-factor").waitFor();
    await visitor.get("section-consents").evaluate((section) => section.scrollIntoView());
    await picture("23-consents");
    const [archive] = await Promise.all([visitor.page.waitForEvent("download"), visitor.get("download-data").click()]);
    assert.equal(archive.suggestedFilename(), "starling.zip");
    assert.equal(await archive.failure(), null);
    await visitor.get("delete-account").click();
    await visitor.get("delete-name").fill("rit");
    await visitor.get("delete-name").press("Enter");
    await visitor.get("error").first().waitFor();
    await visitor.get("section-delete").evaluate((section) => section.scrollIntoView());
    await picture("24-delete");
    await visitor.get("delete-name").fill("rita");
    await visitor.get("delete-password").fill("another horse battery");
    await visitor.get("delete-code").fill(await app.code());
    await visitor.get("delete-for-good").click();
    await visitor.get("receipt").nth(1).waitFor();
    await picture("25-erased");
    const [act] = await Promise.all([visitor.page.waitForEvent("download"), visitor.get("act").click()]);
    assert.equal(act.suggestedFilename(), "starling-erasure.txt");
    assert.equal((await visitor.api("/me")).status, 401);
  });
}

for (const [device, options, theme, language] of LOOKS) {
  // Red when: a screen of the administration is wider than the window or has a fault, a dangerous act goes without a code or does not
  // go on after one, or what was done is not in the log.
  scenario(`Administration on a ${device}, ${theme}, ${language}`, async (stage, { b }) => {
    const admin = await stage.visitor(b, { device: options, theme, language, expected: [...REFUSED, /\b409\b/] });
    const picture = (name) => admin.inspect(`people-${device}-${theme}-${language}-${name}`);
    const show = (id) => admin.get(`section-${id}`).evaluate((section) => section.scrollIntoView());
    await admin.welcome(await b.firstLink(), "Мария");
    const rita = await stage.visitor(b);
    await newcomer(admin, rita, "rita");
    const oleg = await stage.visitor(b);
    const { body: terms } = await oleg.api("/sign-up?language=ru");
    const consents = Object.fromEntries(terms.consents.map(({ kind, hash }) => [kind, hash]));
    await post(oleg, "/sign-up", { name: "Олег", email: "oleg@example.org", password: PASSWORD, language: "ru", consents });
    await admin.open("/people");
    await admin.get("person").nth(2).waitFor();
    await picture("30-people");
    await admin.get("people-search").fill("rita@");
    await admin.get("total").filter({ hasText: /^1 / }).waitFor();
    assert.equal(new URL(admin.page.url()).searchParams.get("search"), "rita@");
    await admin.get("person").click();
    await admin.get("role-moderator").waitFor();
    await picture("31-person");
    // No second factor yet: the dialogue says where to set one up.
    await admin.get("role-moderator").check();
    await admin.get("save-roles").click();
    await admin.get("to-account").waitFor();
    await picture("32-no-factor");
    await admin.page.keyboard.press("Escape");
    await admin.get("error").waitFor();
    const app = await secondFactor(admin);
    // The device that set it has shown it; another sign-in has not. The page that was signed out shows the way in: it is opened again.
    const person = new URL(admin.page.url()).pathname;
    await post(admin, "/sign-out", {});
    const code = await app.code();
    await post(admin, "/sign-in", { name: "Мария", password: PASSWORD, code });
    await admin.open(person);
    await admin.get("role-moderator").check();
    await show("roles");
    await admin.get("save-roles").click();
    await admin.get("done").waitFor();
    await admin.get("make-reset-link").click();
    await admin.get("reset-link").waitFor();
    await admin.get("reason").fill("спам");
    await admin.get("block").click();
    await admin.page.locator('[data-testid="state"][data-state="blocked"]').waitFor();
    assert.equal((await rita.api("/me")).status, 403);
    await show("rescue");
    await picture("33-blocked");
    await admin.open("/people?state=waiting");
    await admin.get("person").click();
    await admin.get("approve").click();
    await admin.page.locator('[data-testid="state"][data-state="active"]').waitFor();
    await post(oleg, "/sign-in", { name: "Олег", password: PASSWORD });

    await admin.get("tab-settings").click();
    await admin.get("mail.host").waitFor();
    await admin.get("site.address").fill("chat.example.org");
    await admin.get("save-door").click();
    await admin.get("error").waitFor();
    await picture("34-settings");
    await admin.get("mail.host").fill("127.0.0.1");
    await admin.get("mail.security").selectOption("none");
    await admin.get("mail.port").fill("9");
    await admin.get("mail.from").fill("starling@example.org");
    await admin.get("mail_password").fill("very secret");
    await admin.get("save-mail").click();
    await admin.get("section-mail").getByTestId("done").waitFor();
    await admin.get("test-letter").fill("maria@example.org");
    await admin.get("send-test-letter").click();
    await admin.get("section-mail").getByTestId("error").waitFor();
    await show("mail");
    await picture("35-mail");

    await admin.get("tab-bans").click();
    await admin.get("ban-address").fill("127.0.0.1");
    await admin.get("add-ban").click();
    await admin.get("error").waitFor();
    await admin.get("ban-address").fill("203.0.113.7");
    await admin.get("ban-reason").fill("поток запросов");
    await admin.get("add-ban").click();
    await admin.get("ban").waitFor();
    await picture("36-bans");
    await admin.get("remove-ban").click();
    await admin.get("remove-ban-yes").click();
    await admin.get("no-bans").waitFor();

    await admin.get("tab-audit").click();
    await admin.get("act").nth(5).waitFor();
    await picture("37-audit");
    await admin.get("audit-part").selectOption("ban.");
    await until("only what was done with addresses is shown", async () => (await admin.get("act").count()) === 2);
    const [log] = await Promise.all([admin.page.waitForEvent("download"), admin.get("export-audit").click()]);
    assert.equal(log.suggestedFilename(), "starling-audit.ndjson");
  });
}

// Red when: somebody is shown a way to pages on which the node refuses everything, an open page of somebody who is blocked stays, or a dangerous act goes without a code, or is not
// done once the code is shown.
scenario("Each role sees its pages, and a dangerous act waits for a code", async (stage, { b }) => {
  const admin = await stage.visitor(b, { language: "en", expected: REFUSED });
  await admin.welcome(await b.firstLink(), "Мария");
  const app = await secondFactor(admin);
  const visitor = await stage.visitor(b, { language: "en", expected: [...REFUSED, NODE_AWAY] });
  const id = await newcomer(admin, visitor, "rita");
  await visitor.open("/people");
  await visitor.get("composer").waitFor();
  assert.equal(await visitor.get("nav-keeping").count(), 0);
  await post(admin, `/people/${id}/roles`, { roles: ["moderator"] }, "put");
  await visitor.open("/people");
  await visitor.get("person").nth(1).waitFor();
  assert.equal(await visitor.get("tab-settings").count(), 0);
  assert.equal(await visitor.get("make-link").count(), 0);
  await visitor.get("person").filter({ hasText: "rita" }).click();
  await visitor.get("block").waitFor();
  assert.equal(await visitor.get("save-roles").count() + (await visitor.get("make-reset-link").count()), 0);
  await visitor.open("/settings");
  await visitor.get("composer").waitFor();
  // Blocked in front of an open page: it closes by itself, and says why.
  await post(admin, `/people/${id}/block`, { blocked: true, reason: "" });
  await visitor.get("error").filter({ hasText: "blocked" }).waitFor();
  assert.equal(await visitor.get("composer").count(), 0);
  await post(admin, `/people/${id}/block`, { blocked: false, reason: "" });

  // A sign-in of more than a quarter of an hour ago is as one that showed no code.
  await admin.open(`/people/${id}`);
  let refusals = 1;
  await admin.page.route("**/roles", (route) => {
    refusals -= 1;
    const body = JSON.stringify({ error: { code: "second_factor_required", message: "" } });
    return refusals < 0 ? route.continue() : route.fulfill({ status: 403, contentType: "application/json", body });
  });
  await admin.get("role-manager").check();
  await admin.get("save-roles").focus();
  await admin.page.keyboard.press("Enter");
  await admin.get("code-dialog").getByTestId("code").waitFor();
  await admin.inspect("people-code-dialog");
  await admin.page.keyboard.type(await app.code());
  await admin.page.keyboard.press("Enter");
  await admin.get("done").waitFor();
  assert.deepEqual((await admin.api(`/people/${id}`)).body.person.roles, ["manager", "moderator"]);
});
