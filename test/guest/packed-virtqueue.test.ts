// A packed virtqueue slot by slot: what stands in RAM, who is notified when, and what a device may not say.
import { describe, expect, it } from "vitest";
import { BufferChain, GuestDriverError } from "../../guest/index.ts";
import { BASE, PackedFixture } from "./support/packed-device.ts";
import { chainOf, one } from "./support/split-queue.ts";

const two: BufferChain = chainOf([[BASE + 0x1000, 16]], [[BASE + 0x3000, 1]]);
const three: BufferChain = chainOf(
  [[BASE + 0x1000, 16]],
  [
    [BASE + 0x2000, 0x200],
    [BASE + 0x3000, 1],
  ],
);

function errorOf(act: () => unknown): GuestDriverError {
  try {
    act();
  } catch (error) {
    if (error instanceof GuestDriverError) return error;
    throw error;
  }
  throw new Error("expected a GuestDriverError");
}

describe("PackedVirtqueue in RAM", () => {
  it.each([1, 3, 5, 8])("PACK-DRV-001 PACK-DRV-019 lays a ring of %i out, aligned and zeroed", (size) => {
    const { queue, device } = new PackedFixture({ size });
    expect(queue.descriptorArea % 16).toBe(0);
    expect([queue.driverArea, queue.deviceArea]).toEqual([
      queue.descriptorArea + 16 * size,
      queue.descriptorArea + 16 * size + 4,
    ]);
    expect([...device.memory.viewOf(queue.descriptorArea, 16 * size + 8)].every((byte) => byte === 0)).toBe(true);
  });

  it("writes a list slot by slot, all with its id, and makes it available at the kick", () => {
    const fixture = new PackedFixture({ size: 5 });
    expect(fixture.queue.add(three)).toBe(0);
    expect(fixture.slot(0)[3]).toBe(0);
    expect(fixture.take()).toBeUndefined();
    expect(fixture.queue.kick()).toBe(true);
    expect([fixture.slot(0), fixture.slot(1), fixture.slot(2)]).toEqual([
      [BASE + 0x1000, 16, 0, 0x81],
      [BASE + 0x2000, 0x200, 0, 0x83],
      [BASE + 0x3000, 1, 0, 0x82],
    ]);
    expect(fixture.queue.freeDescriptors).toBe(2);
  });

  it("PACK-DRV-018 turns the wrap counter behind the last slot, in the middle of a list too", () => {
    const fixture = new PackedFixture({ size: 5 });
    const flags: number[] = [];
    for (let lap = 0; lap < 4; lap++) {
      fixture.queue.add(three);
      fixture.queue.kick();
      for (let i = 0; i < 3; i++) flags.push(fixture.slot((3 * lap + i) % 5)[3] & 0x8080);
      fixture.use(fixture.take()!.id, 1, 3);
      expect(fixture.queue.takeUsed()).toBe(0);
    }
    expect(flags).toEqual([0x80, 0x80, 0x80, 0x80, 0x80, 0x8000, 0x8000, 0x8000, 0x8000, 0x8000, 0x80, 0x80]);
  });

  it("PACK-DRV-011 shows the device nothing of a batch before the kick", () => {
    const fixture = new PackedFixture({ size: 8 });
    for (let i = 0; i < 3; i++) fixture.queue.add(two);
    expect(fixture.take()).toBeUndefined();
    fixture.queue.kick();
    expect([fixture.take()?.id, fixture.take()?.id, fixture.take()?.id, fixture.take()]).toEqual([0, 1, 2, undefined]);
    expect(fixture.notified).toHaveLength(1);
    expect(fixture.queue.kick()).toBe(false);
  });

  it("PACK-DRV-013 PACK-DRV-015 puts a list of several buffers into a table whose entries have WRITE at most", () => {
    const fixture = new PackedFixture({ size: 4, indirect: true });
    fixture.queue.add(three);
    fixture.queue.add(one);
    fixture.queue.kick();
    const [table, length, id, flags] = fixture.slot(0);
    expect([length, id, flags]).toEqual([48, 0, 0x84]);
    expect([fixture.descriptor(table), fixture.descriptor(table + 16), fixture.descriptor(table + 32)]).toEqual([
      [BASE + 0x1000, 16, 0, 0],
      [BASE + 0x2000, 0x200, 0, 2],
      [BASE + 0x3000, 1, 0, 2],
    ]);
    expect(fixture.slot(1)[3]).toBe(0x82); // no table for one buffer
    expect(fixture.queue.freeDescriptors).toBe(2);
  });

  it("PACK-DRV-010 refuses a list that does not fit as a whole, and leaves the ring as it is", () => {
    const fixture = new PackedFixture({ size: 4 });
    expect([fixture.queue.add(three), fixture.queue.add(two), fixture.queue.add(one)]).toEqual([0, -1, 1]);
    expect(fixture.queue.add(one)).toBe(-1);
    fixture.queue.kick();
    expect(fixture.take()?.slots).toBe(3);
    expect(fixture.take()?.slots).toBe(1);
    expect(fixture.take()).toBeUndefined();
  });

  it("falls back to direct descriptors where there is no RAM for a table, and gives long tables back", () => {
    const fixture = new PackedFixture({ size: 8, indirect: true, ramBytes: 2048 });
    const long = new BufferChain();
    for (let i = 0; i < 5; i++) long.readable(BASE + 0x100, 16);
    const before = fixture.allocator.allocatedCount;
    fixture.queue.add(long);
    expect(fixture.allocator.allocatedCount).toBe(before + 1);
    const filler = fixture.allocator.allocate(fixture.allocator.freeBytes - 16);
    fixture.queue.add(long);
    expect(fixture.queue.freeDescriptors).toBe(2);
    fixture.queue.kick();
    expect([fixture.take()!.indirect, fixture.take()!.indirect]).toEqual([true, false]);
    fixture.use(0, 0, 1);
    expect(fixture.queue.takeUsed()).toBe(0);
    fixture.allocator.free(filler);
    expect(fixture.allocator.allocatedCount).toBe(before);
    fixture.queue.release();
    expect(fixture.allocator.allocatedCount).toBe(0);
  });

  it.each([true, false])("holds 32768 lists at once, event index %s", (eventIndex) => {
    const fixture = new PackedFixture({ size: 32768, ramBytes: 1 << 20, eventIndex });
    for (let i = 0; i < 32768; i++) expect(fixture.queue.add(one)).toBe(i);
    fixture.queue.kick();
    for (let i = 0; i < 32768; i++) fixture.use(fixture.take()!.id, 1, 1);
    for (let i = 0; i < 32768; i++) expect(fixture.queue.takeUsed()).toBe(i);
    expect([fixture.queue.takeUsed(), fixture.queue.inFlight, fixture.queue.freeDescriptors]).toEqual([-1, 0, 32768]);
  });
});

describe("PackedVirtqueue taking back", () => {
  it("takes lists back in any order, over many laps of an odd ring", () => {
    const fixture = new PackedFixture({ size: 7 });
    let taken = 0;
    for (let round = 0; round < 200; round++) {
      const chains = [two, one, three];
      for (const chain of chains) expect(fixture.queue.add(chain)).toBeGreaterThanOrEqual(0);
      fixture.queue.kick();
      const lists = chains.map(() => fixture.take()!);
      for (const list of round % 2 === 0 ? lists : lists.reverse()) {
        fixture.use(list.id, 1, list.slots);
        expect(fixture.queue.takeUsed()).toBe(list.id);
        taken++;
      }
      expect(fixture.queue.takeUsed()).toBe(-1);
      expect(fixture.queue.freeDescriptors).toBe(7);
    }
    expect(taken).toBe(600);
  });

  it("takes the length as reserved where WRITE is not set, so that the status byte decides", () => {
    const fixture = new PackedFixture({ size: 4 });
    fixture.queue.add(three);
    fixture.queue.kick();
    fixture.use(0, 0xffff_ffff, 3, false);
    expect([fixture.queue.takeUsed(), fixture.queue.usedLength]).toEqual([0, 0x201]);
  });

  it("takes one used descriptor for all lists up to the one that it names, with IN_ORDER", () => {
    const fixture = new PackedFixture({ size: 7, inOrder: true });
    for (let round = 0; round < 50; round++) {
      const ids = [two, one, three].map((chain) => fixture.queue.add(chain));
      fixture.queue.kick();
      while (fixture.take() !== undefined);
      fixture.use(ids[1]!, 1, 3); // stands for two lists, of 2 and 1 slots
      expect([fixture.queue.takeUsed(), fixture.queue.usedLength]).toEqual([ids[0], 1]);
      expect(fixture.queue.enableInterrupts()).toBe(false);
      expect([fixture.queue.takeUsed(), fixture.queue.usedLength]).toEqual([ids[1], 1]);
      expect(fixture.queue.takeUsed()).toBe(-1);
      expect(fixture.queue.enableInterrupts()).toBe(true);
      fixture.use(ids[2]!, 0x11, 3);
      expect([fixture.queue.takeUsed(), fixture.queue.usedLength]).toEqual([ids[2], 0x11]);
    }
  });
});

describe("PackedVirtqueue against a device that breaks the ring", () => {
  it.each([
    ["an id that no list has", (fixture: PackedFixture) => fixture.use(5, 1, 1)],
    ["an id beyond the ring", (fixture: PackedFixture) => fixture.use(0xffff, 1, 1)],
    [
      "the same id twice",
      (fixture: PackedFixture) => {
        fixture.use(0, 1, 1);
        fixture.use(0, 1, 1);
      },
    ],
    [
      "more than was available",
      (fixture: PackedFixture) => {
        fixture.use(0, 1, 1);
        fixture.use(1, 1, 1);
        fixture.use(0, 1, 1);
      },
    ],
  ])("throws for %s", (_what, act) => {
    const fixture = new PackedFixture({ size: 8 });
    fixture.queue.add(one);
    fixture.queue.add(one);
    fixture.queue.kick();
    act(fixture);
    const error = errorOf(() => {
      for (let i = 0; i < 3; i++) fixture.queue.takeUsed();
    });
    expect(error.code).toBe("used-ring");
  });

  it("throws for a list that was not made available yet", () => {
    const fixture = new PackedFixture({ size: 8 });
    fixture.queue.add(one);
    fixture.use(0, 1, 1);
    expect(errorOf(() => fixture.queue.takeUsed()).code).toBe("used-ring");
  });

  it("throws for a length beyond what the device may write", () => {
    const fixture = new PackedFixture({ size: 8 });
    fixture.queue.add(two);
    fixture.queue.kick();
    fixture.use(0, 2, 2);
    expect(errorOf(() => fixture.queue.takeUsed()).code).toBe("used-length");
  });

  it("throws for an id that skips what was not available, with IN_ORDER", () => {
    const fixture = new PackedFixture({ size: 8, inOrder: true });
    fixture.queue.add(one);
    fixture.queue.kick();
    fixture.queue.add(one);
    fixture.use(1, 1, 1);
    expect(errorOf(() => fixture.queue.takeUsed()).code).toBe("used-ring");
  });
});

describe("PackedVirtqueue notifications", () => {
  it("NOTIF-DRV-002 tells the slot and the wrap counter where it goes on", () => {
    const fixture = new PackedFixture({ size: 3 });
    for (let i = 0; i < 4; i++) {
      fixture.queue.add(two);
      fixture.queue.kick();
      fixture.use(fixture.take()!.id, 1, 2);
      fixture.queue.takeUsed();
    }
    expect(fixture.notified).toEqual([
      [3, 0x8002],
      [3, 0x0001],
      [3, 0x8000],
      [3, 0x8002],
    ]);
  });

  it("does not notify a device that asked for silence, and minds no reserved flags", () => {
    const fixture = new PackedFixture({ size: 8 });
    fixture.wantNotifications(0, 1);
    fixture.queue.add(one);
    expect(fixture.queue.kick()).toBe(false);
    for (const flags of [3, 2, 0xfffc]) {
      fixture.wantNotifications(5, flags);
      fixture.queue.add(one);
      expect(fixture.queue.kick()).toBe(true); // 2 means nothing without the event index
    }
  });

  it.each([2, 3, 5, 8])("notifies exactly when a batch passes the event, at every place of a ring of %i", (size) => {
    for (let start = 0; start < 2 * size; start++) {
      for (let count = 1; count <= size; count++) {
        for (let event = 0; event < 2 * size; event++) {
          const fixture = new PackedFixture({ size, eventIndex: true, ramBytes: 4096 });
          for (let i = 0; i < start; i++) {
            fixture.queue.add(one);
            fixture.queue.kick();
            fixture.use(0, 1, 1);
            fixture.queue.takeUsed();
          }
          // The device may name any slot from where it stands to one lap on: §2.8.10.
          if (event < start || event > start + size) continue;
          fixture.wantNotifications((event % size) | (Math.floor(event / size) % 2 === 0 ? 0x8000 : 0), 2);
          for (let i = 0; i < count; i++) fixture.queue.add(one);
          expect(fixture.queue.kick()).toBe(event < start + count);
        }
      }
    }
  });

  it("asks for an interrupt at the next used descriptor, or for all or none without the event index", () => {
    const plain = new PackedFixture({ size: 2 });
    plain.queue.disableInterrupts();
    expect(plain.driverEvent[1]).toBe(1);
    expect([plain.queue.enableInterrupts(), plain.driverEvent[1]]).toEqual([true, 0]);
    const fixture = new PackedFixture({ size: 2, eventIndex: true });
    const events: number[] = [];
    for (let i = 0; i < 4; i++) {
      fixture.queue.disableInterrupts();
      expect(fixture.queue.enableInterrupts()).toBe(true);
      expect(fixture.driverEvent[1]).toBe(2);
      events.push(fixture.driverEvent[0]);
      fixture.queue.add(one);
      fixture.queue.kick();
      fixture.use(0, 1, 1);
      expect(fixture.queue.enableInterrupts()).toBe(false); // used meanwhile
      expect(fixture.queue.takeUsed()).toBe(0);
    }
    expect(events).toEqual([0x8000, 0x8001, 0, 1]);
  });
});
