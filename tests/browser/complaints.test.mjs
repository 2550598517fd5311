// From a report to its decision, and to what both sides read of it, in real browsers on real nodes.

import assert from "node:assert/strict";
import { DESKTOP, PHONE, scenario } from "./stage.mjs";

const LOOKS = [
  ["phone", PHONE, "dark", "ru"],
  ["desktop", DESKTOP, "light", "en"],
];
/** Who was signed out for a moment, and what is asked for at a limit. */
const REFUSED = [/\b(401|409)\b/];

/** Another person: the administrator's one-time link, opened. */
async function invited(admin, visitor, role, name) {
  const response = await admin.context.request.post(`${admin.node.origin}/api/v1/people/links`, { data: { role } });
  assert.equal(response.status(), 201);
  await visitor.welcome((await response.json()).path, name);
}

for (const [device, options, theme, language] of LOOKS) {
  // Red when: an answer or a character cannot be reported by keyboard, the report is not in the queue, a decision does nothing, the
  // person does not read of it, or a screen has a fault.
  scenario(`A report and its decision on a ${device}, ${theme}, ${language}`, async (stage, { b }) => {
    const admin = await stage.visitor(b, { device: options, theme, language, expected: REFUSED });
    await admin.welcome(await b.firstLink(), "Мария");
    const rita = await stage.visitor(b, { device: options, theme, language, expected: REFUSED });
    await invited(admin, rita, "user", "Рита");
    const picture = (visitor, name) => visitor.inspect(`complaints-${device}-${theme}-${language}-${name}`);

    // The queue with nothing in it.
    await admin.open("/complaints");
    await admin.get("no-complaints").waitFor();
    await picture(admin, "01-none");

    // By keyboard alone: the sign, the reason, the words, the button.
    await rita.ask("Что мне делать?");
    const told = await rita.answers().last().getByTestId("message-text").textContent();
    await rita.answers().last().getByTestId("complain").focus();
    await rita.page.keyboard.press("Enter");
    await rita.get("complaint-dialog").waitFor();
    await rita.get("reason-harmful").focus();
    await rita.page.keyboard.press("Space");
    await rita.page.keyboard.press("Tab");
    await rita.page.keyboard.type("Это опасно.");
    await picture(rita, "02-form");
    await rita.page.keyboard.press("Tab");
    await rita.page.keyboard.press("Enter");
    await rita.get("complaint-close").click();
    await rita.get("complaint-dialog").waitFor({ state: "detached" });

    // A character, too.
    await rita.open("/characters");
    await rita.get("complain").first().click();
    await rita.get("reason-other").check();
    assert.equal(await rita.get("complaint-send").isDisabled(), true, "somebody who says \"other\" says what");
    await rita.get("complaint-words").fill("Мне не нравится.");
    await rita.get("complaint-send").click();
    await rita.get("complaint-close").click();

    await admin.open("/complaints");
    await admin.get("complaint").nth(1).waitFor();
    await picture(admin, "03-queue");
    await admin.get("to-complaint").first().click();
    await admin.get("seen").waitFor();
    assert.equal(await admin.get("seen").textContent(), told);
    assert.equal(await admin.get("said").textContent(), "Это опасно.");
    await admin.get("take").click();
    await admin.get("take").waitFor({ state: "detached" });
    await picture(admin, "04-taken");
    // The mesh began with this character: nobody can be warned.
    assert.equal(await admin.get("decision-author_warned").count(), 0);
    await admin.get("decision-character_hidden").check();
    await admin.get("decide").click();
    await admin.get("decide-yes").click();
    await admin.get("decided").waitFor();
    await picture(admin, "05-decided");

    await admin.open("/complaints?state=open");
    await admin.get("complaint").waitFor();
    assert.equal(await admin.get("complaint").count(), 1);
    await admin.get("filter-complaints").selectOption("decided");
    await admin.page.locator('[data-testid="complaint"][data-state="decided"]').waitFor();
    assert.equal(await admin.get("complaint").count(), 1);

    await rita.open("/account");
    await rita.get("own-complaint").nth(1).waitFor();
    const outcomes = await rita.get("outcome").allTextContents();
    assert.equal(new Set(outcomes).size, 2, `one is decided, one waits: ${outcomes}`);
    await rita.get("section-complaints").scrollIntoViewIfNeeded();
    await picture(rita, "06-own");
    // Who looks after nobody does not get there.
    await rita.open("/complaints");
    await rita.get("composer").waitFor();
    assert.equal((await rita.api("/complaints")).status, 403);
  });
}
