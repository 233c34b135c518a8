import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { BufferChain, GuestAllocator, GuestDriverError, InProcessTarget, SplitVirtqueue } from "../../guest/index.ts";
import { FakeDevice } from "./support/fake-device.ts";

const BASE = 0x4000_0000;

interface Fixture {
  readonly device: FakeDevice;
  readonly allocator: GuestAllocator;
  readonly queue: SplitVirtqueue;
  /** Queue indices that were notified. */
  readonly notified: number[];
  read16(offset: number): number;
  read32(offset: number): number;
  write16(offset: number, value: number): void;
}

/** A queue at the start of RAM, seen by a fake device that looks at RAM alone. */
function makeQueue(options: { size: number; eventIndex?: boolean; indirect?: boolean; ramBytes?: number }): Fixture {
  const { size, eventIndex = false, indirect = false, ramBytes = 1 << 16 } = options;
  const device = new FakeDevice({ ramBytes });
  device.memory.bytes.fill(0xee);
  const target = new InProcessTarget({ memory: device.memory, region: device, line: device.line });
  const allocator = new GuestAllocator(BASE, ramBytes);
  const notified: number[] = [];
  const queue = new SplitVirtqueue({
    target,
    allocator,
    notifier: { notify: (index) => notified.push(index) },
    index: 3,
    size,
    eventIndex,
    indirect,
  });
  device.queue = { size, ready: 1, desc: queue.descriptorArea, driver: queue.driverArea, device: queue.deviceArea };
  device.accepted = eventIndex ? 1n << 29n : 0n;
  return {
    device,
    allocator,
    queue,
    notified,
    read16: (offset) => device.memory.readU16(BASE + offset),
    read32: (offset) => device.memory.readU32(BASE + offset),
    write16: (offset, value) => device.memory.writeU16(BASE + offset, value),
  };
}

function chainOf(readable: readonly [number, number][], writable: readonly [number, number][] = []): BufferChain {
  const chain = new BufferChain();
  for (const [address, length] of readable) chain.readable(address, length);
  for (const [address, length] of writable) chain.writable(address, length);
  return chain;
}

const one: BufferChain = chainOf([], [[BASE + 0x8000, 100]]);

/** The `GuestDriverError` that `run` throws. */
function driverError(run: () => unknown): GuestDriverError {
  try {
    run();
  } catch (error) {
    if (error instanceof GuestDriverError) return error;
    throw error;
  }
  throw new Error("nothing was thrown");
}

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

describe("SplitVirtqueue accounting", () => {
  it("refuses a chain that does not fit and takes it once others have come back", () => {
    const { queue, device } = makeQueue({ size: 4 });
    const three = chainOf(
      [[BASE + 0x1000, 16]],
      [
        [BASE + 0x2000, 16],
        [BASE + 0x3000, 1],
      ],
    ); // prettier-ignore
    expect(queue.add(three)).toBe(0);
    expect(queue.add(three)).toBe(-1);
    expect(queue.freeDescriptors).toBe(1);
    expect(queue.inFlight).toBe(1);
    queue.kick();
    device.use(device.takeChain()!.head, 17);
    expect(queue.takeUsed()).toBe(0);
    expect(queue.usedLength).toBe(17);
    expect(queue.freeDescriptors).toBe(4);
    expect(queue.add(three)).toBeGreaterThanOrEqual(0);
  });

  it("never shares a descriptor between chains in flight, whatever order they come back in", () => {
    const step = fc.oneof(
      fc.record({ add: fc.integer({ min: 1, max: 6 }) }),
      fc.record({ use: fc.nat() }),
      fc.constant({ kick: true }),
    );
    fc.assert(
      fc.property(fc.boolean(), fc.boolean(), fc.array(step, { maxLength: 200 }), (indirect, eventIndex, steps) => {
        const { queue, device, allocator } = makeQueue({ size: 16, indirect, eventIndex });
        const free = allocator.freeBytes;
        // Per token: the buffers as the driver gave them.
        const given = new Map<number, { address: number; length: number; writable: boolean }[]>();
        const held: number[] = [];
        let serial = 0;
        for (const one of steps) {
          if ("add" in one) {
            const chain = new BufferChain();
            const buffers: { address: number; length: number; writable: boolean }[] = [];
            for (let i = 0; i < one.add; i++) {
              const buffer = {
                address: BASE + 0x4000 + serial,
                length: 1 + (serial % 100),
                writable: i >= one.add / 2,
              };
              serial++;
              buffers.push(buffer);
              if (buffer.writable) chain.writable(buffer.address, buffer.length);
              else chain.readable(buffer.address, buffer.length);
            }
            const needed = indirect ? 1 : one.add;
            const room = queue.freeDescriptors;
            const token = queue.add(chain);
            expect(token >= 0).toBe(needed <= room);
            if (token < 0) continue;
            expect(given.has(token)).toBe(false);
            expect(queue.freeDescriptors).toBe(room - needed);
            given.set(token, buffers);
          } else if ("use" in one) {
            if (held.length === 0) continue;
            const [head] = held.splice(one.use % held.length, 1);
            expect(device.readChain(head!).buffers).toEqual(given.get(head!));
            device.use(head!, 0);
            expect(queue.takeUsed()).toBe(head);
            given.delete(head!);
          } else {
            queue.kick();
            for (let chain = device.takeChain(); chain !== undefined; chain = device.takeChain()) {
              expect(chain.buffers).toEqual(given.get(chain.head));
              held.push(chain.head);
            }
          }
          expect(queue.inFlight).toBe(given.size);
        }
        queue.kick();
        for (let chain = device.takeChain(); chain !== undefined; chain = device.takeChain()) held.push(chain.head);
        for (const head of held) device.use(head, 0);
        for (let i = 0; i < held.length; i++) expect(queue.takeUsed()).toBeGreaterThanOrEqual(0);
        expect(queue.freeDescriptors).toBe(16);
        expect(allocator.freeBytes).toBe(free);
      }),
    );
  });

  it("holds 32768 chains at once", () => {
    const { queue, device } = makeQueue({ size: 32768, ramBytes: 1 << 20 });
    for (let i = 0; i < 32768; i++) queue.add(one);
    expect(queue.inFlight).toBe(32768);
    expect(queue.add(one)).toBe(-1);
    queue.kick();
    for (let chain = device.takeChain(); chain !== undefined; chain = device.takeChain()) device.use(chain.head, 0);
    for (let i = 0; i < 32768; i++) expect(queue.takeUsed()).toBeGreaterThanOrEqual(0);
    expect([queue.inFlight, queue.freeDescriptors]).toEqual([0, 32768]);
  });
});

describe("SplitVirtqueue against a device that breaks the used ring", () => {
  function withOneInFlight(): Fixture {
    const fixture = makeQueue({ size: 8 });
    fixture.queue.add(one);
    fixture.queue.kick();
    return fixture;
  }

  it.each([
    ["an id beyond the ring", 8, "names id 8, no chain"],
    ["an id of 32 bits", 0xffff_ffff, "names id 4294967295, no chain"],
    ["an id of no chain in flight", 5, "names id 5, no chain"],
  ])("reports %s", (_what, id, message) => {
    const { queue, device } = withOneInFlight();
    device.use(id, 0);
    const error = driverError(() => queue.takeUsed());
    expect(error.code).toBe("used-ring");
    expect(error.message).toContain(message);
  });

  it("reports an id that was used before", () => {
    const { queue, device } = withOneInFlight();
    queue.add(one);
    queue.kick();
    device.use(0, 0);
    device.use(0, 0);
    expect(queue.takeUsed()).toBe(0);
    expect(driverError(() => queue.takeUsed()).code).toBe("used-ring");
  });

  it.each([
    [2, "2 past what was taken, 1 were available"],
    [9, "9 past what was taken, 1 were available"],
    [0xffff, "65535 past what was taken, 1 were available"],
  ])("reports a used idx of %i with one buffer in flight", (idx, message) => {
    const { queue, device } = withOneInFlight();
    device.setUsedIdx(idx);
    for (const error of [driverError(() => queue.takeUsed()), driverError(() => queue.enableInterrupts())]) {
      expect(error.code).toBe("used-ring");
      expect(error.message).toContain(message);
    }
  });

  it("reports a buffer used before it was made available", () => {
    const { queue, device } = makeQueue({ size: 8 });
    queue.add(one);
    device.use(0, 0);
    expect(driverError(() => queue.takeUsed()).code).toBe("used-ring");
  });

  it("reports a used length beyond the writable bytes, and takes one up to them", () => {
    const { queue, device } = withOneInFlight();
    device.use(0, 101);
    expect(driverError(() => queue.takeUsed())).toMatchObject({
      code: "used-length",
      message: "queue 3: used length 101 of a chain with 100 writable bytes",
    });
    const other = withOneInFlight();
    other.device.use(0, 100);
    expect(other.queue.takeUsed()).toBe(0);
    expect(other.queue.usedLength).toBe(100);
  });

  it("keeps its own record when the device overwrites descriptors and available ring", () => {
    const { queue, device, allocator } = makeQueue({ size: 8, indirect: true });
    const free = allocator.freeBytes;
    queue.add(chainOf([[BASE + 0x1000, 16]], [[BASE + 0x3000, 1]]));
    queue.kick();
    device.memory.bytes.fill(0xff, 0, 0x98);
    device.use(0, 1);
    expect(queue.takeUsed()).toBe(0);
    expect([queue.inFlight, queue.freeDescriptors, allocator.freeBytes]).toEqual([0, 8, free]);
  });
});
