// The dirty bitmaps of one node: docs/reference/bitmaps.md §2.2, §2.3 and §3.1 to §3.3.

import { assert } from "../base/assert.ts";
import { QmpError } from "../base/errors.ts";
import { checkBitmapName, checkGranularity, defaultGranularity, isBitmapNameTooLong } from "./bitmap-arguments.ts";
import { BITMAP_ALLOW_RO, BITMAP_BUSY, BITMAP_DEFAULT, BITMAP_RO, checkDirtyBitmap } from "./bitmap-check.ts";
import { DirtyBitmap } from "./dirty-bitmap.ts";
import { fitsBitmap } from "./hierarchical-bitmap.ts";

/** What `block-dirty-bitmap-add` takes, but for the node. */
export interface AddBitmapOptions {
  readonly name: string;
  /** A power of two from 512 to 2^31; by default what `defaultGranularity` says for `clusterSizeBytes`. */
  readonly granularityBytes?: number | undefined;
  /** The node's cluster size, undefined if it has none. */
  readonly clusterSizeBytes?: number | undefined;
  /** True for a bitmap that does not record yet. */
  readonly disabled?: boolean | undefined;
}

/**
 * All bitmaps of a node, anonymous ones included, newest first: a new one goes to the head, and every listing has this
 * order.
 *
 * Commands on one bitmap, given by its name (`add`, `remove`, `clear`, `enable`, `disable`), check what users may get wrong
 * and throw `QmpError` with QEMU's texts; one that throws has changed nothing. What the node calls for all bitmaps
 * (`setDirty`, `truncate`) skips those that it does not concern.
 */
export class DirtyBitmapList {
  readonly #bitmaps: DirtyBitmap[] = [];
  #sizeBytes: number;

  /** For a node of `sizeBytes` bytes. */
  constructor(sizeBytes: number) {
    this.#sizeBytes = sizeBytes;
  }

  get count(): number {
    return this.#bitmaps.length;
  }

  /** Then the node takes no writes: what they change could not be recorded. */
  get anyReadonly(): boolean {
    const bitmaps = this.#bitmaps;
    for (let i = 0; i < bitmaps.length; i++) if (bitmaps[i]!.readonly) return true;
    return false;
  }

  /** Newest first. */
  [Symbol.iterator](): IterableIterator<DirtyBitmap> {
    return this.#bitmaps.values();
  }

  /** The bitmap of that name, which is compared as it is. */
  find(name: string): DirtyBitmap | undefined {
    return this.#bitmaps.find((bitmap) => bitmap.name === name);
  }

  /** The bitmap of that name, or `QmpError`. */
  get(name: string): DirtyBitmap {
    const bitmap = this.find(name);
    if (bitmap === undefined) throw new QmpError(`Dirty bitmap '${name}' not found`);
    return bitmap;
  }

  /** `block-dirty-bitmap-add` (§3.1), once the node is found. */
  add(options: AddBitmapOptions): DirtyBitmap {
    const { name, granularityBytes, clusterSizeBytes, disabled } = options;
    checkBitmapName(name);
    if (granularityBytes !== undefined) checkGranularity(granularityBytes);
    return this.create({ name, granularityBytes: granularityBytes ?? defaultGranularity(clusterSizeBytes), disabled });
  }

  /** Makes a bitmap as long as the node and puts it at the head: what `add`, jobs and loaders share (§2.2). */
  create(options: {
    name?: string | undefined;
    granularityBytes: number;
    disabled?: boolean | undefined;
  }): DirtyBitmap {
    const { name, granularityBytes, disabled } = options;
    if (name !== undefined) {
      if (this.find(name) !== undefined) throw new QmpError(`Bitmap already exists: ${name}`);
      if (isBitmapNameTooLong(name)) throw new QmpError(`Bitmap name too long: ${name}`);
    }
    checkBitmapFits(this.#sizeBytes, granularityBytes);
    const bitmap = new DirtyBitmap({ name, granularityBytes, sizeBytes: this.#sizeBytes, disabled });
    this.#bitmaps.unshift(bitmap);
    return bitmap;
  }

  /** `block-dirty-bitmap-remove` (§3.2). An inconsistent bitmap may be removed. */
  remove(name: string): void {
    const bitmap = this.get(name);
    checkDirtyBitmap(bitmap, BITMAP_BUSY | BITMAP_RO);
    this.release(bitmap);
  }

  /** `block-dirty-bitmap-clear` (§3.3). */
  clear(name: string): void {
    const bitmap = this.get(name);
    checkDirtyBitmap(bitmap, BITMAP_DEFAULT);
    bitmap.clear();
  }

  /** `block-dirty-bitmap-enable` (§3.3). */
  enable(name: string): void {
    const bitmap = this.get(name);
    checkDirtyBitmap(bitmap, BITMAP_ALLOW_RO);
    bitmap.enable();
  }

  /** `block-dirty-bitmap-disable` (§3.3). */
  disable(name: string): void {
    const bitmap = this.get(name);
    checkDirtyBitmap(bitmap, BITMAP_ALLOW_RO);
    bitmap.disable();
  }

  /**
   * Freezes a bitmap: from now on an anonymous successor records in its place, until `abdicate` or `reclaim` (§2.4). A `QmpError`
   * for one that is busy or has a successor already, and nothing has changed.
   */
  createSuccessor(bitmap: DirtyBitmap): DirtyBitmap {
    checkDirtyBitmap(bitmap, BITMAP_BUSY);
    if (bitmap.successor !== undefined) {
      throw new QmpError("Cannot create a successor for a bitmap that already has one");
    }
    const successor = this.create({ granularityBytes: bitmap.granularityBytes, disabled: !bitmap.enabled });
    bitmap.freeze(successor);
    return successor;
  }

  /** The successor, which is returned, becomes the bitmap of that name; the frozen one and its bits are gone. */
  abdicate(bitmap: DirtyBitmap): DirtyBitmap {
    const successor = bitmap.handOver();
    this.release(bitmap);
    return successor;
  }

  /** The frozen bitmap, which is returned, takes its successor's bits in and records again if it did. */
  reclaim(bitmap: DirtyBitmap): DirtyBitmap {
    this.release(bitmap.takeBack());
    return bitmap;
  }

  /** Takes a bitmap, which nobody uses, off the list. */
  release(bitmap: DirtyBitmap): void {
    assert(!bitmap.busy && bitmap.successor === undefined, "busy bitmap released");
    const index = this.#bitmaps.indexOf(bitmap);
    assert(index >= 0, "bitmap released that is not of this node");
    this.#bitmaps.splice(index, 1);
  }

  /**
   * The node's driver wrote, zeroed or discarded a range, or tried to: every enabled bitmap gets it. Called for each such
   * request, so nothing here allocates.
   */
  setDirty(offset: number, length: number): void {
    const bitmaps = this.#bitmaps;
    for (let i = 0; i < bitmaps.length; i++) {
      const bitmap = bitmaps[i]!;
      if (bitmap.enabled) bitmap.set(offset, length);
    }
  }

  /** Throws `QmpError` if a bitmap cannot follow the node to that length. To be asked before the node changes it. */
  checkTruncate(sizeBytes: number): void {
    for (const bitmap of this.#bitmaps) checkBitmapFits(sizeBytes, bitmap.granularityBytes);
  }

  /** The node has another length. What is added is clean in every bitmap. */
  truncate(sizeBytes: number): void {
    this.#sizeBytes = sizeBytes;
    for (const bitmap of this.#bitmaps) bitmap.truncate(sizeBytes);
  }
}

/** QEMU fails an assertion there: this is its text for a stored bitmap that would be too large. */
function checkBitmapFits(sizeBytes: number, granularityBytes: number): void {
  if (fitsBitmap(sizeBytes, granularityBytes)) return;
  throw new QmpError("Too much space will be occupied by the bitmap. Use larger granularity");
}
