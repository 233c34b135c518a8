// Counts of clusters in memory, for a checker: as large as what is counted is spread, up to a limit.

import { BlockError } from "../../../base/errors.ts";

const PAGE = 4096;
/** 256 MiB: images of 4 TiB with clusters of 64 KiB. */
const MAX_PAGES = 16384;

/** How often each cluster was counted. Fails with EFBIG where an image has too many. */
export class ClusterCounts {
  readonly #pages = new Map<number, Uint32Array>();

  add(cluster: number, times: number): void {
    const number = Math.floor(cluster / PAGE);
    let page = this.#pages.get(number);
    if (page === undefined) {
      if (this.#pages.size === MAX_PAGES) throw new BlockError("EFBIG", "The image is too large to be checked");
      page = new Uint32Array(PAGE);
      this.#pages.set(number, page);
    }
    page[cluster % PAGE]! += times;
  }

  get(cluster: number): number {
    return this.#pages.get(Math.floor(cluster / PAGE))?.[cluster % PAGE] ?? 0;
  }

  /** Clusters that were counted, with how often, in order. */
  *[Symbol.iterator](): Iterator<readonly [cluster: number, count: number]> {
    for (const number of [...this.#pages.keys()].sort((a, b) => a - b)) {
      const page = this.#pages.get(number)!;
      for (let i = 0; i < PAGE; i++) if (page[i] !== 0) yield [number * PAGE + i, page[i]!];
    }
  }
}
