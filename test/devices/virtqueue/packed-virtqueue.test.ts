// The packed virtqueue, slot by slot: VIRTIO 1.4 §2.8.
import { describe, expect, it } from "vitest";
import { DescriptorChain } from "../../../devices/virtqueue/descriptor-chain.ts";
import type { VirtqueueLayout } from "../../../devices/virtqueue/virtqueue.ts";
import { INDIRECT, LAP_1, LAP_2, NEXT, PackedRing, type PackedSlot, WRITE } from "../support/packed-ring.ts";

describe("the packed ring", () => {
  it("PACK-DEV-006 has nothing for the device while it is zero, or shows what was used before", () => {
    const ring = new PackedRing({ size: 4 });
    expect(ring.pop()[0]).toBe("empty");
    for (const flags of [LAP_1 | LAP_2, LAP_2, 0]) {
      ring.write(0, { flags });
      expect(ring.pop()[0]).toBe("empty");
    }
  });

  it("PACK-DEV-010 PACK-DEV-011 PACK-DEV-012 PACK-DEV-013 turns its wrap counter round at the end of an odd number of slots", () => {
    const ring = new PackedRing({ size: 5 });
    const seen: string[] = [];
    for (let i = 0; i < 12; i++) {
      const first = (2 * i) % 5;
      const bits = (unit: number): number => (Math.floor(unit / 5) % 2 === 0 ? LAP_1 : LAP_2);
      ring.write((first + 1) % 5, { flags: bits(2 * i + 1) | WRITE, id: 100 + i, lengthBytes: 1 });
      ring.write(first, { flags: bits(2 * i) | NEXT, id: 9999 });
      ring.queue.push(ring.take(), 1);
      ring.queue.publish();
      const { id, flags } = ring.used(first);
      expect(id, "PACK-DEV-014").toBe(100 + i);
      seen.push(`${first}:${(flags & 0x8080).toString(16)}`);
    }
    expect(seen.slice(0, 8)).toEqual([
      ...["0:8080", "2:8080", "4:8080"],
      ...["1:0", "3:0"],
      ...["0:8080", "2:8080", "4:8080"],
    ]);
  });

  it("PACK-DEV-015 PACK-DEV-026 says with WRITE whether anything was for it to write, and how much in the length", () => {
    const ring = new PackedRing({ size: 4 });
    ring.write(0, { flags: LAP_1 | NEXT });
    ring.write(1, { flags: LAP_1 | WRITE, id: 1, lengthBytes: 512 });
    ring.write(2, { flags: LAP_1, id: 2 });
    const [first, second] = [ring.take(), ring.take()];
    ring.queue.push(first, 0); // something was written, but nothing from the first byte on
    ring.queue.push(second, 0);
    ring.queue.publish();
    expect(ring.used(0)).toEqual({ id: 1, lengthBytes: 0, flags: 0x8082 });
    expect(ring.used(2)).toEqual({ id: 2, lengthBytes: 0, flags: 0x8080 });
  });

  it("PACK-DEV-002 shows a batch when the flags of its first slot are stored, last of all", () => {
    const ring = new PackedRing({ size: 4 });
    for (let slot = 0; slot < 3; slot++) ring.write(slot, { flags: LAP_1 | WRITE, id: slot, lengthBytes: 8 });
    const chains = [ring.take(), ring.take(), ring.take()];
    const { memory, layout } = ring.place;
    const writes: [number, number][] = [];
    memory.onDeviceWrite((address, lengthBytes) => writes.push([address - layout.descriptorArea, lengthBytes]));
    for (const chain of [chains[2]!, chains[0]!, chains[1]!]) ring.queue.push(chain, 8);
    expect(ring.used(0).flags).toBe(LAP_1 | WRITE);
    ring.queue.publish();
    expect([0, 1, 2].map((slot) => ring.used(slot))).toEqual(
      [2, 0, 1].map((id) => ({ id, lengthBytes: 8, flags: 0x8082 })),
    );
    const told = [
      [8, 6],
      [24, 8],
      [40, 8],
      [14, 2],
    ];
    expect(writes).toEqual(told);
    expect(ring.queue.publish()).toBe(false);
  });

  it("writes nothing else, and echoes ids that several buffers share", () => {
    const ring = new PackedRing({ size: 3 });
    for (let slot = 0; slot < 3; slot++) ring.write(slot, { flags: LAP_1 | WRITE, id: 0xffff });
    const chains = [ring.take(), ring.take(), ring.take()];
    const before = ring.place.memory.bytes.slice();
    for (const chain of chains) ring.queue.push(chain, 16);
    ring.queue.publish();
    for (let slot = 0; slot < 3; slot++) expect(ring.used(slot).id).toBe(0xffff);
    const { bytes, baseAddress } = ring.place.memory;
    const first = ring.place.layout.descriptorArea - baseAddress;
    for (let i = 0; i < bytes.length; i++) {
      const inUsed = i >= first && i < first + 48 && (i - first) % 16 >= 8;
      if (!inUsed && bytes[i] !== before[i]) throw new Error(`byte ${i} has changed`);
    }
  });

  it("works at its greatest size, out of order and over the wrap", () => {
    const size = 32768;
    const ring = new PackedRing({ size });
    const chains: DescriptorChain[] = [];
    const { memory, layout } = ring.place;
    for (let lap = 0; lap < 3; lap++) {
      const flags = lap % 2 === 0 ? LAP_1 : LAP_2;
      for (let slot = 0; slot < size; slot++) ring.write(slot, { flags: flags | WRITE, id: slot ^ 0x5a5a });
      for (let slot = 0; slot < size; slot++) {
        chains[slot] ??= new DescriptorChain(memory);
        if (ring.queue.pop(chains[slot]!) !== "chain") throw new Error(`nothing in slot ${slot} of lap ${lap}`);
      }
      expect(ring.pop()[0]).toBe("empty");
      for (let slot = size - 1; slot >= 0; slot--) ring.queue.push(chains[slot]!, 1);
      expect(ring.queue.publish()).toBe(true);
      for (let slot = 0; slot < size; slot++) {
        const id = memory.readU16(layout.descriptorArea + 16 * slot + 12);
        if (id !== ((size - 1 - slot) ^ 0x5a5a)) throw new Error(`slot ${slot} of lap ${lap} has id ${id}`);
      }
    }
  });
});

describe("indirect tables of a packed ring", () => {
  it("PACK-DEV-016 PACK-DEV-017 are as many entries as their length says, of whose flags WRITE alone counts", () => {
    const ring = new PackedRing({ size: 2, indirect: true });
    const table = ring.place.tableAt(1); // 3 bytes off any alignment
    ring.writeAt(table, { flags: INDIRECT | 0x8080, id: 0xffff });
    ring.writeAt(table + 16, { flags: NEXT | WRITE | 0x7ff8, id: 0xffff, lengthBytes: 512 });
    ring.writeAt(table + 32, { flags: NEXT | WRITE, id: 0xffff, lengthBytes: 1 });
    ring.write(0, { flags: LAP_1 | INDIRECT | WRITE, address: table, lengthBytes: 48, id: 77 });
    const chain = ring.take();
    expect([chain.head, chain.slots, chain.descriptors]).toEqual([77, 1, 3]);
    expect([chain.readable.byteLength, chain.writable.byteLength]).toEqual([16, 513]);
  });

  it("of more than 1024 entries are refused, by the byte at their end if there is one", () => {
    for (const [flags, expected] of [
      [WRITE, "chain"],
      [0, "NoStatusByte"],
    ] as const) {
      const ring = new PackedRing({ size: 1024, indirect: true });
      const table = ring.place.tableAt(0);
      for (let i = 0; i < 1025; i++)
        ring.writeAt(table + 16 * i, { flags: i === 1024 ? flags : WRITE, lengthBytes: 1 });
      ring.write(0, { flags: LAP_1 | INDIRECT, address: table, lengthBytes: 16 * 1025 });
      const [result, chain] = ring.pop();
      expect(ring.queue.mistake ?? result).toBe(expected);
      expect([chain.mistake, chain.writable.count]).toEqual(["ChainTooLong", flags === WRITE ? 1 : 0]);
    }
  });
});

describe("a packed ring that makes no sense", () => {
  function broken(fill: (ring: PackedRing) => void, layout: Partial<VirtqueueLayout> = {}): string {
    const ring = new PackedRing({ size: 4, indirect: true, ...layout });
    fill(ring);
    return ring.look();
  }

  it("needs a reset where a list goes on into what is not available", () => {
    expect(broken((ring) => ring.write(0, { flags: LAP_1 | NEXT }))).toBe("DescriptorNotAvailable");
    const stale = broken((ring) => {
      ring.write(1, { flags: LAP_2 });
      ring.write(0, { flags: LAP_1 | NEXT });
    });
    expect(stale).toBe("DescriptorNotAvailable");
  });

  it("needs a reset where a list is longer than the ring, or runs into what is in flight", () => {
    const loop = broken((ring) => {
      for (let slot = 0; slot < 4; slot++) ring.write(slot, { flags: LAP_1 | NEXT });
    });
    expect(loop).toBe("DescriptorLoop");
    const overfull = broken((ring) => {
      for (let slot = 0; slot < 4; slot++) ring.write(slot, { flags: LAP_1 });
      for (let slot = 0; slot < 4; slot++) ring.take();
      ring.write(0, { flags: LAP_2 });
    });
    expect(overfull).toBe("TooManyInFlight");
  });

  it("counts as in flight what was pushed and is not visible yet", () => {
    const ring = new PackedRing({ size: 1 });
    ring.write(0, { flags: LAP_1 });
    ring.queue.push(ring.take(), 0);
    ring.write(0, { flags: LAP_2 });
    expect(ring.look()).toBe("TooManyInFlight");
  });

  it("needs a reset for an indirect descriptor that may not be, or whose table is none", () => {
    const one = (slot: PackedSlot, layout?: Partial<VirtqueueLayout>): string =>
      broken((ring) => ring.write(0, slot), layout);
    const flags = LAP_1 | INDIRECT;
    expect(one({ flags }, { indirect: false })).toBe("IndirectNotNegotiated");
    expect(one({ flags, lengthBytes: 0 })).toBe("IndirectLength");
    expect(one({ flags, lengthBytes: 17 })).toBe("IndirectLength");
    expect(one({ flags, address: 1n << 63n })).toBe("IndirectOutsideRam");
    expect(one({ flags, lengthBytes: 0xffff_fff0 })).toBe("IndirectOutsideRam");
    expect(one({ flags: flags | NEXT })).toBe("IndirectWithNext");
    const inList = broken((ring) => {
      ring.write(1, { flags });
      ring.write(0, { flags: LAP_1 | NEXT });
    });
    expect(inList).toBe("IndirectWithNext");
  });

  it("is refused request by request where the list is whole: readable after writable", () => {
    const ring = new PackedRing({ size: 4 });
    ring.write(1, { flags: LAP_1 | NEXT });
    ring.write(2, { flags: LAP_1 | WRITE, id: 5 });
    ring.write(0, { flags: LAP_1 | NEXT | WRITE });
    const chain = ring.take();
    expect([chain.mistake, chain.head, chain.slots]).toEqual(["WritableBeforeReadable", 5, 3]);
    const noEnd = broken((other) => {
      other.write(1, { flags: LAP_1 });
      other.write(0, { flags: LAP_1 | NEXT | WRITE });
    });
    expect(noEnd).toBe("NoStatusByte");
  });
});
