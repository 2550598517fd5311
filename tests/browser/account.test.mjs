// One person from asking for an account to its end, over two nodes, with the hands of a person and an authenticator app.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { until } from "./harness.mjs";
import { PASSWORD, scenario } from "./stage.mjs";
import { Authenticator } from "./totp.mjs";

/** What the browser writes to its console when a node refuses, as this test wants it to. */
const REFUSED = [/\b40[13]\b/];

// Red when: somebody gets in who was not approved, or not after; the password alone opens an account with a second factor; a code
// works twice; after the deletion a node keeps silent, the act does not name it, or the account still opens.
scenario("An account is asked for, approved, given a second factor, and deleted", async (stage, { a, b }) => {
  const admin = await stage.visitor(b);
  await admin.welcome(await b.firstLink(), "Мария");
  const rita = await stage.visitor(a, { expected: REFUSED });
  await rita.open("/");
  await rita.get("to-sign-up").click();
  await rita.get("name").fill("Рита");
  await rita.get("email").fill("rita@example.org");
  await rita.get("password").fill(PASSWORD);
  for (const consent of ["terms", "personal_data"]) {
    assert.equal(await rita.get(`consent-${consent}`).isChecked(), false, "nobody agrees by doing nothing");
    await rita.get(`consent-${consent}`).check();
  }
  await rita.get("submit").click();
  await rita.get("awaited").filter({ hasText: "администратор" }).waitFor();
  await rita.get("to-sign-in").click();
  await rita.fillIn("Рита", PASSWORD);
  await rita.get("awaited").waitFor();
  assert.equal((await rita.api("/me")).status, 401);

  // The administrator is at the other node.
  await admin.get("nav-keeping").click();
  await until("word of it has come to the other node", async () => {
    await admin.open("/people?state=waiting");
    return admin.get("person").filter({ hasText: "Рита" }).isVisible();
  });
  await admin.get("person").click();
  await admin.get("approve").click();
  await admin.page.locator('[data-testid="state"][data-state="active"]').waitFor();

  await until("the approval has come to the other node", async () => {
    await rita.open("/sign-in");
    await Promise.all([rita.page.waitForResponse(/sign-in$/), rita.fillIn("rita@example.org", PASSWORD)]);
    return (await rita.api("/me")).status === 200;
  });
  await rita.get("nav-account").click();
  await rita.get("begin-second-factor").click();
  const app = new Authenticator((await rita.get("secret").inputValue()).replaceAll(" ", ""));
  const first = await app.code();
  await rita.get("set-code").fill(first);
  await rita.get("set-password").fill(PASSWORD);
  await rita.get("set-second-factor-save").click();
  await rita.get("remove-second-factor").waitFor();
  await rita.get("nav-sign-out").click();

  await rita.fillIn("Рита", PASSWORD);
  await rita.get("code").waitFor();
  assert.equal((await rita.api("/me")).status, 401, "the password alone is not enough");
  await rita.get("code").fill(first);
  await rita.get("submit-code").click();
  await rita.get("error").waitFor();
  assert.equal((await rita.api("/me")).status, 401, "a code works once");
  await rita.get("code").fill(await app.code());
  await rita.get("submit-code").click();
  await rita.get("composer").waitFor();

  await rita.get("nav-account").click();
  await rita.get("delete-account").click();
  await rita.get("delete-name").fill("Рита");
  await rita.get("delete-password").fill(PASSWORD);
  await rita.get("delete-code").fill(await app.code());
  await rita.get("delete-for-good").click();
  await rita.get("receipt").nth(1).waitFor();
  const [act] = await Promise.all([rita.page.waitForEvent("download"), rita.get("act").click()]);
  const text = readFileSync(await act.path(), "utf8");
  assert.ok(text.includes("node-a") && text.includes("node-b") && !text.includes("ещё нет"), text);
  assert.ok(!text.includes("Рита") && !text.includes("rita@"), "the act tells nothing of the person");
  await rita.open("/");
  await rita.fillIn("Рита", PASSWORD);
  await rita.get("error").filter({ hasText: "Имя или пароль неверны" }).waitFor();
  await admin.open("/people");
  await admin.get("person").first().waitFor();
  assert.equal(await admin.get("person").filter({ hasText: "Рита" }).count(), 0);
});
