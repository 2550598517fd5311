// Characters as their makers see them: made by hand, brought as a card, published, compared, rolled back and exported.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { until } from "./harness.mjs";
import { DESKTOP, PHONE, scenario } from "./stage.mjs";

const CARDS = join(import.meta.dirname, "../../crdt/tests/cards");
/** The node refuses, and the browser writes every refusal to its console. */
const REFUSED = /\/api\/v1\/characters\S*.*\b(409|503)\b/;
const PROMPT = "Ты Волк из серых гор. Говори мало и по делу, не хвастай и никогда не лги человеку, который пришёл.";

const textOf = async (visitor, testId) => (await visitor.get(testId).first().textContent()).trim();

async function workshop(stage, node, options) {
  const visitor = await stage.visitor(node, options);
  await visitor.welcome(await node.firstLink(), "Ада");
  await visitor.open("/characters");
  await visitor.get("own-character").first().waitFor();
  return visitor;
}

async function made(visitor, name, prompt) {
  await visitor.get("create-character").click();
  await visitor.get("edit-name").fill(name);
  await visitor.get("edit-prompt").fill(prompt);
  await visitor.get("save").click();
  await until("the character has an address", () => /\/characters\/(?!new)/.test(visitor.page.url()));
}

async function published(visitor, note) {
  await visitor.get("publish").click();
  await visitor.get("publish-note").fill(note);
  await visitor.get("publish-now").click();
}

// Red when: a limit is not counted or not held, a draft is seen by others, a version cannot be compared or brought back,
// what was written is lost with the tab, a test chat is kept, or the page of the maker is not usable for everyone.
scenario("A character is made, published, compared with its versions and rolled back", async (stage, { b }) => {
  const visitor = await workshop(stage, b, { device: DESKTOP, expected: [REFUSED] });
  await visitor.inspect("desktop-light-ru-characters-workshop");
  await visitor.get("create-character").click();
  await visitor.get("edit-name").fill("В");
  await visitor.get("edit-description").fill("ы".repeat(501));
  assert.equal(await textOf(visitor, "edit-description-count"), "501 из 500");
  await visitor.get("save").click();
  assert.equal(await visitor.page.locator("[aria-invalid=true]").count(), 3);
  await visitor.inspect("desktop-light-ru-characters-limits");

  await visitor.get("edit-name").fill("Волк");
  await visitor.get("edit-description").fill("Серый и немногословный.");
  await visitor.get("edit-prompt").fill(PROMPT);
  await visitor.get("edit-filters-add").click();
  await visitor.get("edit-filters-0").fill("политика");
  await visitor.get("save").click();
  await visitor.get("done").waitFor();
  assert.equal(await textOf(visitor, "state"), "черновик");
  const nobody = await visitor.api("/characters");
  assert.deepEqual(nobody.body.characters.filter(({ name }) => name === "Волк"), [], "a draft is nobody's yet");

  // What was written and not saved is there again in a new tab.
  await visitor.get("edit-greeting").fill("Р-р. Чего тебе?");
  await until("it is kept on this device", () => visitor.page.evaluate(() => localStorage.getItem("starling.unsaved-characters")?.includes("Чего")));
  await visitor.page.reload();
  await visitor.get("restored").waitFor();
  assert.equal(await visitor.get("edit-greeting").inputValue(), "Р-р. Чего тебе?");

  await published(visitor, "первая");
  await visitor.get("version").waitFor();
  assert.equal(await textOf(visitor, "state"), "опубликован");
  await visitor.get("edit-prompt").fill(PROMPT.replace("серых", "белых"));
  await visitor.get("save").click();
  await until("the draft differs", async () => (await textOf(visitor, "state")) === "есть неопубликованное");
  await visitor.get("compare").first().click();
  await visitor.get("difference").waitFor();
  assert.deepEqual(
    [await visitor.page.locator("del").allTextContents(), await visitor.page.locator("ins").allTextContents()],
    [["только в версии: серых"], ["только в черновике: белых"]],
  );
  await visitor.get("trial-text").fill("Как тебя зовут?");
  await visitor.get("trial-send").click();
  await visitor.page.locator('[data-testid="trial-message"][data-role="character"]').waitFor({ timeout: 30_000 });
  assert.equal((await visitor.api("/sessions")).body.sessions.length, 0, "a test chat is kept nowhere");
  await visitor.inspect("desktop-light-ru-characters-editor");

  await visitor.page.setViewportSize(PHONE.viewport);
  await visitor.inspect("phone-light-ru-characters-versions");
  await visitor.page.setViewportSize(DESKTOP.viewport);

  visitor.page.on("dialog", (dialog) => void dialog.accept());
  await visitor.get("roll-back").first().click();
  await until("the old words are back", async () => (await visitor.get("edit-prompt").inputValue()) === PROMPT);
  await until("there are two versions", async () => (await visitor.get("version").count()) === 2);
  assert.equal(await textOf(visitor, "state"), "опубликован");

  // A name that is taken is refused, and the page says whose it is.
  await visitor.open("/characters");
  await made(visitor, "Пёс", PROMPT.replace("серых", "чёрных"));
  assert.match(await textOf(visitor, "twin"), /^Промпт на \d\d % похож на промпт персонажа «Волк»/);
  await visitor.get("edit-name").fill("волк");
  await visitor.get("save").click();
  assert.match(await textOf(visitor, "error"), /«Волк»/);
  await visitor.get("discard").click();
  await visitor.get("delete").click();
  await visitor.get("create-character").waitFor();
  await until("the dog is gone", async () => (await visitor.get("own-character").filter({ hasText: "Пёс" }).count()) === 0);
});

// Red when: a card does not come or leave whole, a picture over 2 MB is sent or taken, a picture breaks the policy of the
// page, or the page of the maker does not fit a phone.
scenario("A card is brought on a phone, gets a picture, and leaves as it came", async (stage, { b }) => {
  const visitor = await workshop(stage, b, { device: PHONE, language: "en", theme: "dark", expected: [REFUSED] });
  await visitor.inspect("phone-dark-en-characters-workshop");
  await visitor.get("import-file").setInputFiles(join(CARDS, "v3.json"));
  await visitor.get("edit-name").waitFor();
  assert.equal(await visitor.get("edit-name").inputValue(), "Ада");
  const [card] = await Promise.all([visitor.page.waitForEvent("download"), visitor.get("export-original").click()]);
  assert.deepEqual(readFileSync(await card.path()), readFileSync(join(CARDS, "v3.json")));
  assert.equal(card.suggestedFilename(), "Ада.json");

  const large = { name: "large.png", mimeType: "image/png", buffer: Buffer.alloc(2 * 1024 * 1024 + 1) };
  await visitor.get("picture-file").setInputFiles(large);
  assert.match(await textOf(visitor, "error"), /2 MB/);
  await visitor.get("picture-file").setInputFiles(join(CARDS, "v3.png"));
  await visitor.get("done").waitFor();
  const picture = visitor.page.locator("img");
  await until("the picture is shown", () => picture.evaluate((element) => element.complete && element.naturalWidth > 0));
  const [png] = await Promise.all([visitor.page.waitForEvent("download"), visitor.get("export-png").click()]);
  assert.equal(readFileSync(await png.path()).subarray(1, 4).toString(), "PNG");
  await visitor.inspect("phone-dark-en-characters-editor");
  await visitor.get("trial-text").scrollIntoViewIfNeeded();
  await visitor.inspect("phone-dark-en-characters-panels");

  // The same card once more: the name is taken, so it asks for another one.
  await visitor.open("/characters");
  await visitor.get("import-file").setInputFiles(join(CARDS, "v3.json"));
  await visitor.get("card-name").waitFor();
  assert.equal(await visitor.get("card-name").inputValue(), "Ада");
  await visitor.inspect("phone-dark-en-characters-name");
  await visitor.get("card-name").fill("Ада вторая");
  await visitor.get("import-renamed").click();
  assert.match(await textOf(visitor, "error"), /very prompt/, "another name does not make it another character");
});
