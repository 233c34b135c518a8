// A raw image that was taken for raw because it looks like nothing else: nobody may make it look like something else.

import { BlockError } from "../../base/errors.ts";
import { IoVector } from "../../base/io-vector.ts";
import type { WriteZeroesOptions } from "../driver.ts";
import { KNOWN_FORMAT_BYTES, knownFormat } from "../known-formats.ts";
import { RawDriver } from "./raw.ts";

/**
 * A guest that could write the header of another format would have it opened as that next time, with whatever file it names as its
 * backing file. So a write fails with EPERM that leaves such a header in the first 512 bytes.
 */
export class ProbedRawDriver extends RawDriver {
  override write(offsetBytes: number, vector: IoVector): void | Promise<void> {
    if (offsetBytes >= KNOWN_FORMAT_BYTES) return super.write(offsetBytes, vector);
    return this.#writeHead(offsetBytes, vector);
  }

  override writeZeroes(offsetBytes: number, lengthBytes: number, options: WriteZeroesOptions): void | Promise<void> {
    const whole = offsetBytes === 0 && lengthBytes >= KNOWN_FORMAT_BYTES;
    if (offsetBytes >= KNOWN_FORMAT_BYTES || whole) return super.writeZeroes(offsetBytes, lengthBytes, options);
    return this.#zeroHead(offsetBytes, lengthBytes, options);
  }

  /** Of a copy: what the guest changes meanwhile changes nothing that was checked. */
  async #writeHead(offsetBytes: number, vector: IoVector): Promise<void> {
    const length = Math.min(KNOWN_FORMAT_BYTES - offsetBytes, vector.byteLength);
    const head = await this.#headAround(offsetBytes, length);
    if (vector.abandoned) throw new BlockError("ECANCELED");
    new IoVector(vector.bytes).slice(vector, 0, length).copyTo(head, offsetBytes);
    refuse(head);
    await super.write(offsetBytes, IoVector.of(head, offsetBytes, length));
    const rest = vector.byteLength - length;
    if (rest === 0) return;
    if (vector.abandoned) throw new BlockError("ECANCELED");
    await super.write(offsetBytes + length, new IoVector(vector.bytes).slice(vector, length, rest));
  }

  async #zeroHead(offsetBytes: number, lengthBytes: number, options: WriteZeroesOptions): Promise<void> {
    const length = Math.min(KNOWN_FORMAT_BYTES - offsetBytes, lengthBytes);
    refuse((await this.#headAround(offsetBytes, length)).fill(0, offsetBytes, offsetBytes + length));
    await super.writeZeroes(offsetBytes, lengthBytes, options);
  }

  /** What stands in the first bytes; anything where all of them are about to be written. */
  async #headAround(offsetBytes: number, lengthBytes: number): Promise<Uint8Array> {
    const head = new Uint8Array(KNOWN_FORMAT_BYTES);
    const there = Math.min(KNOWN_FORMAT_BYTES, this.lengthBytes);
    if (offsetBytes > 0 || lengthBytes < there) await super.read(0, IoVector.of(head, 0, there));
    return head;
  }
}

function refuse(head: Uint8Array): void {
  if (knownFormat(head) !== undefined) throw new BlockError("EPERM");
}
