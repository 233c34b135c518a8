// A disk with zones on any other: host-managed, where writes must follow a pointer, or host-aware, where they had better. VIRTIO 1.4 §5.2.6.

import { assert } from "../../base/assert.ts";
import type { IoVector } from "../../base/io-vector.ts";
import {
  type BlockDriver,
  type BlockStatus,
  type DiskLifetime,
  type DriverChild,
  SECTOR_SIZE_BYTES,
  type WriteZeroesOptions,
} from "../driver.ts";
import type { BlockNode } from "../node.ts";
import type { BlockZones, ZoneModel } from "../zones.ts";
import { ZoneStates } from "./zone-states.ts";

const DEFAULT_MAX_APPEND_BYTES = 1 << 20;
const MAX_FIELD = 0xffff_ffff;

export interface ZonedDriverOptions {
  /** Holds the data. Its length is the disk's. */
  readonly file: BlockNode;
  readonly model: ZoneModel;
  /** A multiple of 512. The last zone may be shorter. */
  readonly zoneBytes: number;
  /** What can be written of each sequential zone; all of it by default. */
  readonly zoneCapacityBytes?: number;
  /** Zones at the beginning that take writes anywhere; 0 by default. */
  readonly conventionalZones?: number;
  /** 0, the default, is no limit. A host-aware disk for drivers that know nothing of zones had best have none. */
  readonly maxOpenZones?: number;
  readonly maxActiveZones?: number;
  /** 1 MiB by default, or a zone if that is less; 0: appends are not supported. */
  readonly maxAppendBytes?: number;
  /** What writes in host-managed sequential zones are multiples of; 512 by default. */
  readonly writeGranularityBytes?: number;
  /** What stands in `file`: nothing but zeroes, the default, and sequential zones are empty; or data, and they are full. */
  readonly content?: "blank" | "written";
  readonly readOnlyZones?: readonly number[];
  readonly offlineZones?: readonly number[];
}

// @virtio BLK-DEV-073 BLK-DEV-074
/**
 * Zones over the node `file`. Their states live as long as the driver. Nothing is ever stored beyond the write pointer of a zone
 * that requires sequential writes, and a reset makes what was there zeroes: what is unwritten reads as zeroes.
 *
 * What may be read, written and reset its node asks `zones` before it calls: the driver itself moves data only.
 */
export class ZonedDriver implements BlockDriver {
  readonly driverName: string = "zoned";
  readonly clusterSizeBytes: undefined;
  readonly children: readonly DriverChild[];
  readonly readOnly: boolean;
  readonly lengthBytes: number;
  readonly zones: BlockZones;
  /** Undefined where `file` cannot erase. */
  readonly secureErase?: (offsetBytes: number, lengthBytes: number) => void | Promise<void>;
  readonly #file: BlockNode;

  constructor(options: ZonedDriverOptions) {
    const {
      file,
      model,
      zoneBytes,
      zoneCapacityBytes = zoneBytes,
      writeGranularityBytes = SECTOR_SIZE_BYTES,
    } = options;
    const { maxAppendBytes = Math.min(zoneCapacityBytes, DEFAULT_MAX_APPEND_BYTES) } = options;
    assert(isSectors(zoneBytes) && zoneBytes / SECTOR_SIZE_BYTES <= MAX_FIELD, "zoned driver: zone size");
    assert(isSectors(writeGranularityBytes) && zoneBytes % writeGranularityBytes === 0, "zoned driver: granularity");
    const wholeWrites = zoneCapacityBytes % writeGranularityBytes === 0;
    assert(zoneCapacityBytes > 0 && zoneCapacityBytes <= zoneBytes && wholeWrites, "zoned driver: zone capacity");
    assert(maxAppendBytes === 0 || isSectors(maxAppendBytes), "zoned driver: greatest append");
    this.#file = file;
    this.readOnly = file.readOnly;
    this.children = [{ role: "file", node: file }];
    this.lengthBytes = file.lengthBytes;
    const { maxOpenZones = 0, maxActiveZones = 0 } = options;
    this.zones = new ZoneStates({
      layout: {
        model,
        zoneBytes,
        zones: Math.ceil(file.lengthBytes / zoneBytes),
        maxOpenZones,
        maxActiveZones,
        maxAppendBytes,
        writeGranularityBytes,
      },
      lengthBytes: file.lengthBytes,
      zoneCapacityBytes,
      conventionalZones: options.conventionalZones ?? 0,
      written: options.content === "written",
      readOnlyZones: options.readOnlyZones ?? [],
      offlineZones: options.offlineZones ?? [],
    });
    if (file.driver.secureErase === undefined) return;
    this.secureErase = (offsetBytes, lengthBytes) => file.writeZeroes(offsetBytes, lengthBytes, { erase: true });
  }

  get lifetime(): DiskLifetime | undefined {
    return this.#file.driver.lifetime;
  }

  read(offsetBytes: number, vector: IoVector): void | Promise<void> {
    return this.#file.read(offsetBytes, vector);
  }

  write(offsetBytes: number, vector: IoVector): void | Promise<void> {
    return this.#file.write(offsetBytes, vector);
  }

  writeZeroes(offsetBytes: number, lengthBytes: number, options: WriteZeroesOptions): void | Promise<void> {
    return this.#file.writeZeroes(offsetBytes, lengthBytes, options);
  }

  discard(offsetBytes: number, lengthBytes: number): void | Promise<void> {
    return this.#file.discard(offsetBytes, lengthBytes);
  }

  flush(): void | Promise<void> {
    return this.#file.flush();
  }

  blockStatus(offsetBytes: number, lengthBytes: number): BlockStatus | Promise<BlockStatus> {
    return this.#file.blockStatus(offsetBytes, lengthBytes);
  }

  async close(): Promise<void> {}
}

function isSectors(bytes: number): boolean {
  return Number.isInteger(bytes) && bytes > 0 && bytes % SECTOR_SIZE_BYTES === 0;
}
