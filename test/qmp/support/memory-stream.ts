// A byte stream whose other end is the test: it sends, reads or does not read, ends and leaves as it likes.
import type { BlockError } from "../../../src/base/errors.ts";
import type { ByteStream, ByteStreamListener } from "../../../src/transport/byte-stream.ts";

const latin1 = (text: string) => Uint8Array.from(text, (character) => character.charCodeAt(0));

export class MemoryStream implements ByteStream {
  readonly name = "memory";
  readonly closed: Promise<void>;
  /** False while the client does not read. */
  reads = true;
  /** True once our side has said that it writes no more. */
  ended = false;
  isClosed = false;
  paused = false;
  text = "";
  writes = 0;
  #unread = "";
  #unsent: Uint8Array[] = [];
  #listener: ByteStreamListener | undefined;
  #settleClosed: () => void = () => {};
  #waiting: (() => void)[] = [];

  constructor() {
    this.closed = new Promise((resolve) => {
      this.#settleClosed = resolve;
    });
  }

  // The session's side.

  get backlogBytes(): number {
    return this.#unread.length;
  }

  attach(listener: ByteStreamListener): void {
    this.#listener = listener;
  }

  pause(): void {
    this.paused = true;
  }

  resume(): void {
    this.paused = false;
    this.#deliver();
  }

  write(bytes: Uint8Array): boolean {
    if (this.ended || this.isClosed) return true;
    this.writes++;
    this.#unread += String.fromCharCode(...bytes.subarray(0, 1 << 16));
    for (let at = 1 << 16; at < bytes.length; at += 1 << 16)
      this.#unread += String.fromCharCode(...bytes.subarray(at, at + (1 << 16)));
    if (!this.reads) return false;
    this.#take();
    return true;
  }

  end(): Promise<void> {
    this.ended = true;
    if (this.reads) this.close();
    return this.closed;
  }

  close(): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.#settleClosed();
    this.#listener?.onClose();
    this.#tell();
  }

  // The client's side.

  /** Sends bytes, written as Latin-1. */
  send(text: string): void {
    this.#unsent.push(latin1(text));
    this.#deliver();
  }

  /** Sends no more. */
  finish(): void {
    this.#listener?.onEnd();
  }

  /** Is gone. */
  leave(error?: BlockError): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.#settleClosed();
    this.#listener?.onClose(error);
    this.#tell();
  }

  /** Reads again, all that is there. */
  readAll(): void {
    this.reads = true;
    this.#take();
    if (this.ended) this.close();
    else this.#listener?.onDrain?.();
  }

  /** What has come so far, a message each. */
  get messages(): Record<string, unknown>[] {
    return this.lines.map((line) => JSON.parse(line) as Record<string, unknown>);
  }

  get lines(): string[] {
    return this.text.split("\r\n").slice(0, -1);
  }

  /** Resolves with all messages when there are so many, the greeting among them. */
  async until(count: number): Promise<Record<string, unknown>[]> {
    await this.untilTrue(() => this.lines.length >= count);
    return this.messages;
  }

  async untilTrue(condition: () => boolean): Promise<void> {
    while (!condition()) {
      if (this.isClosed) throw new Error(`closed after ${this.text}`);
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
  }

  #deliver(): void {
    for (let bytes = this.#unsent[0]; bytes !== undefined && !this.paused; bytes = this.#unsent[0]) {
      this.#unsent.shift();
      if (!this.isClosed) this.#listener?.onData(bytes);
    }
  }

  #take(): void {
    this.text += this.#unread;
    this.#unread = "";
    this.#tell();
  }

  #tell(): void {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }
}
