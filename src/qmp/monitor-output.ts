// What a monitor still has to tell a client who reads slowly, or not at all.

import type { ByteStream } from "../transport/byte-stream.ts";

const encoder = new TextEncoder();

/**
 * Messages on their way to one client, in order. While the stream is behind they are kept here and go out together, which is cheaper than
 * one write each. How many is too many is for the session to say.
 */
export class MonitorOutput {
  readonly #stream: ByteStream;
  readonly #waiting: { belowBytes: number; resolve: () => void }[] = [];
  #kept: string[] = [];
  #keptBytes = 0;
  #blocked = false;
  #closed = false;

  constructor(stream: ByteStream) {
    this.#stream = stream;
  }

  /** Bytes that the client has not read, as far as we know. */
  get backlogBytes(): number {
    return this.#keptBytes + this.#stream.backlogBytes;
  }

  /** Sends a message of ASCII characters. */
  send(message: string): void {
    if (this.#closed) return;
    if (this.#blocked) {
      this.#kept.push(message);
      this.#keptBytes += message.length;
    } else {
      this.#blocked = !this.#stream.write(encoder.encode(message));
    }
  }

  /** Resolves when fewer bytes wait, or when nothing is sent any more. */
  async untilBelow(belowBytes: number): Promise<void> {
    if (this.#closed || this.backlogBytes < belowBytes) return;
    await new Promise<void>((resolve) => this.#waiting.push({ belowBytes, resolve }));
  }

  /** The stream has taken what it had. */
  drained(): void {
    this.#blocked = false;
    this.#flush();
    for (const waiter of this.#waiting.splice(0)) {
      if (this.backlogBytes < waiter.belowBytes) waiter.resolve();
      else this.#waiting.push(waiter);
    }
  }

  /** Hands all that is kept to the stream, behind or not, and ends it. Resolves when the system has taken it. */
  end(): Promise<void> {
    this.#flush();
    const ended = this.#stream.end();
    this.closed();
    return ended;
  }

  /** The stream is closed: what is kept goes nowhere. */
  closed(): void {
    this.#closed = true;
    this.#kept = [];
    this.#keptBytes = 0;
    for (const { resolve } of this.#waiting.splice(0)) resolve();
  }

  #flush(): void {
    if (this.#kept.length === 0) return;
    const message = this.#kept.join("");
    this.#kept = [];
    this.#keptBytes = 0;
    this.#blocked = !this.#stream.write(encoder.encode(message));
  }
}
