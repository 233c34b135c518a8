// The guest of one virtio-mmio device: what a script starts from.

import type { Clock } from "../src/base/clock.ts";
import { GuestAllocator } from "./allocator.ts";
import { Disk } from "./disk.ts";
import { GuestClosedError } from "./errors.ts";
import { RawSplitQueue } from "./raw-split-queue.ts";
import { VirtioMmioRegisters } from "./registers.ts";
import type { GuestTarget } from "./target.ts";
import { VirtioBlkDriver } from "./virtio-blk-driver.ts";
import type { VirtioBlkDriverOptions } from "./virtio-blk-driver-options.ts";

/** How to make a `Guest`. */
export interface GuestOptions {
  /** Ends the guest when it is aborted, as `close` does, with the signal's reason. */
  readonly signal?: AbortSignal;
  /** The part of RAM that the allocator hands out; all of it by default. */
  readonly heap?: { readonly address: number; readonly lengthBytes: number };
}

/** How to probe a disk. */
export type ProbeOptions = VirtioBlkDriverOptions;

/** Nothing is put at address 0: some devices take it for "no address". */
const NULL_BYTES = 16;

/**
 * A guest at two heights. `probe` drives the device by the rules and gives a `Disk`; `registers`, `allocator`, `target` and
 * `rawSplitQueue` let a script write what it likes. Both at once on one queue is for scripts that know what they do.
 */
export class Guest {
  /** Registers, RAM and interrupt of the machine. */
  readonly target: GuestTarget;
  /** The registers by name, unchecked. */
  readonly registers: VirtioMmioRegisters;
  /** Hands out RAM. A `Disk` takes its ring and its buffers from here too. */
  readonly allocator: GuestAllocator;
  readonly #ending = new AbortController();
  readonly #outer: AbortSignal | undefined;
  #driver: VirtioBlkDriver | undefined;
  #probing = false;
  #closed: Promise<void> | undefined;

  constructor(target: GuestTarget, options: GuestOptions = {}) {
    this.target = target;
    this.registers = new VirtioMmioRegisters(target);
    const skip = target.ramBase === 0 ? NULL_BYTES : 0;
    const { address, lengthBytes } = options.heap ?? {
      address: target.ramBase + skip,
      lengthBytes: target.ramSizeBytes - skip,
    };
    this.allocator = new GuestAllocator(address, lengthBytes);
    this.#outer = options.signal;
    if (this.#outer?.aborted) this.#end(this.#outer.reason);
    else this.#outer?.addEventListener("abort", this.#onOuterAbort);
  }

  get clock(): Clock {
    return this.target.clock;
  }

  /** Aborted when the guest ends. */
  get signal(): AbortSignal {
    return this.#ending.signal;
  }

  /**
   * Resets the device, negotiates and sets it up. A disk probed before is dead from then on: its requests reject with a
   * `GuestClosedError`. Rejects with a `GuestDriverError` when there is no block device or it cannot be driven.
   */
  async probe(options: ProbeOptions = {}): Promise<Disk> {
    this.signal.throwIfAborted();
    if (this.#probing) throw new Error("probe: already under way");
    this.#probing = true;
    try {
      await this.clock.yield(); // a loop of probes must leave room for others too
      this.signal.throwIfAborted();
      const driver = new VirtioBlkDriver(this.target, this.allocator, options);
      driver.identify();
      this.#driver?.end(new GuestClosedError("the device was probed again"));
      await driver.transport.reset();
      this.#releaseDriver();
      this.signal.throwIfAborted();
      this.#driver = driver;
      driver.start();
      return new Disk(driver);
    } finally {
      this.#probing = false;
    }
  }

  /** A zeroed split virtqueue of `size` descriptors, for the script to fill. The device does not know of it until `enable`. */
  rawSplitQueue(size: number): RawSplitQueue {
    return RawSplitQueue.at(this.target, this.allocator.allocate(RawSplitQueue.bytesFor(size)), size);
  }

  /**
   * Resolves true once the interrupt line is raised (at once if it is), false after `timeoutMs` without that. Rejects when the
   * guest ends, or with the reason of `signal`.
   */
  waitForInterrupt(options: { timeoutMs?: number; signal?: AbortSignal } = {}): Promise<boolean> {
    const { signal = this.signal } = options;
    const both = signal === this.signal ? signal : AbortSignal.any([signal, this.signal]);
    return this.target.waitForInterrupt({ ...options, signal: both });
  }

  /**
   * Ends the guest: everything under way rejects with `reason`, a device that was probed is reset, and the promise resolves once
   * that is over. Rejects with a `GuestDriverError` when the device does not answer the reset. Later calls change nothing and
   * return the same promise.
   */
  close(reason: unknown = new GuestClosedError("the guest was closed")): Promise<void> {
    this.#closed ??= this.#close(reason);
    return this.#closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #close(reason: unknown): Promise<void> {
    this.#outer?.removeEventListener("abort", this.#onOuterAbort);
    const driver = this.#driver;
    this.#end(reason);
    if (driver === undefined) return;
    await driver.transport.reset();
    this.#releaseDriver();
  }

  readonly #onOuterAbort = (): void => {
    this.#end(this.#outer?.reason);
    // Whoever aborts does not wait for it: the device is told to stop. `close` waits.
    this.#driver?.transport.startReset();
  };

  #end(reason: unknown): void {
    this.#driver?.end(reason);
    this.#ending.abort(reason);
  }

  #releaseDriver(): void {
    this.#driver?.release();
    this.#driver = undefined;
  }
}
