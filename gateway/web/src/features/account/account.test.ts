import { createPinia, setActivePinia } from "pinia";
import { beforeEach, describe, expect, it } from "vitest";
import { DICTIONARIES } from "@/i18n";
import { useFakeGateway, type Answer } from "@/testing";
import { checkNewAccount, checkSignIn } from "./account.rules";
import { useAccountStore } from "./account.store";

const { ru } = DICTIONARIES;
const person = { id: "p1", name: "Анна", role: "administrator" };
const signedOut: Answer = { status: 401, body: { error: { code: "not_signed_in" } } };

describe("rules", () => {
  it("are those of the node", () => {
    expect(checkNewAccount("Ян", "12345678", ru)).toEqual({ name: null, password: null });
    expect(checkNewAccount(" Я ", "1234567", ru)).toEqual({ name: ru.errors.name_invalid, password: ru.errors.password_too_short });
    expect(checkNewAccount("я".repeat(51), "12345678", ru).name).toBe(ru.errors.name_invalid);
    expect(checkNewAccount("😀😀", "😀".repeat(8), ru)).toEqual({ name: null, password: null });
    expect(checkNewAccount("", "", ru).name).toBe(ru.account.nameMissing);
  });

  it("do not judge an old password by new rules", () => {
    expect(checkSignIn("Анна", "short", ru)).toEqual({ name: null, password: null });
    expect(checkSignIn(" ", "", ru)).toEqual({ name: ru.account.nameMissing, password: ru.account.passwordMissing });
  });
});

describe("account store", () => {
  beforeEach(() => setActivePinia(createPinia()));

  it("knows signed in, signed out and nobody knows", async () => {
    const account = useAccountStore();
    useFakeGateway(() => "unreachable");
    await account.load();
    expect(account.status).toBe("unreachable");
    useFakeGateway(() => ({ status: 200, body: { person, node: { id: "n", name: "n" } } }));
    await account.load();
    expect(account.status).toBe("signed-in");
    expect(account.isAdministrator).toBe(true);
    useFakeGateway(() => signedOut);
    await account.load();
    expect([account.status, account.person]).toEqual(["signed-out", null]);
  });

  it("throws nobody out because a node is away for a moment", async () => {
    const account = useAccountStore();
    useFakeGateway(() => ({ status: 200, body: { person } }));
    await account.signIn("Анна", "starling");
    useFakeGateway(() => "unreachable");
    await account.load();
    expect(account.status).toBe("signed-in");
    let forgotten: string | null = null;
    const forget = (): void => void (forgotten = account.person?.id ?? "nobody");
    await expect(account.signOut(forget)).rejects.toMatchObject({ code: "unreachable" });
    expect([account.status, forgotten]).toEqual(["signed-in", null]);
    useFakeGateway(() => ({ status: 204 }));
    await account.signOut(forget);
    expect([account.status, forgotten]).toEqual(["signed-out", "p1"]);
  });
});
