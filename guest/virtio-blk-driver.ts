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
import {
  VIRTIO_ID_BLOCK,
  VIRTIO_MMIO_INTERRUPT_CONFIG_CHANGE,
  VIRTIO_MMIO_INTERRUPT_USED_BUFFER,
} from "./constants/mmio.ts";
import { VIRTIO_STATUS_ACKNOWLEDGE, VIRTIO_STATUS_DRIVER, VIRTIO_STATUS_DRIVER_OK } from "./constants/status.ts";
import { createVirtqueue } from "./create-virtqueue.ts";
import { GuestClosedError, GuestDriverError } from "./errors.ts";
import { LiveConfig } from "./live-config.ts";
import { RequestQueue } from "./request-queue.ts";
import { RequestRing } from "./request-ring.ts";
import { SubmissionTurn } from "./submission-turn.ts";
import type { GuestTarget } from "./target.ts";
import { readZonedModel, type VirtioBlkConfig } from "./virtio-blk-config.ts";
import type { VirtioBlkDriverOptions } from "./virtio-blk-driver-options.ts";
import { acceptableFeatures, queueCount, queueSize, requiredFeatures, transferLimits } from "./virtio-blk-limits.ts";
import { type DeviceIdentity, VirtioMmioDriver } from "./virtio-mmio-driver.ts";
import type { Virtqueue } from "./virtqueue.ts";
import { Watchdog } from "./watchdog.ts";

const DEFAULT_TIMEOUT_MS = 30_000;
/** Data made available with one kick, at most: a device that does it all at once must not hold up everybody else. */
const MAX_KICK_BYTES = 1 << 20;
/** Interrupts acknowledged in a row, without a used buffer among them, after which the line counts as stuck. */
const MAX_IDLE_INTERRUPTS = 1000;

/**
 * Drives one block device until it dies or is closed, which happens once and for good: `ended` then says why and every request,
 * old and new, fails with that.
 *
 * Everything happens in `#pump`, which is never entered twice: it fills the ring, kicks, and serves the interrupt, until there
 * is nothing left to do. A device of the same process raises the line from within the kick; as on a CPU, the interrupt is
 * served when the store that caused it is over.
 */
export class VirtioBlkDriver {
  readonly transport: VirtioMmioDriver;
  /** Which requests may still go in this turn of the event loop. */
  readonly turn: SubmissionTurn;
  readonly #target: GuestTarget;
  readonly #allocator: GuestAllocator;
  readonly #options: VirtioBlkDriverOptions;
  readonly #watchdog: Watchdog;
  #queues: Virtqueue[] = [];
  #segmentBytes = 0;
  #requests: RequestQueue | undefined;
  #features: FeatureSet = 0n;
  #config: LiveConfig | undefined;
  #maxTransferBytes = 0;
  #unsubscribe: (() => void) | undefined;
  #ended: { readonly reason: unknown } | undefined;
  #pumping = false;
  #plugs = 0;
  #awaitsTurn = false;

  constructor(target: GuestTarget, allocator: GuestAllocator, options: VirtioBlkDriverOptions = {}) {
    this.#target = target;
    this.#allocator = allocator;
    this.#options = options;
    this.transport = new VirtioMmioDriver(target);
    this.turn = new SubmissionTurn(target.clock);
    this.#watchdog = new Watchdog(target.clock, options.timeoutMs ?? DEFAULT_TIMEOUT_MS, () => this.#tick());
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
      this.#setUpRequestQueues();
      this.#unsubscribe = this.#target.onInterrupt(() => this.#pump());
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
    assert(this.#requests !== undefined, "submit: the driver is not started");
    this.#requests.push(request);
    if (this.#plugs === 0) this.#pump();
  }

  /** Holds requests back until `unplug`, so that they share one kick. Plugs nest. */
  plug(): void {
    this.#plugs++;
  }

  unplug(): void {
    assert(this.#plugs > 0, "unplug: not plugged");
    this.#plugs--;
    if (this.#plugs === 0) this.#pump();
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
      if (!this.#hasEnded()) {
        requests.releaseDetached(index);
        requests.attach(this.#ringOf(this.#setUpQueue(index, size)));
        this.#pump();
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
    this.#unsubscribe?.();
    this.#watchdog.stop();
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

  #setUpRequestQueues(): void {
    const count = queueCount(this.config, this.#options.queues);
    for (let index = 0; index < count; index++) this.#setUpQueue(index, this.#options.queueSize);
    const limits = transferLimits(this.config, this.queueSize, this.#allocator.freeBytes, this.#options);
    this.#maxTransferBytes = limits.transferBytes;
    this.#segmentBytes = limits.segmentBytes;
    const rings = this.#queues.map((queue) => this.#ringOf(queue));
    this.#requests = new RequestQueue(this.#allocator, rings);
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

  #pump(): void {
    const requests = this.#requests;
    if (this.#pumping || this.#ended !== undefined || requests === undefined) return;
    this.#pumping = true;
    try {
      let moved: boolean;
      do {
        moved = this.#fillRing(requests);
        requests.kick();
        // An abort may come from anywhere, also from within the kick.
        if (this.#hasEnded()) break;
        moved = this.#serveInterrupt(requests) || moved;
      } while (moved && requests.hasWaiting && this.#plugs === 0 && !this.#awaitsTurn);
      if (requests.inFlight > 0 && !this.#hasEnded()) this.#watchdog.start();
      else this.#watchdog.stop();
    } catch (error) {
      this.#die(error);
    } finally {
      this.#pumping = false;
    }
  }

  /** Moves waiting requests into the ring: as many as fit, as one kick may carry, and as this turn allows. True if any. */
  #fillRing(requests: RequestQueue): boolean {
    let moved = false;
    let bytes = 0;
    while (requests.hasWaiting && this.#plugs === 0 && !this.#awaitsTurn && bytes < MAX_KICK_BYTES) {
      const othersTurn = this.turn.next();
      if (othersTurn !== undefined) {
        this.#pumpAfter(othersTurn);
        break;
      }
      const submittedBytes = requests.submitFirst();
      if (submittedBytes < 0) break;
      moved = true;
      bytes += submittedBytes;
    }
    return moved;
  }

  // As a call, since the compiler takes the field for unchanged across other calls.
  #hasEnded(): boolean {
    return this.#ended !== undefined;
  }

  #pumpAfter(othersTurn: Promise<void>): void {
    this.#awaitsTurn = true;
    othersTurn.then(
      () => {
        this.#awaitsTurn = false;
        this.#pump();
      },
      (error: unknown) => this.#die(error),
    );
  }

  /** Acknowledges and serves interrupts until the line is lowered. True when requests have ended. */
  #serveInterrupt(requests: RequestQueue): boolean {
    let ended = false;
    let idle = 0;
    while (this.#target.interruptRaised) {
      const cause = this.transport.acknowledgeInterrupt();
      if (cause === 0) break;
      const count = (cause & VIRTIO_MMIO_INTERRUPT_USED_BUFFER) !== 0 ? requests.drain() : 0;
      if ((cause & VIRTIO_MMIO_INTERRUPT_CONFIG_CHANGE) !== 0) {
        this.#checkAlive();
        this.#config?.reread();
      }
      if (count > 0) {
        ended = true;
        idle = 0;
      } else if (++idle === MAX_IDLE_INTERRUPTS) {
        throw new GuestDriverError(
          "interrupt-stuck",
          `the line is raised after ${idle} acknowledged interrupts for nothing`,
        );
      }
    }
    return ended;
  }

  /** A device that needs a reset says so with a configuration change interrupt, if it still can: §2.1.2. */
  #checkAlive(): void {
    if (this.transport.needsReset) {
      throw new GuestDriverError(
        "needs-reset",
        "the device has set DEVICE_NEEDS_RESET: nothing works until it is reset",
      );
    }
  }

  #tick(): void {
    const requests = this.#requests;
    if (requests === undefined || this.#ended !== undefined) return;
    requests.tick++;
    try {
      this.#checkAlive();
      if (requests.hasSubmittedBefore(requests.tick - this.#watchdog.ticksAllowed)) {
        const lost = requests.hasUsed ? "; the device has used buffers without an interrupt" : "";
        const timeoutMs = this.#options.timeoutMs ?? DEFAULT_TIMEOUT_MS;
        throw new GuestDriverError("timeout", `a request has had no answer for ${timeoutMs} ms${lost}`);
      }
    } catch (error) {
      this.#die(error);
      return;
    }
    this.#watchdog.start();
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
