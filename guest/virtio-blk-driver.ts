// The driver of a block device: VIRTIO 1.4 §5.2, over the transport and its request queues.

import { assert } from "../src/base/assert.ts";
import type { GuestAllocator } from "./allocator.ts";
import type { BlockRequest } from "./block-request.ts";
import { VIRTIO_BLK_Z_HM } from "./constants/blk.ts";
import {
  type FeatureSet,
  featureSet,
  hasFeature,
  VIRTIO_BLK_F_DISCARD,
  VIRTIO_BLK_F_ZONED,
  VIRTIO_F_RING_PACKED,
} from "./constants/features.ts";
import { VIRTIO_ID_BLOCK } from "./constants/mmio.ts";
import { VIRTIO_STATUS_ACKNOWLEDGE, VIRTIO_STATUS_DRIVER, VIRTIO_STATUS_DRIVER_OK } from "./constants/status.ts";
import { createVirtqueue } from "./create-virtqueue.ts";
import { GuestClosedError, GuestDriverError } from "./errors.ts";
import { LiveConfig } from "./live-config.ts";
import { RequestPump } from "./request-pump.ts";
import { RequestQueue } from "./request-queue.ts";
import { RequestRing } from "./request-ring.ts";
import { SubmissionTurn } from "./submission-turn.ts";
import type { GuestTarget } from "./target.ts";
import { readZonedModel, type VirtioBlkConfig } from "./virtio-blk-config.ts";
import type { VirtioBlkDriverOptions } from "./virtio-blk-driver-options.ts";
import { acceptableFeatures, queueCount, queueSize, requiredFeatures, transferLimits } from "./virtio-blk-limits.ts";
import { type DeviceIdentity, VirtioMmioDriver } from "./virtio-mmio-driver.ts";
import type { Virtqueue } from "./virtqueue.ts";

const DEFAULT_TIMEOUT_MS = 30_000;

/**
 * Drives one block device until it dies or is closed, which happens once and for good: `ended` then says why and every request,
 * old and new, fails with that.
 *
 * It negotiates, sets queues up and takes them down; in between, `RequestPump` moves the requests.
 */
export class VirtioBlkDriver {
  readonly transport: VirtioMmioDriver;
  /** Which requests may still go in this turn of the event loop. */
  readonly turn: SubmissionTurn;
  readonly #target: GuestTarget;
  readonly #allocator: GuestAllocator;
  readonly #options: VirtioBlkDriverOptions;
  readonly #pump: RequestPump;
  #queues: Virtqueue[] = [];
  #segmentBytes = 0;
  #requests: RequestQueue | undefined;
  #features: FeatureSet = 0n;
  #config: LiveConfig | undefined;
  #maxTransferBytes = 0;
  #ended: { readonly reason: unknown } | undefined;

  constructor(target: GuestTarget, allocator: GuestAllocator, options: VirtioBlkDriverOptions = {}) {
    this.#target = target;
    this.#allocator = allocator;
    this.#options = options;
    this.transport = new VirtioMmioDriver(target);
    this.turn = new SubmissionTurn(target.clock);
    const { transport, turn } = this;
    const { timeoutMs = DEFAULT_TIMEOUT_MS } = options;
    this.#pump = new RequestPump({ target, transport, turn, timeoutMs, giveUp: (error) => this.#die(error) });
  }

  /** Features that were negotiated. */
  get features(): FeatureSet {
    return this.#features;
  }

  /** The configuration as last read: at the start, and after each change that the device announced. */
  get config(): VirtioBlkConfig {
    return this.#config?.current ?? { capacitySectors: 0 };
  }

  /** Descriptors of a request queue: of the smallest. */
  get queueSize(): number {
    return this.#queues.length === 0 ? 0 : Math.min(...this.#queues.map(({ size }) => size));
  }

  /** Request queues in use. */
  get queueCount(): number {
    return this.#queues.length;
  }

  /** Bytes of data of the largest request. */
  get maxTransferBytes(): number {
    return this.#maxTransferBytes;
  }

  /** Why no request works any more; undefined while they do. */
  get ended(): { readonly reason: unknown } | undefined {
    return this.#ended;
  }

  /** Makes sure that a block device is there. Throws a `GuestDriverError` before any register but the first four was touched. */
  identify(): DeviceIdentity {
    const identity = this.transport.identify();
    if (identity === undefined) throw new GuestDriverError("no-device", "DeviceID is 0: there is no device here");
    if (identity.deviceId !== VIRTIO_ID_BLOCK) {
      throw new GuestDriverError("wrong-device", `DeviceID is ${identity.deviceId}: not a block device`);
    }
    return identity;
  }

  /** After a reset: negotiates, sets the queue up and makes the device live. §3.1.1 from step 2 on. When that fails, FAILED is set. */
  // @virtio INIT-DRV-001 INIT-DRV-007 INIT-DRV-008
  start(): void {
    const { transport } = this;
    try {
      transport.addStatus(VIRTIO_STATUS_ACKNOWLEDGE);
      transport.addStatus(VIRTIO_STATUS_DRIVER);
      this.#negotiate();
      this.#config = new LiveConfig(transport, this.#features);
      this.#requests = this.#setUpRequestQueues();
      this.#pump.start(this.#requests, this.#config);
      transport.addStatus(VIRTIO_STATUS_DRIVER_OK);
    } catch (error) {
      this.#die(error);
      throw this.#ended?.reason;
    }
  }

  /** Takes a request in. It goes to the device now if there is room and it is not yet others' turn; its owner hears how it ends. */
  submit(request: BlockRequest): void {
    if (this.#ended !== undefined) {
      request.owner.requestFailed(this.#ended.reason);
      return;
    }
    this.#pump.submit(request);
  }

  /** Holds requests back until `unplug`, so that they share one kick. Plugs nest. */
  plug(): void {
    this.#pump.plug();
  }

  unplug(): void {
    this.#pump.unplug();
  }

  /** Whether the device caches writes until a flush: §5.2.5.1. */
  get writeback(): boolean {
    return this.#livingConfig.writeback;
  }

  set writeback(on: boolean) {
    this.#livingConfig.writeback = on;
  }

  /** Calls `listener` after each change of the configuration, once `config` has the new one; the function returned ends that. */
  onConfigChange(listener: () => void): () => void {
    assert(this.#config !== undefined, "onConfigChange: the driver is not started");
    return this.#config.onChange(listener);
  }

  /**
   * Resets one request queue and starts it anew in its old size: §2.6.1. Requests that the device has in it fail with a
   * `GuestClosedError`, carried out or not; those that wait do not. Rejects with why the driver has ended when that comes first.
   */
  async resetQueue(index: number): Promise<void> {
    if (this.#ended !== undefined) throw this.#ended.reason;
    this.transport.checkQueueReset();
    const requests = this.#requests;
    const size = this.#queues[index]?.size;
    if (requests?.detach(index, new GuestClosedError(`queue ${index} was reset`)) !== true) {
      throw new RangeError(`queue ${index}: not in use, or being reset`);
    }
    try {
      await this.transport.resetQueue(index);
      if (this.ended === undefined) {
        requests.releaseDetached(index);
        requests.attach(this.#ringOf(this.#setUpQueue(index, size)));
        this.#pump.run();
      }
    } catch (error) {
      this.#die(error);
    }
    if (this.ended !== undefined) throw this.ended.reason;
  }

  /** Fails every request with `reason`. The device is not told: the caller resets it. */
  end(reason: unknown): void {
    if (this.#ended !== undefined) return;
    this.#ended = { reason };
    this.#pump.stop();
    this.#config?.forgetListeners();
    this.#requests?.failAll(reason);
  }

  /** After `end` and a reset, when the device cannot touch RAM any more: gives the RAM back. */
  // @virtio INIT-DRV-010 INIT-DRV-011
  release(): void {
    assert(this.#ended !== undefined, "release: the driver has not ended");
    if (this.#requests !== undefined) this.#requests.release();
    else for (const queue of this.#queues) queue.release();
    this.#requests = undefined;
    this.#queues = [];
  }

  get #livingConfig(): LiveConfig {
    if (this.#ended !== undefined) throw this.#ended.reason;
    assert(this.#config !== undefined, "configuration: the driver is not started");
    return this.#config;
  }

  // @virtio BLK-DRV-006
  #negotiate(): void {
    const { transport } = this;
    const wishes = { ...this.#options, legacy: transport.legacy };
    this.#features = acceptableFeatures(transport.readOfferedFeatures(), wishes);
    // §5.2.5.1: zones that must be written in order are reset, never discarded.
    if (hasFeature(this.#features, VIRTIO_BLK_F_ZONED) && readZonedModel(transport) === VIRTIO_BLK_Z_HM) {
      this.#features &= ~featureSet(VIRTIO_BLK_F_DISCARD);
    }
    transport.negotiate(this.#features, requiredFeatures(wishes));
  }

  #setUpRequestQueues(): RequestQueue {
    const count = queueCount(this.config, this.#options.queues);
    for (let index = 0; index < count; index++) this.#setUpQueue(index, this.#options.queueSize);
    const limits = transferLimits(this.config, this.queueSize, this.#allocator.freeBytes, this.#options);
    this.#maxTransferBytes = limits.transferBytes;
    this.#segmentBytes = limits.segmentBytes;
    const rings = this.#queues.map((queue) => this.#ringOf(queue));
    return new RequestQueue(this.#allocator, rings);
  }

  #setUpQueue(index: number, wantedSize: number | undefined): Virtqueue {
    const { transport } = this;
    const layout = hasFeature(this.#features, VIRTIO_F_RING_PACKED) ? "packed" : "split";
    return transport.setUpQueue(index, (sizeMax) => {
      const queue = createVirtqueue({
        target: this.#target,
        allocator: this.#allocator,
        notifier: transport,
        index,
        size: queueSize(layout, sizeMax, wantedSize),
        features: this.#features,
        legacyAlignBytes: transport.legacyAlignBytes,
      });
      this.#queues[index] = queue;
      return queue;
    });
  }

  #ringOf(queue: Virtqueue): RequestRing {
    const segmentBytes = this.#segmentBytes;
    return new RequestRing({ target: this.#target, allocator: this.#allocator, queue, segmentBytes });
  }

  /** Ends everything because of `error`, and lets the device know that the guest has given it up if that is news to it. */
  #die(error: unknown): void {
    if (this.#ended !== undefined) return;
    let reason = error;
    const toldByDevice = error instanceof GuestDriverError && error.code === "needs-reset";
    if (!toldByDevice) {
      try {
        this.transport.fail();
      } catch (failure) {
        reason = new AggregateError([error, failure], "the device failed, and so did telling it");
      }
    }
    this.end(reason);
  }
}
