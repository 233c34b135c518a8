import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  type Disk,
  GuestClosedError,
  GuestDriverError,
  GuestIoError,
  GuestOutOfMemoryError,
} from "../../guest/index.ts";
import type { FakeChain } from "./support/fake-device.ts";
import { fakeMachine } from "./support/fixture.ts";

function pattern(length: number, seed: number): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => (seed + i * 7 + (i >> 8)) & 0xff);
}

/** As `toEqual`, which takes milliseconds for a few KiB. */
function sameBytes(bytes: Uint8Array, expected: Uint8Array): void {
  expect(bytes).toHaveLength(expected.length);
  expect(Buffer.compare(bytes, expected)).toBe(0);
}

/** Turns of the event loop. */
async function turns(count = 1): Promise<void> {
  for (let i = 0; i < count; i++) await new Promise((resolve) => setImmediate(resolve));
}

/** How `promise` stands now. */
async function stateOf(promise: Promise<unknown>): Promise<"pending" | "resolved" | "rejected"> {
  const pending = Symbol();
  const winner = await Promise.race([
    promise.then(() => "resolved" as const).catch(() => "rejected" as const),
    pending,
  ]);
  await turns();
  if (winner !== pending) return winner as "resolved" | "rejected";
  return Promise.race([promise.then(() => "resolved" as const).catch(() => "rejected" as const), "pending" as const]);
}

describe("Disk", () => {
  it("reads what was written, and tells its size and name", async () => {
    const { guest, device } = fakeMachine();
    const disk = await guest.probe();
    expect([disk.capacityBytes, disk.readOnly, disk.blockSizeBytes]).toEqual([1 << 20, false, 512]);
    const bytes = pattern(4096, 3);
    await disk.write(8192, bytes);
    expect(device.disk.subarray(8192, 8192 + 4096)).toEqual(bytes);
    sameBytes(await disk.read(8192, 4096), bytes);
    const into = new Uint8Array(512);
    await disk.readInto(8192 + 512, into);
    expect(into).toEqual(bytes.subarray(512, 1024));
    await disk.flush();
    expect(await disk.id()).toBe("fake-disk");
  });

  it.each([
    ["direct descriptors, no event index", [28, 29], false],
    ["indirect descriptors, no event index", [29], true],
    ["direct descriptors, event index", [28], false],
    ["indirect descriptors, event index", [], true],
  ])("works with %s", async (_what, withoutFeatures, indirect) => {
    const { guest, device } = fakeMachine();
    const disk = await guest.probe({ withoutFeatures, queueSize: 4 });
    const chains: FakeChain[] = [];
    const execute = device.execute.bind(device);
    device.execute = (chain) => {
      chains.push(chain);
      return execute(chain);
    };
    const model = new Uint8Array(64 * 512);
    for (let i = 0; i < 300; i++) {
      const at = ((i * 13) % 60) * 512;
      const bytes = pattern(512 * (1 + (i % 4)), i);
      model.set(bytes, at);
      await disk.write(at, bytes);
      sameBytes(await disk.read(at, bytes.length), bytes);
    }
    sameBytes(await disk.read(0, model.length), model);
    expect(chains.every((chain) => chain.indirect === indirect)).toBe(true);
  });

  it("BLK-DRV-017 BLK-DRV-018 BLK-DRV-021 frames each request as header, data and status", async () => {
    const { guest, device } = fakeMachine();
    const disk = await guest.probe();
    const shapes: string[] = [];
    const headers: string[] = [];
    const execute = device.execute.bind(device);
    device.execute = (chain) => {
      shapes.push(chain.buffers.map(({ length, writable }) => `${writable ? "W" : "R"}${length}`).join(" "));
      headers.push(Buffer.from(device.memory.viewOf(chain.buffers[0]!.address, 16)).toString("hex"));
      return execute(chain);
    };
    await disk.read(1024, 1024);
    await disk.write(512, new Uint8Array(512));
    await disk.flush();
    await disk.id();
    await disk.request({ type: 0x1122_3344, sector: 0xffff_ffff_ffff_fff0n });
    expect(shapes).toEqual(["R16 W1024 W1", "R16 R512 W1", "R16 W1", "R16 W20 W1", "R16 W1"]);
    expect(headers).toEqual([
      "00000000000000000200000000000000",
      "01000000000000000100000000000000",
      "04000000000000000000000000000000",
      "08000000000000000000000000000000",
      "4433221100000000f0ffffffffffffff",
    ]);
  });

  it("BLK-DRV-015 BLK-DRV-019 asks nothing of the device that it does not have", async () => {
    const { guest, device } = fakeMachine();
    const disk = await guest.probe();
    const cases: [number, number][] = [
      [0, 511],
      [1, 512],
      [(1 << 20) - 512, 1024],
      [1 << 20, 512],
      [2 ** 60, 512],
      [-512, 512],
      [0, -512],
      [0.5, 512],
      [Number.NaN, 512],
    ];
    for (const [offset, length] of cases) await expect(disk.read(offset, length)).rejects.toThrow(RangeError);
    await expect(disk.write(0, new Uint8Array(100))).rejects.toThrow("not in units of 512 bytes");
    await expect(disk.write(1 << 20, new Uint8Array(512))).rejects.toThrow("the disk has 1048576 bytes");
    expect(device.notifies).toBe(0);
    sameBytes(await disk.read(1 << 20, 0), new Uint8Array(0));
    expect(device.notifies).toBe(0);
  });

  it("rejects with a GuestIoError that carries the status, and goes on", async () => {
    const { guest } = fakeMachine({ diskBytes: 1024 });
    const disk = await guest.probe();
    const error = await disk.request({ type: 0, sector: 2, into: new Uint8Array(512) });
    expect(error).toEqual({ status: 1, usedLength: 1 });
    expect(await disk.request({ type: 0x77 })).toEqual({ status: 2, usedLength: 1 });
    expect(await disk.read(0, 512)).toHaveLength(512);
  });

  it.each([
    [1, "read at sector 4: status 1 (VIRTIO_BLK_S_IOERR)"],
    [2, "read at sector 4: status 2 (VIRTIO_BLK_S_UNSUPP)"],
    [77, "read at sector 4: status 77 (unknown)"],
    [255, "read at sector 4: status 255 (none written)"],
  ])("names status %i", async (status, message) => {
    const { guest, device } = fakeMachine();
    const disk = await guest.probe();
    device.onNotify = () => {
      const chain = device.takeChain()!;
      device.writeStatus(chain, status);
      device.use(chain.head, 1);
      device.interrupt(1);
    };
    const error = await disk.read(2048, 512).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(GuestIoError);
    expect(error).toMatchObject({ status, type: 0, sector: 4, message });
  });

  it("finds no status where the device wrote none", async () => {
    const { guest, device } = fakeMachine();
    const disk = await guest.probe();
    device.onNotify = () => {
      device.use(device.takeChain()!.head, 0);
      device.interrupt(1);
    };
    await expect(disk.write(0, new Uint8Array(512))).rejects.toMatchObject({ name: "GuestIoError", status: 255 });
    expect(await disk.request({ type: 4 })).toEqual({ status: 255, usedLength: 0 });
  });

  it("cuts a long transfer at size_max × seg_max, each buffer at size_max", async () => {
    const { guest, device } = fakeMachine({ diskBytes: 1 << 18 });
    device.offered |= 1n << 1n;
    device.configView.setUint32(0x08, 1024, true);
    device.configView.setUint32(0x0c, 3, true);
    const disk = await guest.probe();
    expect(disk.maxTransferBytes).toBe(3072);
    const shapes: string[] = [];
    const execute = device.execute.bind(device);
    device.execute = (chain) => {
      shapes.push(chain.buffers.map(({ length, writable }) => `${writable ? "W" : "R"}${length}`).join(" "));
      return execute(chain);
    };
    const bytes = pattern(7 * 512, 9);
    await disk.write(512, bytes);
    expect(shapes).toEqual(["R16 R1024 R1024 R1024 W1", "R16 R512 W1"]);
    shapes.length = 0;
    sameBytes(await disk.read(512, bytes.length), bytes);
    expect(shapes).toEqual(["R16 W1024 W1024 W1024 W1", "R16 W512 W1"]);
  });

  it("gives a device without SEG_MAX one segment, and keeps a chain within the queue", async () => {
    const { guest, device } = fakeMachine();
    device.offered |= 1n << 1n;
    device.configView.setUint32(0x08, 1024, true);
    expect((await guest.probe({ withoutFeatures: [2] })).maxTransferBytes).toBe(1024);
    expect((await guest.probe({ queueSize: 4 })).maxTransferBytes).toBe(2048);
    expect((await guest.probe({ queueSize: 4, maxSegmentBytes: 500 })).maxTransferBytes).toBe(512);
  });

  it("sends a batch with one notification and one interrupt", async () => {
    const { guest, device } = fakeMachine();
    const disk = await guest.probe();
    const reads = disk.batch(() => Array.from({ length: 50 }, (_, i) => disk.read(i * 512, 512)));
    await Promise.all(reads);
    expect([device.notifies, device.interrupts]).toEqual([1, 1]);
  });

  it("sends what a throwing batch has made, and lets batches nest", async () => {
    const { guest, device } = fakeMachine();
    const disk = await guest.probe();
    let read: Promise<Uint8Array> | undefined;
    expect(() =>
      disk.batch(() => {
        disk.batch(() => {
          read = disk.read(0, 512);
        });
        expect(device.notifies).toBe(0);
        throw new Error("script");
      }),
    ).toThrow("script");
    expect(await read).toHaveLength(512);
  });

  it("does nothing for a flush where FLUSH was not negotiated", async () => {
    const { guest, device } = fakeMachine();
    const disk = await guest.probe({ withoutFeatures: [9] });
    await disk.flush();
    expect(device.notifies).toBe(0);
    expect(disk.writeback).toBe(false);
  });

  it("reads and changes the cache mode where CONFIG_WCE is negotiated", async () => {
    const { guest, device } = fakeMachine();
    const fixed = await guest.probe();
    expect(fixed.writeback).toBe(true);
    expect(() => {
      fixed.writeback = false;
    }).toThrow("VIRTIO_BLK_F_CONFIG_WCE was not negotiated");
    device.offered |= 1n << 11n;
    const disk = await guest.probe();
    expect(disk.writeback).toBe(false);
    disk.writeback = true;
    expect(device.config[0x20]).toBe(1);
    expect(disk.writeback).toBe(true);
    expect(device.conversation.filter((line) => line.includes(" 120="))).toEqual(["R8 120=0", "W8 120=1", "R8 120=1"]);
  });

  it("BLK-DRV-014 sees a resize that the device announces", async () => {
    const { guest, device } = fakeMachine();
    const disk = await guest.probe();
    const seen: number[] = [];
    const end = disk.onConfigChange(() => seen.push(disk.capacityBytes));
    device.configView.setBigUint64(0, 100n, true);
    device.generation++;
    device.interrupt(2);
    await turns();
    expect([disk.capacityBytes, seen]).toEqual([51_200, [51_200]]);
    end();
    device.configView.setBigUint64(0, 200n, true);
    device.interrupt(2);
    await turns();
    expect([disk.capacityBytes, seen]).toEqual([102_400, [51_200]]);
  });
});

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

describe("Disk against a device that misbehaves", () => {
  async function probed(): Promise<ReturnType<typeof fakeMachine> & { disk: Disk }> {
    const machine = fakeMachine();
    return { ...machine, disk: await machine.guest.probe({ queueSize: 8 }) };
  }

  /** Starts several requests, lets the device do its worst and expects that all end with `code`, and later ones too. */
  async function expectDeath(
    wickedness: (machine: ReturnType<typeof fakeMachine>) => void,
    code: string,
    message: string | RegExp,
    failed = true,
  ): Promise<void> {
    const machine = await probed();
    const { disk, device, guest } = machine;
    const free = guest.allocator.freeBytes;
    device.onNotify = () => undefined;
    const requests = [disk.read(0, 512), disk.write(0, new Uint8Array(512)), disk.flush(), disk.id()];
    for (let i = 0; i < 20; i++) requests.push(disk.read(0, 512));
    const outcomes = Promise.allSettled(requests);
    wickedness(machine);
    for (const outcome of await outcomes) {
      expect(outcome.status).toBe("rejected");
      expect((outcome as PromiseRejectedResult).reason).toBeInstanceOf(GuestDriverError);
      expect((outcome as PromiseRejectedResult).reason).toMatchObject({ code });
      expect(String((outcome as PromiseRejectedResult).reason)).toMatch(message);
    }
    expect((device.status & 0x80) !== 0).toBe(failed);
    await expect(disk.read(0, 512)).rejects.toMatchObject({ code });
    await expect(disk.flush()).rejects.toMatchObject({ code });
    await expect(disk.request({ type: 0 })).rejects.toMatchObject({ code });
    expect(machine.clock.pendingTimers).toBe(0);

    // Another probe starts afresh, with all RAM back.
    device.onNotify = () => device.serveAll();
    device.extraStatus = 0;
    device.stuckInterrupt = 0;
    device.onAccess = () => undefined;
    const again = await guest.probe({ queueSize: 8 });
    expect(await again.read(0, 512)).toHaveLength(512);
    expect(guest.allocator.freeBytes).toBe(free);
    await expect(disk.read(0, 512)).rejects.toMatchObject({ code });
  }

  it("ends on a used id that is no chain", () =>
    expectDeath(
      ({ device }) => {
        device.use(7777, 1);
        device.interrupt(1);
      },
      "used-ring",
      "names id 7777, no chain",
    ));

  it("ends on a used idx out of range", () =>
    expectDeath(
      ({ device }) => {
        device.setUsedIdx(0x8000);
        device.interrupt(1);
      },
      "used-ring",
      "used idx 0x8000 is 32768 past what was taken",
    ));

  it("ends on a used length beyond the buffers", () =>
    expectDeath(
      ({ device }) => {
        device.use(device.takeChain()!.head, 5000);
        device.interrupt(1);
      },
      "used-length",
      "used length 5000 of a chain with 513 writable bytes",
    ));

  it("ends on DEVICE_NEEDS_RESET announced by a configuration interrupt", () =>
    expectDeath(
      ({ device }) => {
        device.extraStatus = 0x40;
        device.interrupt(2);
      },
      "needs-reset",
      "DEVICE_NEEDS_RESET",
      false,
    ));

  it("ends on DEVICE_NEEDS_RESET without an interrupt, within a second or so", () =>
    expectDeath(
      ({ device, clock }) => {
        device.extraStatus = 0x40;
        clock.advance(1000);
      },
      "needs-reset",
      "DEVICE_NEEDS_RESET",
      false,
    ));

  it("ends when the device never answers", () =>
    expectDeath(({ clock }) => clock.advance(32_000), "timeout", /no answer for 30000 ms$/));

  it("ends when the device answers and never interrupts, and says so", () =>
    expectDeath(
      ({ device, clock }) => {
        device.serve(device.takeChain()!);
        clock.advance(32_000);
      },
      "timeout",
      "no answer for 30000 ms; the device has used buffers without an interrupt",
    ));

  it("ends when one request of many is never answered, the others answered in time", async () => {
    const { guest, device, clock } = fakeMachine();
    const disk = await guest.probe();
    device.onNotify = () => void device.takeChain();
    const lost = disk.read(0, 512);
    const ended = lost.catch((error: unknown) => error);
    device.onNotify = () => device.serveAll();
    for (let second = 1; second <= 30; second++) {
      clock.advance(1000);
      sameBytes(await disk.read(512, 512), new Uint8Array(512));
    }
    expect(await stateOf(lost)).toBe("pending");
    clock.advance(2000);
    expect(await ended).toMatchObject({ code: "timeout" });
    await expect(disk.read(512, 512)).rejects.toMatchObject({ code: "timeout" });
  });

  it("ends when the configuration never stands still", () =>
    expectDeath(
      ({ device }) => {
        device.onAccess = (_kind, offset) => {
          if (offset === 0x100) device.generation++;
        };
        device.interrupt(2);
      },
      "config-unstable",
      "ConfigGeneration changed",
    ));

  it("ends when the line stays raised whatever is acknowledged", () =>
    expectDeath(
      ({ device }) => {
        device.stuckInterrupt = 1;
        device.interrupt(1);
      },
      "interrupt-stuck",
      "1000 acknowledged interrupts for nothing",
    ));

  it("ends on whatever the target throws, and reports that", async () => {
    const { disk, device } = await probed();
    const broken = new Error("the machine is gone");
    device.onAccess = () => {
      throw broken;
    };
    const read = disk.read(0, 512);
    await expect(read).rejects.toThrow(AggregateError);
    await expect(read).rejects.toMatchObject({ errors: [broken, broken] });
    await expect(disk.read(0, 512)).rejects.toThrow(AggregateError);
  });

  it("SPLIT-DRV-024 hands out no byte past the used length of a read", async () => {
    const { disk, device } = await probed();
    const stale = pattern(512, 1);
    device.onNotify = () => {
      const chain = device.takeChain()!;
      device.memory.viewOf(chain.buffers[1]!.address, 512).set(stale);
      device.writeStatus(chain, 0);
      device.use(chain.head, 100);
      device.interrupt(1);
    };
    const into = new Uint8Array(512);
    await expect(disk.readInto(0, into)).rejects.toMatchObject({ code: "used-length" });
    expect(into.subarray(0, 100)).toEqual(stale.subarray(0, 100));
    expect(into.subarray(100)).toEqual(new Uint8Array(412));
    device.onNotify = () => device.serveAll();
    expect(await disk.read(0, 512)).toHaveLength(512);
  });

  it("SPLIT-DRV-022 does not mind interrupts for nothing", async () => {
    const { disk, device } = await probed();
    for (let i = 0; i < 2000; i++) device.interrupt(1);
    device.line.set(true);
    device.line.set(false);
    expect(await disk.read(0, 512)).toHaveLength(512);
  });

  it("MMIO-DRV-018 ignores undefined bits of InterruptStatus, though they keep the line raised", async () => {
    const { disk, device } = await probed();
    device.onNotify = () => {
      device.interruptStatus |= 0x80;
      device.serveAll();
    };
    for (let i = 0; i < 5; i++) expect(await disk.read(0, 512)).toHaveLength(512);
    expect(
      device.log.filter(({ kind, offset }) => kind === "W" && offset === 0x064).every(({ value }) => value === 1),
    ).toBe(true);
  });

  it("waits for ever where it is told to, and still ends with the guest", async () => {
    const { guest, device, clock } = fakeMachine();
    const disk = await guest.probe({ timeoutMs: Number.POSITIVE_INFINITY });
    device.onNotify = () => undefined;
    const read = disk.read(0, 512);
    clock.advance(10_000_000);
    expect(await stateOf(read)).toBe("pending");
    await guest.close();
    await expect(read).rejects.toThrow("the guest was closed");
    expect(clock.pendingTimers).toBe(0);
  });
});
