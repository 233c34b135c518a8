// The guest's rings and requests: good drivers of every layout, whose descriptors are then changed as a program says.

import { PackedDriver } from "../devices/support/packed-driver.ts";
import { type Part, RAM_BASE, type RingDriver, type RingPlace, type Used } from "../devices/support/ring-driver.ts";
import { SplitDriver } from "../devices/support/split-driver.ts";
import { Random } from "../support/simulation.ts";
import type { ExpectedDisk, ExpectedRequest } from "./expected-disk.ts";
import type { FuzzMemory } from "./fuzz-memory.ts";
import type { DescriptorChange, FuzzLayout, FuzzRange, RequestStep } from "./program.ts";
import { legacyPlace, type QueuePlace } from "./queue-places.ts";

export { RAM_BASE };
export const RAM_BYTES: number = 0x1_0000;
/** The greatest ring for which there is room. */
export const MAX_RING: number = 64;
export const MAX_QUEUES: number = 2;
const RING_BYTES = 0x2000;
const TABLES = 0x4000;
const TABLE_BYTES = 0x2000;
/** Seven entries, at no particular alignment. */
const TABLE_STRIDE = 115;
const MAX_ENTRIES = 7;
const BUFFERS = 0x8000;

const FIELDS = {
  split: { address: [0, 8], length: [8, 4], flags: [12, 2], "next or id": [14, 2] },
  packed: { address: [0, 8], length: [8, 4], flags: [14, 2], "next or id": [12, 2] },
} as const;

/** What the rings have of the features that were accepted. */
export interface RingFlags {
  readonly eventIndex: boolean;
  readonly indirect: boolean;
  readonly inOrder: boolean;
}

export class FuzzGuest {
  readonly #memory: FuzzMemory;
  readonly #layout: FuzzLayout;
  readonly #rings: { driver: RingDriver; place: RingPlace; inFlight: Map<number, ExpectedRequest> }[] = [];
  readonly #random = new Random(1);
  #free = BUFFERS;
  /** Where the status bytes lie of the requests since the last bring-up. */
  #statusAddresses: number[] = [];

  constructor(memory: FuzzMemory, layout: FuzzLayout) {
    this.#memory = memory;
    this.#layout = layout;
  }

  get inFlight(): number {
    return this.#rings.reduce((sum, { inFlight }) => sum + inFlight.size, 0);
  }

  /** What stands where requests since the last bring-up should find their status: 0xee where nobody wrote. */
  get statusBytes(): number[] {
    return this.#statusAddresses.map((address) => this.#memory.readU8(address));
  }

  /** Where queue `index` of this size lies when it lies well. */
  placeOf(index: number, size: number, alignBytes: number): QueuePlace {
    const base = RAM_BASE + index * RING_BYTES;
    if (this.#layout.startsWith("legacy")) return legacyPlace(base, size, alignBytes);
    return { size, descriptorArea: base, driverArea: base + 0x600, deviceArea: base + 0x1000 };
  }

  /** Fresh rings in zeroed RAM. */
  begin(places: readonly QueuePlace[], flags: RingFlags): void {
    const memory = this.#memory;
    memory.bytes.fill(0, 0, TABLES);
    this.#free = BUFFERS;
    this.#rings.length = 0;
    this.#statusAddresses = [];
    for (const [index, place] of places.entries()) {
      const packed = this.#layout === "packed";
      const bigEndian = this.#layout === "legacy big-endian";
      const tables = RAM_BASE + TABLES + index * TABLE_BYTES;
      const ring: RingPlace = {
        memory,
        layout: { ...place, ...flags, packed, bigEndian, notifyOnEmpty: false },
        tableAt: (slot) => tables + slot * TABLE_STRIDE,
        data: RAM_BASE + BUFFERS,
      };
      const driver = packed ? new PackedDriver(ring, (free) => this.#name(free)) : new SplitDriver(ring);
      this.#rings.push({ driver, place: ring, inFlight: new Map() });
    }
  }

  layoutOf(queue: number): RingPlace["layout"] | undefined {
    return this.#rings[queue]?.place.layout;
  }

  /** Makes a request available; false where there is no room for it. `disk` says what must come of it. */
  request(step: RequestStep, disk: ExpectedDisk): boolean {
    const ring = this.#rings[step.queue];
    if (ring === undefined) return false;
    if (this.inFlight === 0) this.#free = BUFFERS;
    const header = this.#headerBytes(step);
    const payload = this.#payload(step);
    const parts: Part[] = [...this.#place(step.header, false, header)];
    const data = this.#place(step.data, step.writable, payload);
    const status = this.#place(step.status === 0 ? [] : [step.status], true, undefined);
    parts.push(...data, ...status);
    if (this.#free > RAM_BYTES || parts.length > MAX_ENTRIES || parts.length === 0) return false;
    const before = step.changes.length === 0 ? undefined : Uint8Array.from(this.#memory.bytes.subarray(0, BUFFERS));
    const shape = ring.place.layout.indirect && (parts.length > 1 || step.shape !== "mixed") ? step.shape : "direct";
    const wanted = shape === "mixed" && ring.place.layout.packed ? "indirect" : shape;
    const added = ring.driver.add(parts, wanted);
    if (added === undefined) return false;
    if (before !== undefined) this.#change(step.changes, step.queue, before);
    const last = parts.at(-1)!;
    const statuses = disk.expect(step, payload.length);
    const statusAddress = last.address + last.lengthBytes - 1;
    if (step.status > 0) this.#statusAddresses.push(statusAddress);
    ring.inFlight.set(added.id, { step, data, statusAddress, payload, statuses });
    return true;
  }

  /** Takes back what was used: each with its status byte and what lies in its data buffers. */
  takeUsed(): { request: ExpectedRequest; used: Used; status: number; data: Uint8Array }[] {
    return this.#rings.flatMap(({ driver, inFlight }) =>
      driver.takeUsed().map((used) => {
        const request = inFlight.get(used.id)!;
        inFlight.delete(used.id);
        const data = Buffer.concat(
          request.data.map(({ address, lengthBytes }) => this.#memory.viewOf(address, lengthBytes)),
        );
        return { request, used, status: this.#memory.readU8(request.statusAddress), data };
      }),
    );
  }

  #name(free: (id: number) => boolean): number {
    for (;;) {
      const id = this.#random.below(0x10000);
      if (free(id)) return id;
    }
  }

  #place(lengths: readonly number[], writable: boolean, content: Uint8Array | undefined): Part[] {
    let done = 0;
    return lengths.map((lengthBytes) => {
      const at = this.#free;
      this.#free += lengthBytes + 1; // no buffer touches the next, and few are aligned
      if (this.#free <= RAM_BYTES) {
        const part = this.#memory.bytes.subarray(at, at + lengthBytes);
        if (writable) part.fill(0xee);
        else if (content !== undefined) part.set(content.subarray(done, done + lengthBytes));
      }
      done += lengthBytes;
      return { address: RAM_BASE + at, lengthBytes, writable };
    });
  }

  #headerBytes({ type, sector }: RequestStep): Uint8Array {
    const bytes = new Uint8Array(64);
    const view = new DataView(bytes.buffer);
    const little = this.#layout !== "legacy big-endian";
    view.setUint32(0, type, little);
    view.setUint32(4, 0xdead_beef, little);
    view.setBigUint64(8, BigInt(sector), little);
    return bytes;
  }

  #payload(step: RequestStep): Uint8Array {
    const bytes = new Uint8Array(step.data.reduce((sum, length) => sum + length, 0));
    const salt = step.type + Number(BigInt(step.sector) % 251n);
    for (let i = 0; i < bytes.length; i++) bytes[i] = Math.imul(i + salt, 0x9e37_79b1) >>> 24;
    const view = new DataView(bytes.buffer);
    for (const [i, range] of step.ranges.entries())
      if (16 * (i + 1) <= bytes.length) this.#writeRange(view, 16 * i, range);
    return bytes;
  }

  #writeRange(view: DataView, at: number, { sector, sectors, flags }: FuzzRange): void {
    const little = this.#layout !== "legacy big-endian";
    view.setBigUint64(at, BigInt(sector), little);
    view.setUint32(at + 8, sectors, little);
    view.setUint32(at + 12, flags, little);
  }

  /** Changes descriptors of a queue that are not what they were `before`. */
  #change(changes: readonly DescriptorChange[], queue: number, before: Uint8Array): void {
    const { bytes, view } = this.#memory;
    const { descriptorArea, size } = this.#rings[queue]!.place.layout;
    const written: number[] = [];
    const note = (from: number, entries: number): void => {
      for (let at = from; at < from + 16 * entries; at += 16) if (differs(bytes, before, at)) written.push(at);
    };
    note(descriptorArea - RAM_BASE, size);
    const tables = TABLES + queue * TABLE_BYTES;
    for (let slot = 0; slot < size; slot++) note(tables + slot * TABLE_STRIDE, MAX_ENTRIES);
    if (written.length === 0) return; // the ring lies over what it describes
    const little = this.#layout !== "legacy big-endian";
    for (const { entry, field, value, flip } of changes) {
      const at = written[entry % written.length]!;
      const [offset, width] = FIELDS[this.#layout === "packed" ? "packed" : "split"][field];
      const given = BigInt(value);
      if (width === 8)
        view.setBigUint64(
          at + offset,
          BigInt.asUintN(64, flip ? view.getBigUint64(at + offset, little) ^ given : given),
          little,
        );
      else if (width === 4)
        view.setUint32(
          at + offset,
          Number(BigInt.asUintN(32, flip ? BigInt(view.getUint32(at + offset, little)) ^ given : given)),
          little,
        );
      else
        view.setUint16(
          at + offset,
          Number(BigInt.asUintN(16, flip ? BigInt(view.getUint16(at + offset, little)) ^ given : given)),
          little,
        );
    }
  }
}

function differs(bytes: Uint8Array, before: Uint8Array, at: number): boolean {
  for (let i = at; i < at + 16; i++) if (bytes[i] !== before[i]) return true;
  return false;
}
