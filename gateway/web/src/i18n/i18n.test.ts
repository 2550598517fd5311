import { describe, expect, it } from "vitest";
import { ERROR_CODES } from "@/api/client";
import { chooseLanguage, DICTIONARIES, type Language } from "./index";
import { pluralRu } from "./plural";

/** Every word of a dictionary by its path; a function is called with a sample, so that its words are seen too. */
function words(value: unknown, path = ""): Map<string, string> {
  if (typeof value === "string") return new Map([[path, value]]);
  if (typeof value === "function") return new Map([[path, (value as (...samples: number[]) => string)(3, 5)]]);
  const found = new Map<string, string>();
  for (const [key, inner] of Object.entries(value as Record<string, unknown>)) {
    for (const [at, text] of words(inner, `${path}/${key}`)) found.set(at, text);
  }
  return found;
}

const LANGUAGES: Language[] = ["en", "ru"];
/** Words that are rightly the same in both languages, or Russian in both. */
const SAME_ON_PURPOSE = /^\/chat\/suggestionTexts\//;

describe("dictionaries", () => {
  it("have the same keys, and none is empty", () => {
    const [en, ru] = LANGUAGES.map((language) => words(DICTIONARIES[language]));
    expect([...ru!.keys()].sort()).toEqual([...en!.keys()].sort());
    expect(en!.size).toBeGreaterThan(120);
    for (const dictionary of [en!, ru!]) {
      for (const [path, text] of dictionary) expect(text.trim(), path).not.toBe("");
    }
  });

  it("are really translated", () => {
    const ru = words(DICTIONARIES.ru);
    for (const [path, text] of words(DICTIONARIES.en)) {
      if (!SAME_ON_PURPOSE.test(path)) expect(ru.get(path), path).not.toBe(text);
    }
  });

  it("write Russian in Russian", () => {
    for (const [path, text] of words(DICTIONARIES.ru)) {
      if (path !== "/nav/languageSwitch") expect(text, path).toMatch(/[а-яё]/i);
    }
  });

  it("have words for every error code", () => {
    for (const language of LANGUAGES) {
      expect(Object.keys(DICTIONARIES[language].errors).sort()).toEqual([...ERROR_CODES].sort());
    }
  });
});

describe("Russian plurals", () => {
  it.each([
    [1, "знак"],
    [2, "знака"],
    [5, "знаков"],
    [11, "знаков"],
    [21, "знак"],
    [22, "знака"],
    [112, "знаков"],
    [0, "знаков"],
    [1.5, "знака"],
  ])("%d %s", (count, form) => {
    expect(pluralRu(count, "знак", "знака", "знаков")).toBe(form);
  });

  it("stand in the sentences", () => {
    expect(DICTIONARIES.ru.chat.charactersLeft(21)).toBe("Остался 21 знак");
    expect(DICTIONARIES.ru.chat.charactersLeft(3)).toBe("Осталось 3 знака");
    expect(DICTIONARIES.ru.mesh.slots(1, 1)).toBe("занято 1 из 1 места");
    expect(DICTIONARIES.en.chat.charactersLeft(1)).toBe("1 character left");
  });
});

describe("the language", () => {
  it("is the remembered one, else the browser's, else English", () => {
    expect(chooseLanguage("en", "ru-RU")).toBe("en");
    expect(chooseLanguage(null, "ru-RU")).toBe("ru");
    expect(chooseLanguage(null, "de")).toBe("en");
    expect(chooseLanguage("klingon", "ru")).toBe("ru");
    expect(chooseLanguage(null, "run")).toBe("en");
  });
});
