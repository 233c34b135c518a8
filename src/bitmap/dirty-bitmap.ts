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
 *   active ──createSuccessor──▶ frozen ──abdicate──▶ (gone; the successor carries the name)
 *                                 └─────reclaim────▶ active, with the successor's bits merged in
 *
 * A frozen bitmap is busy and does not record; its successor, an anonymous bitmap in front of it in the list, records in its
 * place if it did. `DirtyBitmapList` makes these moves.
 *
 * Beside that, independent of one another:
 *
 *   enabled ──disable──▶ disabled      an enabled bitmap records every write to its node; a disabled one keeps its bits
 *           ◀──enable───
 *   any ──setBusy(true)──▶ busy        a job, an export or a migration uses it: users may not touch it until it is let go;
 *       ◀─setBusy(false)──             whether it records is left as it was
 *   any ──setReadonly(true)──▶ readonly    its image is read-only: users may turn recording on and off, but the bits stay,
 *       ◀─setReadonly(false)──             and the node takes no writes
 *   any ──setInconsistent──▶ inconsistent (and persistent, and disabled) for good    nobody knows whether it missed writes:
 *                                                                    users may only remove it
 *   persistent           stored in the image when the node is closed, but not while `skipStore`
 *
 * They are checked in one place, for users' commands by `checkDirtyBitmap`; the methods here do as they are told and assert
 * what only a mistake of ours can violate.
 */
export class DirtyBitmap {
  #name: string | undefined;
  #bits: HierarchicalBitmap;
  #disabled: boolean;
  #busy = false;
  #readonly = false;
  #inconsistent = false;
  #successor: DirtyBitmap | undefined;
  persistent = false;
  /** Kept from being stored for the moment: it migrates, or a transaction is removing it. */
  skipStore = false;

  /** Made by `DirtyBitmapList`, which checks the name. */
  constructor(options: DirtyBitmapOptions) {
    assert(options.granularityBytes >= MIN_GRANULARITY_BYTES, "granularity below 512");
    this.#name = options.name;
    this.#bits = new HierarchicalBitmap(options.sizeBytes, options.granularityBytes);
    this.#disabled = options.disabled ?? false;
  }

  /** Undefined for an anonymous bitmap. */
  get name(): string | undefined {
    return this.#name;
  }

  /**
   * The bits, to search, copy, hash and store. Whoever changes them past the methods of this class answers for the state
   * above: loading a stored or migrated bitmap does, before anybody else sees it.
   */
  get bits(): HierarchicalBitmap {
    return this.#bits;
  }

  get granularityBytes(): number {
    return this.#bits.granularityBytes;
  }

  /** Length of the node when the bitmap was made or last truncated. */
  get sizeBytes(): number {
    return this.#bits.sizeBytes;
  }

  /** Dirty bytes as users see them: set bits times granularity, so the last group counts in full. */
  get countBytes(): number {
    return this.#bits.countBytes;
  }

  get enabled(): boolean {
    return !this.#disabled;
  }

  /** What users see as `recording`: this bitmap records, or its successor does in its place. */
  get recording(): boolean {
    return this.enabled || this.#successor?.enabled === true;
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

  /** Records in place of this bitmap while it is frozen. */
  get successor(): DirtyBitmap | undefined {
    return this.#successor;
  }

  /** Makes every group dirty that the range touches. */
  set(offset: number, length: number): void {
    assert(!this.#readonly, "readonly bitmap changed");
    this.#bits.set(offset, length);
  }

  /** Makes whole groups clean: see `HierarchicalBitmap.reset`. */
  reset(offset: number, length: number): void {
    assert(!this.#readonly, "readonly bitmap changed");
    this.#bits.reset(offset, length);
  }

  /** Makes everything clean, whether enabled or disabled. */
  clear(): void {
    assert(!this.#readonly, "readonly bitmap changed");
    this.#bits.resetAll();
  }

  /** Puts other bits of the same size and granularity in place of these, and returns these: what can be undone is done so. */
  exchangeBits(bits: HierarchicalBitmap): HierarchicalBitmap {
    assert(!this.#readonly, "readonly bitmap changed");
    assert(bits.sizeBytes === this.sizeBytes && bits.granularityBytes === this.granularityBytes, "other kind of bits");
    const before = this.#bits;
    this.#bits = bits;
    return before;
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
    this.persistent = true;
    this.#disabled = true;
  }

  /** active → frozen. The successor has been made to record if this bitmap did. For the list alone. */
  freeze(successor: DirtyBitmap): void {
    assert(!this.#busy && this.#successor === undefined, "frozen bitmap frozen");
    this.#successor = successor;
    this.#disabled = true;
    this.#busy = true;
  }

  /** frozen → gone: the successor takes over the name. For the list alone. */
  handOver(): DirtyBitmap {
    const successor = this.#takeSuccessor();
    successor.#name = this.#name;
    successor.persistent = this.persistent;
    this.#name = undefined;
    this.persistent = false;
    return successor;
  }

  /** frozen → active, with all that either of the two has recorded. For the list alone. */
  takeBack(): DirtyBitmap {
    const successor = this.#takeSuccessor();
    this.#bits.merge(successor.#bits);
    this.#disabled = successor.#disabled;
    return successor;
  }

  /** Follows the node's length: see `HierarchicalBitmap.truncate`. */
  truncate(sizeBytes: number): void {
    this.#bits.truncate(sizeBytes);
  }

  #takeSuccessor(): DirtyBitmap {
    const successor = this.#successor;
    assert(successor !== undefined, "bitmap without a successor");
    this.#successor = undefined;
    this.#busy = false;
    return successor;
  }
}
