// The memory of qemu-io's requests: however long they are and however many wait, no more than a fixed amount.

import { BlockError } from "../../base/errors.ts";
import { IoVector } from "../../base/io-vector.ts";

/** Of a request whose data are one pattern, or looked at by nobody: the same bytes stand for all of it. */
const REPEATED_BYTES = 1 << 20;
/** The longest request whose data can be looked at, and the longest pattern. */
export const MAX_DATA_BYTES: number = 64 << 20;
/** Of all requests together. */
const MAX_TOTAL_BYTES = 256 << 20;

/** What a request reads into or writes from. */
export interface RequestData {
  readonly vector: IoVector;
  readonly bytes: Uint8Array;
}

export class RequestMemory {
  #used = 0;

  /** Bytes that requests hold now. */
  get used(): number {
    return this.#used;
  }

  /** A buffer for every byte of a request. Throws a `BlockError` ENOMEM where there is no more. */
  whole(lengthBytes: number): RequestData {
    const bytes = this.#take(lengthBytes);
    return { vector: IoVector.of(bytes), bytes };
  }

  /** For what nobody looks at: one buffer that all of the request's data go to, one part after another. */
  scratch(lengthBytes: number): RequestData {
    const bytes = this.#take(Math.min(lengthBytes, REPEATED_BYTES));
    return { vector: repeat(bytes, bytes.length, lengthBytes), bytes };
  }

  /** `pattern` again and again, until the request is full. */
  pattern(pattern: Uint8Array, lengthBytes: number): RequestData {
    const copies = Math.max(1, Math.floor(REPEATED_BYTES / pattern.length));
    const period = Math.min(copies * pattern.length, Math.max(lengthBytes, pattern.length));
    const bytes = this.#take(Math.min(period, lengthBytes));
    for (let at = 0; at < bytes.length; at += pattern.length)
      bytes.set(pattern.subarray(0, Math.min(pattern.length, bytes.length - at)), at);
    return { vector: repeat(bytes, bytes.length, lengthBytes), bytes };
  }

  /** The request has ended. */
  release({ bytes }: RequestData): void {
    this.#used -= bytes.length;
  }

  #take(lengthBytes: number): Uint8Array {
    if (lengthBytes > MAX_TOTAL_BYTES - this.#used) throw new BlockError("ENOMEM");
    this.#used += lengthBytes;
    return new Uint8Array(lengthBytes);
  }
}

function repeat(bytes: Uint8Array, periodBytes: number, lengthBytes: number): IoVector {
  const vector = new IoVector(bytes);
  for (let done = 0; done < lengthBytes; done += periodBytes) vector.push(0, Math.min(periodBytes, lengthBytes - done));
  return vector;
}
