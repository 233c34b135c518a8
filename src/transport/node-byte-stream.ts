// A ByteStream on Node's streams: a socket, or the two ends of stdio.

import type { Readable, Writable } from "node:stream";
import { assert } from "../base/assert.ts";
import { BlockError } from "../base/errors.ts";
import type { ByteStream, ByteStreamListener } from "./byte-stream.ts";

/** What a connection is made of; a socket is both ends. Both must be open, and nobody may have read yet. */
export interface NodeStreamEnds {
  readonly name: string;
  readonly readable: Readable;
  readonly writable: Writable;
  /** The end of the input says nothing about who reads the output: it is not reported. */
  readonly ignoreEnd?: boolean;
}

export class NodeByteStream implements ByteStream {
  readonly name: string;
  readonly closed: Promise<void>;
  readonly #readable: Readable;
  readonly #writable: Writable;
  readonly #ignoreEnd: boolean;
  #settleClosed: () => void = () => {};
  #finished: Promise<void> = Promise.resolve();
  #listener: ByteStreamListener | undefined;
  #error: BlockError | undefined;
  #paused = false;
  #ended = false;
  #isClosed = false;

  constructor({ name, readable, writable, ignoreEnd = false }: NodeStreamEnds) {
    this.name = name;
    this.#readable = readable;
    this.#writable = writable;
    this.#ignoreEnd = ignoreEnd;
    this.closed = new Promise((resolve) => {
      this.#settleClosed = resolve;
    });
    readable.pause();
    for (const end of new Set([readable, writable])) {
      end.on("error", (error) => this.#fail(error));
      // The input of stdio that ends closes as well: what decides is the end that replies go to.
      if (end === writable || !ignoreEnd) end.on("close", () => this.#close());
    }
    writable.on("drain", () => {
      if (!this.#isClosed && !this.#ended) this.#listener?.onDrain?.();
    });
  }

  get backlogBytes(): number {
    return this.#writable.writableLength;
  }

  attach(listener: ByteStreamListener): void {
    assert(this.#listener === undefined, `${this.name} has a listener already`);
    this.#listener = listener;
    if (this.#isClosed) {
      queueMicrotask(() => listener.onClose(this.#error));
      return;
    }
    this.#readable.on("data", (bytes: Uint8Array) => {
      if (!this.#isClosed && !this.#ended) listener.onData(bytes);
    });
    this.#readable.on("end", () => {
      if (!this.#isClosed && !this.#ended && !this.#ignoreEnd) listener.onEnd();
    });
    if (!this.#paused) this.#readable.resume();
  }

  pause(): void {
    this.#paused = true;
    this.#readable.pause();
  }

  resume(): void {
    this.#paused = false;
    if (this.#listener !== undefined) this.#readable.resume();
  }

  write(bytes: Uint8Array): boolean {
    if (this.#ended || this.#isClosed) return true;
    return this.#writable.write(bytes);
  }

  end(): Promise<void> {
    if (this.#ended || this.#isClosed) return this.#finished;
    this.#ended = true;
    const written = new Promise<void>((resolve) => this.#writable.once("finish", resolve));
    this.#finished = Promise.race([written, this.closed]);
    this.#writable.end();
    // A peer's end is only noticed behind what it has sent: read on, and drop it.
    if (this.#listener === undefined) this.#readable.on("data", () => {});
    this.#readable.resume();
    return this.#finished;
  }

  close(): void {
    if (this.#isClosed) return;
    this.#readable.destroy();
    this.#writable.destroy();
    this.#close();
  }

  #fail(error: Error): void {
    if (this.#isClosed) return;
    this.#error = BlockError.from(error, this.name);
    this.close();
  }

  #close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#settleClosed();
    this.#listener?.onClose(this.#error);
  }
}
