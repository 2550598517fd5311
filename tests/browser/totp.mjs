// The authenticator app of a test: codes as RFC 6238 has them, each used once.

import { createHmac } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";

const STEP_MS = 30_000;
const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

function bytesOf(secret) {
  const bits = [...secret].map((character) => ALPHABET.indexOf(character).toString(2).padStart(5, "0")).join("");
  return Buffer.from(bits.match(/.{8}/g).map((byte) => Number.parseInt(byte, 2)));
}

export function codeOf(secret, step) {
  const counter = Buffer.alloc(8);
  counter.writeBigUInt64BE(BigInt(step));
  const mac = createHmac("sha1", bytesOf(secret)).update(counter).digest();
  const number = mac.readUInt32BE(mac[19] & 0x0f) & 0x7fff_ffff;
  return String(number % 1_000_000).padStart(6, "0");
}

export class Authenticator {
  #last = 0;

  constructor(secret) {
    this.secret = secret;
  }

  /** A code that was not given before. The node takes those of half a minute ago and ahead, so this seldom has to wait. */
  async code() {
    const present = () => Math.floor(Date.now() / STEP_MS);
    const step = Math.max(this.#last + 1, present() - 1);
    while (step > present() + 1) await delay(STEP_MS - (Date.now() % STEP_MS) + 100);
    this.#last = step;
    return codeOf(this.secret, step);
  }
}
