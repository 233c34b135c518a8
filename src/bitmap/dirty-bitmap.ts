// One record of what changed on a node: docs/reference/bitmaps.md §2.1.

import { assert } from "../base/assert.ts";
import { HierarchicalBitmap } from "./hierarchical-bitmap.ts";

/** The least granularity: docs/reference/bitmaps.md §2.2. */
export const MIN_GRANULARITY_BYTES = 512;

/** What a bitmap is made from. */
export interface DirtyBitmapOptions {
  /** Undefined for an anonymous bitmap: never addressed by users, never stored, never migrated. */
  readonly name?: string | undefined;
  /** A power of two from 512 on. */
  readonly granularityBytes: number;
  /** Length of the node. */
  readonly sizeBytes: number;
  readonly disabled?: boolean | undefined;
}

/**
 * The bits of a `HierarchicalBitmap` over a node and the state that says who may change them.
 *
 *   enabled ──disable──▶ disabled      an enabled bitmap records every write to its node; a disabled one keeps its bits
 *           ◀──enable───
 *   any ──setBusy(true)──▶ busy        a job, an export or a migration uses it: users may not touch it until it is let go;
 *       ◀─setBusy(false)──             whether it records is left as it was
 *   any ──setReadonly(true)──▶ readonly    its image is read-only: users may turn recording on and off, but the bits stay,
 *       ◀─setReadonly(false)──             and the node takes no writes
 *   any ──setInconsistent──▶ inconsistent (and disabled) for good    nobody knows whether it missed writes: users may only
 *                                                                    remove it
 *
 * These four are independent of one another. They are checked in one place, for users' commands by `checkDirtyBitmap`; the
 * methods here do as they are told and assert what only a mistake of ours can violate.
 */
export class DirtyBitmap {
  readonly name: string | undefined;
  /**
   * The bits, to search, copy, hash and store. Whoever changes them past the methods of this class answers for the state
   * above: loading a stored or migrated bitmap does, before anybody else sees it.
   */
  readonly bits: HierarchicalBitmap;
  #disabled: boolean;
  #busy = false;
  #readonly = false;
  #inconsistent = false;

  /** Made by `DirtyBitmapList`, which checks the name. */
  constructor(options: DirtyBitmapOptions) {
    assert(options.granularityBytes >= MIN_GRANULARITY_BYTES, "granularity below 512");
    this.name = options.name;
    this.bits = new HierarchicalBitmap(options.sizeBytes, options.granularityBytes);
    this.#disabled = options.disabled ?? false;
  }

  get granularityBytes(): number {
    return this.bits.granularityBytes;
  }

  /** Length of the node when the bitmap was made or last truncated. */
  get sizeBytes(): number {
    return this.bits.sizeBytes;
  }

  /** Dirty bytes as users see them: set bits times granularity, so the last group counts in full. */
  get countBytes(): number {
    return this.bits.countBytes;
  }

  get enabled(): boolean {
    return !this.#disabled;
  }

  get busy(): boolean {
    return this.#busy;
  }

  get readonly(): boolean {
    return this.#readonly;
  }

  get inconsistent(): boolean {
    return this.#inconsistent;
  }

  /** Makes every group dirty that the range touches. */
  set(offset: number, length: number): void {
    assert(!this.#readonly, "readonly bitmap changed");
    this.bits.set(offset, length);
  }

  /** Makes whole groups clean: see `HierarchicalBitmap.reset`. */
  reset(offset: number, length: number): void {
    assert(!this.#readonly, "readonly bitmap changed");
    this.bits.reset(offset, length);
  }

  /** Makes everything clean, whether enabled or disabled. */
  clear(): void {
    assert(!this.#readonly, "readonly bitmap changed");
    this.bits.resetAll();
  }

  enable(): void {
    assert(!this.#inconsistent, "inconsistent bitmap enabled");
    this.#disabled = false;
  }

  disable(): void {
    this.#disabled = true;
  }

  setBusy(busy: boolean): void {
    this.#busy = busy;
  }

  setReadonly(readonly: boolean): void {
    this.#readonly = readonly;
  }

  setInconsistent(): void {
    this.#inconsistent = true;
    this.#disabled = true;
  }

  /** Follows the node's length: see `HierarchicalBitmap.truncate`. */
  truncate(sizeBytes: number): void {
    this.bits.truncate(sizeBytes);
  }
}
