// A block backend: what a device, or any other user of a disk, holds of the block layer.

import { assert } from "../base/assert.ts";
import { BlockError } from "../base/errors.ts";
import type { IoVector } from "../base/io-vector.ts";
import type { NodeParent } from "./drain.ts";
import type { BlockNode, WriteZeroesRequestOptions } from "./node.ts";

/**
 * A user's end of a node. Requests pass to the node at once, except in a drained section, where they are held, in order,
 * until it ends. With the write cache off every change is on stable storage before it is acknowledged.
 *
 * As with the node, what is done when the call returns gives `undefined`, and errors are `BlockError`s, thrown or rejected.
 */
export class BlockBackend {
  readonly name: string;
  readonly node: BlockNode;
  readonly readOnly: boolean;
  /** Writes may be acknowledged before they are on stable storage; the guest may switch it. */
  writeCache: boolean;
  readonly #asParent: NodeParent;
  readonly #resizeListeners: ((lengthBytes: number) => void)[] = [];
  #drains = 0;
  #inFlight = 0;
  /** Requests that wait for a drained section to end. */
  #held = 0;
  #release: (() => void)[] = [];
  #idleWaiters: (() => void)[] = [];
  #closed = false;

  constructor(options: { name: string; node: BlockNode; readOnly?: boolean; writeCache?: boolean }) {
    const { name, node, readOnly = false, writeCache = true } = options;
    this.name = name;
    this.node = node;
    this.readOnly = readOnly || node.readOnly;
    this.writeCache = writeCache;
    this.#asParent = {
      parentName: `block device '${name}'`,
      beginDrain: () => {
        this.#drains++;
      },
      untilQuiet: () => this.untilIdle(),
      endDrain: () => this.#endDrain(),
      resized: (lengthBytes) => {
        for (const listener of this.#resizeListeners) listener(lengthBytes);
      },
    };
    node.attachParent(this.#asParent);
  }

  get lengthBytes(): number {
    return this.node.lengthBytes;
  }

  /** Requests handed to the node and not yet ended. */
  get inFlight(): number {
    return this.#inFlight;
  }

  /** Calls `listener` with each new length. */
  onResize(listener: (lengthBytes: number) => void): void {
    this.#resizeListeners.push(listener);
  }

  read(offsetBytes: number, vector: IoVector): void | Promise<void> {
    if (this.#drains > 0) return this.#afterDrain(() => this.read(offsetBytes, vector));
    assert(!this.#closed, "backend: request after close");
    const pending = this.node.read(offsetBytes, vector);
    if (pending !== undefined) return this.#count(pending);
  }

  write(offsetBytes: number, vector: IoVector): void | Promise<void> {
    if (this.#drains > 0) return this.#afterDrain(() => this.write(offsetBytes, vector));
    this.#checkWritable();
    return this.#committed(this.node.write(offsetBytes, vector));
  }

  writeZeroes(offsetBytes: number, lengthBytes: number, options?: WriteZeroesRequestOptions): void | Promise<void> {
    if (this.#drains > 0) return this.#afterDrain(() => this.writeZeroes(offsetBytes, lengthBytes, options));
    this.#checkWritable();
    return this.#committed(this.node.writeZeroes(offsetBytes, lengthBytes, options));
  }

  discard(offsetBytes: number, lengthBytes: number): void | Promise<void> {
    if (this.#drains > 0) return this.#afterDrain(() => this.discard(offsetBytes, lengthBytes));
    this.#checkWritable();
    return this.#committed(this.node.discard(offsetBytes, lengthBytes));
  }

  flush(): void | Promise<void> {
    if (this.#drains > 0) return this.#afterDrain(() => this.flush());
    assert(!this.#closed, "backend: request after close");
    const pending = this.node.flush();
    if (pending !== undefined) return this.#count(pending);
  }

  /** Undefined when nothing is in flight; else resolves once nothing was, though new requests may have begun by then. */
  untilIdle(): Promise<void> | undefined {
    if (this.#inFlight === 0) return undefined;
    return new Promise((resolve) => this.#idleWaiters.push(resolve));
  }

  /** Lets the node go. The caller has made sure that nothing is in flight. */
  close(): void {
    assert(this.#inFlight === 0 && this.#held === 0, "backend: closed with requests in flight");
    assert(!this.#closed, "backend: closed twice");
    this.#closed = true;
    this.node.detachParent(this.#asParent);
  }

  #checkWritable(): void {
    assert(!this.#closed, "backend: request after close");
    if (this.readOnly) throw new BlockError("EPERM");
  }

  /** A change: with the write cache off, done when it is on stable storage. */
  #committed(pending: void | Promise<void>): void | Promise<void> {
    if (this.writeCache) return pending === undefined ? undefined : this.#count(pending);
    if (pending !== undefined) return this.#count(pending.then(() => this.node.flush()));
    const flush = this.node.flush();
    if (flush !== undefined) return this.#count(flush);
  }

  async #count(pending: Promise<void>): Promise<void> {
    this.#inFlight++;
    try {
      await pending;
    } finally {
      this.#inFlight--;
      if (this.#inFlight === 0) this.#wakeIdle();
    }
  }

  async #afterDrain(request: () => void | Promise<void>): Promise<void> {
    this.#held++;
    await new Promise<void>((resolve) => this.#release.push(resolve));
    this.#held--;
    return request();
  }

  #endDrain(): void {
    this.#drains--;
    if (this.#drains > 0) return;
    const released = this.#release;
    this.#release = [];
    for (const release of released) release();
  }

  #wakeIdle(): void {
    const waiters = this.#idleWaiters;
    this.#idleWaiters = [];
    for (const wake of waiters) wake();
  }
}
