import { describe, expect, it } from "vitest";
import { inOrder, level, levelOf, ringPosition, share } from "./mesh.figures";
import type { MeshNode } from "./mesh.types";

const node = (name: string, rest: Partial<MeshNode> = {}): MeshNode => ({
  id: name,
  name,
  is_self: false,
  state: "connected",
  liveness: "serving",
  liveness_ms_ago: 60_000,
  doubled: false,
  heard_ms_ago: 0,
  round_trip_ms: 1,
  path: "quic",
  load: null,
  models: [],
  ...rest,
});

describe("figures", () => {
  it("turn yellow over 75 and red over 90", () => {
    expect([0, 75, 75.1, 90, 90.1, 100].map(level)).toEqual(["good", "good", "warn", "warn", "bad", "bad"]);
  });

  it("never leave the bar, whatever a node reports", () => {
    expect([share(1, 4), share(5, 4), share(-1, 4), share(1, 0)]).toEqual([25, 100, 0, 0]);
  });
});

describe("what a node is ready for", () => {
  it("is green only where it works, and red only where it is gone", () => {
    const all = ["joining", "serving", "draining", "maintenance", "suspect", "gone"] as const;
    expect(all.map(levelOf)).toEqual(["warn", "good", "warn", "warn", "warn", "bad"]);
  });
});

describe("nodes", () => {
  it("stand in an order that a refresh does not change", () => {
    const nodes = [node("z"), node("gone", { state: "unreachable" }), node("a"), node("me", { is_self: true })];
    const names = (list: MeshNode[]): string[] => inOrder(list).map((each) => each.name);
    expect(names(nodes)).toEqual(["me", "a", "z", "gone"]);
    expect(names([...nodes].reverse())).toEqual(names(nodes));
  });

  it("are spread around this one", () => {
    const centre = { x: 0, y: 0 };
    const points = [0, 1, 2, 3].map((index) => ringPosition(index, 4, centre, { x: 10, y: 10 }));
    expect(points[0]!.y).toBeCloseTo(-10);
    expect(points[2]!.y).toBeCloseTo(10);
    expect(ringPosition(0, 2, centre, { x: 10, y: 10 }).y).toBeCloseTo(0);
  });
});
