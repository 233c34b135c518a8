// What a block device offers, as whoever makes it chooses: VIRTIO 1.4 §5.2.3 and §5.2.5.

import { assert } from "../../src/base/assert.ts";
import type { BlockBackend } from "../../src/block/backend.ts";
import { featureSet } from "../virtio-features.ts";
import {
  VIRTIO_BLK_F_BARRIER,
  VIRTIO_BLK_F_BLK_SIZE,
  VIRTIO_BLK_F_CONFIG_WCE,
  VIRTIO_BLK_F_DISCARD,
  VIRTIO_BLK_F_FLUSH,
  VIRTIO_BLK_F_GEOMETRY,
  VIRTIO_BLK_F_LIFETIME,
  VIRTIO_BLK_F_MQ,
  VIRTIO_BLK_F_RO,
  VIRTIO_BLK_F_SCSI,
  VIRTIO_BLK_F_SECURE_ERASE,
  VIRTIO_BLK_F_SEG_MAX,
  VIRTIO_BLK_F_SIZE_MAX,
  VIRTIO_BLK_F_TOPOLOGY,
  VIRTIO_BLK_F_WRITE_ZEROES,
  VIRTIO_BLK_F_ZONED,
} from "./virtio-blk-constants.ts";

/**
 * Which features of block devices are offered. One that is left out has the default that stands with it; what the disk cannot
 * do is offered by nobody's wish, and what it must tell is withheld by none.
 */
export interface BlockFeatures {
  /** SIZE_MAX; true. */
  readonly sizeMax?: boolean;
  /** SEG_MAX; true. */
  readonly segMax?: boolean;
  /** GEOMETRY; false. */
  readonly geometry?: boolean;
  /** RO: where the disk is read-only; false withholds it, and writes fail all the same. */
  readonly readOnly?: boolean;
  /** BLK_SIZE; true. */
  readonly blockSize?: boolean;
  /** FLUSH; true. Without it there is no CONFIG_WCE either. */
  readonly flush?: boolean;
  /** TOPOLOGY; true. */
  readonly topology?: boolean;
  /** CONFIG_WCE: a driver may switch the write cache; true. */
  readonly configWce?: boolean;
  /** MQ: where there are several queues. */
  readonly multiQueue?: boolean;
  /** DISCARD; true, but on a host-managed zoned disk, which must not have it (§5.2.5.2). */
  readonly discard?: boolean;
  /** WRITE_ZEROES; true. */
  readonly writeZeroes?: boolean;
  /** LIFETIME: where the disk keeps such metrics. */
  readonly lifetime?: boolean;
  /** SECURE_ERASE: where the disk can do it. */
  readonly secureErase?: boolean;
  /** ZONED: where the disk is. */
  readonly zoned?: boolean;
  /** BARRIER, to legacy drivers; false. */
  readonly barrier?: boolean;
  /** SCSI, to legacy drivers; false. SCSI requests are unsupported all the same. */
  readonly scsi?: boolean;
}

// @virtio FEAT-DEV-001 FEAT-DEV-004 RSVD-DEV-008 MMIO-DEV-030 BLK-DEV-001 BLK-DEV-002 BLK-DEV-005 BLK-DEV-006 BLK-DEV-051 BLK-DEV-052
/** The features that are offered of those wished for, by the disk that `backend` is, through one of the two interfaces. */
export function blockFeatureSet(
  wish: BlockFeatures,
  backend: BlockBackend,
  transport: { readonly legacy: boolean; readonly queues: number },
): bigint {
  const { legacy, queues } = transport;
  const flush = wish.flush ?? true;
  assert(flush || wish.configWce !== true, "virtio-blk: CONFIG_WCE without FLUSH"); // §5.2.5.2
  const hostManaged = backend.zones?.layout.model === "host-managed";
  const offers: readonly (readonly [boolean, number])[] = [
    [wish.sizeMax ?? true, VIRTIO_BLK_F_SIZE_MAX],
    [wish.segMax ?? true, VIRTIO_BLK_F_SEG_MAX],
    [wish.geometry ?? false, VIRTIO_BLK_F_GEOMETRY],
    [backend.readOnly && (wish.readOnly ?? true), VIRTIO_BLK_F_RO],
    [wish.blockSize ?? true, VIRTIO_BLK_F_BLK_SIZE],
    [flush, VIRTIO_BLK_F_FLUSH],
    [wish.topology ?? true, VIRTIO_BLK_F_TOPOLOGY],
    [wish.configWce ?? flush, VIRTIO_BLK_F_CONFIG_WCE],
    [queues > 1 && (wish.multiQueue ?? true), VIRTIO_BLK_F_MQ],
    [!hostManaged && (wish.discard ?? true), VIRTIO_BLK_F_DISCARD],
    [wish.writeZeroes ?? true, VIRTIO_BLK_F_WRITE_ZEROES],
    [backend.lifetime !== undefined && (wish.lifetime ?? true), VIRTIO_BLK_F_LIFETIME],
    [backend.canErase && (wish.secureErase ?? true), VIRTIO_BLK_F_SECURE_ERASE],
    [!legacy && backend.zones !== undefined && (wish.zoned ?? true), VIRTIO_BLK_F_ZONED],
    [legacy && (wish.barrier ?? false), VIRTIO_BLK_F_BARRIER],
    [legacy && (wish.scsi ?? false), VIRTIO_BLK_F_SCSI],
  ];
  return featureSet(...offers.filter(([offered]) => offered).map(([, bit]) => bit));
}
