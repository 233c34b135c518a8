// blkdebug: a filter that fails and stops requests as its rules say. docs/reference/corrections.md E, monitor.md §5.1.

import { BlockError } from "../../base/errors.ts";
import { IoVector } from "../../base/io-vector.ts";
import { blockStatusThrough } from "../block-status.ts";
import type { DebugPoints } from "../debug-points.ts";
import type { BlockDriver, BlockStatus, ChildRole, DriverChild, WriteZeroesOptions } from "../driver.ts";
import type { BlockNode } from "../node.ts";
import type { Permissions } from "../permissions.ts";
import { Breakpoints } from "./blkdebug-breakpoints.ts";
import { type BlkdebugLimits, type Piece, pieces } from "./blkdebug-limits.ts";
import { type BlkdebugIoType, BlkdebugRules, type InjectErrorOptions, type SetStateOptions } from "./blkdebug-rules.ts";

/** As QMP's BlkdebugEvent. The drivers here come to a few of them; all may be named. */
export const BLKDEBUG_EVENTS: readonly string[] = [
  "l1_update",
  "l1_grow_alloc_table",
  "l1_grow_write_table",
  "l1_grow_activate_table",
  "l2_load",
  "l2_update",
  "l2_update_compressed",
  "l2_alloc_cow_read",
  "l2_alloc_write",
  "read_aio",
  "read_backing_aio",
  "read_compressed",
  "write_aio",
  "write_compressed",
  "vmstate_load",
  "vmstate_save",
  "cow_read",
  "cow_write",
  "reftable_load",
  "reftable_grow",
  "reftable_update",
  "refblock_load",
  "refblock_update",
  "refblock_update_part",
  "refblock_alloc",
  "refblock_alloc_hookup",
  "refblock_alloc_write",
  "refblock_alloc_write_blocks",
  "refblock_alloc_write_table",
  "refblock_alloc_switch_table",
  "cluster_alloc",
  "cluster_alloc_bytes",
  "cluster_free",
  "flush_to_os",
  "flush_to_disk",
  "pwritev_rmw_head",
  "pwritev_rmw_after_head",
  "pwritev_rmw_tail",
  "pwritev_rmw_after_tail",
  "pwritev",
  "pwritev_zero",
  "pwritev_done",
  "empty_image_prepare",
  "l1_shrink_write_table",
  "l1_shrink_free_l2_clusters",
  "cor_write",
  "cluster_alloc_space",
  "none",
];

export interface BlkdebugOptions {
  readonly image: BlockNode;
  readonly injectErrors?: readonly InjectErrorOptions[];
  readonly setStates?: readonly SetStateOptions[];
  /** Permissions that the filter needs of its image, and does not share, whatever its users do. */
  readonly takes?: number;
  readonly unshares?: number;
  /** What the image is said to take at once; anything by default. */
  readonly limits?: BlkdebugLimits | undefined;
  /** Tells of requests that breakpoints stop, and that go on. */
  readonly print?: ((text: string) => void) | undefined;
}

/**
 * The filter. A request fails as a whole, and nothing of it reaches the image. Writes and write-zeroes come to the events
 * `pwritev`, `pwritev_zero` and `pwritev_done` here; all others are told by the driver above: raw tells `read_aio`, `write_aio`,
 * `flush_to_os` and `flush_to_disk`. The request that makes an event happen is the first that the rules of the event may fail.
 */
export class BlkdebugDriver implements BlockDriver {
  readonly driverName: string = "blkdebug";
  readonly readOnly: boolean = false;
  readonly children: readonly DriverChild[];
  readonly #image: BlockNode;
  readonly #rules: BlkdebugRules;
  readonly #breakpoints: Breakpoints;
  readonly #takes: number;
  readonly #unshares: number;
  readonly #limits: BlkdebugLimits | undefined;

  constructor(options: BlkdebugOptions) {
    const { image, injectErrors = [], setStates = [], takes = 0, unshares = 0, limits, print } = options;
    this.#breakpoints = new Breakpoints(BLKDEBUG_EVENTS, print);
    this.#limits = limits;
    this.#image = image;
    this.#rules = new BlkdebugRules(injectErrors, setStates);
    this.#takes = takes;
    this.#unshares = unshares;
    this.children = [{ role: "image", node: image }];
  }

  get lengthBytes(): number {
    return this.#image.lengthBytes;
  }

  get clusterSizeBytes(): number | undefined {
    return this.#image.driver.clusterSizeBytes;
  }

  get debugPoints(): DebugPoints {
    return this.#breakpoints;
  }

  debugEvent(event: string): void | Promise<void> {
    this.#rules.happen(event);
    return this.#breakpoints.stopAt(event);
  }

  read(offsetBytes: number, vector: IoVector): void | Promise<void> {
    if (this.#limits !== undefined) return this.#readPieces(this.#limits, offsetBytes, vector);
    const failing = this.#fail("read", offsetBytes, vector.byteLength);
    return failing ?? this.#image.read(offsetBytes, vector);
  }

  write(offsetBytes: number, vector: IoVector): void | Promise<void> {
    const limits = this.#limits;
    if (limits !== undefined) return this.#writePieces(limits, offsetBytes, vector);
    return this.#writing("pwritev", () => {
      if (vector.abandoned) throw new BlockError("ECANCELED");
      const failing = this.#fail("write", offsetBytes, vector.byteLength);
      return failing ?? this.#image.write(offsetBytes, vector);
    });
  }

  writeZeroes(offsetBytes: number, lengthBytes: number, options: WriteZeroesOptions): void | Promise<void> {
    const limits = this.#limits;
    return this.#writing("pwritev_zero", () => {
      if (limits !== undefined) return this.#zeroPieces(limits, offsetBytes, lengthBytes, options);
      const failing = this.#fail("write-zeroes", offsetBytes, lengthBytes);
      return failing ?? this.#image.writeZeroes(offsetBytes, lengthBytes, options);
    });
  }

  discard(offsetBytes: number, lengthBytes: number): void | Promise<void> {
    if (this.#limits !== undefined) return this.#discardPieces(this.#limits, offsetBytes, lengthBytes);
    const failing = this.#fail("discard", offsetBytes, lengthBytes);
    return failing ?? this.#image.discard(offsetBytes, lengthBytes);
  }

  flush(): void | Promise<void> {
    const failing = this.#fail("flush", 0, 0);
    return failing ?? this.#image.flush();
  }

  blockStatus(offsetBytes: number, lengthBytes: number): BlockStatus | Promise<BlockStatus> {
    const failing = this.#fail("block-status", offsetBytes, lengthBytes);
    return failing ?? blockStatusThrough(this.#image, offsetBytes, lengthBytes);
  }

  resize(lengthBytes: number): Promise<void> {
    return this.#image.resize(lengthBytes);
  }

  extend(lengthBytes: number): void | Promise<void> {
    return this.#image.extend(lengthBytes);
  }

  async close(): Promise<void> {}

  childPermissions(_role: ChildRole, asked: Permissions): Permissions {
    return { needs: asked.needs | this.#takes, shares: asked.shares & ~this.#unshares };
  }

  beginDrain(): void {
    this.#breakpoints.beginDrain();
  }

  endDrain(): void {
    this.#breakpoints.endDrain();
  }

  /** As one request of whole blocks, cut where it is too long: rules see these, and the image what was asked for. */
  async #readPieces({ alignBytes, maxTransferBytes }: BlkdebugLimits, offset: number, vector: IoVector): Promise<void> {
    const part = new IoVector(vector.bytes);
    const end = offset + vector.byteLength;
    for (const { offsetBytes: at, lengthBytes } of blocks(offset, vector.byteLength, alignBytes, maxTransferBytes)) {
      await this.#fail("read", at, lengthBytes);
      const from = Math.max(at, offset);
      part.slice(vector, from - offset, Math.min(at + lengthBytes, end) - from);
      await this.#image.read(from, part);
    }
  }

  /** Blocks that are written in part are read first, as far as rules can tell. */
  async #writePieces(limits: BlkdebugLimits, offset: number, vector: IoVector): Promise<void> {
    const { alignBytes, maxTransferBytes } = limits;
    const end = offset + vector.byteLength;
    const last = end - (end % alignBytes);
    if (offset % alignBytes !== 0) await this.#readFirst("head", offset - (offset % alignBytes), alignBytes);
    const one = last < offset && offset % alignBytes !== 0;
    if (last !== end && !one) await this.#readFirst("tail", last, alignBytes);
    await this.#writing("pwritev", async () => {
      const part = new IoVector(vector.bytes);
      for (const { offsetBytes: at, lengthBytes } of blocks(offset, vector.byteLength, alignBytes, maxTransferBytes)) {
        if (vector.abandoned) throw new BlockError("ECANCELED");
        await this.#fail("write", at, lengthBytes);
        const from = Math.max(at, offset);
        part.slice(vector, from - offset, Math.min(at + lengthBytes, end) - from);
        await this.#image.write(from, part);
      }
    });
  }

  async #readFirst(end: "head" | "tail", offsetBytes: number, lengthBytes: number): Promise<void> {
    await this.debugEvent(`pwritev_rmw_${end}`);
    await this.#fail("read", offsetBytes, lengthBytes);
    await this.debugEvent(`pwritev_rmw_after_${end}`);
  }

  /** What fills no unit is written as zeroes like any other data. */
  async #zeroPieces(
    { zeroUnitBytes, maxZeroBytes }: BlkdebugLimits,
    offset: number,
    length: number,
    options: WriteZeroesOptions,
  ): Promise<void> {
    for (const { offsetBytes: at, lengthBytes, whole } of pieces(offset, length, zeroUnitBytes, maxZeroBytes)) {
      await this.#fail(whole ? "write-zeroes" : "write", at, lengthBytes);
      await this.#image.writeZeroes(at, lengthBytes, whole ? options : {});
    }
  }

  /** What fills no unit is left as it is. */
  async #discardPieces(
    { discardUnitBytes, maxDiscardBytes }: BlkdebugLimits,
    offset: number,
    length: number,
  ): Promise<void> {
    for (const { offsetBytes: at, lengthBytes, whole } of pieces(offset, length, discardUnitBytes, maxDiscardBytes)) {
      if (!whole) continue;
      await this.#fail("discard", at, lengthBytes);
      await this.#image.discard(at, lengthBytes);
    }
  }

  /** Throws or rejects where a rule says so. */
  #fail(kind: BlkdebugIoType, offsetBytes: number, lengthBytes: number): undefined | Promise<never> {
    const injection = this.#rules.injectionFor(kind, offsetBytes, lengthBytes);
    if (injection === undefined) return undefined;
    const error = new BlockError(injection.errno);
    if (injection.immediately) throw error;
    return Promise.reject(error);
  }

  /** A request that writes, between two events. */
  #writing(event: string, request: () => void | Promise<void>): void | Promise<void> {
    const stopped = this.debugEvent(event);
    if (stopped !== undefined) return this.#writingLater(stopped.then(request));
    let pending: void | Promise<void>;
    try {
      pending = request();
    } catch (error) {
      this.#rules.happen("pwritev_done");
      throw error;
    }
    return pending === undefined ? this.debugEvent("pwritev_done") : this.#writingLater(pending);
  }

  async #writingLater(pending: Promise<void>): Promise<void> {
    try {
      await pending;
    } finally {
      await this.debugEvent("pwritev_done");
    }
  }
}

/** The blocks that a request touches, at most `max` bytes at a time. */
function blocks(offset: number, length: number, align: number, max: number): Generator<Piece> {
  const start = offset - (offset % align);
  const end = Math.ceil((offset + length) / align) * align;
  return pieces(start, end - start, align, max);
}
