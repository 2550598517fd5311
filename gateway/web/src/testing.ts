// Help for tests: a WebSocket and a gateway that do what the test says. Never part of the page (only tests import it).

import { vi } from "vitest";
import type { ClientFrame, Message, ServerFrame } from "@/api/frames";

export class FakeWebSocket {
  static all: FakeWebSocket[] = [];
  static get latest(): FakeWebSocket {
    const socket = FakeWebSocket.all.at(-1);
    if (socket === undefined) throw new Error("no socket was opened");
    return socket;
  }

  onopen: (() => void) | null = null;
  onmessage: ((event: { data: unknown }) => void) | null = null;
  onclose: (() => void) | null = null;
  sent: ClientFrame[] = [];
  /** Which dialogues the page says it looks at: beside what it sends. */
  opened: ClientFrame[] = [];
  closed = false;

  constructor(readonly url: string) {
    FakeWebSocket.all.push(this);
  }

  send(data: string): void {
    const frame = JSON.parse(data) as ClientFrame;
    (frame.type === "open" ? this.opened : this.sent).push(frame);
  }

  close(): void {
    this.closed = true;
  }

  accept(): void {
    this.onopen?.();
    this.receive({ type: "hello", version: 2, node: { id: "n1", name: "node-one" } });
  }

  receive(frame: ServerFrame): void {
    // A piece of an answer goes without names; tests have one stream at a time.
    const data = frame.type === "token" ? [1, frame.at, frame.text] : frame;
    this.onmessage?.({ data: JSON.stringify(data) });
  }

  /** The connection breaks, or a dial is refused. */
  drop(): void {
    this.onclose?.();
  }
}

export function useFakeWebSocket(): void {
  FakeWebSocket.all = [];
  vi.stubGlobal("WebSocket", FakeWebSocket);
}

export type Answer = { status: number; body?: unknown; headers?: Record<string, string> } | "unreachable";

/** Replaces `fetch`; every request is recorded as "METHOD /path" with its body. */
export function useFakeGateway(answer: (call: string, body: unknown) => Answer): { calls: string[] } {
  const calls: string[] = [];
  vi.stubGlobal("fetch", (path: string, init: RequestInit) => {
    const call = `${init.method ?? "GET"} ${path.replace("/api/v1", "")}`;
    calls.push(call);
    const result = answer(call, init.body === undefined ? undefined : JSON.parse(init.body as string));
    if (result === "unreachable") return Promise.reject(new TypeError("Failed to fetch"));
    const empty = result.status === 204;
    return Promise.resolve(
      new Response(empty ? null : JSON.stringify(result.body), { status: result.status, ...(result.headers ? { headers: result.headers } : {}) }),
    );
  });
  return { calls };
}

export function question(id: string, rest: Partial<Message> = {}): Message {
  return { id, role: "person", text: `text of ${id}`, at: 1000, truncated: false, state: "waiting", answered_by: null, ...rest };
}

export function answerTo(questionId: string, id: string, rest: Partial<Message> = {}): Message {
  return {
    id,
    role: "character",
    text: "the whole answer",
    at: 2000,
    truncated: false,
    state: "done",
    ending: "end",
    answered_by: { node_id: "n1", node_name: "node-one", model: "built-in" },
    question_id: questionId,
    ...rest,
  };
}
