// Nodes come and go; what a person wrote stays and is answered once.

import assert from "node:assert/strict";
import { ready, same, until } from "./harness.mjs";
import { NODE_AWAY, scenario } from "./stage.mjs";

/** How often a question is there, and how often it was answered. */
function counts(messages, text) {
  const questions = messages.filter((message) => message.role === "person" && message.text === text);
  const answers = messages.filter((message) => questions.some((question) => question.id === message.question_id));
  return { questions: questions.length, answers: answers.length };
}

const ONCE = { questions: 1, answers: 1 };

// Red when: the page shows nothing while no node can answer, the question is lost by a reload or by a restart of A, A does
// not ask again when B is back, or it asks twice.
scenario("A question that no node can answer is kept and answered by itself later", async (stage, { a, b }) => {
  const { atA } = await stage.personAtBoth({ a, b }, "Мария", { expected: [NODE_AWAY] });
  await atA.ask("Привет!");
  await b.stop();

  const text = "Ты меня слышишь?";
  await atA.send(text);
  const saysSo = () => atA.get("waiting").filter({ hasText: "Сейчас ни один узел не может ответить" }).waitFor();
  await saysSo();
  await atA.inspect("waiting");
  const { id } = (await atA.messages()).at(-1);
  const isKept = async () => {
    await atA.bubble(text).and(atA.page.locator('[data-state="waiting"]')).waitFor();
    const last = (await atA.stored()).at(-1);
    assert.deepEqual([last.id, last.text, last.state], [id, text, "waiting"]);
  };
  await isKept();
  await atA.page.reload();
  await saysSo();
  await isKept();
  await a.stop();
  await atA.get("reconnecting").waitFor();
  await a.start();
  await atA.get("reconnecting").waitFor({ state: "detached" });
  await saysSo();
  await isKept();

  await b.start();
  await atA.answers().nth(1).waitFor({ timeout: 20_000 });
  await atA.get("waiting").waitFor({ state: "detached" });
  const { answered_by: who } = (await atA.stored()).at(-1);
  assert.equal(who.node_id, (await b.status()).node_id);
  assert.deepEqual(counts(await atA.stored(), text), ONCE);

  // One more question: had the first one been asked twice, B would have made three answers by the end of it.
  await ready(a, b);
  await atA.ask("Что ты умеешь?");
  await same(a, b);
  assert.equal((await b.status()).answers_generated, 2);
  assert.deepEqual(counts(await atA.stored(), text), ONCE);
  assert.equal(await atA.bubble(text).count(), 1);
});

// Red when: the page does not notice the loss, forgets what was typed meanwhile, does not come back by itself, sends the
// message twice, or leaves the interrupted question without an answer or with two.
scenario("A gateway dies in the middle of an answer and the page comes back by itself", async (stage, { a, b }) => {
  const { atA, atB } = await stage.personAtBoth({ a, b }, "Мария", { expected: [NODE_AWAY] });
  await atA.ask("Привет!");
  await b.slowDown();
  const interrupted = "Расскажи сказку.";
  await atA.send(interrupted);
  await atA.page.locator('[data-state="streaming"]').waitFor();
  await b.slowDown(1_500);
  await a.kill();
  await atA.get("reconnecting").waitFor();

  const queued = "Это я написала без связи.";
  await atA.send(queued);
  await atA.bubble(queued).and(atA.page.locator('[data-state="queued"]')).waitFor();
  assert.equal(await atA.get("stop").count(), 0, "nothing can be stopped now");
  await atA.inspect("reconnecting");
  await a.start();
  await atA.get("reconnecting").waitFor({ state: "detached", timeout: 30_000 });
  // The queued question is stored before the interrupted one is answered: the answer must still stand behind its own.
  await atA.bubble(queued).and(atA.page.locator("[data-message-id]")).waitFor();
  await b.fullSpeed();
  for (const text of [interrupted, queued]) {
    await atA.bubble(text).and(atA.page.locator('[data-state="answered"]')).waitFor({ timeout: 20_000 });
  }
  const stored = await until("everything is answered", async () => {
    const messages = await atA.stored();
    return messages.length === 6 && messages;
  });
  assert.deepEqual(counts(stored, interrupted), ONCE);
  assert.deepEqual(counts(stored, queued), ONCE);
  const parts = (messages) => messages.map(({ id, role, state, text }) => ({ id, role, state, text }));
  await until("A's page shows as much as is stored", async () => (await atA.messages()).length === stored.length);
  assert.deepEqual(parts(await atA.messages()), parts(stored));
  await same(a, b);
  await atB.open("/");
  await until("B's page shows as much as is stored", async () => (await atB.messages()).length === stored.length);
  assert.deepEqual(parts(await atB.messages()), parts(stored));
});
