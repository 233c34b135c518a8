// Reading a qcow2 image, through its tables and the backing file below.

import { BlockError } from "../../../base/errors.ts";
import { IoVector } from "../../../base/io-vector.ts";
import type { BlockStatus } from "../../driver.ts";
import type { BlockNode } from "../../node.ts";
import { type ClusterKind, COMPRESSED, INVALID, NORMAL, UNALLOCATED, ZERO } from "./cluster-mapping.ts";
import { decompressCluster } from "./compressed.ts";
import { roundDown } from "./format.ts";
import { hex, type Qcow2Image } from "./image.ts";
import { allOf, attempt } from "./request-parts.ts";
import type { CachedTable } from "./table-cache.ts";

/** Parts of one request that are read beside one another. */
const MAX_PARTS = 64;

/** Where all tables that it takes are in memory, and the file below answers at once, a read has ended when it returns. */
export class ClusterReader {
  readonly #image: Qcow2Image;
  readonly #backing: BlockNode | undefined;
  /** The answer of `#find`. */
  #kind: ClusterKind = UNALLOCATED;
  #host = 0;
  #length = 0;

  constructor(image: Qcow2Image, backing: BlockNode | undefined) {
    this.#image = image;
    this.#backing = backing;
  }

  read(offsetBytes: number, vector: IoVector): void | Promise<void> {
    if (this.#image.corrupt) throw new BlockError("EIO");
    if (!this.#image.file.quiet || !this.#find(offsetBytes, vector.byteLength))
      return this.#readLater(offsetBytes, vector);
    if (this.#length === vector.byteLength && this.#kind !== COMPRESSED) return this.#readRun(offsetBytes, vector);
    return this.#readLater(offsetBytes, vector);
  }

  /** What stands at an offset, as far as one table says. */
  blockStatus(offsetBytes: number, lengthBytes: number): BlockStatus | Promise<BlockStatus> {
    if (this.#find(offsetBytes, lengthBytes)) return this.#status();
    return this.#load(offsetBytes).then(() => this.blockStatus(offsetBytes, lengthBytes));
  }

  /** True if a range reads as zeroes, as far as tables tell and where the backing file ends. */
  async readsAsZeroes(offsetBytes: number, endBytes: number): Promise<boolean> {
    const backingEnd = this.#backing?.lengthBytes ?? 0;
    for (let at = offsetBytes; at < endBytes; at += this.#length) {
      while (!this.#find(at, endBytes - at)) await this.#load(at);
      if (this.#kind === ZERO || (this.#kind === UNALLOCATED && at >= backingEnd)) continue;
      return false;
    }
    return true;
  }

  /** As `readsAsZeroes`, as far as tables in memory tell. */
  readsAsZeroesNow(offsetBytes: number, endBytes: number): boolean {
    const backingEnd = this.#backing?.lengthBytes ?? 0;
    for (let at = offsetBytes; at < endBytes; at += this.#length) {
      if (!this.#find(at, endBytes - at)) return false;
      if (this.#kind !== ZERO && (this.#kind !== UNALLOCATED || at < backingEnd)) return false;
    }
    return true;
  }

  async isCompressed(offsetBytes: number): Promise<boolean> {
    while (!this.#find(offsetBytes, 1)) await this.#load(offsetBytes);
    return this.#kind === COMPRESSED;
  }

  #status(): BlockStatus {
    const kind = this.#kind;
    const allocated = kind !== UNALLOCATED;
    return { lengthBytes: this.#length, allocated, data: allocated && kind !== ZERO, zero: kind === ZERO };
  }

  async #readLater(offsetBytes: number, vector: IoVector): Promise<void> {
    const pending: Promise<void>[] = [];
    const total = vector.byteLength;
    for (let done = 0; done < total; ) {
      const at = offsetBytes + done;
      let found: boolean;
      try {
        found = this.#find(at, total - done);
        if (!found) await this.#load(at);
      } catch (error) {
        pending.push(Promise.reject(error));
        break;
      }
      if (!found) continue;
      const length = this.#length;
      const part = new IoVector(vector.bytes).slice(vector, done, length);
      const later = attempt(() => this.#readPart(at, part));
      if (later !== undefined) pending.push(later);
      if (pending.length >= MAX_PARTS) await allOf(pending.splice(0));
      done += length;
    }
    if (pending.length > 0) await allOf(pending);
  }

  #readPart(offsetBytes: number, vector: IoVector): void | Promise<void> {
    const { file } = this.#image;
    if (file.quiet) return this.#readRun(offsetBytes, vector);
    // The rules of a fault injector may make the request wait: what was found may be another's by then.
    const [kind, host] = [this.#kind, this.#host];
    const event = kind === NORMAL ? "read_aio" : kind === UNALLOCATED ? "read_backing_aio" : undefined;
    const hasEvent = kind === NORMAL || (kind === UNALLOCATED && offsetBytes < (this.#backing?.lengthBytes ?? 0));
    const waiting = event === undefined || !hasEvent ? undefined : file.event(event);
    if (waiting === undefined) return this.#readRun(offsetBytes, vector);
    const request = waiting.then(() => {
      [this.#kind, this.#host] = [kind, host];
      return this.#readRun(offsetBytes, vector);
    });
    return kind === NORMAL ? this.#image.allocator.pin(host, vector.byteLength, request) : request;
  }

  /** Reads what `#find` has found, all of `vector`. */
  #readRun(offsetBytes: number, vector: IoVector): void | Promise<void> {
    switch (this.#kind) {
      case ZERO:
        return vector.clearData();
      case UNALLOCATED:
        return this.#readBelow(offsetBytes, vector);
      case NORMAL: {
        const { file, allocator } = this.#image;
        const host = this.#host;
        const pending = file.read(host, vector);
        return pending === undefined ? undefined : allocator.pin(host, vector.byteLength, pending);
      }
      case COMPRESSED:
        return this.#readCompressed(offsetBytes, vector);
      case INVALID:
        throw this.#invalidEntry(offsetBytes);
    }
  }

  #invalidEntry(offsetBytes: number): BlockError {
    const { mapping, l2 } = this.#image;
    const table = l2.peek(this.#image.l2OffsetFor(offsetBytes));
    if (table === undefined)
      return this.#image.damaged(`Invalid cluster entry found (guest offset: ${hex(offsetBytes)})`);
    return this.#image.invalidEntry(table, mapping.indexOf(offsetBytes));
  }

  #readBelow(offsetBytes: number, vector: IoVector): void | Promise<void> {
    const backing = this.#backing;
    if (backing === undefined) return vector.clearData();
    const there = Math.max(0, Math.min(vector.byteLength, backing.lengthBytes - offsetBytes));
    if (there === vector.byteLength) return backing.read(offsetBytes, vector);
    new IoVector(vector.bytes).slice(vector, there, vector.byteLength - there).clearData();
    if (there > 0) return backing.read(offsetBytes, new IoVector(vector.bytes).slice(vector, 0, there));
  }

  async #readCompressed(offsetBytes: number, vector: IoVector): Promise<void> {
    const { file, layout, header, mapping, allocator } = this.#image;
    const table = this.#table(offsetBytes)!;
    const range = mapping.compressedRange(table, mapping.indexOf(offsetBytes));
    const there = Math.min(range.lengthBytes, file.lengthBytes - range.offsetBytes);
    if (there <= 0) throw new BlockError("EIO");
    const data = new Uint8Array(there);
    const reading = (async (): Promise<void> => {
      await file.event("read_compressed");
      await file.read(range.offsetBytes, IoVector.of(data));
    })();
    await allocator.pin(range.offsetBytes, there, reading);
    const cluster = await decompressCluster(data, layout.clusterBytes, header.compressionType);
    vector.copyFrom(cluster, offsetBytes - roundDown(offsetBytes, layout.clusterBytes));
  }

  /** False if the table that it takes is not in memory. */
  #find(offsetBytes: number, maxBytes: number): boolean {
    const image = this.#image;
    const { mapping, layout } = image;
    const l2Offset = image.l2OffsetFor(offsetBytes);
    if (l2Offset === 0) {
      this.#kind = UNALLOCATED;
      this.#length = Math.min(maxBytes, layout.l2Reach - (offsetBytes % layout.l2Reach));
    } else {
      const table = image.l2.peek(l2Offset);
      if (table === undefined) return false;
      mapping.find(table, offsetBytes, maxBytes);
      this.#kind = mapping.kind;
      this.#host = mapping.hostOffset;
      this.#length = mapping.lengthBytes;
    }
    // A run that the end of the backing file cuts reads from two places.
    const end = this.#backing?.lengthBytes ?? 0;
    if (this.#kind === UNALLOCATED && offsetBytes < end && end - offsetBytes < this.#length)
      this.#length = end - offsetBytes;
    return true;
  }

  #table(offsetBytes: number): CachedTable | undefined {
    return this.#image.l2.peek(this.#image.l2OffsetFor(offsetBytes));
  }

  async #load(offsetBytes: number): Promise<void> {
    const l2Offset = this.#image.l2OffsetFor(offsetBytes);
    if (l2Offset !== 0) await this.#image.l2.load(l2Offset);
  }
}
