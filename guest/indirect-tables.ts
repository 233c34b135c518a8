// RAM for indirect descriptor tables, by the token of the chain that uses them: VIRTIO 1.4 §2.7.5.3, §2.8.7.

import type { GuestAllocator } from "./allocator.ts";
import { VIRTQ_DESC_BYTES } from "./constants/ring.ts";

const NONE = -1;
/** A table for so many descriptors lies ready beside each descriptor of the ring; a longer chain gets one of its own. */
const READY_TABLE_DESCRIPTORS = 4;
const READY_TABLE_BYTES = READY_TABLE_DESCRIPTORS * VIRTQ_DESC_BYTES;
/** The ready tables may take one in so many bytes of the RAM that is free; else every chain gets a table of its own. */
const READY_TABLES_SHARE_OF_RAM = 4;

/** Short tables lie ready, so that a request costs no allocation. */
export class IndirectTables {
  readonly #allocator: GuestAllocator;
  /** Address of the ready tables, or -1. */
  readonly #ready: number;
  /** Per token: address of the chain's own table, or -1. */
  readonly #own: Float64Array;

  /** `size`: tokens. */
  constructor(allocator: GuestAllocator, size: number) {
    this.#allocator = allocator;
    const readyBytes = size * READY_TABLE_BYTES;
    const affordable = readyBytes * READY_TABLES_SHARE_OF_RAM <= allocator.freeBytes;
    this.#ready = affordable ? allocator.tryAllocate(readyBytes) : NONE;
    this.#own = new Float64Array(size).fill(NONE);
  }

  /** The address of a table of `descriptors` descriptors for the chain `token`, or -1 when there is no RAM for it. */
  take(token: number, descriptors: number): number {
    if (this.#ready !== NONE && descriptors <= READY_TABLE_DESCRIPTORS) return this.#ready + READY_TABLE_BYTES * token;
    const table = this.#allocator.tryAllocate(VIRTQ_DESC_BYTES * descriptors);
    if (table >= 0) this.#own[token] = table;
    return table;
  }

  /** The device has used the chain `token`. */
  giveBack(token: number): void {
    const table = this.#own[token]!;
    if (table === NONE) return;
    this.#allocator.free(table);
    this.#own[token] = NONE;
  }

  /** Gives all RAM back. */
  release(): void {
    for (const table of this.#own) if (table !== NONE) this.#allocator.free(table);
    this.#own.fill(NONE);
    if (this.#ready !== NONE) this.#allocator.free(this.#ready);
  }
}
