// Discard, zeroes, erase, lifetime, zones and several packed queues: the guest's driver on the device model, in every ring layout.
import { describe, expect, it } from "vitest";
import {
  type Disk,
  GuestClosedError,
  GuestDriverError,
  GuestIoError,
  VIRTIO_BLK_F_CONFIG_WCE,
  VIRTIO_BLK_F_DISCARD,
  VIRTIO_BLK_F_LIFETIME,
  VIRTIO_BLK_F_SECURE_ERASE,
  VIRTIO_BLK_F_WRITE_ZEROES,
  VIRTIO_F_RING_PACKED,
} from "../../guest/index.ts";
import type { DiskLifetime } from "../../src/block/driver.ts";
import { MemoryDriver } from "../../src/block/drivers/memory.ts";
import { ZonedDriver, type ZonedDriverOptions } from "../../src/block/drivers/zoned.ts";
import { BlockNode } from "../../src/block/node.ts";
import { HeldDriver } from "../devices/support/held-driver.ts";
import { diskPattern, type MachineOptions, makeMachine, type TestMachine } from "../devices/support/machine.ts";
import { pattern, sameBytes } from "./support/bytes.ts";
import { reasonOf } from "./support/outcome.ts";

const SECTOR = 512;
const SECTORS = 128;

/** A disk that can do all that is asked of disks, and tells what ranges it was asked for. */
class AbleDriver extends MemoryDriver {
  readonly lifetime: DiskLifetime = { preEndOfLife: 2, estimateA: 5, estimateB: 11 };
  readonly asked: string[] = [];

  constructor() {
    super({ bytes: diskPattern(SECTOR * SECTORS) });
  }

  override writeZeroes(offsetBytes: number, lengthBytes: number): void {
    this.asked.push(`zeroes ${offsetBytes / SECTOR}+${lengthBytes / SECTOR}`);
    super.writeZeroes(offsetBytes, lengthBytes);
  }

  override discard(offsetBytes: number, lengthBytes: number): void {
    this.asked.push(`discard ${offsetBytes / SECTOR}+${lengthBytes / SECTOR}`);
    super.discard(offsetBytes, lengthBytes);
  }

  secureErase(offsetBytes: number, lengthBytes: number): void {
    this.asked.push(`erase ${offsetBytes / SECTOR}+${lengthBytes / SECTOR}`);
    super.writeZeroes(offsetBytes, lengthBytes);
  }
}

const LAYOUTS: readonly { readonly name: string; readonly options: MachineOptions }[] = [
  { name: "split", options: {} },
  { name: "packed", options: { device: { offeredFeatures: { packed: true } } } },
  { name: "legacy", options: { legacy: true } },
];

/** What the pattern on the disk is, with zeroes in these sectors. */
function zeroedIn(...ranges: readonly (readonly [sector: number, sectors: number])[]): Uint8Array {
  const bytes = diskPattern(SECTOR * SECTORS);
  for (const [sector, sectors] of ranges) bytes.fill(0, SECTOR * sector, SECTOR * (sector + sectors));
  return bytes;
}

describe.each(LAYOUTS)("Disk over a $name ring of the device model", ({ options }) => {
  async function able(more: MachineOptions = {}): Promise<{ disk: Disk; driver: AbleDriver }> {
    const driver = new AbleDriver();
    const device = { ...options.device, ...more.device };
    const { guest } = makeMachine({ driver, discard: "unmap", ...options, ...more, device });
    return { disk: await guest.probe(), driver };
  }

  it("discards, zeroes and erases the sectors that it is told, and no other", async () => {
    const { disk, driver } = await able();
    await disk.discard(SECTOR * 3, SECTOR * 4);
    await disk.writeZeroes(SECTOR * 10, SECTOR);
    await disk.writeZeroes(SECTOR * 20, SECTOR * 5, { unmap: true });
    await disk.secureErase(SECTOR * 120, SECTOR * 8);
    expect(driver.asked).toEqual(["discard 3+4", "zeroes 10+1", "zeroes 20+5", "erase 120+8"]);
    sameBytes(await disk.read(0, SECTOR * SECTORS), zeroedIn([3, 4], [10, 1], [20, 5], [120, 8]));
  });

  it("cuts ranges into the segments and requests that the device takes", async () => {
    const range = { maxSectors: 8, maxSegments: 2, alignmentSectors: 4 };
    const limits = { discard: range, writeZeroes: range, secureErase: range };
    const { disk, driver } = await able({ device: { limits } });
    await disk.discard(SECTOR * 2, SECTOR * 60);
    expect(driver.asked.length).toBeGreaterThan(7);
    expect(driver.asked[0]).toBe("discard 2+6"); // up to where the device likes it aligned
    sameBytes(await disk.read(0, SECTOR * SECTORS), zeroedIn([2, 60]));
    await disk.writeZeroes(SECTOR * 63, SECTOR * 33);
    sameBytes(await disk.read(0, SECTOR * SECTORS), zeroedIn([2, 60], [63, 33]));
  });

  it("tells how worn the disk is", async () => {
    const { disk } = await able();
    expect(await disk.lifetime()).toEqual({ preEolInfo: 2, estimateA: 5, estimateB: 11 });
  });

  it("hears from a read-only device that nothing may be wiped", async () => {
    const { disk, driver } = await able({ readOnly: true });
    for (const call of [disk.discard(0, SECTOR), disk.writeZeroes(0, SECTOR), disk.secureErase(0, SECTOR)]) {
      expect(await reasonOf(call)).toMatchObject({ name: GuestIoError.name, status: 1 });
    }
    expect([driver.asked, driver.bytes]).toEqual([[], diskPattern(SECTOR * SECTORS)]);
  });

  it("does not ask for what was not negotiated, or lies outside", async () => {
    const { guest } = makeMachine({ driver: new AbleDriver(), ...options });
    const withoutFeatures = [
      VIRTIO_BLK_F_DISCARD,
      VIRTIO_BLK_F_WRITE_ZEROES,
      VIRTIO_BLK_F_SECURE_ERASE,
      VIRTIO_BLK_F_LIFETIME,
    ];
    const disk = await guest.probe({ withoutFeatures });
    for (const call of [
      disk.discard(0, SECTOR),
      disk.writeZeroes(0, SECTOR),
      disk.secureErase(0, SECTOR),
      disk.lifetime(),
    ]) {
      expect(await reasonOf(call)).toMatchObject({ name: GuestDriverError.name, code: "feature-missing" });
    }
    expect(await reasonOf(disk.discard(SECTOR * SECTORS, SECTOR))).toBeInstanceOf(RangeError);
  });
});

const ZONE = 8 * SECTOR;
const [CONVENTIONAL, REQUIRED, PREFERRED] = [1, 2, 3];
const [NOT_WP, EMPTY, EXPLICITLY_OPEN, CLOSED, FULL, OFFLINE] = [0, 1, 3, 4, 14, 15];

function zonedMachine(layout: MachineOptions, zoned: Partial<ZonedDriverOptions> = {}): TestMachine {
  const file = new BlockNode({ name: "data", driver: new MemoryDriver({ lengthBytes: ZONE * 8 }) });
  const driver = new ZonedDriver({
    file,
    model: "host-managed",
    zoneBytes: ZONE,
    zoneCapacityBytes: 6 * SECTOR,
    conventionalZones: 1,
    maxOpenZones: 2,
    maxActiveZones: 3,
    maxAppendBytes: 4 * SECTOR,
    offlineZones: [7],
    ...zoned,
  });
  return makeMachine({ driver, discard: "unmap", ...layout });
}

describe.each(LAYOUTS.slice(0, 2))("DiskZones over a $name ring of the device model", ({ options }) => {
  it("reports the zones as they are, from any sector on", async () => {
    const { zones } = await zonedMachine(options).guest.probe();
    const all = await zones!.report();
    expect(all.map(({ startBytes }) => startBytes)).toEqual([0, 1, 2, 3, 4, 5, 6, 7].map((zone) => zone * ZONE));
    expect(all.map(({ type }) => type)).toEqual([CONVENTIONAL, ...Array.from({ length: 7 }, () => REQUIRED)]);
    expect(all.map(({ state }) => state)).toEqual([NOT_WP, EMPTY, EMPTY, EMPTY, EMPTY, EMPTY, EMPTY, OFFLINE]);
    expect(all.map(({ capacityBytes }) => capacityBytes / SECTOR)).toEqual([8, 6, 6, 6, 6, 6, 6, 6]);
    expect(await zones!.report(ZONE * 5 + SECTOR, 2)).toEqual(all.slice(5, 7));
  });

  it("follows a zone from empty to full and back", async () => {
    const disk = await zonedMachine(options).guest.probe();
    const zones = disk.zones!;
    const [state, written] = [
      async () => (await zones.report(ZONE, 1))[0]!.state,
      async () => ((await zones.report(ZONE, 1))[0]!.writePointerBytes - ZONE) / SECTOR,
    ];
    await zones.open(ZONE);
    expect(await state()).toBe(EXPLICITLY_OPEN);
    await disk.write(ZONE, pattern(SECTOR * 2, 1));
    expect([await state(), await written()]).toEqual([EXPLICITLY_OPEN, 2]);
    await zones.close(ZONE);
    expect(await state()).toBe(CLOSED);
    expect(await zones.append(ZONE, pattern(SECTOR, 2))).toBe(ZONE + SECTOR * 2);
    await zones.finish(ZONE);
    expect(await state()).toBe(FULL);
    sameBytes(await disk.read(ZONE, SECTOR * 3), Buffer.concat([pattern(SECTOR * 2, 1), pattern(SECTOR, 2)]));
    expect(await reasonOf(disk.write(ZONE + SECTOR * 3, pattern(SECTOR, 3)))).toMatchObject({ status: 3 });
    await zones.reset(ZONE);
    expect([await state(), await written()]).toEqual([EMPTY, 0]);
    expect(await disk.read(ZONE, SECTOR * 3)).toEqual(new Uint8Array(SECTOR * 3));
  });

  it("hears why zones refuse", async () => {
    const disk = await zonedMachine(options).guest.probe();
    const zones = disk.zones!;
    expect(await reasonOf(disk.write(ZONE + SECTOR, pattern(SECTOR, 1)))).toMatchObject({ status: 4 });
    expect(await reasonOf(zones.reset(0))).toMatchObject({ status: 3 });
    expect(await reasonOf(zones.open(ZONE * 7))).toMatchObject({ status: 3 });
    await zones.open(ZONE * 1);
    await zones.open(ZONE * 2);
    expect(await reasonOf(zones.open(ZONE * 3))).toMatchObject({ status: 5 });
    await zones.append(ZONE * 1, pattern(SECTOR, 1));
    await zones.close(ZONE * 1);
    await zones.append(ZONE * 3, pattern(SECTOR, 1)); // three are active now
    expect(await reasonOf(zones.append(ZONE * 4, pattern(SECTOR, 1)))).toMatchObject({ status: 6 });
    await zones.resetAll();
    expect((await zones.report(ZONE, 6)).map(({ state }) => state)).toEqual(Array.from({ length: 6 }, () => EMPTY));
  });

  it("puts appends that are under way together one behind the other", async () => {
    const disk = await zonedMachine(options).guest.probe();
    const zones = disk.zones!;
    const parts = [1, 2, 3, 4, 5, 6].map((seed) => pattern(SECTOR, seed));
    const places = await Promise.all(disk.batch(() => parts.map((part) => zones.append(ZONE * 2, part))));
    expect([...places].sort((a, b) => a - b)).toEqual([0, 1, 2, 3, 4, 5].map((i) => ZONE * 2 + SECTOR * i));
    for (const [i, place] of places.entries()) expect(await disk.read(place, SECTOR)).toEqual(parts[i]);
  });

  it("writes anywhere in zones that only prefer an order, and may discard there", async () => {
    const disk = await zonedMachine(options, { model: "host-aware" }).guest.probe();
    expect((await disk.zones!.report(ZONE, 1))[0]!.type).toBe(PREFERRED);
    await disk.write(ZONE + SECTOR * 3, pattern(SECTOR, 9));
    expect(await disk.read(ZONE + SECTOR * 3, SECTOR)).toEqual(pattern(SECTOR, 9));
    expect(disk.config.discard).toBeDefined();
    const managed = await zonedMachine(options).guest.probe();
    expect(managed.config.discard).toBeUndefined();
  });
});

describe("three packed queues of the device model", () => {
  const QUEUES = 3;
  const held = (): { machine: TestMachine; driver: HeldDriver } => {
    const driver = new HeldDriver(SECTORS);
    driver.holding = false;
    const device = { queues: QUEUES, queueSizeMax: 8, offeredFeatures: { packed: true, ringReset: true } };
    return { machine: makeMachine({ driver, device }), driver };
  };

  it("MMIO-DRV-032 carry requests in turns, over many laps, each into its place", async () => {
    const { machine, driver } = held();
    const disk = await machine.guest.probe({ queues: QUEUES });
    expect([disk.queueCount, disk.queueSize, disk.config.numQueues]).toEqual([QUEUES, 8, QUEUES]);
    expect((disk.features >> BigInt(VIRTIO_F_RING_PACKED)) & 1n).toBe(1n);
    for (let lap = 0; lap < 20; lap++) {
      const sectors = Array.from({ length: SECTORS }, (_, sector) => sector);
      await Promise.all(
        disk.batch(() => sectors.map((sector) => disk.write(SECTOR * sector, pattern(SECTOR, lap * SECTORS + sector)))),
      );
      const read = await Promise.all(disk.batch(() => sectors.map((sector) => disk.read(SECTOR * sector, SECTOR))));
      for (const [sector, bytes] of read.entries()) sameBytes(bytes, pattern(SECTOR, lap * SECTORS + sector));
    }
    expect(driver.held).toEqual([]);
  });

  it("have requests in flight on all of them at once, and complete them in any order", async () => {
    const { machine, driver } = held();
    const disk = await machine.guest.probe({ queues: QUEUES, withoutFeatures: [VIRTIO_BLK_F_CONFIG_WCE] });
    driver.holding = true;
    const reads = disk.batch(() => Array.from({ length: 12 }, (_, sector) => disk.read(SECTOR * sector, SECTOR)));
    // With indirect tables a request takes one descriptor: twelve have room in three rings of eight, not in one.
    expect(driver.held.length).toBe(12);
    driver.endAll("newest first");
    for (const [sector, bytes] of (await Promise.all(reads)).entries()) {
      expect(bytes).toEqual(diskPattern(SECTOR * SECTORS).subarray(SECTOR * sector, SECTOR * (sector + 1)));
    }
  });

  it("go on while one of them is reset, and take it back", async () => {
    const { machine, driver } = held();
    const disk = await machine.guest.probe({ queues: QUEUES });
    driver.holding = true;
    const outcomes = disk.batch(() =>
      Array.from({ length: 3 }, (_, sector) =>
        disk.read(SECTOR * sector, SECTOR).then(
          () => "read",
          (error: unknown) => error,
        ),
      ),
    );
    const reset = disk.resetQueue(1);
    driver.endAll();
    await reset;
    const [first, second, third] = await Promise.all(outcomes);
    expect([first, third]).toEqual(["read", "read"]);
    expect(second).toBeInstanceOf(GuestClosedError);
    driver.holding = false;
    const again = await Promise.all(disk.batch(() => Array.from({ length: 24 }, () => disk.read(0, SECTOR))));
    expect(again.every((bytes) => bytes.length === SECTOR)).toBe(true);
  });
});
