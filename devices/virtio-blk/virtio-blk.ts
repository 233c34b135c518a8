// The block device behind a transport: its features, its configuration, and its request queue. VIRTIO 1.4 §5.2.

import { assert } from "../../src/base/assert.ts";
import { type Clock, systemClock } from "../../src/base/clock.ts";
import type { BlockBackend } from "../../src/block/backend.ts";
import type { AccessWidth } from "../../src/memory/bus.ts";
import type { VirtioDevice, VirtioTransport } from "../virtio-device.ts";
import { featureSet, hasFeature, type RingFeatures, ringFeatureSet } from "../virtio-features.ts";
import { MAX_CHAIN_DESCRIPTORS, type Virtqueue } from "../virtqueue/virtqueue.ts";
import type { RequestLimits } from "./block-request.ts";
import { RequestQueue, type RequestQueueOwner } from "./request-queue.ts";
import { type BlockTopology, VirtioBlkConfig } from "./virtio-blk-config.ts";
import {
  VIRTIO_BLK_F_BLK_SIZE,
  VIRTIO_BLK_F_CONFIG_WCE,
  VIRTIO_BLK_F_FLUSH,
  VIRTIO_BLK_F_RO,
  VIRTIO_BLK_F_SEG_MAX,
  VIRTIO_BLK_F_SIZE_MAX,
  VIRTIO_BLK_F_TOPOLOGY,
  VIRTIO_BLK_ID_BYTES,
  VIRTIO_BLK_SECTOR_BYTES,
  VIRTIO_ID_BLOCK,
} from "./virtio-blk-constants.ts";

const DEFAULT_QUEUE_SIZE = 256;
/** The greatest data segment that `size_max` allows. */
const MAX_SEGMENT_BYTES = 1 << 20;
/** `seg_max` segments of `size_max` bytes are at most this: one request is what a turn of the event loop can bear. */
const MAX_REQUEST_BYTES = 256 << 20;
const DEFAULT_TOPOLOGY: BlockTopology = {
  blockSizeBytes: VIRTIO_BLK_SECTOR_BYTES,
  physicalBlockExp: 3,
  alignmentOffsetBlocks: 0,
  minIoBlocks: 8,
  optIoBlocks: 0,
};

export interface VirtioBlkOptions {
  readonly backend: BlockBackend;
  /** What GET_ID answers: at most 20 bytes, the rest is filled with NUL. */
  readonly serial?: string;
  /** The greatest ring size, a power of two up to 32768. */
  readonly queueSizeMax?: number;
  readonly topology?: BlockTopology;
  /** Features of rings and transport; those that are left out as `RingFeatures` says. */
  readonly offeredFeatures?: RingFeatures;
  readonly clock?: Clock;
}

/**
 * A disk for a guest: `backend` behind one request queue.
 *
 * Cache mode, §5.2.6.2: the configuration field `writeback` says it, and a driver that accepted CONFIG_WCE sets it. Without
 * CONFIG_WCE a driver that accepted FLUSH gets write-back, one that did not write-through: it could never ask for a flush.
 */
export class VirtioBlk implements VirtioDevice, RequestQueueOwner {
  readonly deviceId: number = VIRTIO_ID_BLOCK;
  readonly offeredFeatures: bigint;
  readonly queueSizesMax: readonly number[];
  readonly backend: BlockBackend;
  readonly clock: Clock;
  readonly id: Uint8Array = new Uint8Array(VIRTIO_BLK_ID_BYTES);
  readonly #config: VirtioBlkConfig;
  readonly #defaultWriteback: boolean;
  readonly #maxDataBytes: number;
  #limits: RequestLimits;
  #transport!: VirtioTransport;
  #requests!: RequestQueue;
  #features = 0n;
  #live = false;

  constructor(options: VirtioBlkOptions) {
    const { backend, serial = "", queueSizeMax = DEFAULT_QUEUE_SIZE, topology = DEFAULT_TOPOLOGY } = options;
    assert(
      queueSizeMax >= 1 && queueSizeMax <= 32768 && (queueSizeMax & (queueSizeMax - 1)) === 0,
      "virtio-blk: queue size",
    );
    this.backend = backend;
    this.clock = options.clock ?? systemClock;
    this.queueSizesMax = [queueSizeMax];
    const serialBytes = new TextEncoder().encode(serial);
    assert(serialBytes.length <= VIRTIO_BLK_ID_BYTES, "virtio-blk: serial longer than 20 bytes");
    this.id.set(serialBytes);
    // Room for the header and the status in the chain, and in the ring, as drivers without indirect descriptors need it.
    const descriptors = Math.min(queueSizeMax, MAX_CHAIN_DESCRIPTORS);
    const segMax = Math.max(1, descriptors - 2);
    const sizeMaxBytes = Math.min(MAX_SEGMENT_BYTES, MAX_REQUEST_BYTES / descriptors);
    this.#maxDataBytes = segMax * sizeMaxBytes;
    this.#config = new VirtioBlkConfig({ sizeMaxBytes, segMax, topology });
    this.#defaultWriteback = backend.writeCache;
    this.#config.writeback = this.#defaultWriteback;
    this.#limits = this.#noteCapacity();
    // @virtio FEAT-DEV-001 FEAT-DEV-004 RSVD-DEV-001 RSVD-DEV-008 MMIO-DEV-030 BLK-DEV-001 BLK-DEV-002 BLK-DEV-005 BLK-DEV-052
    const blockFeatures = featureSet(
      VIRTIO_BLK_F_SIZE_MAX,
      VIRTIO_BLK_F_SEG_MAX,
      VIRTIO_BLK_F_BLK_SIZE,
      VIRTIO_BLK_F_FLUSH,
      VIRTIO_BLK_F_TOPOLOGY,
      VIRTIO_BLK_F_CONFIG_WCE,
      ...(backend.readOnly ? [VIRTIO_BLK_F_RO] : []),
    );
    this.offeredFeatures = blockFeatures | ringFeatureSet(options.offeredFeatures);
  }

  get transport(): VirtioTransport {
    return this.#transport;
  }

  get live(): boolean {
    return this.#live;
  }

  get limits(): RequestLimits {
    return this.#limits;
  }

  attach(transport: VirtioTransport): void {
    this.#transport = transport;
    this.#requests = new RequestQueue(this);
    this.backend.onResize(() => {
      this.#limits = this.#noteCapacity();
      transport.notifyConfigChange();
    });
  }

  // @virtio BLK-DEV-003 BLK-DEV-033 BLK-DEV-034 BLK-DEV-048 BLK-DEV-085
  negotiate(features: bigint): boolean {
    this.#features = features;
    const flush = hasFeature(features, VIRTIO_BLK_F_FLUSH);
    if (!hasFeature(features, VIRTIO_BLK_F_CONFIG_WCE)) this.#config.writeback = flush;
    // §5.2.5.2: a driver that can switch the cache on but never flush it starts without; §5.2.5.3: a legacy one may have chosen.
    else if (!this.#transport.legacy) this.#config.writeback = flush && this.#defaultWriteback;
    this.#applyCacheMode();
    return true;
  }

  go(): void {
    this.#live = true;
    this.#requests.process(); // buffers may have been made available before DRIVER_OK
  }

  startQueue(_index: number, queue: Virtqueue): void {
    this.#requests.start(queue);
    this.#requests.process();
  }

  stopQueue(): void {
    this.#requests.stop();
  }

  notifyQueue(): void {
    this.#requests.process();
  }

  reset(): void {
    this.#live = false;
    this.#features = 0n;
    this.#config.writeback = this.#defaultWriteback;
    this.#applyCacheMode();
  }

  readConfig(offset: number, width: AccessWidth): number {
    return this.#config.read(offset, width);
  }

  // @virtio BLK-DEV-025 INIT-DEV-001
  writeConfig(offset: number, width: AccessWidth, value: number): boolean {
    if (!this.#config.isWriteback(offset, width)) return false;
    // §3.1.2: a legacy driver may write before it has said which features it takes.
    const features = this.#transport.legacy && !this.#live ? this.offeredFeatures : this.#features;
    if (!hasFeature(features, VIRTIO_BLK_F_CONFIG_WCE)) return false;
    this.#config.writeback = value !== 0;
    this.#applyCacheMode();
    return true;
  }

  // @virtio BLK-DEV-047 BLK-DEV-048 BLK-DEV-049
  /** §5.2.6.2: with the cache off a write is committed before it completes. */
  #applyCacheMode(): void {
    this.backend.writeCache = this.#config.writeback;
  }

  // @virtio BLK-DEV-019 BLK-DEV-035
  #noteCapacity(): RequestLimits {
    const capacitySectors = Math.floor(this.backend.lengthBytes / VIRTIO_BLK_SECTOR_BYTES);
    this.#config.capacitySectors = capacitySectors;
    return { capacitySectors, readOnly: this.backend.readOnly, maxDataBytes: this.#maxDataBytes };
  }
}
