// Requests that come with a feature: VIRTIO 1.4 §5.2.6, docs/reference/virtio-errors.md §2.
import { describe, expect, it } from "vitest";
import type { DiskLifetime } from "../../../src/block/driver.ts";
import { MemoryDriver } from "../../../src/block/drivers/memory.ts";
import { diskPattern, type MachineOptions, makeMachine } from "../support/machine.ts";
import { RawDisk } from "../support/raw-disk.ts";

const SECTORS = 128;
const DISK = diskPattern(512 * SECTORS);
const DISCARD = 11;
const WRITE_ZEROES = 13;
const SECURE_ERASE = 14;

/** A disk in memory that can do all that a disk can. */
class AbleDriver extends MemoryDriver {
  readonly lifetime: DiskLifetime;
  readonly log: string[] = [];

  constructor(lifetime: DiskLifetime = { preEndOfLife: 2, estimateA: 11, estimateB: 5 }) {
    super({ bytes: diskPattern(512 * SECTORS) });
    this.lifetime = lifetime;
  }

  override writeZeroes(offset: number, length: number, options?: { mayUnmap: boolean }): void {
    this.log.push(`zero ${offset}+${length}${options?.mayUnmap === true ? " unmap" : ""}`);
    super.writeZeroes(offset, length);
  }

  override discard(offset: number, length: number): void {
    this.log.push(`discard ${offset}+${length}`);
    super.discard(offset, length);
  }

  secureErase(offset: number, length: number): void {
    this.log.push(`erase ${offset}+${length}`);
    super.writeZeroes(offset, length);
  }
}

type Range = readonly [sector: number | bigint, sectors: number, flags?: number];

function ranges(list: readonly Range[]): Uint8Array {
  const bytes = new Uint8Array(16 * list.length);
  const view = new DataView(bytes.buffer);
  for (const [i, [sector, sectors, flags = 0]] of list.entries()) {
    view.setBigUint64(16 * i, BigInt(sector), true);
    view.setUint32(16 * i + 8, sectors, true);
    view.setUint32(16 * i + 12, flags, true);
  }
  return bytes;
}

function start(options: MachineOptions = {}, features = [13, 14, 15, 16, 32]): { disk: RawDisk; driver: AbleDriver } {
  const driver = new AbleDriver();
  const limits = {
    discard: { maxSectors: 32, maxSegments: 4 },
    writeZeroes: { maxSectors: 32, maxSegments: 4 },
    secureErase: { maxSectors: 32, maxSegments: 4 },
  };
  const machine = makeMachine({ driver, discard: "unmap", device: { limits }, ...options });
  return { disk: RawDisk.start(machine, { features }), driver };
}

function send(disk: RawDisk, type: number, data: Uint8Array): number {
  const outcome = disk.perform([disk.header(type), disk.readable(data), disk.writable(1)]);
  expect(outcome.length).toBe(1);
  return outcome.status;
}

const NAMES: Readonly<Record<number, string>> = { 11: "discard", 13: "zero", 14: "erase" };

describe("DISCARD, WRITE_ZEROES and SECURE_ERASE", () => {
  for (const type of [DISCARD, WRITE_ZEROES, SECURE_ERASE]) {
    it(`BLK-DEV-089 type ${type} is carried out segment by segment, in order`, () => {
      const { disk, driver } = start();
      expect(
        send(
          disk,
          type,
          ranges([
            [4, 2],
            [100, 28],
            [0, 0],
          ]),
        ),
      ).toBe(0);
      expect(driver.log).toEqual([`${NAMES[type]} 2048+1024`, `${NAMES[type]} 51200+14336`]);
      const expected = DISK.slice();
      expected.fill(0, 2048, 3072).fill(0, 51200);
      expect(driver.bytes).toEqual(expected);
    });

    it(`BLK-DEV-039 type ${type} is refused as a whole, and nothing carried out`, () => {
      const good: Range = [0, 8];
      const cases: [string, Uint8Array, number][] = [
        ["no segment", new Uint8Array(0), 1],
        ["15 bytes", ranges([good]).slice(1), 1],
        ["17 bytes", new Uint8Array(17), 1],
        ["more segments than allowed", ranges([good, good, good, good, good]), 1],
        ["a segment too long", ranges([good, [0, 33]]), 1],
        ["beyond the capacity", ranges([good, [127, 2]]), 1],
        ["far beyond", ranges([good, [0xffff_ffff_ffff_ffffn, 2]]), 1],
        ["behind the end, empty", ranges([[129, 0]]), 1],
        ["an unknown flag", ranges([good, [8, 8, 2]]), 2],
        ["all flags", ranges([[0, 8, 0xffff_ffff], good]), 2],
        [
          "an unknown flag behind a bad range",
          ranges([
            [127, 2],
            [8, 8, 0x8000_0000],
          ]),
          2,
        ],
        ["an unknown flag and a bad range", ranges([[0xffff_ffffn, 99, 4]]), 2],
      ];
      for (const [name, data, status] of cases) {
        const { disk, driver } = start();
        expect(send(disk, type, data), name).toBe(status);
        expect(driver.log, name).toEqual([]);
        expect(disk.registers.status, name).toBe(0x0f);
      }
    });

    it(`BLK-DEV-037 BLK-DEV-038 type ${type} fails on a read-only disk`, () => {
      const { disk, driver } = start({ readOnly: true });
      expect(send(disk, type, ranges([[0, 1]]))).toBe(1);
      expect(driver.log).toEqual([]);
    });

    it(`BLK-DEV-088 type ${type} is unsupported where its feature was not accepted`, () => {
      const { disk, driver } = start({}, [32]);
      expect(send(disk, type, ranges([[0, 1]]))).toBe(2);
      expect(driver.log).toEqual([]);
    });
  }

  it("BLK-DEV-040 unmap is a flag of WRITE_ZEROES alone", () => {
    const { disk, driver } = start();
    expect([DISCARD, SECURE_ERASE].map((type) => send(disk, type, ranges([[0, 1, 1]])))).toEqual([2, 2]);
    expect(driver.log).toEqual([]);
  });

  it("BLK-DEV-043 BLK-DEV-044 WRITE_ZEROES unmaps where that was asked for and can be", () => {
    for (const discard of ["unmap", "ignore"] as const) {
      const { disk, driver } = start({ discard });
      expect(disk.registers.readConfig(0x38, 1)).toBe(discard === "unmap" ? 1 : 0);
      expect(
        send(
          disk,
          WRITE_ZEROES,
          ranges([
            [0, 1],
            [1, 1, 1],
          ]),
        ),
      ).toBe(0);
      expect(driver.log).toEqual(["zero 0+512", `zero 512+512${discard === "unmap" ? " unmap" : ""}`]);
      expect(driver.bytes.subarray(0, 1024).every((byte) => byte === 0)).toBe(true);
    }
  });

  it("large segments are carried out in pieces, with turns for others in between, and dropped by a reset", async () => {
    const driver = new MemoryDriver({ lengthBytes: 128 << 20 });
    const lengths: number[] = [];
    driver.writeZeroes = (_offset, length) => void lengths.push(length);
    const disk = RawDisk.start(makeMachine({ driver }), { features: [14, 32] });
    disk.submit(disk.chain([disk.header(WRITE_ZEROES), disk.readable(ranges([[0, 1 << 17]])), disk.writable(1)]));
    expect([lengths.length, disk.takeUsed()]).toEqual([1, []]);
    await new Promise((resolve) => setTimeout(resolve, 0));
    while (disk.takeUsed().length === 0) await new Promise(setImmediate);
    expect(lengths).toEqual([16 << 20, 16 << 20, 16 << 20, 16 << 20]);
    disk.submit(disk.chain([disk.header(WRITE_ZEROES), disk.readable(ranges([[0, 1 << 17]])), disk.writable(1)]));
    disk.registers.status = 0;
    for (let turn = 0; turn < 8; turn++) await new Promise(setImmediate);
    expect(lengths.length).toBe(5);
  });
});

describe("GET_LIFETIME", () => {
  it("BLK-DEV-051 BLK-DEV-084 tells the metrics of the disk", () => {
    const { disk } = start();
    const request = [disk.header(10), disk.writable(6), disk.writable(1)];
    expect(disk.perform(request)).toEqual({ status: 0, length: 7, data: Uint8Array.of(2, 0, 11, 0, 5, 0) });
    const larger = disk.perform([disk.header(10), disk.writable(8), disk.writable(1)]);
    expect(larger).toEqual({ status: 0, length: 6, data: Uint8Array.of(2, 0, 11, 0, 5, 0, 0xee, 0xee) });
  });

  it("BLK-DEV-053 tells no reserved value", () => {
    const driver = new AbleDriver({ preEndOfLife: 4, estimateA: 12, estimateB: -1 });
    const { disk } = start({ driver });
    expect(disk.perform([disk.header(10), disk.writable(6), disk.writable(1)]).data).toEqual(new Uint8Array(6));
  });

  it("BLK-DEV-088 fails for a buffer that is too short, and without the feature", () => {
    const { disk } = start();
    expect(disk.perform([disk.header(10), disk.writable(5), disk.writable(1)])).toMatchObject({ status: 1, length: 0 });
    const { disk: plain } = start({}, [32]);
    expect(plain.perform([plain.header(10), plain.writable(6), plain.writable(1)]).status).toBe(2);
  });
});
