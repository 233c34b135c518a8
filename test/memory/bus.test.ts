// The bus: loads and stores reach RAM or a register bank, and nothing that is not there.
import { afterEach, describe, expect, it } from "vitest";
import { AssertionError } from "../../src/base/assert.ts";
import { subscribeTrace, type TraceFields } from "../../src/base/trace.ts";
import { type AccessWidth, Bus, type MmioRegion } from "../../src/memory/bus.ts";
import { GuestMemory } from "../../src/memory/guest-memory.ts";

const RAM = 0x4000_0000;

/** A region that answers with what it was asked, and keeps a list. */
class RecordingRegion implements MmioRegion {
  readonly size = 0x200;
  readonly accesses: (readonly [string, number, AccessWidth, number])[] = [];

  read(offset: number, width: AccessWidth): number {
    this.accesses.push(["read", offset, width, 0]);
    return 0x5a;
  }

  write(offset: number, width: AccessWidth, value: number): void {
    this.accesses.push(["write", offset, width, value]);
  }
}

function board(options: { unmapped?: "ones" | "zeroes" } = {}): {
  bus: Bus;
  memory: GuestMemory;
  region: RecordingRegion;
} {
  const memory = new GuestMemory({ baseAddress: RAM, sizeBytes: 4096 });
  const bus = new Bus({ memory, ...options });
  const region = new RecordingRegion();
  bus.map(0x0a00_0000, region);
  return { bus, memory, region };
}

describe("Bus", () => {
  const traced: [string, TraceFields][] = [];
  let endTrace: (() => void) | undefined;
  afterEach(() => {
    endTrace?.();
    endTrace = undefined;
    traced.length = 0;
  });

  it("reaches RAM at every width, little-endian and at any alignment", () => {
    const { bus, memory } = board();
    bus.write(RAM + 1, 4, 0x0403_0201);
    expect([...memory.bytes.subarray(0, 6)]).toEqual([0, 1, 2, 3, 4, 0]);
    expect(bus.read(RAM + 1, 4)).toBe(0x0403_0201);
    expect(bus.read(RAM + 2, 2)).toBe(0x0302);
    expect(bus.read(RAM + 4, 1)).toBe(4);
    bus.write(RAM + 8, 2, 0xbeef);
    bus.write(RAM + 10, 1, 0xfe);
    expect([...memory.bytes.subarray(8, 12)]).toEqual([0xef, 0xbe, 0xfe, 0]);
  });

  it("hands a region the offset, the width and the value", () => {
    const { bus, region } = board();
    expect(bus.read(0x0a00_0070, 4)).toBe(0x5a);
    bus.write(0x0a00_01ff, 1, 7);
    expect(region.accesses).toEqual([
      ["read", 0x70, 4, 0],
      ["write", 0x1ff, 1, 7],
    ]);
  });

  it("does 64 bits as two of 32, the lower address first", () => {
    const { bus, region, memory } = board();
    bus.write64(0x0a00_0080, 0x1122_3344_5566_7788n);
    expect(bus.read64(0x0a00_0080)).toBe(0x0000_005a_0000_005an);
    expect(region.accesses).toEqual([
      ["write", 0x80, 4, 0x5566_7788],
      ["write", 0x84, 4, 0x1122_3344],
      ["read", 0x80, 4, 0],
      ["read", 0x84, 4, 0],
    ]);
    bus.write64(RAM, 0xffff_ffff_8000_0001n);
    expect(memory.readU64(RAM)).toBe(0xffff_ffff_8000_0001n);
    expect(bus.read64(RAM)).toBe(0xffff_ffff_8000_0001n);
  });

  it("gives all ones where nothing is mapped, or zero as the board has it, drops writes, and traces both", () => {
    endTrace = subscribeTrace("memory_region_unmapped_*", (name, fields) => traced.push([name, fields]));
    const { bus } = board();
    expect([1, 2, 4].map((width) => bus.read(0x1000, width as AccessWidth))).toEqual([0xff, 0xffff, 0xffff_ffff]);
    expect(bus.read64(0x1000)).toBe(0xffff_ffff_ffff_ffffn);
    expect(board({ unmapped: "zeroes" }).bus.read(0x1000, 4)).toBe(0);
    traced.length = 0;
    bus.read(0x1000, 2);
    bus.write(0x1004, 4, 5);
    expect(traced).toEqual([
      ["memory_region_unmapped_read", { address: 0x1000, width: 2 }],
      ["memory_region_unmapped_write", { address: 0x1004, width: 4, value: 5 }],
    ]);
  });

  it("treats what straddles an end as unmapped: nothing is half written", () => {
    const { bus, memory, region } = board();
    memory.bytes.fill(0x11);
    for (const address of [RAM - 1, RAM + 4096 - 3, 0x0a00_0000 - 2, 0x0a00_0200 - 3, 0x0a00_0200]) {
      expect(bus.read(address, 4), address.toString(16)).toBe(0xffff_ffff);
      bus.write(address, 4, 0);
    }
    expect(memory.bytes.every((byte) => byte === 0x11)).toBe(true);
    expect(region.accesses).toEqual([]);
  });

  it("follows RAM to another buffer", () => {
    const { bus, memory } = board();
    const grown = new SharedArrayBuffer(8192);
    new Uint8Array(grown)[4096] = 9;
    memory.rebind(grown, 0, 8192);
    expect(bus.read(RAM + 4096, 1)).toBe(9);
  });

  it("does without RAM", () => {
    const bus = new Bus();
    bus.map(0, new RecordingRegion());
    expect(bus.read(0, 4)).toBe(0x5a);
    expect(bus.read(0x200, 4)).toBe(0xffff_ffff);
  });

  it("refuses to map over another region, over RAM, or where no address is", () => {
    const { bus } = board();
    for (const address of [0x0a00_0000, 0x0a00_01ff, 0x0a00_0000 - 0x1ff, RAM - 1, RAM + 4095, -16, 0.5, 2 ** 53]) {
      expect(() => bus.map(address, new RecordingRegion()), address.toString(16)).toThrow(AssertionError);
    }
    bus.map(0x0a00_0200, new RecordingRegion());
    bus.map(RAM + 4096, new RecordingRegion());
  });
});
