// The screens of people on real data, on a phone and on a desktop, light and dark, in both languages: pictures, and what holds for all.

import assert from "node:assert/strict";
import { DESKTOP, PASSWORD, PHONE, scenario } from "./stage.mjs";
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
