// A device under load with the guest's half of the work left out: descriptors stand ready in the ring, and a batch is one store and two register writes.

import { VirtioBlk, VirtioMmio } from "../devices/index.ts";
import { Guest, InProcessTarget } from "../guest/index.ts";
import { type Clock, systemClock } from "../src/base/clock.ts";
import { BlockBackend } from "../src/block/backend.ts";
import type { BlockNode } from "../src/block/node.ts";
import { GuestMemory } from "../src/memory/guest-memory.ts";
import { InterruptLine } from "../src/memory/interrupt-line.ts";

export const REQUEST_BYTES = 4096;
const QUEUE_SIZE = 256;
/** Requests that stand ready, three descriptors each. */
export const PREPARED = 64;
const SECTORS_PER_REQUEST = REQUEST_BYTES / 512;

/** The clock is asked as always, but no turn of the event loop is ever over: all requests of a batch are finished within it. */
const ENDLESS_TURN: Clock = { ...systemClock, nowMs: () => systemClock.nowMs() * 0 };

export interface RequestRigOptions {
  readonly node: BlockNode;
  readonly kind: "read" | "write";
  /** Requests per notification, 1 to 64. */
  readonly batch: number;
  /** Every request goes to a new place, one after another; otherwise there are 64 places. */
  readonly sequential?: boolean;
}

/**
 * One guest with one disk, RAM in a SharedArrayBuffer, event index and indirect negotiated as Linux does. What `run` costs is the
 * device's and the block layer's: from QueueNotify to the used ring and the interrupt line, and InterruptACK.
 */
export class RequestRig {
  readonly #bank: VirtioMmio;
  readonly #u16: Uint16Array;
  readonly #u32: Uint32Array;
  readonly #batch: number;
  readonly #sequential: boolean;
  readonly #places: number;
  readonly #availIndex: number;
  readonly #usedIndex: number;
  readonly #sectors: number[] = [];
  #avail = 0;
  #place = 0;

  constructor(options: RequestRigOptions) {
    const { node, kind, batch, sequential = false } = options;
    const memory = new GuestMemory({ sizeBytes: 1 << 20 });
    const line = new InterruptLine();
    const backend = new BlockBackend({ name: "drive0", node });
    this.#bank = new VirtioMmio({ device: new VirtioBlk({ backend, clock: ENDLESS_TURN }), memory, line });
    const guest = new Guest(new InProcessTarget({ memory, region: this.#bank, line }));
    this.#u16 = memory.u16;
    this.#u32 = memory.u32;
    this.#batch = batch;
    this.#sequential = sequential;
    this.#places = node.lengthBytes / REQUEST_BYTES;

    const { registers } = guest;
    registers.status = 3;
    registers.driverFeatures = 0x3000_0200; // FLUSH, INDIRECT_DESC, EVENT_IDX
    registers.status = 0x0b;
    const queue = guest.rawSplitQueue(QUEUE_SIZE);
    queue.enable(registers);
    registers.status = 0x0f;
    this.#availIndex = (queue.layout.availableRing + 2) / 2;
    this.#usedIndex = (queue.layout.usedRing + 2) / 2;

    const dataFlag = kind === "read" ? 2 : 0;
    // No power of two: the places would share a few lines of the processor's cache.
    const stride = Math.max(1, Math.floor(this.#places / PREPARED) - 1);
    for (let i = 0; i < PREPARED; i++) {
      const header = guest.allocator.allocate(16);
      const data = guest.allocator.allocate(REQUEST_BYTES, 4096);
      const status = guest.allocator.allocate(16);
      memory.writeU32(header, kind === "read" ? 0 : 1);
      memory.writeU32(header + 8, i * stride * SECTORS_PER_REQUEST);
      this.#sectors.push((header + 8) / 4);
      memory.viewOf(data, REQUEST_BYTES).fill(i + 1);
      const head = 3 * i;
      queue.writeDescriptor(head, { address: header, lengthBytes: 16, flags: 1, next: head + 1 });
      queue.writeDescriptor(head + 1, {
        address: data,
        lengthBytes: REQUEST_BYTES,
        flags: 1 | dataFlag,
        next: head + 2,
      });
      queue.writeDescriptor(head + 2, { address: status, lengthBytes: 1, flags: 2 });
    }
    for (let slot = 0; slot < QUEUE_SIZE; slot++) queue.writeAvailable(slot, 3 * (slot % PREPARED));
  }

  /** Makes `batches` batches, all of which the device finishes at once. */
  run(batches: number): void {
    const usedEvent = this.#availIndex + 1 + QUEUE_SIZE;
    for (let i = 0; i < batches; i++) {
      if (this.#sequential) this.#moveOn();
      const before = this.#avail;
      this.#avail = (before + this.#batch) & 0xffff;
      this.#u16[usedEvent] = before; // an interrupt at the first used buffer, please
      Atomics.store(this.#u16, this.#availIndex, this.#avail);
      this.#bank.write(0x050, 4, 0);
      this.#bank.write(0x064, 4, 1);
    }
    if (Atomics.load(this.#u16, this.#usedIndex) !== this.#avail)
      throw new Error("not all requests were finished at once");
  }

  #moveOn(): void {
    for (let i = 0; i < this.#batch; i++) {
      const slot = (this.#avail + i) % PREPARED;
      this.#u32[this.#sectors[slot]!] = this.#place * SECTORS_PER_REQUEST;
      this.#place++;
      if (this.#place === this.#places) this.#place = 0;
    }
  }
}
