// Every page on real data, on a phone and on a desktop, light and dark, in both languages: pictures, and what holds for all.

import assert from "node:assert/strict";
import { until } from "./harness.mjs";
import { DESKTOP, PASSWORD, PHONE, scenario } from "./stage.mjs";

const DEVICES = { phone: PHONE, desktop: DESKTOP };

/** Where there is no room for the sidebar it is a drawer. */
async function go(visitor, device, page) {
  if (device === "phone") await visitor.get("nav-menu").click();
  await visitor.get(`nav-${page}`).click();
}

async function tour(stage, node, { device, theme, language }) {
  const visitor = await stage.visitor(node, { device: DEVICES[device], theme, language });
  const picture = (page) => visitor.inspect(`${device}-${theme}-${language}-${page}`);
  const response = await visitor.open("/");
  assert.match(response.headers()["content-security-policy"], /default-src 'none'/, "no violation means nothing without a policy");
  await visitor.get("submit").waitFor();
  const looks = await visitor.page.evaluate(() => [document.documentElement.lang, document.documentElement.dataset.theme]);
  assert.deepEqual(looks, [language, theme]);
  await picture("1-sign-in");
  const signedIn = await visitor.context.request.post(`${node.origin}/api/v1/sign-in`, { data: { name: "Мария", password: PASSWORD } });
  assert.equal(signedIn.status(), 200);
  await visitor.open("/");
  await visitor.answers().nth(1).waitFor();
  await picture("2-chat");
  await go(visitor, device, "characters");
  await visitor.get("character").first().waitFor();
  await picture("3-characters");
  await go(visitor, device, "mesh");
  await visitor.get("mesh-node").nth(1).waitFor();
  await picture("4-mesh");
  await visitor.get("mesh-node").last().scrollIntoViewIfNeeded();
  await picture("5-nodes");
  return visitor;
}

/** Signs the device out with its page closed: a person may have five, and a sixth would put out one whose page is open. */
async function leave(visitor) {
  await visitor.page.close();
  const signedOut = await visitor.context.request.post(`${visitor.node.origin}/api/v1/sign-out`);
  assert.ok(signedOut.ok(), `signing out: ${signedOut.status()}`);
}

/** Both nodes have told each other how busy they are, so that the pictures show figures. */
async function withFigures(visitor) {
  await until("figures of both nodes", async () => {
    const { body } = await visitor.api("/mesh");
    return body.nodes.length === 2 && body.nodes.every((node) => node.load !== null) && body.nodes.some((node) => node.models.length > 0);
  });
}

for (const device of Object.keys(DEVICES)) {
  // Red when: a page is wider than the window, axe finds a fault, the browser writes an error to its console, the page asks
  // another host for anything or breaks its security policy, or a look or a language does not follow the system.
  scenario(`Every page on a ${device}`, async (stage, { a, b }) => {
    const { atA } = await stage.personAtBoth({ a, b }, "Мария");
    await atA.ask("Привет! Как тебя зовут?");
    await atA.ask("Расскажи сказку.");
    await withFigures(atA);
    let last;
    for (const theme of ["light", "dark"]) {
      for (const language of ["ru", "en"]) {
        if (last) await leave(last);
        last = await tour(stage, theme === "light" ? a : b, { device, theme, language });
      }
    }
    // What a fresh account sees, and what only a phone has.
    await last.page.goto(last.node.origin);
    await last.answers().nth(1).waitFor();
    if (device === "phone") {
      await last.get("nav-menu").click();
      await last.get("nav-sign-out").waitFor();
      await last.inspect("phone-dark-en-6-drawer");
      await last.page.keyboard.press("Escape");
    }
    await last.get("new-dialogue").click();
    await last.get("greeting").waitFor();
    await last.inspect(`${device}-dark-en-7-new-dialogue`);

    // The switches work without a reload and are remembered.
    if (device === "desktop") {
      const looks = () => last.page.evaluate(() => [document.documentElement.lang, document.documentElement.dataset.theme]);
      assert.deepEqual(await looks(), ["en", "dark"]);
      await last.get("lang-switch").click();
      await last.get("theme-switch").click();
      assert.deepEqual(await looks(), ["ru", "light"]);
      await last.page.reload();
      await last.get("nav-mesh").filter({ hasText: "Сеть" }).waitFor();
      assert.deepEqual(await looks(), ["ru", "light"]);
    }
  });
}
