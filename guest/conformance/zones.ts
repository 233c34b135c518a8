// Zones as cases see them, through reports and zone requests: VIRTIO 1.4 §5.2.6.

import {
  VIRTIO_BLK_CONFIG_MAX_ACTIVE_ZONES,
  VIRTIO_BLK_CONFIG_MAX_APPEND_SECTORS,
  VIRTIO_BLK_CONFIG_MAX_OPEN_ZONES,
  VIRTIO_BLK_CONFIG_WRITE_GRANULARITY,
  VIRTIO_BLK_CONFIG_ZONE_SECTORS,
  VIRTIO_BLK_S_OK,
  VIRTIO_BLK_SECTOR_BYTES,
  VIRTIO_BLK_T_OUT,
  VIRTIO_BLK_T_ZONE_APPEND,
  VIRTIO_BLK_T_ZONE_REPORT,
  VIRTIO_BLK_ZS_CLOSED,
  VIRTIO_BLK_ZS_EMPTY,
  VIRTIO_BLK_ZS_EOPEN,
  VIRTIO_BLK_ZS_FULL,
  VIRTIO_BLK_ZS_IOPEN,
  VIRTIO_BLK_ZS_NOT_WP,
  VIRTIO_BLK_ZS_OFFLINE,
  VIRTIO_BLK_ZS_RDONLY,
} from "../constants/blk.ts";
import type { CompletedRequest } from "./block-requests.ts";
import type { SubjectWish } from "./case.ts";
import type { DeviceUnderTest, InitialiseOptions } from "./device-under-test.ts";
import { pattern } from "./patterns.ts";
import type { Ring } from "./ring.ts";
import type { ZonedDisk } from "./subject.ts";

/** Bytes of a report's header, and of each descriptor behind it. */
export const ZONE_DESCRIPTOR_BYTES = 64;
/** More zones than any disk of the suite has. */
const MANY_ZONES = 32;

const STATE_NAMES: ReadonlyMap<number, string> = new Map([
  [VIRTIO_BLK_ZS_NOT_WP, "NOT_WP"],
  [VIRTIO_BLK_ZS_EMPTY, "EMPTY"],
  [VIRTIO_BLK_ZS_IOPEN, "IOPEN"],
  [VIRTIO_BLK_ZS_EOPEN, "EOPEN"],
  [VIRTIO_BLK_ZS_CLOSED, "CLOSED"],
  [VIRTIO_BLK_ZS_RDONLY, "RDONLY"],
  [VIRTIO_BLK_ZS_FULL, "FULL"],
  [VIRTIO_BLK_ZS_OFFLINE, "OFFLINE"],
]);

/** States in which `z_wp` means something. */
const WITH_WRITE_POINTER: readonly number[] = [
  VIRTIO_BLK_ZS_EMPTY,
  VIRTIO_BLK_ZS_IOPEN,
  VIRTIO_BLK_ZS_EOPEN,
  VIRTIO_BLK_ZS_CLOSED,
];

const DISK: ZonedDisk = {
  model: "host-managed",
  zoneSectors: 256,
  zoneCapacitySectors: 192,
  conventionalZones: 1,
  sequentialZones: 6,
  maxOpenZones: 0,
  maxActiveZones: 0,
  maxAppendSectors: 64,
  writeGranularityBytes: 4096,
  readOnlyZones: [],
  offlineZones: [],
};

/** A wish for a zoned disk: host-managed, one conventional zone of 256 sectors, then six sequential ones that hold 192 each, no limits. */
export function zonedDisk(changes: Partial<ZonedDisk> = {}): SubjectWish {
  const zoned = { ...DISK, ...changes };
  return { zoned, capacitySectors: (zoned.conventionalZones + zoned.sequentialZones) * zoned.zoneSectors };
}

/** A zone descriptor. Sectors are of 512 bytes. */
export interface Zone {
  readonly capacity: number;
  readonly start: number;
  readonly writePointer: number;
  readonly type: number;
  readonly state: number;
}

/** The standard's name of a state. */
export function stateName(state: number): string {
  return STATE_NAMES.get(state) ?? `state ${state}`;
}

/** A zoned disk at DRIVER_OK with ZONED accepted. */
export class ZonedDrive {
  readonly device: DeviceUnderTest;
  readonly ring: Ring;
  readonly zoneSectors: number;
  readonly maxOpenZones: number;
  readonly maxActiveZones: number;
  readonly maxAppendSectors: number;
  readonly granularityBytes: number;
  /** The least write: `granularityBytes`, or a sector. */
  readonly granuleSectors: number;

  private constructor(device: DeviceUnderTest, ring: Ring) {
    const field = (offset: number): number => device.registers.readConfig(offset, 4);
    this.device = device;
    this.ring = ring;
    this.zoneSectors = field(VIRTIO_BLK_CONFIG_ZONE_SECTORS);
    this.maxOpenZones = field(VIRTIO_BLK_CONFIG_MAX_OPEN_ZONES);
    this.maxActiveZones = field(VIRTIO_BLK_CONFIG_MAX_ACTIVE_ZONES);
    this.maxAppendSectors = field(VIRTIO_BLK_CONFIG_MAX_APPEND_SECTORS);
    this.granularityBytes = field(VIRTIO_BLK_CONFIG_WRITE_GRANULARITY);
    this.granuleSectors = Math.max(1, Math.ceil(this.granularityBytes / VIRTIO_BLK_SECTOR_BYTES));
  }

  /** Initialises the device; the case's requirement is what has ZONED accepted. */
  static async open(device: DeviceUnderTest, options: InitialiseOptions = {}): Promise<ZonedDrive> {
    return new ZonedDrive(device, await device.initialise(options));
  }

  /** All zones from that of `sector` on. */
  async report(sector = 0): Promise<readonly Zone[]> {
    const { device } = this;
    const inBytes = ZONE_DESCRIPTOR_BYTES * (1 + MANY_ZONES);
    const report = await device.execute(this.ring, { type: VIRTIO_BLK_T_ZONE_REPORT, sector, inBytes });
    device.equal(report.status, VIRTIO_BLK_S_OK, `the status byte of a zone report from sector ${sector} on`);
    return this.parseReport(report);
  }

  /** The zones that a report names. Fails the case where one is of no known state or type. */
  parseReport({ data }: CompletedRequest): readonly Zone[] {
    const { device } = this;
    const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
    const room = Math.floor(data.length / ZONE_DESCRIPTOR_BYTES) - 1;
    const count = view.getBigUint64(0, true);
    device.check(count <= BigInt(room), `nr_zones is ${count}, with room for ${room} descriptors`);
    return Array.from({ length: Number(count) }, (_, i) => {
      const at = ZONE_DESCRIPTOR_BYTES * (i + 1);
      const [capacity, start, writePointer] = [0, 8, 16].map((offset) =>
        Number(view.getBigUint64(at + offset, true)),
      ) as [number, number, number];
      const zone = { capacity, start, writePointer, type: view.getUint8(at + 24), state: view.getUint8(at + 25) };
      device.check(zone.type >= 1 && zone.type <= 3, `z_type of zone descriptor ${i} is ${zone.type}`);
      device.check(STATE_NAMES.has(zone.state), `z_state of zone descriptor ${i} is ${zone.state}`);
      return zone;
    });
  }

  /** The zone that begins at `start`, as it is now. */
  async zoneAt(start: number): Promise<Zone> {
    const [zone] = await this.report(start);
    this.device.check(zone?.start === start, `a report from sector ${start} on begins with a zone at ${zone?.start}`);
    return zone!;
  }

  /** The first `count` zones of this type and state. Ends the case as skipped when there are fewer. */
  async find(count: number, type: number, state: number): Promise<readonly Zone[]> {
    const zones = (await this.report()).filter((zone) => zone.type === type && zone.state === state);
    const what = `zones of type ${type} that are ${stateName(state)}`;
    this.device.skipUnless(zones.length >= count, `there are ${zones.length} ${what}, not ${count}`);
    return zones.slice(0, count);
  }

  /** Sends a request that has no data; its status byte. */
  async send(type: number, sector: number): Promise<number> {
    return (await this.device.execute(this.ring, { type, sector })).status;
  }

  /** Writes the pattern of these sectors there; the status byte. */
  async write(sector: number, sectors: number): Promise<number> {
    const out = pattern(sector, sectors);
    return (await this.device.execute(this.ring, { type: VIRTIO_BLK_T_OUT, sector, out })).status;
  }

  /** Appends that many sectors; the status byte, and where the device says that they are. */
  async append(sector: number, sectors: number): Promise<{ readonly status: number; readonly at: number }> {
    const fields = { type: VIRTIO_BLK_T_ZONE_APPEND, sector, out: pattern(sector, sectors), inBytes: 8 };
    const { status, data } = await this.device.execute(this.ring, fields);
    return { status, at: Number(new DataView(data.buffer, data.byteOffset, 8).getBigUint64(0, true)) };
  }

  /** Sends a request without data and fails the case unless it ends like this. */
  async expect(status: number | readonly number[], type: number, sector: number, what: string): Promise<void> {
    this.checkStatus(await this.send(type, sector), status, what);
  }

  /** Fails the case unless a request ended with (one of) these. */
  checkStatus(actual: number, expected: number | readonly number[], what: string): void {
    const list = typeof expected === "number" ? [expected] : expected;
    this.device.check(list.includes(actual), `the status byte of ${what} is ${actual}, not ${list.join(" or ")}`);
  }

  /** Fails the case unless the zone at `start` is in this state, with its write pointer there, where it has one. */
  async expectZone(start: number, state: number, writePointer: number | undefined, when: string): Promise<void> {
    const zone = await this.zoneAt(start);
    const found = stateName(zone.state);
    this.device.check(zone.state === state, `the zone is ${found} ${when}, not ${stateName(state)}`);
    if (writePointer === undefined || !WITH_WRITE_POINTER.includes(state)) return;
    this.device.equal(zone.writePointer - start, writePointer - start, `z_wp, counted from the zone's start, ${when}`);
  }

  /** Fails the case unless the zone is as `before`. */
  async expectUnchanged(before: Zone, when: string): Promise<void> {
    await this.expectZone(before.start, before.state, before.writePointer, when);
  }

  /** Fails the case unless the zone is open as writes open it. A device with a limit may have closed it meanwhile (§5.2.6.2). */
  async expectWritten(start: number, writePointer: number, when: string): Promise<void> {
    const limited = this.maxOpenZones > 0 || this.maxActiveZones > 0;
    const closed = limited && (await this.zoneAt(start)).state === VIRTIO_BLK_ZS_CLOSED;
    await this.expectZone(start, closed ? VIRTIO_BLK_ZS_CLOSED : VIRTIO_BLK_ZS_IOPEN, writePointer, when);
  }

  /** Writes to the zone's write pointer, with success. */
  async writeWell(sector: number, sectors: number): Promise<void> {
    const status = await this.write(sector, sectors);
    this.checkStatus(status, VIRTIO_BLK_S_OK, `a write of ${sectors} sectors at the write pointer ${sector}`);
  }

  /** Writes all that an empty zone holds. */
  async fill(zone: Zone): Promise<void> {
    for (let done = 0; done < zone.capacity; ) {
      const sectors = Math.min(zone.capacity - done, 128);
      await this.writeWell(zone.start + done, sectors);
      done += sectors;
    }
  }
}

/** A drive, and the first of its zones that is of this type and state. Ends the case as skipped when there is none. */
export async function openWithZone(device: DeviceUnderTest, type: number, state: number): Promise<[ZonedDrive, Zone]> {
  const drive = await ZonedDrive.open(device);
  const [zone] = await drive.find(1, type, state);
  return [drive, zone!];
}
