// Many requests at once: what waits, for what, and in which order.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { GuestClosedError, GuestOutOfMemoryError } from "../../guest/index.ts";
import { pattern, sameBytes } from "./support/bytes.ts";
import type { FakeChain } from "./support/fake-device.ts";
import { fakeMachine } from "./support/fixture.ts";
import { stateOf, turns } from "./support/outcome.ts";

describe("Disk with many requests in flight", () => {
  /** A device that holds requests back until the test wants them served. */
  async function slowDisk(
    options: { queueSize?: number; ramBytes?: number; withoutFeatures?: readonly number[] } = {},
  ) {
    const { ramBytes = 1 << 20, queueSize = 16, withoutFeatures = [] } = options;
    const machine = fakeMachine({ ramBytes });
    const { device } = machine;
    const held: FakeChain[] = [];
    const disk = await machine.guest.probe({ queueSize, withoutFeatures });
    device.onNotify = () => {
      for (let chain = device.takeChain(); chain !== undefined; chain = device.takeChain()) held.push(chain);
    };
    const serve = (which: number): void => {
      const before = device.usedIdx;
      device.serve(held.splice(which, 1)[0]!);
      device.interruptIfWanted(before);
    };
    return { ...machine, disk, held, serve };
  }

  it("lets requests wait, in order, when descriptors run out", async () => {
    const { device, disk, held, serve } = await slowDisk({ queueSize: 8, withoutFeatures: [28] });
    const order: number[] = [];
    const reads = Array.from({ length: 10 }, (_, i) => disk.read(i * 512, 512).then(() => order.push(i)));
    expect(held).toHaveLength(2); // three descriptors each, of eight
    const sectors: number[] = [];
    for (let i = 0; i < 10; i++) {
      sectors.push(Number(device.memory.readU64(held[0]!.buffers[0]!.address + 8)));
      serve(0);
    }
    await Promise.all(reads);
    expect(order).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    expect(sectors).toEqual(order);
  });

  it("lets requests wait when guest RAM runs out, and the small behind the large", async () => {
    const { disk, held, serve, guest } = await slowDisk({ ramBytes: 32 << 10 });
    const free = guest.allocator.freeBytes;
    expect(disk.maxTransferBytes).toBeLessThanOrEqual(free / 4);
    const done: string[] = [];
    const large = disk.read(0, 12 * disk.maxTransferBytes).then(() => done.push("large"));
    const small = disk.read(0, 512).then(() => done.push("small"));
    let most = 0;
    while (held.length > 0) {
      most = Math.max(most, held.length);
      serve(0);
    }
    await Promise.all([large, small]);
    expect(most).toBeLessThanOrEqual(5); // four of a quarter of the RAM each, and the small one
    expect(guest.allocator.freeBytes).toBe(free);
    expect(done).toEqual(["large", "small"]);
  });

  it("fails a request for which there is no RAM though nothing is in flight", async () => {
    const { disk, guest } = await slowDisk();
    const { allocator } = guest;
    const blocks: number[] = [];
    for (;;) {
      const block = allocator.tryAllocate(256);
      if (block < 0) break;
      blocks.push(block);
    }
    await expect(disk.read(0, 512)).rejects.toThrow(GuestOutOfMemoryError);
    for (const block of blocks) allocator.free(block);
    const read = disk.read(0, 512);
    expect(await stateOf(read)).toBe("pending");
    await guest.close();
    await expect(read).rejects.toThrow(GuestClosedError);
  });

  it("keeps a model's contents under random requests served in random order", async () => {
    const step = fc.record({
      kind: fc.constantFrom("read", "write", "flush", "serve", "serve", "id"),
      sector: fc.integer({ min: 0, max: 60 }),
      sectors: fc.integer({ min: 0, max: 4 }),
      which: fc.nat(),
    });
    await fc.assert(
      fc.asyncProperty(
        fc.array(step, { maxLength: 120 }),
        fc.constantFrom([], [28], [29], [28, 29]),
        fc.constantFrom(4, 8, 32),
        async (steps, withoutFeatures, queueSize) => {
          const { disk, held, serve, device, guest } = await slowDisk({ withoutFeatures, queueSize });
          const free = guest.allocator.freeBytes;
          const pending: Promise<unknown>[] = [];
          // Writes are executed in the order of service; the device's array is the model.
          for (const [i, one] of steps.entries()) {
            const at = one.sector * 512;
            const length = one.sectors * 512;
            if (one.kind === "serve") {
              if (held.length > 0) serve(one.which % held.length);
            } else if (one.kind === "read") {
              pending.push(disk.read(at, length).then((bytes) => expect(bytes).toHaveLength(length)));
            } else if (one.kind === "write") {
              pending.push(disk.write(at, pattern(length, i)));
            } else {
              pending.push(one.kind === "flush" ? disk.flush() : disk.id());
            }
          }
          for (let idle = 0; idle < 3; ) {
            if (held.length > 0) serve(0);
            else {
              await turns();
              idle = held.length > 0 ? 0 : idle + 1;
            }
          }
          await Promise.all(pending);
          expect(guest.allocator.freeBytes).toBe(free);
          device.onNotify = () => device.serveAll();
          sameBytes(await disk.read(0, 64 * 512), device.disk.subarray(0, 64 * 512));
        },
      ),
      { numRuns: 60 },
    );
  });
});
