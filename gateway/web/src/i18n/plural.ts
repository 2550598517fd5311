// Plural forms. Russian has three (1 знак, 2 знака, 5 знаков) and the rules know the traps (11, 21, 112).

const english = new Intl.PluralRules("en");
const russian = new Intl.PluralRules("ru");

export function pluralEn(count: number, one: string, other: string): string {
  return english.select(count) === "one" ? one : other;
}

export function pluralRu(count: number, one: string, few: string, many: string): string {
  const form = russian.select(count);
  if (form === "one") return one;
  // Fractions (1,5 знака) take the form of `few`, which the rules call "other".
  return form === "many" ? many : few;
}
