// Opens images without a file from options: `null-co`, and `memory`, which QEMU does not have.

import { QmpError } from "../../base/errors.ts";
import { type BlockDriver, MAX_NODE_BYTES, SECTOR_SIZE_BYTES } from "../driver.ts";
import type { BlockdevOptions, BlockdevReference, DriverOpener } from "../graph-options.ts";
import { MAX_MEMORY_BYTES, MemoryDriver } from "./memory.ts";
import { MemoryOverlayDriver } from "./memory-overlay.ts";
import { NullDriver } from "./null.ts";

const DEFAULT_NULL_BYTES = 2 ** 30;
const MIN_CLUSTER_BYTES = 512;
const MAX_CLUSTER_BYTES = 2 ** 21;

/** QMP's options of `null-co`. */
export interface NullNodeOptions extends BlockdevOptions {
  /** 1 GiB by default; rounded up to 512. */
  readonly size?: number;
  /** Reads find zeroes; otherwise they find what is in the buffer. */
  readonly "read-zeroes"?: boolean;
  /** How long each request takes. */
  readonly "latency-ns"?: number;
}

/** Options of `memory`. */
export interface MemoryNodeOptions extends BlockdevOptions {
  /** Rounded up to 512; on a backing node as long as that by default, else 0. */
  readonly size?: number;
  /** A node, by name or options, that shows where nothing was written. */
  readonly backing?: BlockdevReference;
  /** On a backing node: the unit in which data are copied up, a power of two; 64 KiB by default. */
  readonly "cluster-size"?: number;
}

export const nullOpener: DriverOpener = {
  driver: "null-co",
  children: [],
  reopen: { changeable: [] },
  open({ options, clock }): BlockDriver {
    const {
      size = DEFAULT_NULL_BYTES,
      "read-zeroes": readZeroes = false,
      "latency-ns": latencyNs = 0,
    } = options as NullNodeOptions;
    if (latencyNs < 0) throw new QmpError("latency-ns is invalid");
    if (size > MAX_NODE_BYTES) throw new QmpError("Could not refresh total sector count: File too large");
    return new NullDriver({ lengthBytes: wholeSectors(size), readZeroes, latencyNs, clock });
  },
};

export const memoryOpener: DriverOpener = {
  driver: "memory",
  children: [{ role: "backing", required: false }],
  reopen: { changeable: [] },
  open(context): BlockDriver {
    const { size, "cluster-size": clusterSizeBytes = 65536 } = context.options as MemoryNodeOptions;
    const backing = context.optionalChild("backing");
    const lengthBytes = wholeSectors(size ?? backing?.lengthBytes ?? 0);
    if (lengthBytes > MAX_MEMORY_BYTES) throw new QmpError(`Could not open 'memory': Cannot allocate memory`);
    if (backing === undefined) return new MemoryDriver({ lengthBytes });
    const isPower = Number.isInteger(Math.log2(clusterSizeBytes));
    if (!isPower || clusterSizeBytes < MIN_CLUSTER_BYTES || clusterSizeBytes > MAX_CLUSTER_BYTES)
      throw new QmpError(`Cluster size must be a power of two between ${MIN_CLUSTER_BYTES} and 2048k`);
    return new MemoryOverlayDriver({ backing, lengthBytes, clusterSizeBytes });
  },
};

function wholeSectors(bytes: number): number {
  return Math.ceil(bytes / SECTOR_SIZE_BYTES) * SECTOR_SIZE_BYTES;
}
