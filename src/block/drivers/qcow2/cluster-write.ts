// Writing to a qcow2 image: in place, or into new clusters with what surrounds the data copied.

import { BlockError } from "../../../base/errors.ts";
import { IoVector } from "../../../base/io-vector.ts";
import type { FreeReason, HostRun } from "./allocator.ts";
import { NORMAL } from "./cluster-mapping.ts";
import type { ClusterReader } from "./cluster-read.ts";
import { compressCluster, writesCompressed } from "./compressed.ts";
import { roundDown } from "./format.ts";
import type { Qcow2Image } from "./image.ts";
import { type Placement, planPlacement } from "./placement.ts";
import { attempt } from "./request-parts.ts";
import type { CachedTable } from "./table-cache.ts";

const NOT_NOW: unique symbol = Symbol("not now");

/**
 * Data that may be overwritten in place are, at once and beside anything else. Whatever changes where a cluster is holds the lock of that
 * cluster from before it looks until the table is changed: the data are in the file before the table says where.
 *
 * What is done within the call needs no lock while nobody has it, and no promise.
 */
export class ClusterWriter {
  readonly #image: Qcow2Image;
  readonly #reader: ClusterReader;
  /** Bytes of the disk, as of now. */
  readonly #diskBytes: () => number;

  constructor(image: Qcow2Image, reader: ClusterReader, diskBytes: () => number) {
    this.#image = image;
    this.#reader = reader;
    this.#diskBytes = diskBytes;
  }

  write(offsetBytes: number, vector: IoVector): void | Promise<void> {
    const outcome = this.#writeNow(offsetBytes, vector);
    if (outcome !== NOT_NOW) return outcome;
    return this.#image.mutex.busy ? this.#writeInTurn(offsetBytes, vector) : this.#writeLater(offsetBytes, vector);
  }

  /** Who takes the mutex makes others take it who come meanwhile, and so on as long as there are any: so it is tried once more without. */
  async #writeInTurn(offsetBytes: number, vector: IoVector): Promise<void> {
    await this.#image.mutex.turn();
    const outcome = this.#writeNow(offsetBytes, vector);
    return outcome === NOT_NOW ? this.#writeLater(offsetBytes, vector) : outcome;
  }

  #writeLater(offsetBytes: number, vector: IoVector): Promise<void> {
    return this.#lock(offsetBytes, vector.byteLength, () => this.writeLocked(offsetBytes, vector));
  }

  /** Begins the request where nobody has to be waited for. */
  #writeNow(offsetBytes: number, vector: IoVector): void | Promise<void> | typeof NOT_NOW {
    const { corrupt, file, mapping } = this.#image;
    if (corrupt) throw new BlockError("EIO");
    const table = file.quiet ? this.#ownTable(offsetBytes) : undefined;
    if (table === undefined) return NOT_NOW;
    const length = vector.byteLength;
    mapping.find(table, offsetBytes, length);
    if (mapping.kind === NORMAL && mapping.writable && mapping.lengthBytes === length)
      return this.#overwrite(mapping.hostOffset, vector);
    const placement = this.#placeNow(table, offsetBytes, length);
    return placement === undefined ? NOT_NOW : this.#writeNew(table, offsetBytes, vector, placement);
  }

  /** As `write`, for who has the locks of all clusters that it touches. */
  async writeLocked(offsetBytes: number, vector: IoVector): Promise<void> {
    const total = vector.byteLength;
    const part = new IoVector(vector.bytes);
    for (let done = 0; done < total; ) {
      part.slice(vector, done, total - done);
      done += await this.#writeSome(offsetBytes + done, part);
    }
  }

  /**
   * Whole clusters, and the last one's part, in compressed form if that is smaller; anything else as it is, and so is all of it in an
   * image whose compressed form nothing here writes.
   */
  async writeCompressed(offsetBytes: number, vector: IoVector): Promise<void> {
    const { clusterBytes } = this.#image.layout;
    if (!writesCompressed(this.#image.header.compressionType)) return this.write(offsetBytes, vector);
    const total = vector.byteLength;
    const part = new IoVector(vector.bytes);
    for (let done = 0; done < total; done += part.byteLength) {
      const at = offsetBytes + done;
      const length = Math.min(total - done, roundDown(at, clusterBytes) + clusterBytes - at);
      part.slice(vector, done, length);
      const whole = at % clusterBytes === 0 && (length === clusterBytes || at + length === this.#diskBytes());
      await (whole ? this.#compressCluster(at, part) : this.write(at, part));
    }
  }

  #compressCluster(offsetBytes: number, vector: IoVector): Promise<void> {
    const { clusterBytes } = this.#image.layout;
    return this.#lock(offsetBytes, clusterBytes, async () => {
      const cluster = new Uint8Array(clusterBytes);
      vector.copyTo(cluster, 0);
      const data = await compressCluster(cluster);
      if (vector.abandoned) throw new BlockError("ECANCELED");
      if (data === undefined) return this.writeLocked(offsetBytes, vector);
      await this.#placeCompressed(offsetBytes, data);
    });
  }

  #lock(offsetBytes: number, lengthBytes: number, task: () => Promise<void>): Promise<void> {
    const { clusterBytes } = this.#image.layout;
    const last = Math.floor((offsetBytes + lengthBytes - 1) / clusterBytes);
    return this.#image.locks.run(Math.floor(offsetBytes / clusterBytes), last, task);
  }

  /** The table of an offset if it is in memory and the active image's own. */
  #ownTable(offsetBytes: number): CachedTable | undefined {
    const image = this.#image;
    const l2Offset = image.l2OffsetFor(offsetBytes);
    if (l2Offset === 0 || !image.l1.copied(image.l1Index(offsetBytes))) return undefined;
    return image.l2.peek(l2Offset);
  }

  /** As much of `vector` as can be done in one step. Returns how much that was; the vector then holds that alone. */
  async #writeSome(offsetBytes: number, vector: IoVector): Promise<number> {
    const image = this.#image;
    const l2Offset = image.l2OffsetFor(offsetBytes);
    if (l2Offset !== 0 && image.l1.copied(image.l1Index(offsetBytes))) {
      const table = await image.l2.load(l2Offset);
      image.mapping.find(table, offsetBytes, vector.byteLength);
      const { kind, writable, lengthBytes, hostOffset } = image.mapping;
      if (kind === NORMAL && writable) {
        vector.dropBack(vector.byteLength - lengthBytes);
        await this.#afterEvent("write_aio", hostOffset, lengthBytes, () => this.#overwrite(hostOffset, vector));
        return lengthBytes;
      }
    }
    const placement = await image.mutex.run(() => this.#place(offsetBytes, vector.byteLength));
    const { clusterBytes } = image.layout;
    const start = roundDown(offsetBytes, clusterBytes);
    const end = Math.min(offsetBytes + vector.byteLength, start + placement.clusters * clusterBytes);
    vector.dropBack(vector.byteLength - (end - offsetBytes));
    await this.#linkAfter(this.#fill(offsetBytes, end, vector, placement), start, placement);
    return end - offsetBytes;
  }

  async #afterEvent(event: string, host: number, length: number, request: () => void | Promise<void>): Promise<void> {
    const run = async (): Promise<void> => {
      await this.#image.file.event(event);
      await request();
    };
    await this.#image.allocator.pin(host, length, run());
  }

  #overwrite(host: number, vector: IoVector): void | Promise<void> {
    const image = this.#image;
    image.checkFree(host, vector.byteLength);
    const pending = image.file.write(host, vector);
    if (pending !== undefined) return image.allocator.pin(host, vector.byteLength, pending);
  }

  /** Finds room for the clusters of a write, up to the first that has its place. Within the mutex. */
  async #place(offsetBytes: number, lengthBytes: number): Promise<Placement> {
    const image = this.#image;
    const { clusterBytes } = image.layout;
    await image.beginChange();
    const table = await image.l2ForChange(offsetBytes);
    const plan = planPlacement(image, table, offsetBytes, lengthBytes);
    if (plan.reuse) {
      const host = alignedHost(image, table, image.mapping.indexOf(offsetBytes));
      image.checkFree(host, clusterBytes);
      return { ...plan, offsetBytes: host, fresh: false };
    }
    const run = await image.allocator.allocate(plan.clusters);
    try {
      await image.file.reach(run.offsetBytes + run.clusters * clusterBytes);
    } catch (error) {
      await this.#giveBack(run);
      throw error;
    }
    return { ...plan, ...run };
  }

  /** New clusters for all of a write that needs nothing but them, its data and zeroes; undefined where somebody has to be waited for. */
  #placeNow(table: CachedTable, offsetBytes: number, lengthBytes: number): Placement | undefined {
    const image = this.#image;
    const { clusterBytes } = image.layout;
    if (image.mutex.busy || image.crowded || !image.changing) return undefined;
    const end = offsetBytes + lengthBytes;
    const first = Math.floor(offsetBytes / clusterBytes);
    const last = Math.floor((end - 1) / clusterBytes);
    if (image.locks.isHeld(first, last)) return undefined;
    const plan = planPlacement(image, table, offsetBytes, lengthBytes);
    if (plan.reuse || plan.clusters !== last - first + 1) return undefined;
    const { clusters, reuse, fillFrom, fillTo, firstBits, lastBits } = plan;
    const reader = this.#reader;
    if (!reader.readsAsZeroesNow(fillFrom, offsetBytes)) return undefined;
    if (!reader.readsAsZeroesNow(end, Math.min(fillTo, this.#diskBytes()))) return undefined;
    const run = image.allocator.allocateNow(clusters);
    if (run === undefined) return undefined;
    const { offsetBytes: host, fresh } = run;
    return { clusters, reuse, fillFrom, fillTo, firstBits, lastBits, offsetBytes: host, fresh };
  }

  /** Writes to what `#placeNow` found, in the same turn. */
  #writeNew(table: CachedTable, offsetBytes: number, vector: IoVector, placement: Placement): void | Promise<void> {
    const image = this.#image;
    const start = roundDown(offsetBytes, image.layout.clusterBytes);
    const end = offsetBytes + vector.byteLength;
    const dataAlone = placement.fresh || (placement.fillFrom === offsetBytes && placement.fillTo === end);
    const pending = attempt(() =>
      dataAlone
        ? image.file.write(placement.offsetBytes + (offsetBytes - start), vector)
        : this.#fill(offsetBytes, end, vector, placement),
    );
    if (pending !== undefined)
      return this.#lock(offsetBytes, vector.byteLength, () => this.#linkAfter(pending, start, placement));
    this.#link(table, start, placement);
    if (image.crowded) return image.mutex.run(() => image.settleIfCrowded());
  }

  /** Writes the data, and what is to stand before and behind them in their clusters. */
  async #fill(offsetBytes: number, end: number, vector: IoVector, placement: Placement): Promise<void> {
    const { file, layout } = this.#image;
    const start = roundDown(offsetBytes, layout.clusterBytes);
    const host = (guest: number): number => placement.offsetBytes + (guest - start);
    const { fresh, fillFrom, fillTo } = placement;
    await this.#copy(fillFrom, offsetBytes, host(fillFrom), fresh);
    await this.#copy(end, fillTo, host(end), fresh);
    await file.event("write_aio");
    if (vector.abandoned) throw new BlockError("ECANCELED");
    await file.write(host(offsetBytes), vector);
  }

  /** Copies a range of the disk as it reads now to where it will be. */
  async #copy(from: number, to: number, host: number, fresh: boolean): Promise<void> {
    if (from >= to) return;
    const { file } = this.#image;
    const end = Math.max(from, Math.min(to, this.#diskBytes()));
    if (await this.#reader.readsAsZeroes(from, end)) {
      if (fresh) return;
      await file.event("cluster_alloc_space");
      await file.writeZeroes(host, to - from);
      return;
    }
    const bytes = new Uint8Array(to - from);
    await file.event("cow_read");
    await this.#reader.read(from, IoVector.of(bytes, 0, end - from));
    await file.event("cow_write");
    await file.writeBytes(host, bytes);
  }

  /** The table says where the data are when they are there; if that fails, nobody has the new clusters. */
  async #linkAfter(filling: Promise<void>, start: number, placement: Placement): Promise<void> {
    const image = this.#image;
    try {
      await filling;
    } catch (error) {
      if (!placement.reuse) await image.mutex.run(() => this.#giveBack(placement));
      throw error;
    }
    await image.mutex.run(async () => {
      this.#link(await image.l2ForChange(start), start, placement);
      await image.settleIfCrowded();
    });
  }

  #giveBack({ offsetBytes, clusters }: HostRun): Promise<void> {
    return this.#image.allocator.release(offsetBytes, clusters * this.#image.layout.clusterBytes);
  }

  /** The table says where the data are from now on. Within the mutex, or the turn in which nobody has it. */
  #link(table: CachedTable, start: number, placement: Placement): void {
    const image = this.#image;
    const { mapping } = image;
    const { clusterBytes, extended } = image.layout;
    const index = mapping.indexOf(start);
    for (let i = 0; i < placement.clusters; i++) {
      if (!placement.reuse) freeOld(image, table, index + i);
      const last = i === placement.clusters - 1;
      const bits = i === 0 ? placement.firstBits : last ? placement.lastBits : undefined;
      mapping.setHost(table, index + i, placement.offsetBytes + i * clusterBytes, extended ? bits : undefined);
    }
  }

  async #placeCompressed(offsetBytes: number, data: Uint8Array): Promise<void> {
    const image = this.#image;
    const { clusterBytes } = image.layout;
    const host = await image.mutex.run(async () => {
      await image.beginChange();
      const at = await image.allocator.allocateBytes(data.length);
      await image.file.reach(roundDown(at, clusterBytes) + clusterBytes);
      return at;
    });
    try {
      await image.file.event("write_compressed");
      await image.file.writeBytes(host, data);
    } catch (error) {
      await image.mutex.run(() => image.allocator.release(host, data.length));
      throw error;
    }
    await image.mutex.run(async () => {
      const table = await image.l2ForChange(offsetBytes);
      const index = image.mapping.indexOf(offsetBytes);
      freeOld(image, table, index);
      image.mapping.setCompressed(table, index, host, data.length);
      await image.file.event("l2_update_compressed");
      await image.settleIfCrowded();
    });
  }
}

/** What an entry points to loses that use. */
export function freeOld(image: Qcow2Image, table: CachedTable, index: number, reason: FreeReason = "other"): void {
  const { mapping, layout } = image;
  if (mapping.isCompressed(table, index)) {
    const { offsetBytes, lengthBytes } = mapping.compressedRange(table, index);
    image.freeLater(offsetBytes, lengthBytes, reason);
    return;
  }
  const host = alignedHost(image, table, index);
  if (host !== 0) image.freeLater(host, layout.clusterBytes, reason);
}

/** The cluster that an entry has; 0 for none. Throws where that can be no cluster. */
function alignedHost(image: Qcow2Image, table: CachedTable, index: number): number {
  const host = image.mapping.hostCluster(table, index);
  if (host % image.layout.clusterBytes !== 0) throw image.invalidEntry(table, index);
  return host;
}
