// OpenAI's own libraries against real nodes, one with the built-in model and one without: what they ask is what programs ask.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { after, before, test } from "node:test";
import OpenAI from "openai";
import { startMesh, until } from "../browser/harness.mjs";

const MODEL = "built-in";
const QUESTION = [{ role: "user", content: "Привет! Как тебя зовут?" }];
const PYTHON = process.env.STARLING_SDK_PYTHON;
const PYTHON_MS = 120_000;

/** Has the model; and a gateway that has none. */
let node, without;
let clear, key, bearer;

async function api(method, path, body) {
  const headers = { "content-type": "application/json", ...(bearer && { authorization: bearer }) };
  const response = await fetch(node.origin + path, { method, headers, body: body && JSON.stringify(body) });
  assert.ok(response.ok, `${method} ${path}: ${response.status} ${await response.clone().text()}`);
  return response.status === 204 ? null : response.json();
}

async function makeKey(scopes) {
  const { secret, key } = await api("POST", "/api/v1/keys", { label: "a test", scopes, days: 1 });
  return { secret, id: key.id };
}

/** Without repetition: every refusal is seen. */
const client = (apiKey, at = node) => new OpenAI({ apiKey, baseURL: `${at.origin}/v1`, maxRetries: 0 });

async function figure(name) {
  const text = await (await fetch(`${node.origin}/metrics`)).text();
  return Number(text.match(new RegExp(`^starling_${name} (.*)$`, "m"))[1]);
}

before(async () => {
  ({ a: without, b: node, clear } = await startMesh());
  const token = (await node.firstLink()).split("#")[1];
  const welcome = await api("POST", "/api/v1/welcome", { token, name: "Рита", password: "скворец-летит" });
  bearer = `Bearer ${welcome.access_token}`;
  key = await makeKey(["models", "chat", "embeddings"]);
});
after(() => clear());

test("JavaScript: the model is listed and found", async () => {
  const models = await client(key.secret).models.list();
  assert.deepEqual(models.data.map(({ id, object }) => [id, object]), [[MODEL, "model"]]);
  assert.equal((await client(key.secret).models.retrieve(MODEL)).id, MODEL);
});

test("JavaScript: a chat is answered, and by the same seed in the same words", async () => {
  const ask = (seed) => client(key.secret).chat.completions.create({ model: MODEL, messages: QUESTION, seed });
  const answer = await ask(7);
  const [choice] = answer.choices;
  assert.ok(choice.message.content.length > 0 && choice.message.role === "assistant");
  assert.ok(["stop", "length"].includes(choice.finish_reason));
  const { prompt_tokens, completion_tokens, total_tokens } = answer.usage;
  assert.ok(prompt_tokens > 0 && completion_tokens > 0);
  assert.equal(total_tokens, prompt_tokens + completion_tokens);
  assert.equal((await ask(7)).choices[0].message.content, choice.message.content);
});

test("JavaScript: a stream adds up to the whole answer, with usage at its end", async () => {
  const asked = { model: MODEL, messages: QUESTION, temperature: 0, max_tokens: 20 };
  const whole = await client(key.secret).chat.completions.create(asked);
  const stream = await client(key.secret).chat.completions.create({
    ...asked,
    stream: true,
    stream_options: { include_usage: true },
  });
  let [text, pieces, reason, usage] = ["", 0, null, null];
  for await (const chunk of stream) {
    text += chunk.choices[0]?.delta.content ?? "";
    pieces += 1;
    reason = chunk.choices[0]?.finish_reason ?? reason;
    usage = chunk.usage ?? usage;
  }
  assert.equal(text, whole.choices[0].message.content);
  assert.equal(reason, whole.choices[0].finish_reason);
  assert.equal(usage.completion_tokens, whole.usage.completion_tokens);
  assert.ok(pieces > 3, `in ${pieces} pieces`);
});

test("JavaScript: lengths, stop texts, schemas and probabilities are followed", async () => {
  const { completions } = client(key.secret).chat;
  const asked = { model: MODEL, messages: QUESTION, temperature: 0 };
  const short = await completions.create({ ...asked, max_completion_tokens: 3, logprobs: true, top_logprobs: 2 });
  assert.deepEqual([short.choices[0].finish_reason, short.usage.completion_tokens], ["length", 3]);
  const { content } = short.choices[0].logprobs;
  assert.equal(content.length, 3);
  for (const { logprob, top_logprobs } of content) assert.ok(logprob <= 0 && top_logprobs.length === 2);
  const whole = (await completions.create(asked)).choices[0].message.content;
  const stop = whole.trim().split(" ")[1];
  const stopped = await completions.create({ ...asked, stop: [stop] });
  assert.equal(stopped.choices[0].message.content, whole.slice(0, whole.indexOf(stop)));
  const schema = { type: "object", properties: { mood: { enum: ["good", "bad"] } }, required: ["mood"] };
  const shaped = await completions.create({
    ...asked,
    response_format: { type: "json_schema", json_schema: { name: "mood", strict: true, schema } },
  });
  assert.ok(["good", "bad"].includes(JSON.parse(shaped.choices[0].message.content).mood));
});

test("JavaScript: a text is gone on with, and texts become numbers", async () => {
  const asked = { model: MODEL, prompt: "Привет", max_tokens: 4, temperature: 0 };
  const whole = await client(key.secret).completions.create({ ...asked, logprobs: 1 });
  assert.ok(whole.choices[0].text.length > 0);
  assert.equal(whole.choices[0].logprobs.tokens.length, whole.usage.completion_tokens);
  let text = "";
  for await (const chunk of await client(key.secret).completions.create({ ...asked, stream: true }))
    text += chunk.choices[0].text;
  assert.equal(text, whole.choices[0].text);
  const { data, usage } = await client(key.secret).embeddings.create({ model: MODEL, input: ["Лис", "Погода"] });
  assert.deepEqual(data.map(({ index }) => index), [0, 1]);
  assert.ok(usage.prompt_tokens >= 2);
  const length = Math.hypot(...data[0].embedding);
  assert.ok(Math.abs(length - 1) < 1e-3, `of length ${length}`);
});

test("JavaScript: refusals are the errors that programs catch", async () => {
  const ask = (secret, more) =>
    client(secret).chat.completions.create({ model: MODEL, messages: QUESTION, max_tokens: 1, ...more });
  await assert.rejects(ask("sk-starling1-nothing"), OpenAI.AuthenticationError);
  await assert.rejects(ask(key.secret, { model: "gpt-4" }), (error) => {
    assert.ok(error instanceof OpenAI.NotFoundError);
    assert.deepEqual([error.code, error.param, error.type], ["model_not_found", "model", "invalid_request_error"]);
    return true;
  });
  for (const [more, code, param] of [
    [{ n: 2 }, "unsupported_parameter", "n"],
    [{ colour: "red" }, "unknown_parameter", "colour"],
    [{ top_p: 7 }, "invalid_value", "top_p"],
    [{ tools: [{ type: "function", function: { name: "now" } }] }, "unsupported_parameter", "tools"],
    [{ messages: [{ role: "user", content: "слово ".repeat(5000) }] }, "context_length_exceeded", null],
    [{ messages: [{ role: "user", content: "слово ".repeat(5000) }], stream: true }, "context_length_exceeded", null],
  ]) {
    await assert.rejects(ask(key.secret, more), (error) => {
      assert.ok(error instanceof OpenAI.BadRequestError, String(error));
      assert.deepEqual([error.code, error.param], [code, param]);
      return true;
    });
  }
  const harmless = await ask(key.secret, { user: "me", metadata: { a: "b" }, store: false });
  assert.equal(harmless.choices.length, 1);
  const other = await makeKey(["models"]);
  await assert.rejects(ask(other.secret), OpenAI.PermissionDeniedError);
  await api("DELETE", `/api/v1/keys/${other.id}`);
  await assert.rejects(client(other.secret).models.list(), OpenAI.AuthenticationError);
});

/** A stream that would last for long is left in the middle; then the model must stop. */
async function goAway(at) {
  await node.slowDown();
  try {
    const schema = { type: "array", items: { type: "integer" }, minItems: 200 };
    const stream = await client(key.secret, at).chat.completions.create({
      model: MODEL,
      messages: QUESTION,
      stream: true,
      response_format: { type: "json_schema", json_schema: { name: "long", schema } },
    });
    let finished;
    for await (const chunk of stream) {
      assert.equal(chunk.choices[0].finish_reason, null, "it is over before anybody can go away");
      if (!chunk.choices[0]?.delta.content) continue;
      assert.equal(await figure("engine_generations"), 1, "it goes on as long as somebody listens");
      finished = await figure("engine_finished_total");
      // The library goes away when its reader leaves the loop.
      break;
    }
    await until("nothing is generated any more", async () => (await figure("engine_generations")) === 0, 10_000);
    assert.equal(await figure("engine_finished_total"), finished, "it was not finished but given up");
  } finally {
    await node.fullSpeed();
  }
}

// Red when: a model goes on for a program that has gone away.
test("JavaScript: the model stops when the program goes away", () => goAway(node));

// Red when: a gateway without a model refuses what another node could do, does it otherwise than that one, or lets it go on for nobody.
test("JavaScript: a gateway without a model lets another node answer", async () => {
  const at = (place) => client(key.secret, place);
  const isKnown = async () => (await at(without).models.list()).data.some(({ id }) => id === MODEL);
  await until("the key and the model are known there", isKnown);
  const asked = { model: MODEL, messages: QUESTION, seed: 11, logprobs: true, top_logprobs: 1 };
  const [there, here] = [await at(without).chat.completions.create(asked), await at(node).chat.completions.create(asked)];
  assert.deepEqual(there.choices, here.choices);
  assert.equal(there.usage.total_tokens, here.usage.total_tokens);
  let text = "";
  for await (const chunk of await at(without).chat.completions.create({ ...asked, stream: true }))
    text += chunk.choices[0]?.delta.content ?? "";
  assert.equal(text, here.choices[0].message.content);
  const meaning = async (place) => (await at(place).embeddings.create({ model: MODEL, input: "Лис" })).data[0].embedding;
  assert.deepEqual(await meaning(without), await meaning(node));
  const long = { ...asked, messages: [{ role: "user", content: "слово ".repeat(5000) }] };
  await assert.rejects(at(without).chat.completions.create(long), OpenAI.BadRequestError);
  await goAway(without);
});

const skip = PYTHON ? false : "there is no Python with the SDK: ./x test sdk makes one";
test("Python: the same, by the Python SDK", { skip }, async () => {
  const env = { ...process.env, OPENAI_BASE_URL: `${node.origin}/v1`, OPENAI_API_KEY: key.secret, STARLING_MODEL: MODEL };
  for (const name of Object.keys(env)) if (/^(http|https|all)_proxy$/i.test(name)) delete env[name];
  const script = join(import.meta.dirname, "sdk_test.py");
  const child = spawn(PYTHON, [script, "-v"], { env, stdio: ["ignore", "inherit", "inherit"], timeout: PYTHON_MS });
  const [code, how] = await once(child, "close");
  assert.equal(code, 0, `the Python tests failed: ${how ?? code}`);
});

// Red when: a gateway promises models that nobody has any more.
test("JavaScript: without any model in reach it says so", async () => {
  await node.stop();
  const ask = () => client(key.secret, without).chat.completions.create({ model: MODEL, messages: QUESTION });
  await until("the other node is missed", async () => (await client(key.secret, without).models.list()).data.length === 0);
  await assert.rejects(ask(), (error) => {
    assert.deepEqual([error.status, error.code, error.type], [503, "no_model", "server_error"]);
    return true;
  });
});
