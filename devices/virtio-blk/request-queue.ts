// One request queue of the block device: takes requests from its ring, carries them out, and returns them.

import type { Clock } from "../../src/base/clock.ts";
import { BlockError } from "../../src/base/errors.ts";
import { IoVector } from "../../src/base/io-vector.ts";
import { type TraceFields, tracePoint } from "../../src/base/trace.ts";
import type { BlockBackend } from "../../src/block/backend.ts";
import { type RingMistake, traceGuestError } from "../guest-mistake.ts";
import type { VirtioTransport } from "../virtio-device.ts";
import type { Virtqueue } from "../virtqueue/virtqueue.ts";
import { BlockRequest, type RequestLimits } from "./block-request.ts";
import {
  VIRTIO_BLK_ID_BYTES,
  VIRTIO_BLK_S_IOERR,
  VIRTIO_BLK_S_OK,
  VIRTIO_BLK_SECTOR_BYTES,
} from "./virtio-blk-constants.ts";

/** Data that one turn of the event loop moves before others have theirs. */
const MAX_TURN_BYTES = 4 << 20;

const traceRead = tracePoint("virtio_blk_handle_read");
const traceWrite = tracePoint("virtio_blk_handle_write");
// Not QEMU's: it has no point for these two.
const traceFlush = tracePoint("virtio_blk_handle_flush");
const traceGetId = tracePoint("virtio_blk_handle_get_id");
const traceComplete = tracePoint("virtio_blk_req_complete");

/** What a request queue uses of its device. */
export interface RequestQueueOwner {
  readonly transport: VirtioTransport;
  readonly backend: BlockBackend;
  readonly limits: RequestLimits;
  readonly clock: Clock;
  /** DRIVER_OK is set: before that no buffer is used. */
  readonly live: boolean;
  /** The answer to GET_ID, 20 bytes. */
  readonly id: Uint8Array;
}

/** A slot: a request and its place among those in flight, with the callbacks that an asynchronous end needs. */
class RequestSlot extends BlockRequest {
  nextFree: RequestSlot | undefined = undefined;
  /** The queue was stopped while this was in flight: its end is told to nobody. */
  orphaned = false;
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
 * interrupt. A batch ends after as many requests as the ring has entries, or 4 MiB: what is left waits for the next turn of
 * the event loop.
 */
export class RequestQueue {
  readonly #owner: RequestQueueOwner;
  #queue: Virtqueue | undefined;
  #free: RequestSlot | undefined;
  readonly #inFlight = new Set<RequestSlot>();
  #orphans = 0;
  #processing = false;
  #again = false;
  #turnPending = false;

  constructor(owner: RequestQueueOwner) {
    this.#owner = owner;
    owner.transport.memory.onRebind(() => this.#rebind());
  }

  start(queue: Virtqueue): void {
    this.#queue = queue;
  }

  stop(): void {
    this.#queue = undefined;
    for (const slot of this.#inFlight) {
      slot.orphaned = true;
      slot.dataIn.abandon();
      slot.dataOut.abandon();
      this.#orphans++;
    }
    this.#inFlight.clear();
  }

  /** Takes and carries out what is available. */
  process(): void {
    if (this.#processing) {
      // The driver's interrupt handler has made more available while we publish: no recursion, another round.
      this.#again = true;
      return;
    }
    if (!this.#owner.live || this.#orphans > 0) return; // DRIVER_OK, or the last orphan, calls again
    this.#processing = true;
    let more: boolean;
    let budget = MAX_TURN_BYTES;
    do {
      this.#again = false;
      budget = this.#processBatch(budget);
      more = this.#publishAndRearm() || this.#again;
    } while (more && budget > 0);
    this.#processing = false;
    if (more) this.#continueLater();
  }

  /** A request that did not end within its call has ended: well, or with `error`. */
  finishLater(slot: RequestSlot, error: unknown): void {
    if (slot.orphaned) {
      slot.orphaned = false;
      this.#release(slot);
      this.#orphans--;
      if (this.#orphans === 0) this.process();
      return;
    }
    this.#inFlight.delete(slot);
    this.#end(slot, error);
    // Several requests that end in one turn would each be published; the driver sees them as they come.
    if (!this.#processing) this.#publish();
  }

  /** Returns what is left of `budget`, which is 0 or less when others should have their turn. */
  #processBatch(budget: number): number {
    for (let taken = this.#queue?.size ?? 0; budget > 0 && this.#queue !== undefined; taken--) {
      if (taken === 0) return 0;
      const slot = this.#acquire();
      const result = this.#queue.pop(slot.chain);
      if (result === "chain") {
        const mistake = slot.parse(this.#owner.transport.memory, this.#owner.limits);
        if (mistake === undefined) {
          budget -= slot.dataIn.byteLength + slot.dataOut.byteLength;
          this.#carryOut(slot);
          continue;
        }
        this.#release(slot);
        this.#requireReset(mistake);
        return budget;
      }
      this.#release(slot);
      if (result === "broken") this.#requireReset(this.#queue.mistake!);
      return budget;
    }
    return budget;
  }

  #publish(): void {
    if (this.#queue?.publish() === true) this.#owner.transport.notifyUsedBuffers();
  }

  /** What was used before the mistake is still the driver's to see. */
  #requireReset(mistake: RingMistake): void {
    this.#publish();
    this.#owner.transport.requireReset(mistake);
  }

  #publishAndRearm(): boolean {
    this.#publish();
    // The notification may have run the driver, and the driver may have stopped the queue.
    return this.#queue?.rearm() ?? false;
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
      pending = this.#submit(slot);
    } catch (error) {
      this.#end(slot, error);
      return;
    }
    if (pending === undefined) {
      this.#end(slot, undefined);
      return;
    }
    this.#inFlight.add(slot);
    pending.then(slot.onDone, slot.onError);
  }

  #submit(slot: RequestSlot): void | Promise<void> {
    const { backend } = this.#owner;
    switch (slot.kind) {
      case "read":
        if (traceRead.enabled) traceRead.emit(traceFields(slot, slot.dataIn.byteLength));
        return backend.read(slot.sector * VIRTIO_BLK_SECTOR_BYTES, slot.dataIn);
      case "write":
        if (traceWrite.enabled) traceWrite.emit(traceFields(slot, slot.dataOut.byteLength));
        return backend.write(slot.sector * VIRTIO_BLK_SECTOR_BYTES, slot.dataOut);
      case "flush":
        if (traceFlush.enabled) traceFlush.emit(traceFields(slot, 0));
        return backend.flush();
      case "get-id":
        if (traceGetId.enabled) traceGetId.emit(traceFields(slot, slot.dataIn.byteLength));
        return this.#readId(slot);
      case "rejected":
        traceGuestError(slot.mistake!, slot.type);
        return;
    }
  }

  #readId(slot: RequestSlot): void {
    const { dataIn } = slot;
    dataIn.clearData();
    const length = Math.min(dataIn.byteLength, VIRTIO_BLK_ID_BYTES);
    new IoVector(dataIn.bytes).slice(dataIn, 0, length).copyFrom(this.#owner.id, 0);
  }

  /** Writes the status byte and the used element; `publish` makes them visible. */
  #end(slot: RequestSlot, error: unknown): void {
    if (error !== undefined && !(error instanceof BlockError)) throw error; // a mistake of ours
    let status = VIRTIO_BLK_S_OK;
    if (error !== undefined) status = VIRTIO_BLK_S_IOERR;
    else if (slot.kind === "rejected") status = slot.status;
    const queue = this.#queue;
    if (queue !== undefined) {
      const { memory } = this.#owner.transport;
      memory.bytes[slot.statusOffset] = status;
      if (memory.hasWriteListeners) this.#noteWrites(slot);
      queue.push(slot.chain.head, writtenBytes(slot, status));
    }
    if (traceComplete.enabled) traceComplete.emit({ head: slot.chain.head, type: slot.type, status });
    this.#release(slot);
  }

  #noteWrites(slot: RequestSlot): void {
    const { memory } = this.#owner.transport;
    memory.noteDeviceWrite(slot.statusOffset, 1);
    if (slot.kind !== "read" && slot.kind !== "get-id") return;
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
    for (const slot of this.#inFlight) {
      slot.dataIn.bytes = bytes;
      slot.dataOut.bytes = bytes;
    }
  }
}

function traceFields(slot: BlockRequest, bytes: number): TraceFields {
  return { head: slot.chain.head, sector: slot.sector, bytes };
}

/**
 * How many writable bytes were written, from the first one on: §2.7.8.2. After an error the data was not, and the status byte
 * that follows it does not count.
 */
function writtenBytes(slot: BlockRequest, status: number): number {
  const { byteLength } = slot.dataIn;
  if (byteLength === 0) return 1;
  return status === VIRTIO_BLK_S_OK && slot.kind !== "flush" ? byteLength + 1 : 0;
}
