// A driver of a split ring, of either endianness: VIRTIO 1.4 §2.7, its positions kept as counts that never wrap.

import type { Available, Part, RingDriver, RingPlace, Shape, Used } from "./ring-driver.ts";

const NEXT = 1;
const WRITE = 2;
const INDIRECT = 4;

/** Takes descriptors as they come back; with IN_ORDER, round the table. */
export class SplitDriver implements RingDriver {
  readonly #place: RingPlace;
  readonly #view: DataView;
  readonly #little: boolean;
  readonly #size: number;
  readonly #free: number[];
  #available = 0;
  #used = 0;
  readonly #slotsOf = new Map<number, readonly number[]>();
  #asked: "never" | "always" | number;

  constructor(place: RingPlace) {
    this.#place = place;
    this.#view = place.memory.view;
    this.#little = !place.layout.bigEndian;
    this.#size = place.layout.size;
    this.#asked = place.layout.eventIndex ? 0 : "always"; // as the zeroed ring says
    this.#free = Array.from({ length: this.#size }, (_, i) => i);
  }

  add(parts: readonly Part[], shape: Shape): Available | undefined {
    const direct = shape === "direct" ? parts.length : shape === "mixed" ? 1 + Math.floor(parts.length / 2) : 1;
    if (direct > this.#free.length) return undefined;
    const slots = this.#free.splice(0, direct);
    for (const [i, slot] of slots.entries()) {
      const last = i === slots.length - 1;
      if (last && shape !== "direct") this.#table(slot, parts.slice(i));
      else this.#entry(this.#slotAt(slot), parts[i]!, last ? 0 : NEXT, last ? 0xffff : slots[i + 1]!);
    }
    const id = slots[0]!;
    const { driverArea } = this.#place.layout;
    this.#write16(driverArea + 4 + 2 * (this.#available % this.#size), id);
    this.#available++;
    this.#write16(driverArea + 2, this.#available % 0x10000);
    this.#slotsOf.set(id, slots);
    return { id, units: 1 };
  }

  takeUsed(): Used[] {
    const taken: Used[] = [];
    const { deviceArea } = this.#place.layout;
    for (; this.#read16(deviceArea + 2) !== this.#used % 0x10000; this.#used++) {
      const at = deviceArea + 4 + 8 * (this.#used % this.#size);
      const id = this.#read32(at);
      const slots = this.#slotsOf.get(id);
      if (slots === undefined) throw new Error(`used id ${id}, which is not in flight`);
      this.#slotsOf.delete(id);
      this.#free.push(...slots);
      taken.push({ id, lengthBytes: this.#read32(at + 4) });
    }
    return taken;
  }

  askFor(interrupts: "never" | "always" | number): void {
    this.#asked = interrupts;
    const { driverArea, eventIndex } = this.#place.layout;
    this.#write16(driverArea, interrupts === "never" ? 1 : 0);
    if (!eventIndex) return;
    // With EVENT_IDX there is no never and no always: the entry used last time round, and the very next one.
    const wanted = typeof interrupts === "number" ? interrupts : interrupts === "never" ? this.#used - 1 : this.#used;
    this.#asked = (wanted + 0x10000) % 0x10000;
    this.#write16(driverArea + 4 + 2 * this.#size, this.#asked);
  }

  isDue(from: number, to: number): boolean {
    const { notifyOnEmpty } = this.#place.layout;
    if (notifyOnEmpty) throw new Error("isDue: NOTIFY_ON_EMPTY goes by what is available");
    if (this.#asked === "never") return false;
    if (this.#asked === "always") return to > from;
    for (let unit = from; unit < to; unit++) if (unit % 0x10000 === this.#asked) return true;
    return false;
  }

  isAskedAt(units: number): boolean {
    const { deviceArea, eventIndex } = this.#place.layout;
    if (this.#read16(deviceArea) !== 0) return false;
    return !eventIndex || this.#read16(deviceArea + 4 + 8 * this.#size) === units % 0x10000;
  }

  #table(slot: number, parts: readonly Part[]): void {
    const table = this.#place.tableAt(slot);
    for (const [i, part] of parts.entries()) {
      const last = i === parts.length - 1;
      this.#entry(table + 16 * i, part, last ? 0 : NEXT, last ? 0 : i + 1);
    }
    const pointer = { address: table, lengthBytes: 16 * parts.length, writable: slot % 2 === 0 };
    this.#entry(this.#slotAt(slot), pointer, INDIRECT, 0xffff);
  }

  #slotAt(slot: number): number {
    return this.#place.layout.descriptorArea + 16 * slot;
  }

  #entry(at: number, part: Part, flags: number, next: number): void {
    const offset = at - this.#place.memory.baseAddress;
    this.#view.setBigUint64(offset, BigInt(part.address), this.#little);
    this.#view.setUint32(offset + 8, part.lengthBytes, this.#little);
    this.#view.setUint16(offset + 12, flags | (part.writable ? WRITE : 0), this.#little);
    this.#view.setUint16(offset + 14, next, this.#little);
  }

  #write16(at: number, value: number): void {
    this.#view.setUint16(at - this.#place.memory.baseAddress, value, this.#little);
  }

  #read16(at: number): number {
    return this.#view.getUint16(at - this.#place.memory.baseAddress, this.#little);
  }

  #read32(at: number): number {
    return this.#view.getUint32(at - this.#place.memory.baseAddress, this.#little);
  }
}
