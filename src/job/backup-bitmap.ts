// The bitmap of a backup, from the job's begin to its end: docs/reference/backup.md §3.1.

import type { DirtyBitmap } from "../bitmap/dirty-bitmap.ts";
import type { DirtyBitmapList } from "../bitmap/dirty-bitmap-list.ts";
import type { HierarchicalBitmap } from "../bitmap/hierarchical-bitmap.ts";
import type { BitmapMode } from "./backup-options.ts";

/**
 * Frozen while the job exists: its bits P stand still, and a successor records what guests write meanwhile, W. At the end one of
 * `succeed`, `fail` and `giveBack` is called:
 *
 *                 succeed    fail (R: what was not copied)
 *     on-success  W          P ∪ W
 *     always      W          R ∪ W
 *     never       P ∪ W      P ∪ W
 */
export class BackupBitmap {
  readonly #list: DirtyBitmapList;
  readonly #bitmap: DirtyBitmap;
  readonly #mode: BitmapMode;

  /** Freezes the bitmap; a `QmpError` where it is in use. */
  constructor(list: DirtyBitmapList, bitmap: DirtyBitmap, mode: BitmapMode) {
    list.createSuccessor(bitmap);
    this.#list = list;
    this.#bitmap = bitmap;
    this.#mode = mode;
  }

  /** P. */
  get bits(): HierarchicalBitmap {
    return this.#bitmap.bits;
  }

  succeed(): void {
    if (this.#mode === "never") this.#list.reclaim(this.#bitmap);
    else this.#list.abdicate(this.#bitmap);
  }

  /** Clusters of the job that were not copied become whole groups of the bitmap that they touch. */
  fail(remaining: HierarchicalBitmap): void {
    if (this.#mode === "always") this.#list.abdicate(this.#bitmap).bits.merge(remaining);
    else this.#list.reclaim(this.#bitmap);
  }

  /** There was no job after all: P. */
  giveBack(): void {
    this.#list.reclaim(this.#bitmap);
  }
}
