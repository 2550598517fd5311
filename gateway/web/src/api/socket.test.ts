import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { FakeWebSocket, useFakeWebSocket } from "@/testing";
import { backoff, LiveSocket, parseFrame, socketUrl, type SocketState } from "./socket";

let states: SocketState[];
let refused: number;
let socket: LiveSocket;

beforeEach(() => {
  vi.useFakeTimers();
  useFakeWebSocket();
  states = [];
  refused = 0;
  socket = new LiveSocket(
    "ws://node/api/v1/ws",
    { onFrame: () => {}, onState: (state) => states.push(state), onRefused: () => (refused += 1) },
    () => 1,
  );
});
afterEach(() => vi.useRealTimers());

describe("backoff", () => {
  it("doubles, is bounded, and spreads by chance", () => {
    expect([0, 1, 2, 3].map((attempt) => backoff(attempt, () => 1))).toEqual([400, 800, 1600, 3200]);
    expect(backoff(50, () => 1)).toBe(15_000);
    expect(backoff(50, () => 0)).toBe(7_500);
    expect(backoff(0, () => 0)).toBe(200);
  });
});

describe("LiveSocket", () => {
  it("dials again and again, later each time, and starts afresh after a hello", () => {
    socket.open();
    FakeWebSocket.latest.drop();
    expect(refused).toBe(1);
    vi.advanceTimersByTime(399);
    expect(FakeWebSocket.all).toHaveLength(1);
    vi.advanceTimersByTime(1);
    expect(FakeWebSocket.all).toHaveLength(2);
    FakeWebSocket.latest.drop();
    vi.advanceTimersByTime(799);
    expect(FakeWebSocket.all).toHaveLength(2);
    vi.advanceTimersByTime(1);
    FakeWebSocket.latest.accept();
    expect(states).toEqual(["connecting", "lost", "open"]);
    FakeWebSocket.latest.drop();
    vi.advanceTimersByTime(400);
    expect(FakeWebSocket.all).toHaveLength(4);
    expect(refused).toBe(2);
  });

  it("hands frames over only while it is open", () => {
    expect(socket.send({ type: "stop", session_id: "s" })).toBe(false);
    socket.open();
    expect(socket.send({ type: "stop", session_id: "s" })).toBe(false);
    FakeWebSocket.latest.accept();
    expect(socket.send({ type: "stop", session_id: "s" })).toBe(true);
    expect(FakeWebSocket.latest.sent).toHaveLength(1);
  });

  it("gives up a dial that nobody answers", () => {
    socket.open();
    vi.advanceTimersByTime(10_000);
    expect(FakeWebSocket.all[0]?.closed).toBe(true);
    vi.advanceTimersByTime(400);
    expect(FakeWebSocket.all).toHaveLength(2);
  });

  it("stays closed once closed, even in the middle of a backoff", () => {
    socket.open();
    FakeWebSocket.latest.drop();
    socket.close();
    vi.advanceTimersByTime(60_000);
    expect(FakeWebSocket.all).toHaveLength(1);
  });

  it("does not wait for the backoff when it is told that it may work now", () => {
    socket.open();
    FakeWebSocket.latest.drop();
    socket.redialNow();
    expect(FakeWebSocket.all).toHaveLength(2);
    vi.advanceTimersByTime(400);
    expect(FakeWebSocket.all).toHaveLength(2);
  });
});

describe("frames and addresses", () => {
  it("reads frames and nothing else", () => {
    expect(parseFrame('{"type":"hello","version":1}')).toMatchObject({ type: "hello" });
    for (const junk of ["", "null", "[]", "{}", "{", 7, new Blob()]) expect(parseFrame(junk)).toBeNull();
  });

  it("is as safe as the page itself", () => {
    expect(socketUrl({ protocol: "https:", host: "node:8443" })).toBe("wss://node:8443/api/v1/ws");
    expect(socketUrl({ protocol: "http:", host: "localhost" })).toBe("ws://localhost/api/v1/ws");
  });
});
