import { describe, expect, it, vi } from "vitest";
import { useFakeGateway } from "@/testing";
import { ApiError, codeOf, onSignedOut, request } from "./client";

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
