// A driver of a packed ring: VIRTIO 1.4 §2.8, its positions kept as counts that never wrap.

import type { Available, Part, RingDriver, RingPlace, Shape, Used } from "./ring-driver.ts";

const NEXT = 1;
const WRITE = 2;
const INDIRECT = 4;
const AVAIL = 1 << 7;
const USED = 1 << 15;

/** Names buffers as it is told to: the device must not care. */
export class PackedDriver implements RingDriver {
  readonly #place: RingPlace;
  readonly #name: (free: (id: number) => boolean) => number;
  readonly #size: number;
  /** Slots made available, and slots seen used, from the start. */
  #available = 0;
  #used = 0;
  readonly #slotsOf = new Map<number, number>();
  #asked: "never" | "always" | number = "always";

  /** `name` answers with an id for which `free` says true. */
  constructor(place: RingPlace, name: (free: (id: number) => boolean) => number) {
    this.#place = place;
    this.#name = name;
    this.#size = place.layout.size;
  }

  add(parts: readonly Part[], shape: Shape): Available | undefined {
    const units = shape === "direct" ? parts.length : 1;
    if (this.#available + units - this.#used > this.#size) return undefined;
    const id = this.#name((candidate) => !this.#slotsOf.has(candidate));
    const first = this.#available;
    if (shape === "direct") {
      for (const [i, part] of parts.entries()) {
        const last = i === parts.length - 1;
        // Only the last id counts: §2.8.6.
        this.#describe(first + i, part, last ? id : (id + 1 + i) & 0xffff, last ? 0 : NEXT);
      }
    } else {
      const table = this.#place.tableAt(first % this.#size);
      for (const [i, part] of parts.entries()) this.#entry(table + 16 * i, part, 0xffff, NEXT | INDIRECT | AVAIL);
      const pointer = { address: table, lengthBytes: 16 * parts.length, writable: first % 2 === 0 };
      this.#describe(first, pointer, id, INDIRECT);
    }
    for (let i = units - 1; i >= 0; i--) this.#makeAvailable(first + i);
    this.#available += units;
    this.#slotsOf.set(id, units);
    return { id, units };
  }

  takeUsed(): Used[] {
    const taken: Used[] = [];
    for (;;) {
      const at = this.#slotAt(this.#used);
      const flags = this.#place.memory.readU16(at + 14);
      const wrap = this.#wrapOf(this.#used);
      // §2.8.1: used when both bits are the wrap counter's.
      if (((flags & AVAIL) !== 0) !== wrap || ((flags & USED) !== 0) !== wrap) return taken;
      const id = this.#place.memory.readU16(at + 12);
      const slots = this.#slotsOf.get(id);
      if (slots === undefined) throw new Error(`used id ${id}, which is not in flight`);
      this.#slotsOf.delete(id);
      this.#used += slots;
      taken.push({ id, lengthBytes: this.#place.memory.readU32(at + 8), wrote: (flags & WRITE) !== 0 });
      if ((flags & ~(AVAIL | USED | WRITE)) !== 0) throw new Error(`used flags 0x${flags.toString(16)}`);
    }
  }

  askFor(interrupts: "never" | "always" | number): void {
    this.#asked = interrupts;
    const { memory, layout } = this.#place;
    const wanted = typeof interrupts === "number" ? this.#position(interrupts) : 0x1234;
    memory.writeU16(layout.driverArea, wanted);
    memory.writeU16(layout.driverArea + 2, interrupts === "always" ? 0 : interrupts === "never" ? 1 : 2);
  }

  isDue(from: number, to: number): boolean {
    if (this.#asked === "never") return false;
    if (this.#asked === "always") return to > from;
    // The descriptor at that place, with that wrap counter, is used: written or passed over.
    const wanted = this.#position(this.#asked);
    for (let unit = from; unit < to; unit++) if (this.#position(unit) === wanted) return true;
    return false;
  }

  isAskedAt(units: number): boolean {
    const { memory, layout } = this.#place;
    const wanted = memory.readU16(layout.deviceArea);
    const flags = memory.readU16(layout.deviceArea + 2);
    if (!layout.eventIndex) return flags === 0;
    return flags === 2 && wanted === this.#position(units);
  }

  /** Offset and wrap counter of §2.8.14. */
  #position(units: number): number {
    return (units % this.#size) | (this.#wrapOf(units) ? 0x8000 : 0);
  }

  #wrapOf(units: number): boolean {
    return Math.floor(units / this.#size) % 2 === 0;
  }

  #slotAt(units: number): number {
    return this.#place.layout.descriptorArea + 16 * (units % this.#size);
  }

  #describe(units: number, part: Part, id: number, flags: number): void {
    const at = this.#slotAt(units);
    const old = this.#place.memory.readU16(at + 14) & (AVAIL | USED);
    this.#entry(at, part, id, flags | old);
  }

  #entry(at: number, part: Part, id: number, flags: number): void {
    const { memory } = this.#place;
    memory.writeU64(at, BigInt(part.address));
    memory.writeU32(at + 8, part.lengthBytes);
    memory.writeU16(at + 12, id);
    memory.writeU16(at + 14, flags | (part.writable ? WRITE : 0));
  }

  #makeAvailable(units: number): void {
    const at = this.#slotAt(units) + 14;
    const flags = this.#place.memory.readU16(at) & ~(AVAIL | USED);
    this.#place.memory.writeU16(at, flags | (this.#wrapOf(units) ? AVAIL : USED));
  }
}
