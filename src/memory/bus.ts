// The bus of a board: guest-physical addresses mapped to RAM and to register banks.

import { assert } from "../base/assert.ts";
import { tracePoint } from "../base/trace.ts";
import type { GuestMemory } from "./guest-memory.ts";

/** Bytes of one bus access. 64 bits go as two of 32, the lower address first. */
export type AccessWidth = 1 | 2 | 4;

/**
 * A bank of registers. `offset` counts from the bank's first byte and lies inside `size`; `value` is unsigned, of `width`
 * bytes. An access that the bank does not have reads as the bank likes and writes nothing: neither call throws.
 */
export interface MmioRegion {
  readonly size: number;
  read(offset: number, width: AccessWidth): number;
  write(offset: number, width: AccessWidth, value: number): void;
}

const unmappedRead = tracePoint("memory_region_unmapped_read");
const unmappedWrite = tracePoint("memory_region_unmapped_write");

interface Mapping {
  readonly start: number;
  readonly end: number;
  readonly region: MmioRegion;
}

/**
 * Where a CPU's loads and stores go. An address that nothing is mapped at, or that straddles the end of what is, reads as
 * all ones (or zero, as the board has it) and drops writes; both are traced (`memory_region_unmapped_*`).
 */
export class Bus {
  readonly #memory: GuestMemory | undefined;
  readonly #unmappedOnes: boolean;
  readonly #mappings: Mapping[] = [];
  /** Accesses come in runs to one bank, and a board has dozens of them. */
  #lastFound: Mapping | undefined;

  constructor(options: { memory?: GuestMemory; unmapped?: "ones" | "zeroes" } = {}) {
    this.#memory = options.memory;
    this.#unmappedOnes = (options.unmapped ?? "ones") === "ones";
  }

  /** Maps `region` at `address`; overlapping what is there already is the caller's mistake. */
  map(address: number, region: MmioRegion): void {
    const end = address + region.size;
    assert(Number.isSafeInteger(address) && address >= 0 && Number.isSafeInteger(end), "bus: no address");
    for (const other of this.#mappings) assert(end <= other.start || address >= other.end, "bus: regions overlap");
    if (this.#memory !== undefined) {
      const { baseAddress, sizeBytes } = this.#memory;
      assert(end <= baseAddress || address >= baseAddress + sizeBytes, "bus: region overlaps RAM");
    }
    this.#mappings.push({ start: address, end, region });
  }

  /** Takes away the bank that begins at `address`. */
  unmap(address: number): void {
    const index = this.#mappings.findIndex(({ start }) => start === address);
    assert(index >= 0, "bus: nothing begins there");
    this.#mappings.splice(index, 1);
    this.#lastFound = undefined;
  }

  read(address: number, width: AccessWidth): number {
    const offset = this.#memory?.offsetOf(address, width) ?? -1;
    if (offset >= 0) {
      const view = this.#memory!.view;
      if (width === 4) return view.getUint32(offset, true);
      return width === 2 ? view.getUint16(offset, true) : view.getUint8(offset);
    }
    const mapping = this.#find(address, width);
    if (mapping !== undefined) return mapping.region.read(address - mapping.start, width);
    if (unmappedRead.enabled) unmappedRead.emit({ address, width });
    return this.#unmappedOnes ? 2 ** (8 * width) - 1 : 0;
  }

  write(address: number, width: AccessWidth, value: number): void {
    const offset = this.#memory?.offsetOf(address, width) ?? -1;
    if (offset >= 0) {
      const view = this.#memory!.view;
      if (width === 4) view.setUint32(offset, value, true);
      else if (width === 2) view.setUint16(offset, value, true);
      else view.setUint8(offset, value);
      return;
    }
    const mapping = this.#find(address, width);
    if (mapping !== undefined) mapping.region.write(address - mapping.start, width, value);
    else if (unmappedWrite.enabled) unmappedWrite.emit({ address, width, value });
  }

  read64(address: number): bigint {
    return BigInt(this.read(address, 4)) | (BigInt(this.read(address + 4, 4)) << 32n);
  }

  write64(address: number, value: bigint): void {
    this.write(address, 4, Number(value & 0xffff_ffffn));
    this.write(address + 4, 4, Number((value >> 32n) & 0xffff_ffffn));
  }

  /** The lowest address from `address` on at which something is mapped, RAM or registers; infinity when nothing is. */
  nextMapped(address: number): number {
    let next = Number.POSITIVE_INFINITY;
    for (const { start, end } of this.#mappings) if (end > address) next = Math.min(next, Math.max(start, address));
    if (this.#memory === undefined) return next;
    const { baseAddress, sizeBytes } = this.#memory;
    return baseAddress + sizeBytes > address ? Math.min(next, Math.max(baseAddress, address)) : next;
  }

  #find(address: number, width: number): Mapping | undefined {
    const last = this.#lastFound;
    if (last !== undefined && address >= last.start && address + width <= last.end) return last;
    for (const mapping of this.#mappings) {
      if (address < mapping.start || address + width > mapping.end) continue;
      this.#lastFound = mapping;
      return mapping;
    }
    return undefined;
  }
}
