import { describe, expect, it, vi } from "vitest";
import { useFakeGateway } from "@/testing";
import { ApiError, codeOf, onSignedOut, request, requestFile } from "./client";

async function refusal(work: Promise<unknown>): Promise<ApiError> {
  const error: unknown = await work.then(
    () => null,
    (cause: unknown) => cause,
  );
  if (!(error instanceof ApiError)) throw new Error("no ApiError was thrown");
  return error;
}

describe("request", () => {
  it("sends JSON and reads JSON", async () => {
    let seen: unknown;
    useFakeGateway((_, body) => {
      seen = body;
      return { status: 201, body: { id: "s1" } };
    });
    expect(await request("POST", "/sessions", { character_id: "c1" })).toEqual({ id: "s1" });
    expect(seen).toEqual({ character_id: "c1" });
  });

  it("takes an empty answer", async () => {
    useFakeGateway(() => ({ status: 204 }));
    expect(await request("POST", "/sign-out")).toBeUndefined();
  });

  it("turns the node's error into its code, with the time to wait", async () => {
    useFakeGateway(() => ({ status: 429, body: { error: { code: "too_many_requests", message: "slow" } }, headers: { "Retry-After": "7" } }));
    expect(await refusal(request("GET", "/me"))).toMatchObject({ code: "too_many_requests", status: 429, message: "slow", retryAfterSeconds: 7 });
  });

  it("tells a node out of reach from a node with a new code", async () => {
    useFakeGateway(() => "unreachable");
    expect((await refusal(request("GET", "/me"))).code).toBe("unreachable");
    useFakeGateway(() => ({ status: 502, body: "a proxy's page" }));
    expect((await refusal(request("GET", "/me"))).code).toBe("unreachable");
    useFakeGateway(() => ({ status: 400, body: { error: { code: "brand_new" } } }));
    expect((await refusal(request("GET", "/me"))).code).toBe("unknown");
    expect(codeOf(new Error("ours"))).toBe("unknown");
  });

  it("reports a lost sign-in, but not a wrong password", async () => {
    const signedOut = vi.fn();
    onSignedOut(signedOut);
    useFakeGateway(() => ({ status: 401, body: { error: { code: "name_or_password_wrong" } } }));
    await refusal(request("POST", "/sign-in", {}));
    expect(signedOut).not.toHaveBeenCalled();
    useFakeGateway(() => ({ status: 401, body: { error: { code: "not_signed_in" } } }));
    await refusal(request("GET", "/me"));
    expect(signedOut).toHaveBeenCalledOnce();
  });

  it("does not ask twice with a wrong password, which would count as two guesses", async () => {
    const { calls } = useFakeGateway(() => ({ status: 401, body: { error: { code: "name_or_password_wrong" } } }));
    expect((await refusal(request("POST", "/account/password", {}))).code).toBe("name_or_password_wrong");
    expect(calls).toEqual(["POST /account/password"]);
  });

  it("fetches files, with another token where needed, and says why not", async () => {
    let fresh = false;
    useFakeGateway((call) => {
      if (call === "POST /refresh") fresh = true;
      return fresh ? { status: 200, body: "packed" } : { status: 401, body: { error: { code: "not_signed_in" } } };
    });
    expect(await (await requestFile("/account/export")).text()).toBe('"packed"');
    useFakeGateway(() => ({ status: 429, body: { error: { code: "too_many_requests" } }, headers: { "Retry-After": "10" } }));
    expect(await refusal(requestFile("/account/export"))).toMatchObject({ code: "too_many_requests", retryAfterSeconds: 10 });
  });

  it("gets another access token unseen, once for all requests that wait, and tries again", async () => {
    let fresh = false;
    const { calls } = useFakeGateway((call) => {
      if (call === "POST /refresh") fresh = true;
      else if (!fresh) return { status: 401, body: { error: { code: "not_signed_in" } } };
      return { status: 200, body: { ok: true } };
    });
    expect(await Promise.all([request("GET", "/me"), request("GET", "/sessions")])).toEqual([{ ok: true }, { ok: true }]);
    expect(calls.filter((call) => call === "POST /refresh")).toHaveLength(1);
    expect(calls).toHaveLength(5);
  });
});
