// The block device behind a transport: its features, its configuration, and its request queues. VIRTIO 1.4 §5.2.

import { assert } from "../../src/base/assert.ts";
import { type Clock, systemClock } from "../../src/base/clock.ts";
import type { BlockBackend } from "../../src/block/backend.ts";
import type { AccessWidth } from "../../src/memory/bus.ts";
import type { VirtioDevice, VirtioTransport } from "../virtio-device.ts";
import { hasFeature, type RingFeatures, ringFeatureSet } from "../virtio-features.ts";
import { MAX_CHAIN_DESCRIPTORS, type Virtqueue } from "../virtqueue/virtqueue.ts";
import { type BlockFeatures, blockFeatureSet } from "./block-features.ts";
import { type BlockLimits, type KeptLimits, keptLimits } from "./block-limits.ts";
import type { RequestLimits } from "./block-request.ts";
import { RequestQueue, type RequestQueueOwner } from "./request-queue.ts";
import { type BlockTopology, type DiskGeometry, plainGeometry, VirtioBlkConfig } from "./virtio-blk-config.ts";
import {
  VIRTIO_BLK_F_BARRIER,
  VIRTIO_BLK_F_CONFIG_WCE,
  VIRTIO_BLK_F_FLUSH,
  VIRTIO_BLK_F_WRITE_ZEROES,
  VIRTIO_BLK_F_ZONED,
  VIRTIO_BLK_ID_BYTES,
  VIRTIO_BLK_SECTOR_BYTES,
  VIRTIO_ID_BLOCK,
} from "./virtio-blk-constants.ts";

const DEFAULT_QUEUE_SIZE = 256;
const MAX_QUEUES = 1024;
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
  /** Request queues, up to 1024; 1 by default. */
  readonly queues?: number;
  readonly topology?: BlockTopology;
  /** What GEOMETRY tells where it is offered: 16 heads and 63 sectors by default. */
  readonly geometry?: DiskGeometry;
  /** Features of rings and transport; those that are left out as `RingFeatures` says. */
  readonly offeredFeatures?: RingFeatures;
  /** Features of block devices; those that are left out as `BlockFeatures` says. */
  readonly blockFeatures?: BlockFeatures;
  readonly limits?: BlockLimits;
  readonly clock?: Clock;
}

/**
 * A disk for a guest: `backend` behind request queues.
 *
 * Cache mode, §5.2.6.2: the configuration field `writeback` says it, and a driver that accepted CONFIG_WCE sets it. Without
 * CONFIG_WCE a driver that accepted FLUSH gets write-back, one that did not write-through: it could never ask for a flush.
 *
 * After a reset no queue takes requests before those of every queue from before it have ended: an old write must not overtake a
 * new one that came through another queue.
 */
export class VirtioBlk implements VirtioDevice, RequestQueueOwner {
  readonly deviceId: number = VIRTIO_ID_BLOCK;
  readonly queueSizesMax: readonly number[];
  readonly backend: BlockBackend;
  readonly clock: Clock;
  readonly id: Uint8Array = new Uint8Array(VIRTIO_BLK_ID_BYTES);
  readonly #options: VirtioBlkOptions;
  readonly #defaultWriteback: boolean;
  readonly #sizes: KeptLimits;
  #requests: readonly RequestQueue[] = [];
  #offered = 0n;
  #config!: VirtioBlkConfig;
  #limits!: RequestLimits;
  #transport!: VirtioTransport;
  #features = 0n;
  #driverOk = false;
  #awaitsOrphans = false;
  /** `#driverOk` and nothing to wait for: the one thing that queues look at. */
  #live = false;

  constructor(options: VirtioBlkOptions) {
    const { backend, serial = "", queueSizeMax = DEFAULT_QUEUE_SIZE, queues = 1, limits = {} } = options;
    assert(
      queueSizeMax >= 1 && queueSizeMax <= 32768 && (queueSizeMax & (queueSizeMax - 1)) === 0,
      "virtio-blk: queue size",
    );
    assert(Number.isInteger(queues) && queues >= 1 && queues <= MAX_QUEUES, "virtio-blk: number of queues");
    this.#options = options;
    this.backend = backend;
    this.clock = options.clock ?? systemClock;
    this.queueSizesMax = new Array<number>(queues).fill(queueSizeMax);
    const serialBytes = new TextEncoder().encode(serial);
    assert(serialBytes.length <= VIRTIO_BLK_ID_BYTES, "virtio-blk: serial longer than 20 bytes");
    this.id.set(serialBytes);
    // Room for the header and the status in the chain, and in the ring, as drivers without indirect descriptors need it.
    this.#sizes = keptLimits(limits, Math.min(queueSizeMax, MAX_CHAIN_DESCRIPTORS), backend.zones);
    this.#defaultWriteback = backend.writeCache;
  }

  get offeredFeatures(): bigint {
    return this.#offered;
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

  // @virtio RSVD-DEV-001 BLK-DEV-026 BLK-DEV-027
  attach(transport: VirtioTransport): void {
    const { backend } = this;
    const {
      topology = DEFAULT_TOPOLOGY,
      geometry = plainGeometry(this.#capacitySectors),
      blockFeatures,
    } = this.#options;
    const queues = this.queueSizesMax.length;
    // §5.2.5.2: nobody may use such a disk without ZONED, and the legacy interface has none.
    assert(
      !transport.legacy || backend.zones?.layout.model !== "host-managed",
      "virtio-blk: a host-managed zoned disk behind legacy registers",
    );
    this.#transport = transport;
    const blockSet = blockFeatureSet(blockFeatures ?? {}, backend, { legacy: transport.legacy, queues });
    this.#offered = blockSet | ringFeatureSet(this.#options.offeredFeatures);
    const fixed = { queues, geometry, topology, limits: this.#sizes };
    this.#config = new VirtioBlkConfig(fixed, this.#offered, transport.bigEndian);
    this.#config.writeback = this.#defaultWriteback;
    this.#noteDisk();
    this.#showZones(true);
    this.#requests = this.queueSizesMax.map(() => new RequestQueue(this));
    backend.errors.onRetry(() => {
      for (const queue of this.#requests) queue.retry();
    });
    backend.onResize(() => {
      this.#noteDisk();
      transport.notifyConfigChange();
    });
  }

  // @virtio BLK-DEV-003 BLK-DEV-007 BLK-DEV-008 BLK-DEV-033 BLK-DEV-034 BLK-DEV-048 BLK-DEV-085
  negotiate(features: bigint): boolean {
    const zoned = hasFeature(features, VIRTIO_BLK_F_ZONED);
    // §5.2.5.2: nobody can use a host-managed disk without knowing of its zones.
    if (!zoned && this.backend.zones?.layout.model === "host-managed") return false;
    this.#features = features;
    const flush = hasFeature(features, VIRTIO_BLK_F_FLUSH);
    if (!hasFeature(features, VIRTIO_BLK_F_CONFIG_WCE)) this.#config.writeback = flush;
    // §5.2.5.2: a driver that can switch the cache on but never flush it starts without; §5.2.5.3: a legacy one may have chosen.
    else if (!this.#transport.legacy) this.#config.writeback = flush && this.#defaultWriteback;
    this.#applyCacheMode();
    this.#showZones(zoned);
    this.#noteDisk();
    return true;
  }

  go(): void {
    this.#driverOk = true;
    this.#live = !this.#awaitsOrphans;
    for (const queue of this.#requests) queue.process(); // buffers may have been made available before DRIVER_OK
  }

  startQueue(index: number, queue: Virtqueue): void {
    this.#requests[index]!.start(queue);
    this.#requests[index]!.process();
  }

  stopQueue(index: number): void {
    this.#requests[index]!.stop();
  }

  notifyQueue(index: number): void {
    this.#requests[index]!.process();
  }

  reset(): void {
    this.#driverOk = false;
    this.#live = false;
    this.#awaitsOrphans = this.#hasOrphans;
    this.#features = 0n;
    this.#config.writeback = this.#defaultWriteback;
    this.#applyCacheMode();
    this.#showZones(true);
    this.#noteDisk();
  }

  orphansEnded(): void {
    if (!this.#awaitsOrphans || this.#hasOrphans) return;
    this.#awaitsOrphans = false;
    this.#live = this.#driverOk;
    for (const queue of this.#requests) queue.process();
  }

  readConfig(offset: number, width: AccessWidth): number {
    return this.#config.read(offset, width);
  }

  // @virtio BLK-DEV-025 INIT-DEV-001
  writeConfig(offset: number, width: AccessWidth, value: number): boolean {
    if (!this.#config.isWriteback(offset, width)) return false;
    // §3.1.2: a legacy driver may write before it has said which features it takes.
    const features = this.#transport.legacy && !this.#driverOk ? this.#offered : this.#features;
    if (!hasFeature(features, VIRTIO_BLK_F_CONFIG_WCE)) return false;
    this.#config.writeback = value !== 0;
    this.#applyCacheMode();
    return true;
  }

  get #capacitySectors(): number {
    return Math.floor(this.backend.lengthBytes / VIRTIO_BLK_SECTOR_BYTES);
  }

  get #hasOrphans(): boolean {
    return this.#requests.some((queue) => queue.orphans > 0);
  }

  // @virtio BLK-DEV-047 BLK-DEV-048 BLK-DEV-049
  /** §5.2.6.2: with the cache off a write is committed before it completes. */
  #applyCacheMode(): void {
    this.backend.writeCache = this.#config.writeback;
  }

  /** A driver that did not accept ZONED sees no zones in the configuration. */
  #showZones(accepted: boolean): void {
    const shown = accepted && hasFeature(this.#offered, VIRTIO_BLK_F_ZONED);
    this.#config.setZones(shown ? this.backend.zones?.layout : undefined, this.#sizes.maxDataBytes);
  }

  // @virtio BLK-DEV-019 BLK-DEV-035 BLK-DEV-044
  /** Takes what the disk is like now, and what the driver accepted, into configuration and limits. */
  #noteDisk(): void {
    const { backend } = this;
    const { legacy, bigEndian } = this.#transport;
    const capacitySectors = this.#capacitySectors;
    this.#config.capacitySectors = capacitySectors;
    this.#config.mayUnmap = backend.canUnmap && hasFeature(this.#offered, VIRTIO_BLK_F_WRITE_ZEROES);
    this.#limits = {
      capacitySectors,
      readOnly: backend.readOnly,
      sizes: this.#sizes,
      accepted: Number(this.#features & 0xffff_ffffn),
      barrier: hasFeature(this.#offered, VIRTIO_BLK_F_BARRIER),
      legacy,
      bigEndian,
      zones: backend.zones,
    };
  }
}
