// A driver's side of a virtqueue as a test holds it, whatever the layout: naive, and written from the standard alone.

import type { VirtqueueLayout } from "../../../devices/virtqueue/virtqueue.ts";
import { GuestMemory } from "../../../src/memory/guest-memory.ts";

/** One element of a buffer. */
export interface Part {
  readonly address: number;
  readonly lengthBytes: number;
  readonly writable: boolean;
}

/** How a buffer is described: descriptors in the ring, one that points to a table, or (split alone) some and then such a one. */
export type Shape = "direct" | "indirect" | "mixed";

/** What the driver knows of a buffer that it made available. */
export interface Available {
  readonly id: number;
  /** How far the used position moves over it: slots of a packed ring, 1 in a split one. */
  readonly units: number;
}

export interface Used {
  readonly id: number;
  readonly lengthBytes: number;
  /** A packed ring says whether the device wrote anything. */
  readonly wrote?: boolean;
}

export interface RingDriver {
  /** Makes a buffer available; undefined where there is no room for it. */
  add(parts: readonly Part[], shape: Shape): Available | undefined;
  /** Buffers used since the last call. */
  takeUsed(): Used[];
  /** Asks for interrupts: never, always, or (with EVENT_IDX) when the used position has passed `units`, counted from the start. */
  askFor(interrupts: "never" | "always" | number): void;
  /** Whether the device must interrupt when the used position moves from unit `from` to unit `to`. */
  isDue(from: number, to: number): boolean;
  /** The device asks for a notification of the next buffer that is made available after `units`. */
  isAskedAt(units: number): boolean;
}

/** Elements of one buffer, at most: a table of them has its place beside each descriptor. */
export const MAX_PARTS = 5;
const TABLE_BYTES = 16 * MAX_PARTS + 3;

/** Where everything lies: the ring's three areas, then room for tables, then for buffers. */
export interface RingPlace {
  readonly memory: GuestMemory;
  readonly layout: VirtqueueLayout;
  /** Where the table of descriptor `slot` lies: at no particular alignment. */
  readonly tableAt: (slot: number) => number;
  readonly data: number;
}

export const RAM_BASE = 0x4000_0000;
const DATA_BYTES = 4096;

/** RAM with a ring at its start, zeroed as a driver leaves it: §2.7, §2.8.13. The RAM is `given`, or just large enough. */
export function placeRing(
  features: Partial<VirtqueueLayout> & { readonly size: number },
  given?: GuestMemory,
): RingPlace {
  const { size } = features;
  const areas = {
    descriptorArea: RAM_BASE + 32,
    driverArea: RAM_BASE + 64 + 16 * size,
    deviceArea: RAM_BASE + 96 + 4 * Math.ceil((18 * size + 6) / 4),
  };
  const tables = areas.deviceArea + 8 * size + 64;
  const data = tables + size * TABLE_BYTES;
  const sizeBytes = Math.ceil((data - RAM_BASE + DATA_BYTES) / 16) * 16;
  const layout = {
    ...areas,
    packed: false,
    eventIndex: false,
    indirect: false,
    inOrder: false,
    notifyOnEmpty: false,
    bigEndian: false,
    ...features,
  };
  const memory = given ?? new GuestMemory({ baseAddress: RAM_BASE, sizeBytes });
  if (given !== undefined) given.bytes.fill(0, 0, data - RAM_BASE);
  return { memory, layout, tableAt: (slot) => tables + slot * TABLE_BYTES, data };
}
