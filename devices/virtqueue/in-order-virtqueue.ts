// VIRTIO_F_IN_ORDER over a queue of either layout: VIRTIO 1.4 §2.7.9 and §2.8.8.

import type { RingMistake } from "../guest-mistake.ts";
import type { DescriptorChain } from "./descriptor-chain.ts";
import type { BufferInFlight, PopResult, Virtqueue } from "./virtqueue.ts";

const IN_FLIGHT = 0;
const USED = 1;
const USED_HAS_WRITABLE = 2;

/** What the queue below is told of a buffer whose turn has come. */
class BufferInTurn implements BufferInFlight {
  head = 0;
  sequence = 0;
  slots = 1;
  hasWritable = false;
}

/**
 * Holds back what is used before its turn: the queue below sees buffers in the order in which it gave them out. Each has its
 * own used entry, with its own length. One entry for a batch is allowed as well, but says of the buffers it skips that they were
 * used completely, which is wrong of a read that failed.
 *
 * A buffer that is never pushed holds back all that come after it: a device under this feature ends every request, or has the
 * queue stopped.
 */
export class InOrderVirtqueue implements Virtqueue {
  readonly size: number;
  readonly #queue: Virtqueue;
  readonly #buffer = new BufferInTurn();
  /** The buffer whose turn it is. */
  #turn = 0;
  /** What the next buffer counts as. */
  #popped = 0;
  // Of each buffer in flight, by its sequence: there are never more of them than the ring has descriptors.
  readonly #state: Uint8Array;
  readonly #head: Uint16Array;
  readonly #slots: Uint16Array;
  readonly #writtenBytes: Uint32Array;

  constructor(queue: Virtqueue) {
    this.size = queue.size;
    this.#queue = queue;
    this.#state = new Uint8Array(queue.size);
    this.#head = new Uint16Array(queue.size);
    this.#slots = new Uint16Array(queue.size);
    this.#writtenBytes = new Uint32Array(queue.size);
  }

  get mistake(): RingMistake | undefined {
    return this.#queue.mistake;
  }

  pop(chain: DescriptorChain): PopResult {
    const result = this.#queue.pop(chain);
    if (result !== "chain") return result;
    chain.sequence = this.#popped;
    this.#popped = this.#after(this.#popped);
    return result;
  }

  // @virtio RSVD-DEV-005 SPLIT-DEV-025 SPLIT-DEV-026 PACK-DEV-018
  push(buffer: BufferInFlight, writtenBytes: number): void {
    if (buffer.sequence !== this.#turn) {
      const at = buffer.sequence;
      this.#state[at] = buffer.hasWritable ? USED_HAS_WRITABLE : USED;
      this.#head[at] = buffer.head;
      this.#slots[at] = buffer.slots;
      this.#writtenBytes[at] = writtenBytes;
      return;
    }
    this.#queue.push(buffer, writtenBytes);
    let at = this.#after(this.#turn);
    for (; this.#state[at] !== IN_FLIGHT; at = this.#after(at)) {
      this.#buffer.head = this.#head[at]!;
      this.#buffer.slots = this.#slots[at]!;
      this.#buffer.hasWritable = this.#state[at] === USED_HAS_WRITABLE;
      this.#state[at] = IN_FLIGHT;
      this.#queue.push(this.#buffer, this.#writtenBytes[at]!);
    }
    this.#turn = at;
  }

  publish(): boolean {
    return this.#queue.publish();
  }

  rearm(): boolean {
    return this.#queue.rearm();
  }

  #after(sequence: number): number {
    return sequence + 1 === this.size ? 0 : sequence + 1;
  }
}
