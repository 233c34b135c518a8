// Descriptors of a split virtqueue: none lost, none given twice, whatever the order and whatever the device says.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { BufferChain, GuestDriverError } from "../../guest/index.ts";
import { BASE, chainOf, makeQueue, one, type QueueFixture } from "./support/split-queue.ts";

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

describe("SplitVirtqueue accounting", () => {
  it("refuses a chain that does not fit and takes it once others have come back", () => {
    const { queue, device } = makeQueue({ size: 4 });
    const three = chainOf(
      [[BASE + 0x1000, 16]],
      [
        [BASE + 0x2000, 16],
        [BASE + 0x3000, 1],
      ],
    );
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
  function withOneInFlight(): QueueFixture {
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
