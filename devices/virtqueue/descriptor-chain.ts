// A descriptor chain as the device holds it: everything read from the ring once, checked, in local values.

import { IoVector } from "../../src/base/io-vector.ts";
import type { GuestMemory } from "../../src/memory/guest-memory.ts";
import type { RequestMistake } from "../guest-mistake.ts";
import type { BufferInFlight } from "./virtqueue.ts";

/** The offset of a segment that does not lie in RAM. Arithmetic on it leaves it what it is. */
export const OUTSIDE_RAM: number = Number.NEGATIVE_INFINITY;

/** One buffer that the driver made available. Reused: a queue refills it with `pop`. */
export class DescriptorChain implements BufferInFlight {
  /** The index of its first descriptor in a split queue, the buffer id in a packed one. */
  head = 0;
  sequence = 0;
  slots = 1;
  hasWritable = false;
  /** Descriptors read for it. */
  descriptors = 0;
  /** What the device may read, in order. Offsets count from the start of RAM, or are `OUTSIDE_RAM`. */
  readonly readable: IoVector;
  /** What the device may write. */
  readonly writable: IoVector;
  /** Some segment has the offset `OUTSIDE_RAM`. */
  outsideRam = false;
  /** Set when the chain is broken in a way that leaves its status byte to be found. */
  mistake: RequestMistake | undefined = undefined;

  constructor(memory: GuestMemory) {
    this.readable = new IoVector(memory.bytes);
    this.writable = new IoVector(memory.bytes);
    this.readable.revocable = true;
    this.writable.revocable = true;
  }

  clear(memory: GuestMemory): void {
    this.readable.clear();
    this.readable.bytes = memory.bytes;
    this.writable.clear();
    this.writable.bytes = memory.bytes;
    this.hasWritable = false;
    this.outsideRam = false;
    this.mistake = undefined;
  }

  /** Adds what a descriptor points to; one of length 0 adds nothing. */
  addSegment(memory: GuestMemory, writable: boolean, address: number, lengthBytes: number): void {
    if (lengthBytes === 0) return;
    let offset = memory.offsetOf(address, lengthBytes);
    if (offset < 0) {
      offset = OUTSIDE_RAM;
      this.outsideRam = true;
    }
    if (writable) {
      this.hasWritable = true;
      this.writable.push(offset, lengthBytes);
      return;
    }
    this.readable.push(offset, lengthBytes);
    if (this.hasWritable) this.mistake = "WritableBeforeReadable"; // §2.7.4.2, §2.8.17
  }
}
