// One request queue of the block device: takes requests from its ring, carries them out, and returns them.

import { BlockError } from "../../src/base/errors.ts";
import { tracePoint } from "../../src/base/trace.ts";
import type { RingMistake } from "../guest-mistake.ts";
import type { VirtioTransport } from "../virtio-device.ts";
import type { Virtqueue } from "../virtqueue/virtqueue.ts";
import { BlockRequest } from "./block-request.ts";
import { accountRequest } from "./request-accounting.ts";
import { completionStatus, writtenBytes } from "./request-completion.ts";
import { carryOutRequest, type RequestContext } from "./request-execution.ts";

/**
 * What one call may cost, in bytes of data or their worth, before others have their turn: it bounds what a guest can make of
 * one register write, also a guest in another thread that feeds the ring meanwhile.
 */
const MAX_TURN_COST = 4 << 20;
/** One look at the ring, and one request, cost as much as 4 KiB of data; one descriptor, as 256 bytes. */
const REQUEST_COST = 4096;
const DESCRIPTOR_COST = 256;
/** The disk may be slower than its bytes say: after this the turn is over as well. The clock is asked at every 8th request. */
const MAX_TURN_MS = 1;
const REQUESTS_PER_LOOK = 8;
/** Requests that may go on after their call, whatever the size of the ring: the others wait in it. */
const MAX_IN_FLIGHT = 1024;

const traceComplete = tracePoint("virtio_blk_req_complete");

/** What a request queue uses of its device. */
export interface RequestQueueOwner extends RequestContext {
  readonly transport: VirtioTransport;
  /** Buffers may be used: DRIVER_OK is set, and nothing from before a reset is under way in any queue. */
  readonly live: boolean;
  /** The last orphan of a queue has ended, and the queue itself has gone on. */
  orphansEnded(): void;
}

/** A slot: a request and its place among those in flight, with the callbacks that an asynchronous end needs. */
class RequestSlot extends BlockRequest {
  nextFree: RequestSlot | undefined = undefined;
  /** The queue was stopped while this was in flight: its end is told to nobody. */
  orphaned = false;
  /** When it was found not to end within its call, by the device's clock; 0 before. */
  startedMs = 0;
  readonly onDone: () => void;
  readonly onError: (error: unknown) => void;

  constructor(queue: RequestQueue, transport: VirtioTransport) {
    super(transport.memory);
    this.onDone = () => queue.finishLater(this, undefined);
    this.onError = (error) => queue.finishLater(this, error);
  }
}

/**
 * stopped ──start──▶ waiting for orphans ──the last one ends──▶ taking requests ──stop──▶ stopped
 *
 * `stop` takes effect at once: requests in flight become orphans, whose buffers are taken back (`IoVector.abandon`) and whose
 * ends nobody hears of. The next start takes requests only when the last orphan has ended, so that an old write that is
 * still under way cannot overtake a new one.
 *
 * Requests that can be finished at once are finished within the notification, a batch with one used index and at most one
 * interrupt. What would cost more than a turn of the event loop can bear waits for the next one.
 *
 * A barrier of a legacy driver waits until everything before it has ended, and nothing is taken from the ring before it has ended
 * itself. It is about one queue: between queues nothing has an order.
 *
 * A request that fails under a policy that stops the machine (`IoErrors`) is held back: the ring sees nothing of it until it is
 * sent again, or the queue is stopped.
 *
 * An interrupt may run the driver at once, who may then do anything, from a notification to a reset: after `#publish` and
 * `#requireReset` all that was known of the queue must be looked at anew.
 */
export class RequestQueue {
  readonly #owner: RequestQueueOwner;
  #queue: Virtqueue | undefined;
  #free: RequestSlot | undefined;
  readonly #inFlight = new Set<RequestSlot>();
  /** Failed requests that wait for the machine to go on, oldest first. */
  #heldBack: RequestSlot[] = [];
  #orphans = 0;
  /** Taken and not ended: nothing is taken meanwhile. */
  #barrier: RequestSlot | undefined;
  #barrierWaits = false;
  #processing = false;
  /** Requests of this turn, and when the first look at the clock was. */
  #taken = 0;
  #turnStartedMs = 0;
  #turnPending = false;

  constructor(owner: RequestQueueOwner) {
    this.#owner = owner;
    owner.transport.memory.onRebind(() => this.#rebind());
  }

  /** Requests of the queue as it was, before it was stopped, that are still under way. */
  get orphans(): number {
    return this.#orphans;
  }

  start(queue: Virtqueue): void {
    this.#queue = queue;
  }

  // @virtio MMIO-DEV-008 STAT-DEV-009 STAT-DEV-010
  stop(): void {
    this.#queue = undefined;
    for (const slot of this.#inFlight) {
      slot.orphaned = true;
      slot.dataIn.abandon();
      slot.dataOut.abandon();
      this.#orphans++;
    }
    this.#inFlight.clear();
    for (const slot of this.#heldBack) this.#release(slot);
    this.#heldBack = [];
    if (this.#barrierWaits) this.#release(this.#barrier!);
    this.#barrier = undefined;
    this.#barrierWaits = false;
  }

  /** Takes and carries out what is available. */
  process(): void {
    if (this.#processing) return; // the driver's interrupt handler notifies: the ring is looked at again as it is
    this.#processing = true;
    this.#taken = 0;
    try {
      for (let budget = MAX_TURN_COST; this.#mayTake; ) {
        budget = this.#processBatch(budget);
        this.#publish();
        if (!this.#mayTake || !this.#queue!.rearm()) return;
        if (budget <= 0) return this.#continueLater();
      }
    } finally {
      this.#processing = false;
    }
  }

  /** A request that did not end within its call has ended: well, or with `error`. */
  finishLater(slot: RequestSlot, error: unknown): void {
    if (slot.orphaned) return this.#finishOrphan(slot, error);
    const wasHeld = this.#inFlight.size >= MAX_IN_FLIGHT || this.#barrier !== undefined;
    this.#inFlight.delete(slot);
    this.#end(slot, error);
    if (this.#barrierWaits) this.#passBarrier();
    // Several requests that end in one turn would each be published; the driver sees them as they come.
    this.#publish();
    if (wasHeld) this.process();
  }

  /** Sends what was held back again, in the order in which it failed. */
  retry(): void {
    const slots = this.#heldBack;
    this.#heldBack = [];
    for (const slot of slots) this.#carryOut(slot);
    if (this.#barrierWaits) this.#passBarrier();
    this.#publish();
    this.process();
  }

  /** Buffers may be taken: not before DRIVER_OK, nor while an orphan is under way, which calls again when it ends. */
  get #mayTake(): boolean {
    return this.#owner.live && this.#orphans === 0 && this.#hasRoom;
  }

  get #hasRoom(): boolean {
    return this.#queue !== undefined && this.#inFlight.size < MAX_IN_FLIGHT && this.#barrier === undefined;
  }

  /** Returns what is left of `budget`, which is 0 or less when others should have their turn. */
  #processBatch(budget: number): number {
    budget -= REQUEST_COST;
    while (budget > 0 && this.#hasRoom) {
      const queue = this.#queue!;
      const slot = this.#acquire();
      const result = queue.pop(slot.chain);
      if (result !== "chain") {
        this.#release(slot);
        if (result === "broken") this.#requireReset(queue, queue.mistake!);
        return budget;
      }
      const mistake = slot.parse(this.#owner.transport.memory, this.#owner.limits);
      if (mistake !== undefined) {
        this.#release(slot);
        this.#requireReset(queue, mistake);
        return budget;
      }
      budget -= REQUEST_COST + slot.chain.descriptors * DESCRIPTOR_COST + slot.costBytes;
      if (slot.barrier) this.#stopAt(slot);
      else this.#carryOut(slot);
      if (++this.#taken % REQUESTS_PER_LOOK === 0 && this.#turnIsOver()) return 0;
    }
    return budget;
  }

  #turnIsOver(): boolean {
    const nowMs = this.#owner.clock.nowMs();
    if (this.#taken === REQUESTS_PER_LOOK) this.#turnStartedMs = nowMs;
    return nowMs - this.#turnStartedMs >= MAX_TURN_MS;
  }

  #publish(): void {
    const { accounting } = this.#owner.backend;
    if (accounting.unstamped) accounting.stamp(this.#owner.clock);
    if (this.#queue?.publish() === true) this.#owner.transport.notifyUsedBuffers();
  }

  /** What was used before the mistake is still the driver's to see. */
  #requireReset(queue: Virtqueue, mistake: RingMistake): void {
    this.#owner.transport.requireReset(mistake, queue.publish());
  }

  #finishOrphan(slot: RequestSlot, error: unknown): void {
    slot.orphaned = false;
    slot.startedMs = 0;
    this.#release(slot);
    this.#orphans--;
    if (this.#orphans === 0) {
      this.process();
      this.#owner.orphansEnded();
    }
    if (error !== undefined && !(error instanceof BlockError)) throw error; // a mistake of ours
  }

  #continueLater(): void {
    if (this.#turnPending) return;
    this.#turnPending = true;
    void this.#owner.clock.yield().then(() => {
      this.#turnPending = false;
      this.process();
    });
  }

  #carryOut(slot: RequestSlot): void {
    let pending: void | Promise<void>;
    try {
      pending = carryOutRequest(slot, this.#owner);
    } catch (error) {
      this.#end(slot, error);
      return;
    }
    if (pending === undefined) {
      this.#end(slot, undefined);
      return;
    }
    slot.startedMs = this.#owner.clock.nowMs();
    this.#inFlight.add(slot);
    pending.then(slot.onDone, slot.onError);
  }

  // @virtio BLK-DEV-102 BLK-DEV-103
  #stopAt(barrier: RequestSlot): void {
    this.#barrier = barrier;
    this.#barrierWaits = true;
    this.#passBarrier();
  }

  /** Carries the barrier out if nothing is before it any more. */
  #passBarrier(): void {
    if (this.#inFlight.size > 0 || this.#heldBack.length > 0) return;
    this.#barrierWaits = false;
    this.#carryOut(this.#barrier!);
  }

  /** Writes the status byte and the used element, which `publish` makes visible; or holds the request back. */
  #end(slot: RequestSlot, error: unknown): void {
    const status = completionStatus(slot, error, this.#owner);
    if (status === "held-back") {
      this.#heldBack.push(slot);
      return;
    }
    if (slot === this.#barrier) this.#barrier = undefined;
    accountRequest(this.#owner.backend.accounting, slot, status, this.#takeTimeNs(slot));
    const queue = this.#queue;
    if (queue !== undefined) {
      const { memory } = this.#owner.transport;
      memory.bytes[slot.statusOffset] = status;
      if (memory.hasWriteListeners) this.#noteWrites(slot);
      queue.push(slot.chain, writtenBytes(slot, status));
    }
    if (traceComplete.enabled) traceComplete.emit({ head: slot.chain.head, type: slot.type, status });
    this.#release(slot);
  }

  /** One that ended within its call took no time: to measure that would take longer than most of them. */
  #takeTimeNs(slot: RequestSlot): number {
    if (slot.startedMs === 0) return 0;
    const elapsedMs = this.#owner.clock.nowMs() - slot.startedMs;
    slot.startedMs = 0;
    return Math.round(elapsedMs * 1e6);
  }

  #noteWrites(slot: RequestSlot): void {
    const { memory } = this.#owner.transport;
    memory.noteDeviceWrite(slot.statusOffset, 1);
    if (!slot.fillsDataIn) return;
    const { dataIn } = slot;
    for (let i = dataIn.first; i < dataIn.end; i++) memory.noteDeviceWrite(dataIn.offsets[i]!, dataIn.lengths[i]!);
  }

  #acquire(): RequestSlot {
    const slot = this.#free ?? new RequestSlot(this, this.#owner.transport);
    this.#free = slot.nextFree;
    return slot;
  }

  #release(slot: RequestSlot): void {
    slot.nextFree = this.#free;
    this.#free = slot;
  }

  #rebind(): void {
    const { bytes } = this.#owner.transport.memory;
    const waiting = this.#barrierWaits ? [this.#barrier!] : [];
    for (const slot of [...this.#inFlight, ...this.#heldBack, ...waiting]) {
      slot.dataIn.bytes = bytes;
      slot.dataOut.bytes = bytes;
    }
  }
}
