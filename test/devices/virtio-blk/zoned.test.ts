// Zoned requests: VIRTIO 1.4 §5.2.6, docs/reference/virtio-errors.md §2. Zones of 8 sectors of which 6 can be written, writes of 1 KiB.
import { describe, expect, it } from "vitest";
import { MemoryDriver } from "../../../src/block/drivers/memory.ts";
import { ZonedDriver, type ZonedDriverOptions } from "../../../src/block/drivers/zoned.ts";
import { BlockNode } from "../../../src/block/node.ts";
import { diskPattern, type MachineOptions, makeMachine } from "../support/machine.ts";
import { RawDisk } from "../support/raw-disk.ts";

const ZONE = 8;
const CONVENTIONAL = 0;
const EMPTY = 8;
const OTHER = 16;
const READ_ONLY = 48;
const OFFLINE = 56;
const [APPEND, REPORT, OPEN, CLOSE, FINISH, RESET, RESET_ALL] = [15, 16, 18, 20, 22, 24, 26] as const;
const [S_EMPTY, S_IOPEN, S_EOPEN, S_CLOSED, S_FULL] = [1, 2, 3, 4, 14];

function zonedMachine(zoned: Partial<ZonedDriverOptions> = {}, options: MachineOptions = {}): RawDisk["machine"] {
  const file = new BlockNode({ name: "data", driver: new MemoryDriver({ lengthBytes: 512 * ZONE * 8 }) });
  const driver = new ZonedDriver({
    file,
    model: "host-managed",
    zoneBytes: 512 * ZONE,
    zoneCapacityBytes: 512 * 6,
    conventionalZones: 1,
    maxAppendBytes: 2048,
    writeGranularityBytes: 1024,
    readOnlyZones: [6],
    offlineZones: [7],
    ...zoned,
  });
  return makeMachine({ driver, discard: "unmap", ...options });
}

class ZonedDisk {
  readonly raw: RawDisk;

  constructor(zoned: Partial<ZonedDriverOptions> = {}, options: MachineOptions = {}, features = [17, 32]) {
    this.raw = RawDisk.start(zonedMachine(zoned, options), { features });
  }

  command(type: number, sector: number): number {
    return this.raw.perform([this.raw.header(type, sector), this.raw.writable(1)]).status;
  }

  write(sector: number, sectors: number): number {
    return this.raw.write(sector, diskPattern(512 * sectors, sector)).status;
  }

  append(zone: number, sectors: number, writable = 8): [status: number, sector: bigint | undefined] {
    const data = this.raw.readable(new Uint8Array(512 * sectors).fill(7));
    const outcome = this.raw.perform([this.raw.header(APPEND, zone), data, this.raw.writable(writable + 1)]);
    if (outcome.status !== 0) return [outcome.status, undefined];
    expect(outcome.length).toBe(9);
    return [0, new DataView(outcome.data.buffer).getBigUint64(0, true)];
  }

  /** Capacity, start, write pointer, type and state of one zone. */
  zone(sector: number): [cap: number, start: number, wp: number, type: number, state: number] {
    const outcome = this.raw.perform([this.raw.header(REPORT, sector), this.raw.writable(128), this.raw.writable(1)]);
    expect([outcome.status, outcome.length]).toEqual([0, 129]);
    const view = new DataView(outcome.data.buffer);
    expect(view.getBigUint64(0, true)).toBe(1n);
    const [cap, start, wp] = [64, 72, 80].map((at) => Number(view.getBigUint64(at, true))) as [number, number, number];
    return [cap, start, wp, view.getUint8(88), view.getUint8(89)];
  }

  state(sector: number): number | undefined {
    return this.zone(sector)[4];
  }
}

describe("a host-managed disk", () => {
  it("BLK-DEV-009 BLK-DEV-010 BLK-DEV-012 BLK-DEV-013 BLK-DEV-014 BLK-DEV-017 BLK-DEV-018 BLK-DEV-032 says what it is like", () => {
    const { raw } = new ZonedDisk({ maxOpenZones: 3, maxActiveZones: 4 });
    const fields = (): number[] => [0x48, 0x4c, 0x50, 0x54, 0x58, 0x5c].map((at) => raw.registers.readConfig(at, 4));
    expect(fields()).toEqual([8, 3, 4, 4, 1024, 1]);
    raw.registers.write(0x148, 0);
    expect(fields()).toEqual([8, 3, 4, 4, 1024, 1]);
  });

  it("BLK-DEV-006 BLK-DEV-008 does not work without ZONED, nor for a legacy driver, and offers no DISCARD", () => {
    expect(() => new ZonedDisk({}, {}, [32])).toThrow("FEATURES_OK");
    const { registers } = zonedMachine();
    expect((registers.deviceFeatures >>> 13) & 0x11).toBe(0x10);
    expect(() => zonedMachine({}, { legacy: true })).toThrow("a host-managed zoned disk behind legacy registers");
    const legacy = zonedMachine({ model: "host-aware" }, { legacy: true });
    expect((legacy.registers.deviceFeatures >>> 17) & 1).toBe(0);
  });

  it("BLK-DEV-054 BLK-DEV-005 knows no zone request without zones", () => {
    const raw = RawDisk.start(makeMachine());
    const types = [APPEND, REPORT, OPEN, CLOSE, FINISH, RESET, RESET_ALL];
    const statuses = types.map((type) => raw.perform([raw.header(type), raw.writable(200)]).status);
    expect(statuses).toEqual(types.map(() => 2));
  });

  it("BLK-DEV-064 BLK-DEV-068 BLK-DEV-069 BLK-DEV-071 BLK-DEV-072 BLK-DEV-098 refuses writes with the status of the rule they break", () => {
    const cases: [string, number, number, number][] = [
      ["behind the write pointer", EMPTY + 2, 2, 4],
      ["not whole granules", EMPTY, 1, 4],
      ["more than the capacity", EMPTY, 8, 3],
      ["across zones", EMPTY, 10, 3],
      ["from a conventional zone on", 6, 4, 3],
      ["to a read-only zone", READ_ONLY, 2, 3],
      ["to an offline zone", OFFLINE, 2, 3],
      ["beyond the disk", 64, 2, 1],
    ];
    for (const [name, sector, sectors, status] of cases) {
      const disk = new ZonedDisk();
      expect(disk.write(sector, sectors), name).toBe(status);
      expect(disk.zone(EMPTY), name).toEqual([6, 8, 8, 2, S_EMPTY]);
    }
  });

  it("BLK-DEV-068 BLK-DEV-072 BLK-DEV-074 BLK-DEV-073 reads within zones, zeroes where nothing was written, and nothing of an offline zone", () => {
    const disk = new ZonedDisk();
    expect(disk.write(EMPTY, 2)).toBe(0);
    const read = disk.raw.read(EMPTY, 4096);
    expect(read.status).toBe(0);
    expect(read.data.subarray(0, 1024)).toEqual(diskPattern(1024, EMPTY));
    expect(read.data.subarray(1024)).toEqual(new Uint8Array(3072));
    expect([disk.raw.read(EMPTY + 7, 1024).status, disk.raw.read(7, 1024).status]).toEqual([3, 3]);
    expect([disk.raw.read(OFFLINE).status, disk.raw.read(READ_ONLY).status]).toEqual([3, 0]);
  });

  it("BLK-DEV-106 takes writes anywhere in a conventional zone", () => {
    const disk = new ZonedDisk();
    expect([disk.write(5, 1), disk.write(1, 3), disk.zone(CONVENTIONAL)]).toEqual([0, 0, [8, 0, 8, 1, 0]]);
  });

  it("BLK-DEV-065 appends where the zone ends, and says where that was", () => {
    const disk = new ZonedDisk();
    expect([disk.append(EMPTY, 2), disk.append(EMPTY, 4), disk.state(EMPTY)]).toEqual([[0, 8n], [0, 10n], S_FULL]);
    expect(disk.raw.read(EMPTY + 2, 2048).data).toEqual(new Uint8Array(2048).fill(7));
  });

  it("BLK-DEV-056 BLK-DEV-063 BLK-DEV-064 BLK-DEV-067 BLK-DEV-071 BLK-DEV-072 refuses appends with the status of the rule they break", () => {
    const cases: [string, number, number, number, number][] = [
      ["to a conventional zone", CONVENTIONAL, 2, 8, 3],
      ["not to a zone's start", EMPTY + 2, 2, 8, 3],
      ["of more than max_append_sectors", EMPTY, 6, 8, 3],
      ["of nothing", EMPTY, 0, 8, 3],
      ["with no room for the sector", EMPTY, 2, 7, 3],
      ["to a read-only zone", READ_ONLY, 2, 8, 3],
      ["to an offline zone", OFFLINE, 2, 8, 3],
      ["beyond the disk", 64, 2, 8, 3],
      ["of half a granule", EMPTY, 1, 8, 4],
    ];
    for (const [name, sector, sectors, room, status] of cases) {
      const disk = new ZonedDisk();
      expect(disk.append(sector, sectors, room), name).toEqual([status, undefined]);
      expect(disk.state(EMPTY), name).toBe(S_EMPTY);
    }
    const disk = new ZonedDisk();
    expect([disk.append(EMPTY, 4)[0], disk.append(EMPTY, 4)[0], disk.zone(EMPTY)[2]]).toEqual([0, 3, 12]);
  });

  it("BLK-DEV-016 BLK-DEV-066 knows no append where max_append_sectors is 0", () => {
    const disk = new ZonedDisk({ maxAppendBytes: 0 });
    expect([disk.raw.registers.readConfig(0x54, 4), disk.append(EMPTY, 2)[0]]).toEqual([0, 2]);
  });

  it("BLK-DEV-094 BLK-DEV-095 BLK-DEV-057 BLK-DEV-059 walks every edge of the state machine", () => {
    const disk = new ZonedDisk();
    const steps: [string, () => number, number, number][] = [
      ["close of an empty zone", () => disk.command(CLOSE, EMPTY), 3, S_EMPTY!],
      ["reset of an empty zone", () => disk.command(RESET, EMPTY), 0, S_EMPTY!],
      ["open", () => disk.command(OPEN, EMPTY), 0, S_EOPEN!],
      ["open again", () => disk.command(OPEN, EMPTY), 0, S_EOPEN!],
      ["close without data", () => disk.command(CLOSE, EMPTY), 0, S_EMPTY!],
      ["write", () => disk.write(EMPTY, 2), 0, S_IOPEN!],
      ["close with data", () => disk.command(CLOSE, EMPTY), 0, S_CLOSED!],
      ["close again", () => disk.command(CLOSE, EMPTY), 0, S_CLOSED!],
      ["write to a closed zone", () => disk.write(EMPTY + 2, 2), 0, S_IOPEN!],
      ["open of an implicitly open one", () => disk.command(OPEN, EMPTY), 0, S_EOPEN!],
      ["write to capacity", () => disk.write(EMPTY + 4, 2), 0, S_FULL!],
      ["write to a full zone", () => disk.write(EMPTY, 2), 3, S_FULL!],
      ["open of a full zone", () => disk.command(OPEN, EMPTY), 3, S_FULL!],
      ["close of a full zone", () => disk.command(CLOSE, EMPTY), 3, S_FULL!],
      ["finish of a full zone", () => disk.command(FINISH, EMPTY), 0, S_FULL!],
      ["reset", () => disk.command(RESET, EMPTY), 0, S_EMPTY!],
      ["write again", () => disk.write(EMPTY, 2), 0, S_IOPEN!],
      ["finish", () => disk.command(FINISH, EMPTY), 0, S_FULL!],
    ];
    for (const [name, step, status, state] of steps) expect([step(), disk.state(EMPTY)], name).toEqual([status, state]);
    expect(disk.raw.read(EMPTY + 2, 2048).data).toEqual(new Uint8Array(2048));
  });

  it("BLK-DEV-055 BLK-DEV-060 BLK-DEV-061 BLK-DEV-072 BLK-DEV-099 refuses commands to zones that cannot obey", () => {
    const disk = new ZonedDisk();
    for (const sector of [CONVENTIONAL, READ_ONLY, OFFLINE, EMPTY + 1, 64, 2 ** 40]) {
      for (const type of [OPEN, CLOSE, FINISH, RESET]) expect(disk.command(type, sector), `${type} ${sector}`).toBe(3);
    }
    expect([disk.state(READ_ONLY), disk.state(OFFLINE)]).toEqual([13, 15]);
  });

  it("BLK-DEV-012 BLK-DEV-013 BLK-DEV-058 BLK-DEV-062 BLK-DEV-070 BLK-DEV-097 keeps to the limits of open and active zones", () => {
    const open = new ZonedDisk({ maxOpenZones: 1 });
    expect([open.command(OPEN, EMPTY), open.command(OPEN, OTHER), open.write(OTHER, 2), open.state(OTHER)]).toEqual([
      0, 5, 5, 1,
    ]);
    const implicit = new ZonedDisk({ maxOpenZones: 1 });
    expect([implicit.write(EMPTY, 2), implicit.write(OTHER, 2)]).toEqual([0, 0]);
    expect([implicit.state(EMPTY), implicit.state(OTHER)]).toEqual([S_CLOSED, S_IOPEN]);
    const active = new ZonedDisk({ maxOpenZones: 1, maxActiveZones: 1 });
    expect([active.write(EMPTY, 2), active.append(OTHER, 2)[0], active.command(OPEN, OTHER)]).toEqual([0, 6, 6]);
    expect([active.command(RESET, EMPTY), active.write(OTHER, 2)]).toEqual([0, 0]);
  });

  it("BLK-DEV-096 resets all zones that can be, whatever the sector", () => {
    const disk = new ZonedDisk();
    disk.write(3, 1);
    for (const zone of [EMPTY, OTHER, 24]) disk.write(zone, 2);
    disk.command(FINISH, OTHER);
    disk.command(CLOSE, 24);
    expect(disk.command(RESET_ALL, 12345)).toBe(0);
    for (const zone of [EMPTY, OTHER, 24, 32, 40]) expect(disk.zone(zone)).toEqual([6, zone, zone, 2, S_EMPTY]);
    expect([disk.state(READ_ONLY), disk.state(OFFLINE)]).toEqual([13, 15]);
    expect(disk.raw.read(OTHER, 1024).data).toEqual(new Uint8Array(1024));
    expect(disk.raw.read(3).data).toEqual(diskPattern(512, 3));
  });

  it("BLK-DEV-091 BLK-DEV-092 BLK-DEV-093 reports as many zones as the buffer holds", () => {
    const disk = new ZonedDisk();
    const report = (sector: number, bytes: number): [number, number, bigint] => {
      const { raw } = disk;
      const outcome = raw.perform([raw.header(REPORT, sector), raw.writable(bytes), raw.writable(1)]);
      const view = new DataView(outcome.data.buffer);
      return [outcome.status, outcome.length, bytes >= 8 ? view.getBigUint64(0, true) : 0n];
    };
    const poison = 0xeeee_eeee_eeee_eeeen;
    expect(report(0, 63)).toEqual([3, 0, poison]);
    expect(report(0, 64)).toEqual([0, 65, 0n]);
    expect(report(0, 127)).toEqual([0, 64, 0n]);
    expect(report(11, 64 + 3 * 64 + 10)).toEqual([0, 256, 3n]);
    expect(report(63, 1024)).toEqual([0, 128, 1n]);
    expect(report(64, 1024)).toEqual([3, 0, poison]);
  });

  it("BLK-DEV-037 writes and changes nothing when it is read-only, but reports", () => {
    const disk = new ZonedDisk({}, { readOnly: true });
    const types = [OPEN, CLOSE, FINISH, RESET, RESET_ALL];
    expect([disk.write(EMPTY, 2), disk.append(EMPTY, 2)[0]]).toEqual([1, 1]);
    expect(types.map((type) => disk.command(type, EMPTY))).toEqual(types.map(() => 1));
    expect(disk.zone(EMPTY)).toEqual([6, 8, 8, 2, S_EMPTY]);
  });
});

describe("a host-aware disk", () => {
  it("BLK-DEV-007 works without ZONED, and then shows no zones", () => {
    const disk = new ZonedDisk({ model: "host-aware" }, {}, [32]);
    for (const at of [0x48, 0x4c, 0x50, 0x54, 0x58, 0x5c]) expect(disk.raw.registers.readConfig(at, 4)).toBe(0);
    expect([disk.write(EMPTY + 3, 1), disk.raw.read(6, 2048).status, disk.command(OPEN, EMPTY)]).toEqual([0, 0, 2]);
  });

  it("BLK-DEV-009 BLK-DEV-056 BLK-DEV-106 takes writes anywhere, and follows them", () => {
    const disk = new ZonedDisk({ model: "host-aware" });
    expect(disk.raw.registers.readConfig(0x5c, 1)).toBe(2);
    expect([disk.write(EMPTY + 3, 1), disk.zone(EMPTY)]).toEqual([0, [6, 8, 12, 3, S_IOPEN]]);
    expect([disk.write(EMPTY, 2), disk.zone(EMPTY)[2], disk.append(EMPTY, 2)[0]]).toEqual([0, 12, 3]);
  });
});
