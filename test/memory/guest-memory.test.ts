// Guest RAM: every access is little-endian and within bounds, whatever the address.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { AssertionError } from "../../src/base/assert.ts";
import { GuestMemory, GuestMemoryError } from "../../src/memory/guest-memory.ts";

const WIDTHS = [1, 2, 4, 8] as const;

/** Addresses of 64 bits: anywhere, near RAM, and where doubles and 32-bit integers come to their ends. */
function anyAddress(base: number, size: number): fc.Arbitrary<bigint> {
  const near = (at: bigint): fc.Arbitrary<bigint> => fc.bigInt(at - 20n, at + 20n).filter((value) => value >= 0n);
  return fc.oneof(
    fc.bigInt(0n, 2n ** 64n - 1n),
    near(BigInt(base)),
    near(BigInt(base + size)),
    near(2n ** 32n),
    near(2n ** 31n),
    near(2n ** 53n),
    near(2n ** 64n - 21n),
  );
}

function read(memory: GuestMemory, address: number, width: (typeof WIDTHS)[number]): bigint {
  switch (width) {
    case 1:
      return BigInt(memory.readU8(address));
    case 2:
      return BigInt(memory.readU16(address));
    case 4:
      return BigInt(memory.readU32(address));
    case 8:
      return memory.readU64(address);
  }
}

function write(memory: GuestMemory, address: number, width: (typeof WIDTHS)[number], value: bigint): void {
  switch (width) {
    case 1:
      return memory.writeU8(address, Number(value));
    case 2:
      return memory.writeU16(address, Number(value));
    case 4:
      return memory.writeU32(address, Number(value));
    case 8:
      return memory.writeU64(address, value);
  }
}

const ram = fc.record({
  base: fc.constantFrom(0, 16, 0x8000_0000, 0x4000_0000, 2 ** 32, 2 ** 40, 2 ** 53 - 512),
  size: fc.integer({ min: 1, max: 400 }),
});

describe("GuestMemory", () => {
  it("says where a range lies exactly when all of it is in RAM, as unbounded integers have it", () => {
    const cases = ram.chain((where) =>
      fc.record({
        where: fc.constant(where),
        address: anyAddress(where.base, where.size),
        length: fc.oneof(fc.nat(500), fc.constantFrom(0xffff_ffff, 2 ** 32, 2 ** 53)),
      }),
    );
    fc.assert(
      fc.property(cases, ({ where: { base, size }, address, length }) => {
        const memory = new GuestMemory({ baseAddress: base, sizeBytes: size });
        const inside = address >= BigInt(base) && address + BigInt(length) <= BigInt(base + size);
        // As a descriptor's address comes: two halves, whose sum is rounded above 2^53.
        const rounded = Number(address & 0xffff_ffffn) + Number(address >> 32n) * 2 ** 32;
        expect(memory.offsetOf(rounded, length)).toBe(inside ? Number(address - BigInt(base)) : -1);
      }),
      { numRuns: 2000 },
    );
  });

  it("refuses negative lengths, fractions and what is no number", () => {
    const memory = new GuestMemory({ baseAddress: 4096, sizeBytes: 4096 });
    for (const [address, length] of [
      [4096, -1],
      [5000, -4096],
      [Number.NaN, 1],
      [4096, Number.NaN],
      [Number.NEGATIVE_INFINITY, 1],
      [Number.POSITIVE_INFINITY, 0],
      [-4096, 1],
    ] as const) {
      expect(memory.offsetOf(address, length), `${address}, ${length}`).toBe(-1);
    }
    expect(() => memory.readU8(4096.5)).toThrow(GuestMemoryError);
    expect(() => memory.viewOf(4100, -1)).toThrow(GuestMemoryError);
  });

  it("reads what was written, little-endian at any alignment, and throws outside RAM without writing", () => {
    const cases = ram.chain((where) =>
      fc.record({
        where: fc.constant(where),
        width: fc.constantFrom(...WIDTHS),
        address: fc.integer({ min: Math.max(0, where.base - 9), max: where.base + where.size + 9 }),
        value: fc.bigInt(0n, 2n ** 64n - 1n),
      }),
    );
    fc.assert(
      fc.property(cases, ({ where: { base, size }, width, address, value }) => {
        const memory = new GuestMemory({ baseAddress: base, sizeBytes: size });
        const expected = new Uint8Array(size);
        const cut = BigInt.asUintN(8 * width, value);
        if (address >= base && address + width <= base + size) {
          write(memory, address, width, cut);
          for (let i = 0; i < width; i++) expected[address - base + i] = Number((cut >> BigInt(8 * i)) & 0xffn);
          expect(read(memory, address, width)).toBe(cut);
          expect([...memory.viewOf(address, width)]).toEqual([...expected.subarray(address - base).subarray(0, width)]);
        } else {
          expect(() => write(memory, address, width, cut)).toThrow(GuestMemoryError);
          expect(() => read(memory, address, width)).toThrow(GuestMemoryError);
          expect(() => memory.viewOf(address, width)).toThrow(GuestMemoryError);
        }
        expect(Buffer.from(memory.bytes)).toEqual(Buffer.from(expected));
      }),
      { numRuns: 1000 },
    );
  });

  it("names the address in hex and the length in what it throws", () => {
    const memory = new GuestMemory({ baseAddress: 0x4000_0000, sizeBytes: 4096 });
    expect(() => memory.readU32(0x4000_0ffe)).toThrow("guest address 0x40000ffe, length 4: not in RAM");
    expect(() => memory.readU32(0x4000_0ffe)).toThrow(
      expect.objectContaining({ address: 0x4000_0ffe, lengthBytes: 4, name: "GuestMemoryError" }),
    );
  });

  it("is shared memory of zeroes, seen by all of its views", () => {
    const memory = new GuestMemory({ sizeBytes: 64 });
    expect(memory.bytes.buffer).toBeInstanceOf(SharedArrayBuffer);
    memory.writeU32(8, 0x0403_0201);
    expect([...memory.bytes.subarray(8, 12)]).toEqual([1, 2, 3, 4]);
    expect([...memory.u16.subarray(4, 6)]).toEqual([0x0201, 0x0403]);
    expect(memory.u32[2]).toBe(0x0403_0201);
    expect(memory.view.getUint32(8, true)).toBe(0x0403_0201);
  });

  it("lies in an emulator's own buffer, from any multiple of 4 on", () => {
    const buffer = new ArrayBuffer(256);
    const memory = new GuestMemory({ baseAddress: 0x1000, sizeBytes: 128, buffer, byteOffset: 12 });
    memory.writeU16(0x1000, 0xbeef);
    memory.writeU8(0x107f, 7);
    expect([...new Uint8Array(buffer, 12, 2)]).toEqual([0xef, 0xbe]);
    expect(new Uint8Array(buffer)[12 + 127]).toBe(7);
    expect(() => memory.writeU8(0x1080, 1)).toThrow(GuestMemoryError);
  });

  it("moves to another buffer with rebind, tells who asked, and may only grow", () => {
    const memory = new GuestMemory({ baseAddress: 0x1000, sizeBytes: 32 });
    const old = memory.bytes;
    let rebinds = 0;
    memory.onRebind(() => {
      rebinds++;
      expect(memory.sizeBytes).toBe(64);
    });
    const grown = new SharedArrayBuffer(80);
    new Uint8Array(grown)[16] = 42;
    memory.rebind(grown, 16, 64);
    expect(rebinds).toBe(1);
    expect(memory.readU8(0x1000)).toBe(42);
    memory.writeU32(0x1000 + 60, 1);
    expect(old.every((byte) => byte === 0)).toBe(true);
    expect(() => memory.rebind(new ArrayBuffer(60), 0, 60)).toThrow(AssertionError);
    expect(() => memory.rebind(new ArrayBuffer(80), 2, 64)).toThrow(AssertionError);
    expect(() => memory.rebind(new ArrayBuffer(63), 0, 64)).toThrow(RangeError);
    expect(memory.readU8(0x1000)).toBe(42);
  });

  it("refuses a base or a size that no RAM has", () => {
    for (const options of [
      { baseAddress: 8, sizeBytes: 16 },
      { baseAddress: -16, sizeBytes: 16 },
      { baseAddress: 0.5, sizeBytes: 16 },
      { sizeBytes: 0 },
      { sizeBytes: 1.5 },
      { baseAddress: 2 ** 53 - 16, sizeBytes: 16 },
    ]) {
      const buffer = new ArrayBuffer(64);
      expect(() => new GuestMemory({ ...options, buffer }), JSON.stringify(options)).toThrow(AssertionError);
    }
  });

  it("passes on which addresses a device wrote, to whoever wants to know", () => {
    const memory = new GuestMemory({ baseAddress: 0x2000, sizeBytes: 64 });
    expect(memory.hasWriteListeners).toBe(false);
    const writes: [number, number][] = [];
    memory.onDeviceWrite((address, length) => writes.push([address, length]));
    expect(memory.hasWriteListeners).toBe(true);
    memory.noteDeviceWrite(5, 7);
    expect(writes).toEqual([[0x2005, 7]]);
  });
});
