// A split virtqueue byte by byte: what stands in RAM, and who is notified when.
import { describe, expect, it } from "vitest";
import { BufferChain } from "../../guest/index.ts";
import { BASE, chainOf, makeQueue, one } from "./support/split-queue.ts";

describe("SplitVirtqueue in RAM", () => {
  // A queue of 8: descriptors at 0, available ring at 0x80 (flags 0x80, idx 0x82, ring 0x84, used_event 0x94),
  // used ring at 0x98 (flags 0x98, idx 0x9a, ring 0x9c, avail_event 0xdc), 0xde bytes in all.

  it("SPLIT-DRV-005 lays descriptor table, available ring and used ring out one after another, aligned and zeroed", () => {
    const { queue, device } = makeQueue({ size: 8 });
    expect([queue.descriptorArea, queue.driverArea, queue.deviceArea]).toEqual([BASE, BASE + 0x80, BASE + 0x98]);
    expect([...device.memory.bytes.subarray(0, 0xde)].every((byte) => byte === 0)).toBe(true);
    expect(device.memory.bytes[0xe0]).toBe(0xee);
  });

  it("aligns the used ring of a queue of one to 4 bytes", () => {
    const { queue } = makeQueue({ size: 1 });
    expect([queue.driverArea - BASE, queue.deviceArea - BASE]).toEqual([16, 24]);
  });

  it("writes a direct chain as linked descriptors and its head into the available ring", () => {
    const { queue, read16, read32 } = makeQueue({ size: 8 });
    const chain = chainOf(
      [[BASE + 0x1000, 16]],
      [
        [BASE + 0x2000, 0x200],
        [BASE + 0x3000, 1],
      ],
    );
    expect(queue.add(chain)).toBe(0);
    expect([read32(0), read32(4), read32(8), read16(12), read16(14)]).toEqual([0x4000_1000, 0, 16, 1, 1]);
    expect([read32(16), read32(20), read32(24), read16(28), read16(30)]).toEqual([0x4000_2000, 0, 0x200, 3, 2]);
    expect([read32(32), read32(36), read32(40), read16(44), read16(46)]).toEqual([0x4000_3000, 0, 1, 2, 0]);
    expect(read16(0x84)).toBe(0);
    expect(queue.add(one)).toBe(3);
    expect(read16(0x86)).toBe(3);
    expect(queue.freeDescriptors).toBe(4);
  });

  it("moves avail.idx once for all that was added before a kick", () => {
    const { queue, read16, notified } = makeQueue({ size: 8 });
    for (let i = 0; i < 5; i++) queue.add(one);
    expect(read16(0x82)).toBe(0);
    expect(queue.kick()).toBe(true);
    expect(read16(0x82)).toBe(5);
    expect(notified).toEqual([3]);
    expect(queue.kick()).toBe(false);
    expect(notified).toEqual([3]);
  });

  it("puts the chain into an indirect table and one descriptor without NEXT", () => {
    const { queue, read16, read32, device } = makeQueue({ size: 8, indirect: true });
    const head = queue.add(chainOf([[BASE + 0x1000, 16]], [[BASE + 0x3000, 1]]));
    expect(head).toBe(0);
    expect([read32(8), read16(12), read16(14)]).toEqual([32, 4, 0]);
    const table = read32(0) - BASE;
    expect(table % 16).toBe(0);
    expect([read32(table), read32(table + 8), read16(table + 12), read16(table + 14)]).toEqual([0x4000_1000, 16, 1, 1]);
    expect([read32(table + 16), read32(table + 24), read16(table + 28), read16(table + 30)]).toEqual([
      0x4000_3000, 1, 2, 0,
    ]);
    expect(queue.freeDescriptors).toBe(7);
    queue.kick();
    expect(device.takeChain()).toMatchObject({ head: 0, indirect: true });
  });

  it("spends no table on a chain of one buffer", () => {
    const { queue, read16 } = makeQueue({ size: 8, indirect: true });
    queue.add(one);
    expect(read16(12)).toBe(2);
  });

  it("has a table ready for a short chain, takes RAM for a long one and falls back to direct descriptors", () => {
    const { queue, read16, read32, allocator } = makeQueue({ size: 8, indirect: true });
    const short = chainOf([[BASE + 0x1000, 16]], [[BASE + 0x3000, 1]]);
    const long = new BufferChain();
    for (let i = 0; i < 5; i++) long.readable(BASE + 0x1000 * i, 16);
    const before = allocator.allocatedCount;
    queue.add(short);
    queue.add(short);
    expect(allocator.allocatedCount).toBe(before);
    expect(read32(16) - read32(0)).toBe(64);
    queue.add(long);
    expect(allocator.allocatedCount).toBe(before + 1);
    expect([read32(32 + 8), read16(32 + 12)]).toEqual([80, 4]);
    allocator.allocate(allocator.freeBytes);
    expect(queue.add(long)).toBe(3);
    expect([0, 1, 2, 3, 4].map((i) => read16(16 * (3 + i) + 12))).toEqual([1, 1, 1, 1, 0]);
    expect(queue.freeDescriptors).toBe(0);
  });

  it("takes RAM for every table where ready ones would take too much of it", () => {
    const { queue, allocator, read16 } = makeQueue({ size: 8, indirect: true, ramBytes: 0x100 + 1024 });
    const before = allocator.allocatedCount;
    expect(before).toBe(1);
    queue.add(chainOf([[BASE + 0x1000, 16]], [[BASE + 0x3000, 1]]));
    expect(allocator.allocatedCount).toBe(2);
    expect(read16(12)).toBe(4);
  });

  it("writes all 64 bits of an address", () => {
    const { queue, read32 } = makeQueue({ size: 8 });
    queue.add(chainOf([[0x12_3456_789a, 16]]));
    expect([read32(0), read32(4)]).toEqual([0x3456_789a, 0x12]);
  });

  it("gives ring and tables back on release", () => {
    const { queue, allocator } = makeQueue({ size: 8, indirect: true });
    queue.add(chainOf([[BASE + 0x1000, 16]], [[BASE + 0x3000, 1]]));
    queue.release();
    expect(allocator.allocatedCount).toBe(0);
  });
});

describe("SplitVirtqueue notifications", () => {
  it("SPLIT-DRV-028 keeps quiet while used.flags is NO_NOTIFY, and ignores avail_event", () => {
    const { queue, write16, notified } = makeQueue({ size: 8 });
    write16(0x98, 1);
    queue.add(one);
    expect(queue.kick()).toBe(false);
    write16(0x98, 0);
    write16(0xdc, 0x7777);
    queue.add(one);
    expect(queue.kick()).toBe(true);
    expect(notified).toEqual([3]);
  });

  it("SPLIT-DRV-030 ignores used.flags with the event index", () => {
    const { queue, write16, notified } = makeQueue({ size: 8, eventIndex: true });
    write16(0x98, 1);
    queue.add(one);
    expect(queue.kick()).toBe(true);
    expect(notified).toEqual([3]);
  });

  it("SPLIT-DRV-031 SPLIT-DRV-032 notifies exactly when a batch fills slot avail_event, over the wrap of 2^16", () => {
    const { queue, device, write16, notified } = makeQueue({ size: 8, eventIndex: true });
    let idx = 0;
    let distance = 0;
    while (idx < 70_000) {
      const batch = 1 + (idx % 7);
      const event = (idx + distance) & 0xffff;
      distance = (distance + 3) % 10;
      for (let i = 0; i < batch; i++) expect(queue.add(one)).toBeGreaterThanOrEqual(0);
      write16(0xdc, event);
      let fills = false;
      for (let i = 0; i < batch; i++) if (((idx + i) & 0xffff) === event) fills = true;
      notified.length = 0;
      expect(queue.kick()).toBe(fills);
      expect(notified.length).toBe(fills ? 1 : 0);
      idx += batch;
      for (let chain = device.takeChain(); chain !== undefined; chain = device.takeChain()) device.use(chain.head, 0);
      for (let i = 0; i < batch; i++) expect(queue.takeUsed()).toBeGreaterThanOrEqual(0);
    }
    expect(queue.freeDescriptors).toBe(8);
  });

  it("SPLIT-DRV-020 asks for interrupts through used_event alone when the event index is on", () => {
    const { queue, device, read16 } = makeQueue({ size: 8, eventIndex: true });
    expect(queue.enableInterrupts()).toBe(true);
    expect(read16(0x94)).toBe(0);
    for (let i = 0; i < 3; i++) queue.add(one);
    queue.kick();
    for (let i = 0; i < 3; i++) device.use(device.takeChain()!.head, 0);
    queue.disableInterrupts();
    for (let i = 0; i < 3; i++) queue.takeUsed();
    expect(queue.enableInterrupts()).toBe(true);
    expect(read16(0x94)).toBe(3);
    expect(read16(0x80)).toBe(0);
  });

  it("SPLIT-DRV-018 asks for silence through avail.flags without the event index", () => {
    const { queue, read16 } = makeQueue({ size: 8 });
    queue.disableInterrupts();
    expect(read16(0x80)).toBe(1);
    expect(queue.enableInterrupts()).toBe(true);
    expect(read16(0x80)).toBe(0);
    expect(read16(0x94)).toBe(0);
  });

  it.each([false, true])(
    "SPLIT-DRV-036 does not lose a buffer used just before interrupts are on (event index %s)",
    (eventIndex) => {
      const { queue, device } = makeQueue({ size: 8, eventIndex });
      queue.add(one);
      queue.add(one);
      queue.kick();
      device.use(device.takeChain()!.head, 0);
      queue.disableInterrupts();
      expect(queue.takeUsed()).toBe(0);
      expect(queue.takeUsed()).toBe(-1);
      device.use(device.takeChain()!.head, 0);
      expect(queue.enableInterrupts()).toBe(false);
      expect(queue.takeUsed()).toBe(1);
      expect(queue.enableInterrupts()).toBe(true);
    },
  );
});
