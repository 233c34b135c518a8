// The zones of a zoned disk as a script sees them: VIRTIO 1.4 §5.2.6, VIRTIO_BLK_T_ZONE_….

import { sendChecked } from "./checked-request.ts";
import {
  VIRTIO_BLK_SECTOR_BYTES,
  VIRTIO_BLK_T_ZONE_APPEND,
  VIRTIO_BLK_T_ZONE_CLOSE,
  VIRTIO_BLK_T_ZONE_FINISH,
  VIRTIO_BLK_T_ZONE_OPEN,
  VIRTIO_BLK_T_ZONE_REPORT,
  VIRTIO_BLK_T_ZONE_RESET,
  VIRTIO_BLK_T_ZONE_RESET_ALL,
  VIRTIO_BLK_ZONE_DESCRIPTOR_BYTES,
  VIRTIO_BLK_ZONE_REPORT_HEADER_BYTES,
} from "./constants/blk.ts";
import { GuestDriverError } from "./errors.ts";
import type { ZoneLimits } from "./virtio-blk-config.ts";
import type { VirtioBlkDriver } from "./virtio-blk-driver.ts";

/** One zone as the device reports it. */
export interface Zone {
  readonly startBytes: number;
  /** Bytes that can be written: at most the bytes of a zone. */
  readonly capacityBytes: number;
  /** Where the next write to a sequential zone goes; of no meaning for a conventional, full, read-only or offline one. */
  readonly writePointerBytes: number;
  /** VIRTIO_BLK_ZT_… */
  readonly type: number;
  /** VIRTIO_BLK_ZS_… */
  readonly state: number;
}

const MAX_ZONES_IN_REPORT = 1024;

/**
 * Zones are named by the byte where they begin. Promises reject with a `GuestIoError` of status 3 to 6 for what the zones do not
 * allow, a `RangeError` for what cannot be asked (nothing is sent then), and otherwise as those of `Disk` do. Writes to one
 * sequential zone have no order while they are in flight together: await one before the next, or `append`.
 */
export class DiskZones {
  readonly #driver: VirtioBlkDriver;
  readonly #limits: ZoneLimits;

  constructor(driver: VirtioBlkDriver, limits: ZoneLimits) {
    this.#driver = driver;
    this.#limits = limits;
  }

  /** VIRTIO_BLK_Z_HM or VIRTIO_BLK_Z_HA, and what the device allows. */
  get limits(): ZoneLimits {
    return this.#limits;
  }

  get zoneBytes(): number {
    return this.#limits.zoneSectors * VIRTIO_BLK_SECTOR_BYTES;
  }

  /** Up to `count` zones, all by default, from the one that `offsetBytes` lies in. */
  // @virtio BLK-DRV-031 BLK-DRV-032
  async report(offsetBytes = 0, count: number = Number.POSITIVE_INFINITY): Promise<Zone[]> {
    if (!(offsetBytes >= 0 && offsetBytes < this.#capacityBytes) || offsetBytes % VIRTIO_BLK_SECTOR_BYTES !== 0) {
      throw new RangeError(`zone report from ${offsetBytes}: no sector of the disk`);
    }
    const zones: Zone[] = [];
    let from = offsetBytes;
    while (zones.length < count && from < this.#capacityBytes) {
      const part = await this.#reportPart(from, count - zones.length);
      if (part.length === 0) break;
      zones.push(...part);
      from = part.at(-1)!.startBytes + this.zoneBytes;
    }
    return zones;
  }

  /** Opens a zone explicitly. */
  open(zoneBytes: number): Promise<void> {
    return this.#command(VIRTIO_BLK_T_ZONE_OPEN, "zone open", zoneBytes);
  }

  close(zoneBytes: number): Promise<void> {
    return this.#command(VIRTIO_BLK_T_ZONE_CLOSE, "zone close", zoneBytes);
  }

  /** Makes the zone full: nothing more is written to it until it is reset. */
  finish(zoneBytes: number): Promise<void> {
    return this.#command(VIRTIO_BLK_T_ZONE_FINISH, "zone finish", zoneBytes);
  }

  /** Makes the zone empty. */
  reset(zoneBytes: number): Promise<void> {
    return this.#command(VIRTIO_BLK_T_ZONE_RESET, "zone reset", zoneBytes);
  }

  /** Makes all sequential zones empty that can be. */
  // @virtio BLK-DRV-034
  async resetAll(): Promise<void> {
    await sendChecked(this.#driver, { type: VIRTIO_BLK_T_ZONE_RESET_ALL, what: "zone reset all" });
  }

  /**
   * Writes `bytes` at the write pointer of the zone, wherever that is by then; resolves with the byte where they went. One request,
   * so that it is not cut: of whole write granularities, within `maxAppendSectors` and the disk's `maxTransferBytes`.
   */
  // @virtio BLK-DRV-035 BLK-DRV-036 BLK-DRV-037 BLK-DRV-038
  async append(zoneBytes: number, bytes: Uint8Array): Promise<number> {
    this.#checkZone("zone append", zoneBytes);
    const { writeGranularityBytes, maxAppendSectors } = this.#limits;
    const most = Math.min(maxAppendSectors * VIRTIO_BLK_SECTOR_BYTES, this.#driver.maxTransferBytes);
    if (bytes.length === 0 || bytes.length % writeGranularityBytes !== 0 || bytes.length > most) {
      throw new RangeError(
        `zone append of ${bytes.length} bytes: not in units of ${writeGranularityBytes}, or over ${most}`,
      );
    }
    const into = new Uint8Array(8);
    const sector = zoneBytes / VIRTIO_BLK_SECTOR_BYTES;
    const request = { type: VIRTIO_BLK_T_ZONE_APPEND, sector, out: bytes, into, what: "zone append" };
    const { usedLength } = await sendChecked(this.#driver, request);
    const at = Number(new DataView(into.buffer).getBigUint64(0, true)) * VIRTIO_BLK_SECTOR_BYTES;
    if (usedLength < into.length || at < zoneBytes || at + bytes.length > zoneBytes + this.zoneBytes) {
      throw new GuestDriverError(
        "zone-append",
        `append to the zone at ${zoneBytes}: the device says that it wrote ${bytes.length} bytes at ${at}`,
      );
    }
    return at;
  }

  // @virtio BLK-DRV-033
  async #command(type: number, what: string, zoneBytes: number): Promise<void> {
    this.#checkZone(what, zoneBytes);
    await sendChecked(this.#driver, { type, sector: zoneBytes / VIRTIO_BLK_SECTOR_BYTES, what });
  }

  #checkZone(what: string, zoneBytes: number): void {
    if (zoneBytes >= 0 && zoneBytes < this.#capacityBytes && zoneBytes % this.zoneBytes === 0) return;
    throw new RangeError(`${what} at ${zoneBytes}: no zone begins there`);
  }

  get #capacityBytes(): number {
    return this.#driver.config.capacitySectors * VIRTIO_BLK_SECTOR_BYTES;
  }

  /** As many zones as one request can report. */
  async #reportPart(fromBytes: number, wanted: number): Promise<Zone[]> {
    const room = Math.floor(
      (this.#driver.maxTransferBytes - VIRTIO_BLK_ZONE_REPORT_HEADER_BYTES) / VIRTIO_BLK_ZONE_DESCRIPTOR_BYTES,
    );
    const left = Math.ceil((this.#capacityBytes - fromBytes) / this.zoneBytes) + 1;
    const count = Math.min(wanted, room, left, MAX_ZONES_IN_REPORT);
    const into = new Uint8Array(VIRTIO_BLK_ZONE_REPORT_HEADER_BYTES + VIRTIO_BLK_ZONE_DESCRIPTOR_BYTES * count);
    const sector = fromBytes / VIRTIO_BLK_SECTOR_BYTES;
    const request = { type: VIRTIO_BLK_T_ZONE_REPORT, sector, into, what: "zone report" };
    const { usedLength } = await sendChecked(this.#driver, request);
    const view = new DataView(into.buffer);
    const reported = Number(view.getBigUint64(0, true));
    const bytes = VIRTIO_BLK_ZONE_REPORT_HEADER_BYTES + VIRTIO_BLK_ZONE_DESCRIPTOR_BYTES * reported;
    if (bytes > Math.min(into.length, usedLength)) {
      throw new GuestDriverError("zone-report", `${reported} zones in a report of ${usedLength} bytes`);
    }
    const zones: Zone[] = [];
    for (let i = 0; i < reported; i++) {
      const zone = readZone(view, VIRTIO_BLK_ZONE_REPORT_HEADER_BYTES + VIRTIO_BLK_ZONE_DESCRIPTOR_BYTES * i);
      this.#checkReported(zone, fromBytes, i);
      zones.push(zone);
    }
    return zones;
  }

  /** Zones follow one another from the one that was asked for. */
  #checkReported(zone: Zone, fromBytes: number, i: number): void {
    const expected = (Math.floor(fromBytes / this.zoneBytes) + i) * this.zoneBytes;
    if (zone.startBytes === expected && expected < this.#capacityBytes) return;
    throw new GuestDriverError("zone-report", `a zone at ${zone.startBytes} where that at ${expected} is due`);
  }
}

function readZone(view: DataView, at: number): Zone {
  const bytesAt = (offset: number): number => Number(view.getBigUint64(at + offset, true)) * VIRTIO_BLK_SECTOR_BYTES;
  return {
    capacityBytes: bytesAt(0),
    startBytes: bytesAt(8),
    writePointerBytes: bytesAt(16),
    type: view.getUint8(at + 24),
    state: view.getUint8(at + 25),
  };
}
