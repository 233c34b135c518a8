// Guest RAM given out and taken back, against a flat map of it.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { GuestAllocator, GuestOutOfMemoryError } from "../../guest/index.ts";

const BASE = 0x4000_0000;
const SIZE = 4096;

/** The naive twin: one cell per 16 bytes, first fit by looking at every cell. */
class FlatAllocator {
  readonly #taken = new Array<boolean>(SIZE / 16).fill(false);
  readonly given = new Map<number, number>();

  allocate(sizeBytes: number, alignment: number): number {
    const cells = Math.ceil(sizeBytes / 16);
    for (let first = 0; first + cells <= this.#taken.length; first++) {
      if ((BASE + first * 16) % alignment !== 0) continue;
      if (this.#taken.slice(first, first + cells).some(Boolean)) continue;
      this.#taken.fill(true, first, first + cells);
      this.given.set(BASE + first * 16, cells);
      return BASE + first * 16;
    }
    return -1;
  }

  free(address: number): void {
    const first = (address - BASE) / 16;
    this.#taken.fill(false, first, first + this.given.get(address)!);
    this.given.delete(address);
  }

  get freeBytes(): number {
    return 16 * this.#taken.filter((taken) => !taken).length;
  }
}

describe("GuestAllocator", () => {
  it("gives the lowest address that fits, as a flat map of RAM would", () => {
    const step = fc.oneof(
      fc.record({ size: fc.integer({ min: 1, max: 700 }), alignment: fc.constantFrom(1, 2, 16, 64, 256, 512) }),
      fc.record({ free: fc.nat() }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 150 }), (steps) => {
        const allocator = new GuestAllocator(BASE, SIZE);
        const twin = new FlatAllocator();
        for (const one of steps) {
          if ("free" in one) {
            const addresses = [...twin.given.keys()];
            const address = addresses[one.free % Math.max(1, addresses.length)];
            if (address === undefined) continue;
            allocator.free(address);
            twin.free(address);
          } else {
            expect(allocator.tryAllocate(one.size, one.alignment)).toBe(twin.allocate(one.size, one.alignment));
          }
          expect(allocator.freeBytes).toBe(twin.freeBytes);
          expect(allocator.allocatedCount).toBe(twin.given.size);
        }
        for (const address of twin.given.keys()) allocator.free(address);
        expect(allocator.allocate(SIZE)).toBe(BASE);
      }),
    );
  });

  it("throws a GuestOutOfMemoryError that names the size and what is free", () => {
    const allocator = new GuestAllocator(BASE, 64);
    allocator.allocate(32);
    expect(() => allocator.allocate(48)).toThrow(GuestOutOfMemoryError);
    expect(() => allocator.allocate(48)).toThrow("no 48 bytes of guest RAM aligned to 16: 32 bytes are free in all");
    expect(allocator.allocate(32)).toBe(BASE + 32);
  });

  it("detects an address that is freed twice, was never given, or lies inside a range", () => {
    const allocator = new GuestAllocator(BASE, SIZE);
    const address = allocator.allocate(64);
    expect(() => allocator.free(address + 16)).toThrow("0x40000010 is not allocated");
    allocator.free(address);
    expect(() => allocator.free(address)).toThrow("0x40000000 is not allocated");
  });

  it("rounds an unaligned region inwards", () => {
    const allocator = new GuestAllocator(0x1001, 0x2e);
    expect(allocator.baseAddress).toBe(0x1010);
    expect(allocator.sizeBytes).toBe(0x10);
    expect(allocator.allocate(1)).toBe(0x1010);
    expect(allocator.tryAllocate(1)).toBe(-1);
    expect(new GuestAllocator(0x1001, 4).tryAllocate(1)).toBe(-1);
  });

  it("gives the same addresses again after a reset, and knows nothing of the old ones", () => {
    const allocator = new GuestAllocator(BASE, SIZE);
    const first = [allocator.allocate(100), allocator.allocate(16, 1024), allocator.allocate(5)];
    allocator.reset();
    expect(allocator.freeBytes).toBe(SIZE);
    expect(() => allocator.free(first[0]!)).toThrow("not allocated");
    expect([allocator.allocate(100), allocator.allocate(16, 1024), allocator.allocate(5)]).toEqual(first);
  });

  it("works above 4 GiB", () => {
    const allocator = new GuestAllocator(0x1_2345_0000, 0x1_0000_0000);
    expect(allocator.allocate(16)).toBe(0x1_2345_0000);
    expect(allocator.allocate(16, 0x1_0000_0000)).toBe(0x2_0000_0000);
  });
});
