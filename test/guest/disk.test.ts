// The guest's side on the device model, end to end.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  type Disk,
  VIRTIO_BLK_F_CONFIG_WCE,
  VIRTIO_BLK_F_FLUSH,
  VIRTIO_BLK_F_SEG_MAX,
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_INDIRECT_DESC,
} from "../../guest/index.ts";
import { systemClock } from "../../src/base/clock.ts";
import { MemoryDriver } from "../../src/block/drivers/memory.ts";
import { BlockNode } from "../../src/block/node.ts";
import { startBackup } from "../../src/job/backup-action.ts";
import { JobList } from "../../src/job/job-list.ts";
import { FaultyDriver } from "../support/faulty-driver.ts";
import { Random, Simulation } from "../support/simulation.ts";
import { pattern, sameBytes } from "./support/bytes.ts";
import { deviceMachine } from "./support/device-machine.ts";

const RINGS: [string, number[]][] = [
  ["indirect descriptors and event index", []],
  ["direct descriptors and event index", [VIRTIO_F_INDIRECT_DESC]],
  ["indirect descriptors without event index", [VIRTIO_F_EVENT_IDX]],
  ["direct descriptors without event index", [VIRTIO_F_INDIRECT_DESC, VIRTIO_F_EVENT_IDX]],
];

describe("Disk on the device model", () => {
  it("finds the disk that is there", async () => {
    const { guest } = deviceMachine(new MemoryDriver({ lengthBytes: 1 << 20 }));
    const disk = await guest.probe();
    expect([disk.capacityBytes, disk.readOnly, disk.blockSizeBytes, disk.queueSize]).toEqual([
      1 << 20,
      false,
      512,
      256,
    ]);
    expect(await disk.id()).toBe("serial-of-20-letters");
  });

  it.each(RINGS)("keeps the contents of a twin with %s", async (_what, withoutFeatures) => {
    const driver = new MemoryDriver({ lengthBytes: 1 << 19 });
    const { guest } = deviceMachine(driver, { ramBytes: 1 << 18 });
    const disk = await guest.probe({ withoutFeatures, queueSize: 16, maxSegmentBytes: 1000 });
    const free = guest.allocator.freeBytes;
    const twin = new Uint8Array(1 << 19);
    const random = new Random(7);
    for (let round = 0; round < 150; round++) {
      const count = 1 + random.below(40);
      const pending: Promise<unknown>[] = [];
      const make = (): void => {
        // Sectors are dealt out so that the requests of a round do not overlap.
        for (let i = 0; i < count; i++) {
          const at = (i * 24 + random.below(8)) * 512;
          const length = (1 + random.below(16)) * 512;
          const kind = random.below(8);
          if (kind === 0) pending.push(disk.flush());
          else if (kind < 4) {
            const bytes = pattern(length, round * 64 + i);
            twin.set(bytes, at);
            pending.push(disk.write(at, bytes));
          } else {
            const expected = twin.slice(at, at + length);
            pending.push(disk.read(at, length).then((bytes) => sameBytes(bytes, expected)));
          }
        }
      };
      if (random.chance(0.5)) disk.batch(make);
      else make();
      await Promise.all(pending);
    }
    sameBytes(driver.bytes, twin);
    sameBytes(await disk.read(0, twin.length), twin);
    expect(guest.allocator.freeBytes).toBe(free);
  });

  it.each(RINGS)("loses no completion of a driver that takes its time, with %s", async (_what, withoutFeatures) => {
    await fc.assert(
      fc.asyncProperty(fc.integer(), fc.constantFrom(4, 8, 64), async (seed, queueSize) => {
        const simulation = new Simulation(seed);
        const { random } = simulation;
        const driver = new FaultyDriver({
          simulation,
          bytes: new Uint8Array(1 << 18),
          delayed: 0.7,
          fault: (call) => (call.kind !== "flush" && call.offsetBytes >= 1 << 17 ? "EIO" : undefined),
        });
        const { guest } = deviceMachine(driver, { ramBytes: 1 << 17, clock: simulation });
        await simulation.run(
          (async (): Promise<void> => {
            const disk = await guest.probe({ withoutFeatures, queueSize });
            const free = guest.allocator.freeBytes;
            const twin = new Uint8Array(1 << 17);
            const one = async (i: number): Promise<void> => {
              const at = i * 4096 + random.below(4) * 512;
              const length = (1 + random.below(4)) * 512;
              if (random.chance(0.5)) await simulation.after(random.below(5));
              const bytes = pattern(length, i);
              twin.set(bytes, at);
              await disk.write(at, bytes);
              sameBytes(await disk.read(at, length), bytes);
              if (random.chance(0.3)) await disk.flush();
              const error = await disk.read((1 << 17) + at, length).catch((reason: unknown) => reason);
              expect(error).toMatchObject({ name: "GuestIoError", status: 1, sector: ((1 << 17) + at) / 512 });
            };
            await Promise.all(Array.from({ length: 32 }, (_, i) => one(i)));
            sameBytes(driver.bytes.subarray(0, 1 << 17), twin);
            expect(guest.allocator.freeBytes).toBe(free);
          })(),
        );
      }),
      { numRuns: 15 },
    );
  });

  it("drives a ring of four descriptors, the smallest that carries a request", async () => {
    const driver = new MemoryDriver({ lengthBytes: 1 << 16 });
    const { guest } = deviceMachine(driver, { queueSizeMax: 4 });
    const disk = await guest.probe({ withoutFeatures: [VIRTIO_F_INDIRECT_DESC, VIRTIO_BLK_F_SEG_MAX] });
    expect(disk.queueSize).toBe(4);
    const bytes = pattern(1 << 16, 1);
    await disk.write(0, bytes);
    sameBytes(await disk.read(0, 1 << 16), bytes);
    const tooSmall = deviceMachine(driver, { queueSizeMax: 2 });
    await expect(tooSmall.guest.probe()).rejects.toMatchObject({ code: "queue-too-small" });
  });

  it("sees a write to a read-only disk fail in the device", async () => {
    const { guest } = deviceMachine(new MemoryDriver({ lengthBytes: 1 << 16 }), { readOnly: true });
    const disk = await guest.probe();
    expect(disk.readOnly).toBe(true);
    await expect(disk.write(0, new Uint8Array(512))).rejects.toMatchObject({
      name: "GuestIoError",
      status: 1,
      type: 1,
    });
    expect(await disk.read(0, 512)).toHaveLength(512);
  });

  it("sends requests that a disk cannot answer, and hears so", async () => {
    const { guest } = deviceMachine(new MemoryDriver({ lengthBytes: 1 << 16 }));
    const disk = await guest.probe();
    expect((await disk.request({ type: 0x77 })).status).toBe(2);
    expect((await disk.request({ type: 0, sector: 128, into: new Uint8Array(512) })).status).toBe(1);
    expect((await disk.request({ type: 0, sector: 2n ** 64n - 1n, into: new Uint8Array(512) })).status).toBe(1);
    expect((await disk.request({ type: 1, out: new Uint8Array(511) })).status).toBe(1);
    expect(await disk.read(0, 512)).toHaveLength(512);
  });

  it("follows the cache mode through to the backend", async () => {
    const { guest, backend } = deviceMachine(new MemoryDriver({ lengthBytes: 1 << 16 }));
    const disk = await guest.probe();
    expect([disk.writeback, backend.writeCache]).toEqual([true, true]);
    disk.writeback = false;
    expect([disk.writeback, backend.writeCache]).toEqual([false, false]);
    const plain = await guest.probe({ withoutFeatures: [VIRTIO_BLK_F_FLUSH] });
    expect([plain.writeback, backend.writeCache]).toEqual([false, false]);
    const fixed = await guest.probe({ withoutFeatures: [VIRTIO_BLK_F_CONFIG_WCE] });
    expect([fixed.writeback, backend.writeCache]).toEqual([true, true]);
  });

  it("learns of a resize by interrupt", async () => {
    const { guest, node } = deviceMachine(new MemoryDriver({ lengthBytes: 1 << 16 }));
    const disk = await guest.probe();
    const changed = new Promise<void>((resolve) => disk.onConfigChange(resolve));
    await node.resize(1 << 17);
    await changed;
    expect(disk.capacityBytes).toBe(1 << 17);
    await disk.write((1 << 17) - 512, pattern(512, 1));
    sameBytes(await disk.read((1 << 17) - 512, 512), pattern(512, 1));
  });

  it("ends with needs-reset when the ring is broken behind its back, and a probe mends that", async () => {
    const simulation = new Simulation(1);
    const driver = new FaultyDriver({ simulation, bytes: new Uint8Array(1 << 16), delayed: 1 });
    const { guest, target } = deviceMachine(driver, { clock: simulation });
    await simulation.run(
      (async (): Promise<void> => {
        const disk = await guest.probe({ queueSize: 8 });
        const read = disk.read(0, 512);
        // The ring is the first thing in RAM: idx of the available ring jumps beyond the queue.
        target.writeRam16(target.ramBase + 16 * 8 + 2, 100);
        guest.registers.queueNotify = 0;
        await expect(read).rejects.toMatchObject({ code: "needs-reset" });
        await expect(disk.read(0, 512)).rejects.toMatchObject({ code: "needs-reset" });
        const again = await guest.probe({ queueSize: 8 });
        expect(await again.read(0, 512)).toHaveLength(512);
      })(),
    );
  });

  it("ends pending requests at an abort while the driver below still works on them", async () => {
    const simulation = new Simulation(3);
    const driver = new FaultyDriver({ simulation, bytes: new Uint8Array(1 << 16), delayed: 1 });
    const controller = new AbortController();
    const { guest, line } = deviceMachine(driver, { clock: simulation, guest: { signal: controller.signal } });
    await simulation.run(
      (async (): Promise<void> => {
        const disk = await guest.probe();
        const requests = Array.from({ length: 100 }, (_, i) =>
          i % 2 === 0 ? disk.read(i * 512, 512) : disk.write(i * 512, new Uint8Array(512)),
        );
        const outcomes = Promise.allSettled(requests);
        controller.abort(new Error("Ctrl-C"));
        for (const outcome of await outcomes) {
          expect(outcome).toMatchObject({ status: "rejected", reason: { message: "Ctrl-C" } });
        }
        await guest.close();
        expect(guest.allocator.allocatedCount).toBe(0);
        await simulation.after(100);
        expect(line.raised).toBe(false);
      })(),
    );
  });
});

describe("An endless guest", () => {
  it("leaves room for a timer, a backup and an abort", async () => {
    const sourceDriver = new MemoryDriver({ bytes: pattern(1 << 22, 5) });
    const targetDriver = new MemoryDriver({ lengthBytes: 1 << 22 });
    const controller = new AbortController();
    const { guest, node } = deviceMachine(sourceDriver, { guest: { signal: controller.signal } });
    const disk: Disk = await guest.probe();
    const original = sourceDriver.bytes.slice();

    let requests = 0;
    let mayWrite = false; // before the backup begins a write would be part of what it copies
    const bytes = pattern(4096, 77);
    const endless = (async (): Promise<void> => {
      for (let i = 0; ; i++) {
        const at = ((i * 37) % 1024) * 4096;
        if (mayWrite && i % 3 === 0) await disk.write(at, bytes);
        else await disk.read(at, 4096);
        requests++;
      }
    })();
    const ended = endless.catch((error: unknown) => error);

    let ticks = 0;
    const timer = setInterval(() => ticks++, 1);
    const backup = await startBackup(new JobList(), {
      id: "backup0",
      source: node,
      target: new BlockNode({ name: "target", driver: targetDriver }),
    });
    mayWrite = true;
    expect(await backup.job.untilConcluded()).toMatchObject({ kind: "completed" });
    while (ticks < 5 || requests < 500) await systemClock.yield();
    clearInterval(timer);
    controller.abort("Ctrl-C");
    expect(await ended).toBe("Ctrl-C");
    sameBytes(targetDriver.bytes, original);
    await guest.close();
  });
});
