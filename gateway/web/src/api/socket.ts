// The only WebSocket of the page. It keeps itself alive: after a loss it dials again, each time a little later and
// never at the same moment as the other browsers that lost the same node.

import type { AnswerStartedFrame, ClientFrame, ServerFrame } from "./frames";

/** `connecting` is only the very first dial; afterwards a socket that is not open is `lost`. */
export type SocketState = "closed" | "connecting" | "open" | "lost";

const FIRST_DELAY_MS = 400;
const LONGEST_DELAY_MS = 15_000;
/** A dial that is neither accepted nor refused (a sleeping router) must not block the next one. */
const DIAL_DEADLINE_MS = 10_000;

/** Half of the delay is fixed and half is chance: a restarted node is not hit by everybody at once. */
export function backoff(attempt: number, random: () => number): number {
  const ceiling = Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * 2 ** attempt);
  return Math.round(ceiling / 2 + (ceiling / 2) * random());
}

export interface SocketEvents {
  onFrame(frame: ServerFrame): void;
  onState(state: SocketState): void;
  /** A dial failed; the cause is hidden from scripts, so the owner may ask over HTTP whether it is the sign-in. */
  onRefused(): void;
}

export function socketUrl(location: { protocol: string; host: string }): string {
  return `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/api/v1/ws`;
}

export class LiveSocket {
  #socket: WebSocket | null = null;
  #state: SocketState = "closed";
  #attempt = 0;
  #redial: ReturnType<typeof setTimeout> | undefined;
  #deadline: ReturnType<typeof setTimeout> | undefined;
  /** Which answer each stream of this connection says. */
  #streams = new Map<number, AnswerStartedFrame>();

  constructor(
    private readonly url: string,
    private readonly events: SocketEvents,
    private readonly random: () => number = Math.random,
  ) {}

  get state(): SocketState {
    return this.#state;
  }

  open(): void {
    if (this.#state !== "closed") return;
    this.#attempt = 0;
    this.#setState("connecting");
    this.#dial();
  }

  close(): void {
    clearTimeout(this.#redial);
    this.#abandon();
    this.#setState("closed");
  }

  /** False when the frame could not be handed over; the caller keeps it. */
  send(frame: ClientFrame): boolean {
    if (this.#state !== "open" || this.#socket === null) return false;
    this.#socket.send(JSON.stringify(frame));
    return true;
  }

  /** The person, or the browser's network, says that it may work now: do not wait for the backoff. */
  redialNow(): void {
    if (this.#state !== "lost") return;
    clearTimeout(this.#redial);
    this.#abandon();
    this.#dial();
  }

  /** A connection that looks open but does not answer any more is given up by hand. */
  restart(): void {
    if (this.#state !== "open") return;
    this.#abandon();
    this.#lose();
  }

  #dial(): void {
    const socket = new WebSocket(this.url);
    this.#socket = socket;
    this.#streams.clear();
    let welcomed = false;
    socket.onopen = () => {
      clearTimeout(this.#deadline);
      welcomed = true;
      this.#setState("open");
    };
    socket.onmessage = (event) => this.#read(event.data);
    socket.onclose = () => {
      if (this.#socket !== socket) return;
      this.#abandon();
      if (!welcomed) this.events.onRefused();
      // `onRefused` may have closed us for good.
      if (this.#state !== "closed") this.#lose();
    };
    this.#deadline = setTimeout(() => {
      this.#abandon();
      this.#lose();
    }, DIAL_DEADLINE_MS);
  }

  #lose(): void {
    this.#setState("lost");
    this.#redial = setTimeout(() => this.#dial(), backoff(this.#attempt++, this.random));
  }

  #abandon(): void {
    clearTimeout(this.#deadline);
    const socket = this.#socket;
    this.#socket = null;
    if (socket === null) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
  }

  #read(data: unknown): void {
    const frame = parseFrame(data, this.#streams);
    if (frame === null) return;
    if (frame.type === "answer_started") this.#streams.set(frame.stream, frame);
    if (frame.type === "answer_finished" && typeof frame.stream === "number") this.#streams.delete(frame.stream);
    // Only a node that really talks ends the backoff; one that accepts and hangs up does not.
    if (frame.type === "hello") this.#attempt = 0;
    this.events.onFrame(frame);
  }

  #setState(state: SocketState): void {
    if (this.#state === state) return;
    this.#state = state;
    this.events.onState(state);
  }
}

/** Frames of a type the page does not know are passed on and ignored there: a newer node may say more. */
export function parseFrame(data: unknown, streams: ReadonlyMap<number, AnswerStartedFrame> = new Map()): ServerFrame | null {
  if (typeof data !== "string") return null;
  try {
    const value: unknown = JSON.parse(data);
    if (Array.isArray(value)) return parsePiece(value, streams);
    if (typeof value !== "object" || value === null || !("type" in value)) return null;
    return value as ServerFrame;
  } catch {
    return null;
  }
}

/** A piece of an answer: number of the stream, characters before it, the text. */
function parsePiece(value: unknown[], streams: ReadonlyMap<number, AnswerStartedFrame>): ServerFrame | null {
  const [stream, at, text] = value;
  if (typeof stream !== "number" || typeof at !== "number" || typeof text !== "string") return null;
  const started = streams.get(stream);
  if (started === undefined) return null;
  return { type: "token", session_id: started.session_id, answer_id: started.answer_id, at, text };
}
