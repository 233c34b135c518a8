// Requests beside reads and writes, as a scripted device sees them: ranges, lifetime, zones, and what several queues get.
import { describe, expect, it } from "vitest";
import { type Disk, type GuestDriverError, GuestIoError } from "../../guest/index.ts";
import type { FakeDevice } from "./support/fake-device.ts";
import { fakeMachine } from "./support/fixture.ts";
import { reasonOf } from "./support/outcome.ts";

const SECTORS = 2048;

interface Seen {
  readonly type: number;
  readonly sector: number;
  readonly out: Buffer;
  /** Bytes that the device may write, the status byte included. */
  readonly room: number;
}

interface Answer {
  readonly status?: number;
  readonly data?: Uint8Array;
  readonly usedLength?: number;
}

/** A disk whose device tells what it is asked, and answers as `answer` says. */
async function scripted(
  features: readonly number[],
  configure: (view: DataView) => void,
  answer: (seen: Seen) => Answer = () => ({}),
): Promise<{ disk: Disk; device: FakeDevice; seen: Seen[] }> {
  const { guest, device } = fakeMachine();
  for (const feature of features) device.offered |= 1n << BigInt(feature);
  configure(device.configView);
  const seen: Seen[] = [];
  device.execute = (chain) => {
    const bytes = Buffer.concat(
      chain.buffers.filter(({ writable }) => !writable).map((b) => device.memory.viewOf(b.address, b.length)),
    );
    const writable = chain.buffers.filter((buffer) => buffer.writable);
    const room = writable.reduce((sum, { length }) => sum + length, 0);
    const request: Seen = {
      type: bytes.readUInt32LE(0),
      sector: Number(bytes.readBigUInt64LE(8)),
      out: bytes.subarray(16),
      room,
    };
    seen.push(request);
    const { status = 0, data = new Uint8Array(0), usedLength = data.length + 1 } = answer(request);
    device.memory.viewOf(writable[0]!.address, data.length).set(data);
    device.writeStatus(chain, status);
    return { status, length: usedLength };
  };
  return { disk: await guest.probe(), device, seen };
}

/** Segments as sector, count and flags. */
function segments({ out }: Seen): number[][] {
  return Array.from({ length: out.length / 16 }, (_, i) => [
    Number(out.readBigUInt64LE(16 * i)),
    out.readUInt32LE(16 * i + 8),
    out.readUInt32LE(16 * i + 12),
  ]);
}

const RANGES = [
  { what: "discard", feature: 13, type: 11, at: 0x24, call: (disk: Disk, o: number, l: number) => disk.discard(o, l) },
  {
    what: "writeZeroes",
    feature: 14,
    type: 13,
    at: 0x30,
    call: (disk: Disk, o: number, l: number) => disk.writeZeroes(o, l),
  },
  {
    what: "secureErase",
    feature: 16,
    type: 14,
    at: 0x3c,
    call: (disk: Disk, o: number, l: number) => disk.secureErase(o, l),
  },
] as const;

describe("Disk ranges", () => {
  it.each(RANGES)(
    "BLK-DRV-020 BLK-DRV-022 BLK-DRV-023 BLK-DRV-024 $what cuts at the device's limits",
    async (range) => {
      const { disk, seen } = await scripted([range.feature], (view) => {
        view.setUint32(range.at, 100, true); // sectors in a segment
        view.setUint32(range.at + 4, 3, true); // segments in a request
      });
      await range.call(disk, 512 * 10, 512 * 650);
      expect(seen.map(({ type, sector, room }) => [type, sector, room])).toEqual(
        [1, 2, 3].map(() => [range.type, 0, 1]),
      );
      expect(seen.map(segments)).toEqual([
        [
          [10, 100, 0],
          [110, 100, 0],
          [210, 100, 0],
        ],
        [
          [310, 100, 0],
          [410, 100, 0],
          [510, 100, 0],
        ],
        [[610, 50, 0]],
      ]);
    },
  );

  it.each(RANGES)("$what is one segment where the device sets no limit", async (range) => {
    const { disk, seen } = await scripted([range.feature], () => undefined);
    await range.call(disk, 0, 512 * SECTORS);
    expect(seen.map(segments)).toEqual([[[0, SECTORS, 0]]]);
    await range.call(disk, 512, 0);
    expect(seen).toHaveLength(1);
  });

  it.each(RANGES)("$what sends nothing without its feature, or beyond the disk", async (range) => {
    const bare = await scripted([], () => undefined);
    expect(((await reasonOf(range.call(bare.disk, 0, 512))) as GuestDriverError).code).toBe("feature-missing");
    const { disk, seen } = await scripted([range.feature], () => undefined);
    await expect(range.call(disk, 512, 512 * SECTORS)).rejects.toBeInstanceOf(RangeError);
    await expect(range.call(disk, 1, 512)).rejects.toBeInstanceOf(RangeError);
    expect(seen).toEqual([]);
    expect(bare.seen).toEqual([]);
  });

  it("cuts where the device likes ranges aligned", async () => {
    const { disk, seen } = await scripted([13], (view) => {
      view.setUint32(0x24, 100, true);
      view.setUint32(0x28, 8, true);
      view.setUint32(0x2c, 16, true);
    });
    await disk.discard(512 * 10, 512 * 200);
    expect(seen.flatMap(segments)).toEqual([
      [10, 86, 0],
      [96, 96, 0],
      [192, 18, 0],
    ]);
  });

  it("bears a device that wants every sector on its own", async () => {
    const { disk, seen } = await scripted([13], (view) => {
      view.setUint32(0x24, 1, true);
      view.setUint32(0x28, 1, true);
    });
    await disk.discard(0, 512 * SECTORS);
    expect(seen.map((request) => segments(request)[0]![0])).toEqual(Array.from({ length: SECTORS }, (_, i) => i));
  });

  it("BLK-DRV-027 sets unmap for write zeroes alone, and where it is asked", async () => {
    const { disk, seen } = await scripted([13, 14, 16], () => undefined);
    await disk.writeZeroes(0, 512, { unmap: true });
    await disk.writeZeroes(0, 512, { unmap: false });
    await disk.discard(0, 512);
    await disk.secureErase(0, 512);
    expect(seen.map((request) => [request.type, segments(request)[0]![2]])).toEqual([
      [13, 1],
      [13, 0],
      [11, 0],
      [14, 0],
    ]);
  });

  it("rejects with the status of the first request that failed, and sends no more", async () => {
    const { disk, seen } = await scripted(
      [13],
      (view) => {
        view.setUint32(0x24, 1, true);
        view.setUint32(0x28, 1, true);
      },
      ({ out }) => ({ status: Number(out.readBigUInt64LE(0)) === 5 ? 1 : 0 }),
    );
    const error = (await reasonOf(disk.discard(0, 512 * 100))) as GuestIoError;
    expect([error.status, error.statusName, error.type]).toEqual([1, "VIRTIO_BLK_S_IOERR", 11]);
    expect(seen).toHaveLength(16);
  });
});

describe("Disk lifetime", () => {
  it("reads three numbers", async () => {
    const { disk, seen } = await scripted(
      [15],
      () => undefined,
      () => ({ data: Uint8Array.of(2, 0, 11, 0, 1, 0) }),
    );
    expect(await disk.lifetime()).toEqual({ preEolInfo: 2, estimateA: 11, estimateB: 1 });
    expect(seen.map(({ type, sector, room }) => [type, sector, room])).toEqual([[10, 0, 7]]);
  });

  it("rejects without the feature, with the status, and for an answer that is too short", async () => {
    const bare = await scripted([], () => undefined);
    expect(((await reasonOf(bare.disk.lifetime())) as GuestDriverError).code).toBe("feature-missing");
    const failing = await scripted(
      [15],
      () => undefined,
      () => ({ status: 1, usedLength: 0 }),
    );
    expect(await reasonOf(failing.disk.lifetime())).toBeInstanceOf(GuestIoError);
    const short = await scripted(
      [15],
      () => undefined,
      () => ({ usedLength: 5 }),
    );
    expect(((await reasonOf(short.disk.lifetime())) as GuestDriverError).code).toBe("used-length");
  });
});

const ZONE_SECTORS = 300; // the last of seven zones is shorter
const ZONE = 512 * ZONE_SECTORS;

function zoned(view: DataView, model = 1): void {
  view.setUint32(0x48, ZONE_SECTORS, true);
  view.setUint32(0x4c, 3, true);
  view.setUint32(0x50, 5, true);
  view.setUint32(0x54, 16, true);
  view.setUint32(0x58, 4096, true);
  view.setUint8(0x5c, model);
}

function report(first: number, count: number, claimed = count): Uint8Array {
  const bytes = new Uint8Array(64 + 64 * count);
  const view = new DataView(bytes.buffer);
  view.setBigUint64(0, BigInt(claimed), true);
  for (let i = 0; i < count; i++) {
    const start = (first + i) * ZONE_SECTORS;
    view.setBigUint64(64 + 64 * i, BigInt(Math.min(256, SECTORS - start)), true);
    view.setBigUint64(72 + 64 * i, BigInt(start), true);
    view.setBigUint64(80 + 64 * i, BigInt(start + 8), true);
    view.setUint8(88 + 64 * i, 2);
    view.setUint8(89 + 64 * i, 3);
  }
  return bytes;
}

describe("DiskZones", () => {
  it("is there where the device has zones", async () => {
    const { disk } = await scripted([17], (view) => zoned(view, 2));
    expect(disk.zones?.limits).toEqual({
      model: 2,
      zoneSectors: 300,
      maxOpenZones: 3,
      maxActiveZones: 5,
      maxAppendSectors: 16,
      writeGranularityBytes: 4096,
    });
    expect(disk.maxTransferBytes % 4096).toBe(0);
    expect((await scripted([17], (view) => zoned(view, 0))).disk.zones).toBeUndefined();
    expect((await scripted([], (view) => zoned(view, 1))).disk.zones).toBeUndefined();
  });

  it("BLK-DRV-006 leaves DISCARD to devices that are not host-managed", async () => {
    const accepted = async (model: number) =>
      (await scripted([13, 17], (view) => zoned(view, model))).device.accepted & ((1n << 13n) | (1n << 17n));
    expect(await accepted(1)).toBe(1n << 17n);
    expect(await accepted(2)).toBe((1n << 13n) | (1n << 17n));
    expect(await accepted(0)).toBe((1n << 13n) | (1n << 17n));
  });

  it.each([
    ["zone_sectors 0", (view: DataView) => view.setUint32(0x48, 0, true)],
    ["write_granularity 0", (view: DataView) => view.setUint32(0x58, 0, true)],
    ["write_granularity 100", (view: DataView) => view.setUint32(0x58, 100, true)],
    ["an unknown model", (view: DataView) => view.setUint8(0x5c, 3)],
  ])("refuses %s", async (_what, spoil) => {
    const error = (await reasonOf(
      scripted([17], (view) => {
        zoned(view);
        spoil(view);
      }),
    )) as GuestDriverError;
    expect(error.code).toBe("config-invalid");
  });

  it("BLK-DRV-031 reports all zones, in as many requests as that takes", async () => {
    const { disk, seen } = await scripted([17], zoned, ({ sector, room }) => {
      const first = Math.floor(sector / ZONE_SECTORS);
      const count = Math.min(3, 7 - first, (room - 65) / 64);
      return { data: report(first, count) };
    });
    const zones = await disk.zones!.report();
    expect(zones.map(({ startBytes }) => startBytes / ZONE)).toEqual([0, 1, 2, 3, 4, 5, 6]);
    expect(zones[6]).toEqual({
      startBytes: 6 * ZONE,
      capacityBytes: 512 * 248,
      writePointerBytes: 6 * ZONE + 4096,
      type: 2,
      state: 3,
    });
    expect(seen.map(({ type, sector }) => [type, sector])).toEqual([
      [16, 0],
      [16, 900],
      [16, 1800],
    ]);
    seen.length = 0;
    expect(await disk.zones!.report(ZONE + 512, 2)).toHaveLength(2);
    expect(seen.map(({ sector, room }) => [sector, room])).toEqual([[301, 64 + 128 + 1]]);
    await expect(disk.zones!.report(512 * SECTORS)).rejects.toBeInstanceOf(RangeError);
  });

  it.each([
    ["more zones than it has room for", report(0, 3, 4), undefined],
    ["2^64 - 1 zones", report(0, 1, 2 ** 63), undefined],
    ["more zones than it says that it wrote", report(0, 3), 64 + 64 * 2],
    ["zones that do not follow one another", report(1, 2), undefined],
    ["zones beyond the disk", report(0, 8), undefined],
  ])("refuses a report of %s", async (_what, data, usedLength) => {
    const { disk } = await scripted([17], zoned, ({ room }) => ({
      data: data.subarray(0, room - 1),
      ...(usedLength !== undefined && { usedLength }),
    }));
    expect(((await reasonOf(disk.zones!.report())) as GuestDriverError).code).toBe("zone-report");
  });

  it("ends at a report without zones", async () => {
    const { disk, seen } = await scripted([17], zoned, () => ({ data: new Uint8Array(64) }));
    expect(await disk.zones!.report()).toEqual([]);
    expect(seen).toHaveLength(1);
  });

  it("BLK-DRV-033 BLK-DRV-034 opens, closes, finishes and resets zones by their first sector", async () => {
    const { disk, seen } = await scripted([17], zoned);
    const zones = disk.zones!;
    await zones.open(ZONE);
    await zones.close(2 * ZONE);
    await zones.finish(3 * ZONE);
    await zones.reset(6 * ZONE);
    await zones.resetAll();
    expect(seen.map(({ type, sector, out, room }) => [type, sector, out.length, room])).toEqual([
      [18, 300, 0, 1],
      [20, 600, 0, 1],
      [22, 900, 0, 1],
      [24, 1800, 0, 1],
      [26, 0, 0, 1],
    ]);
    for (const call of [zones.open, zones.close, zones.finish, zones.reset]) {
      for (const at of [512, 7 * ZONE, -ZONE, Number.NaN]) {
        await expect(call.call(zones, at)).rejects.toBeInstanceOf(RangeError);
      }
    }
    expect(seen).toHaveLength(5);
  });

  it("BLK-DRV-035 BLK-DRV-036 BLK-DRV-037 appends to a zone, and tells where that went", async () => {
    const { disk, seen } = await scripted([17], zoned, () => {
      const data = new Uint8Array(8);
      new DataView(data.buffer).setBigUint64(0, 308n, true);
      return { data };
    });
    const zones = disk.zones!;
    const bytes = new Uint8Array(8192).fill(7);
    expect(await zones.append(ZONE, bytes)).toBe(ZONE + 4096);
    expect(seen.map(({ type, sector, room }) => [type, sector, room])).toEqual([[15, 300, 9]]);
    expect(seen[0]!.out.equals(bytes)).toBe(true);
    for (const [at, length] of [
      [512, 4096],
      [ZONE, 0],
      [ZONE, 512],
      [ZONE, 3 * 4096],
    ] as const) {
      await expect(zones.append(at, new Uint8Array(length))).rejects.toBeInstanceOf(RangeError);
    }
    expect(seen).toHaveLength(1);
    const elsewhere = (await reasonOf(zones.append(2 * ZONE, bytes))) as GuestDriverError;
    expect(elsewhere.code).toBe("zone-append");
  });

  it.each([
    [3, "VIRTIO_BLK_S_ZONE_INVALID_CMD"],
    [4, "VIRTIO_BLK_S_ZONE_UNALIGNED_WP"],
    [5, "VIRTIO_BLK_S_ZONE_OPEN_RESOURCE"],
    [6, "VIRTIO_BLK_S_ZONE_ACTIVE_RESOURCE"],
  ])("rejects with status %i as %s", async (status, name) => {
    const { disk } = await scripted([17], zoned, () => ({ status }));
    const error = (await reasonOf(disk.zones!.open(0))) as GuestIoError;
    expect([error.status, error.statusName]).toEqual([status, name]);
    expect(error.message).toBe(`zone open at sector 0: status ${status} (${name})`);
  });
});
