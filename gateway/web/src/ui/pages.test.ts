import { describe, expect, it } from "vitest";
import { usePages } from "./pages";

interface Numbers {
  numbers: number[];
  next: string | null;
}
const join = (before: Numbers, next: Numbers): Numbers => ({ ...next, numbers: [...before.numbers, ...next.numbers] });

describe("lists in pages", () => {
  it("puts what follows behind what is there, to the end", async () => {
    const places: (string | null)[] = [];
    const { page, load, more } = usePages(async (after) => {
      places.push(after);
      return after === null ? { numbers: [1, 2], next: "2" } : { numbers: [3], next: null };
    }, join);
    await load();
    await more();
    await more();
    expect(page.value).toEqual({ numbers: [1, 2, 3], next: null });
    expect(places).toEqual([null, "2"]);
  });

  it("throws an answer away that comes after a newer question", async () => {
    const answers: ((page: Numbers) => void)[] = [];
    const { page, load } = usePages<Numbers>(() => new Promise((resolve) => answers.push(resolve)), join);
    const [first, second] = [load(), load()];
    answers[1]?.({ numbers: [2], next: null });
    answers[0]?.({ numbers: [1], next: null });
    await Promise.all([first, second]);
    expect(page.value?.numbers).toEqual([2]);
  });

  it("keeps what there was, and says why nothing follows", async () => {
    const { page, refusal, load, more } = usePages<Numbers>(async (after) => {
      if (after !== null) throw new Error("gone");
      return { numbers: [1], next: "1" };
    }, join);
    await load();
    await more();
    expect(page.value?.numbers).toEqual([1]);
    expect(refusal.value).toEqual(new Error("gone"));
  });
});
