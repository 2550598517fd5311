// Signing in and up, one person at two nodes, and two persons at one.

import assert from "node:assert/strict";
import { same, until } from "./harness.mjs";
import { scenario } from "./stage.mjs";

const LIVE_MS = 3_000;
/** What the browser writes to its console when a node refuses. */
const REFUSED = [/\/api\/v1\/welcome.*\b403\b/, /\/api\/v1\/sign-in.*\b401\b/];

// Red when: a link makes a second account, at the node that took it or at the other one; a wrong password is accepted, or
// refused without a word; the words tell an unknown name from a wrong password.
scenario("A used link and a wrong password are refused with words", async (stage, { a, b }) => {
  const link = await b.firstLink();
  const first = await stage.visitor(b);
  await first.welcome(link, "Мария");
  await same(a, b);
  for (const node of [b, a]) {
    const second = await stage.visitor(node, { expected: REFUSED });
    await second.open(link);
    await second.fillIn("Другой", "another password");
    await second.get("error").filter({ hasText: "Ссылка недействительна" }).waitFor();
    if (node === a) await second.inspect("used-link");
    assert.equal((await second.api("/me")).status, 401);
  }
  const third = await stage.visitor(a, { expected: REFUSED });
  await third.open("/");
  for (const [name, password] of [["Мария", "wrong password"], ["Никто", "wrong password"]]) {
    await third.fillIn(name, password);
    await third.get("error").filter({ hasText: "Имя или пароль неверны" }).waitFor();
    assert.equal((await third.api("/me")).status, 401);
  }
  await third.inspect("wrong-password");
  await third.fillIn("Мария", "");
  await third.get("error").filter({ hasText: "Введите пароль" }).waitFor();
  await third.signIn("Мария");
});

// Red when: a page has to be reloaded to see what the same person writes at another node.
scenario("One person sees at each node at once what was written at the other", async (stage, { a, b }) => {
  const { atA, atB } = await stage.personAtBoth({ a, b }, "Мария");
  await atA.ask("Привет!");
  // A dialogue that began at A turns up in B's list by itself, and by its name.
  const item = atB.get("session-item").filter({ hasText: "Привет!" });
  await item.waitFor();
  await item.click();
  await atB.answers().waitFor();
  for (const [from, to, text] of [[atA, atB, "Это написано у A."], [atB, atA, "А это у B."]]) {
    const answers = await to.answers().count();
    const began = Date.now();
    await from.send(text);
    await to.bubble(text).waitFor({ timeout: LIVE_MS });
    assert.ok(Date.now() - began < LIVE_MS, `${Date.now() - began} ms`);
    await to.answers().nth(answers).waitFor();
    await from.answers().nth(answers).waitFor();
  }
  const shown = await atA.messages();
  assert.equal(shown.length, 6);
  await until("both pages show the same", async () => JSON.stringify(await atB.messages()) === JSON.stringify(await atA.messages()));
});

// Red when: the link of the mesh page makes no account or an administrator, a chat of one person shows up for another, or
// its id is enough to read it or to write into it.
scenario("A second person gets in by a link and sees nothing of the first one", async (stage, { a, b }) => {
  const { atA: maria } = await stage.personAtBoth({ a, b }, "Мария");
  await maria.ask("Это моя тайна.");
  const secret = await maria.sessionId();
  await maria.open("/mesh");
  await maria.get("make-link").click();
  await maria.get("link").waitFor();
  const link = new URL(await maria.get("link").inputValue());
  assert.equal(link.origin, a.origin);
  await maria.inspect("link-for-another");

  const ivan = await stage.visitor(a, { language: "en", expected: [/\b404\b/, /\b403\b/] });
  await ivan.welcome(link.pathname + link.hash, "Ivan");
  await ivan.get("greeting").waitFor();
  assert.equal(await ivan.get("session-item").count(), 0);
  assert.deepEqual((await ivan.api("/sessions")).body, { sessions: [], has_more: false });
  assert.equal((await ivan.api("/me")).body.person.role, "user");
  await ivan.open("/mesh");
  await ivan.get("mesh-node").first().waitFor();
  assert.equal(await ivan.get("make-link").count(), 0, "only administrators invite");
  const asked = await ivan.context.request.post(`${a.origin}/api/v1/people/links`, { data: { role: "user" } });
  assert.equal(asked.status(), 403);

  // By the id of the dialogue: neither reading, nor the page, nor writing.
  const refused = await ivan.api(`/sessions/${secret}`);
  assert.deepEqual([refused.status, refused.body.error.code], [404, "not_found"]);
  await ivan.open(`/?dialogue=${secret}`);
  await ivan.get("error").waitFor();
  assert.ok(!(await ivan.page.locator("body").innerText()).includes("тайна"));
  assert.equal(await ivan.get("composer").count(), 0, "there is nothing to write to");
  await ivan.inspect("dialogue-of-another");
  const code = await ivan.page.evaluate(
    (session) =>
      new Promise((done) => {
        const socket = new WebSocket(`ws://${location.host}/api/v1/ws`);
        socket.onopen = () => socket.send(JSON.stringify({ type: "send", outbox_id: "0123456789", session_id: session, text: "чужое" }));
        socket.onmessage = ({ data }) => ["accepted", "error"].includes(JSON.parse(data).type) && done(JSON.parse(data).code ?? "accepted");
      }),
    secret,
  );
  assert.equal(code, "not_found");

  await ivan.open("/");
  await ivan.ask("Привет!");
  assert.equal((await maria.stored(secret)).length, 2);
  assert.equal((await maria.api("/sessions")).body.sessions.length, 1);
  const strangers = maria.frames.filter((frame) => "session_id" in frame && frame.session_id !== secret);
  assert.deepEqual(strangers, [], "frames of another person's dialogue");
});
