// Refcounts as an image has them, for a checker that asks for one after the other: docs/reference/persistence-migration.md §1.2.

import type { Qcow2Image } from "./image.ts";
import type { CachedTable } from "./table-cache.ts";

/** Holds the refcount block that was loaded last. Where a block cannot be, or there is none, counts are 0. */
export class StoredCounts {
  readonly #image: Qcow2Image;
  #index = -1;
  #block: CachedTable | undefined;

  constructor(image: Qcow2Image) {
    this.#image = image;
  }

  /** `of` may be asked about this cluster. */
  has(cluster: number): boolean {
    return this.#indexOf(cluster) === this.#index;
  }

  async load(cluster: number): Promise<void> {
    if (this.has(cluster)) return;
    const { refcounts, layout } = this.#image;
    const index = this.#indexOf(cluster);
    const sound = refcounts.blockOffset(index) % layout.clusterBytes === 0;
    this.#block = sound ? await refcounts.blockOf(cluster) : undefined;
    this.#index = index;
  }

  /** The count of a cluster that `load` was called for, or one near it. */
  of(cluster: number): number {
    return this.#block === undefined ? 0 : this.#image.refcounts.getIn(this.#block, cluster);
  }

  #indexOf(cluster: number): number {
    return Math.floor(cluster / this.#image.layout.refcountsPerBlock);
  }
}
