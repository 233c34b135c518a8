// Which clusters of the file are tables: what no data may be written to.

/** Clusters that a map holds at the most; an image with more tables is looked through each time. */
const MAX_CLUSTERS = 1 << 18;

/** L2 tables and refcount blocks by their clusters. `undefined` answers mean: look yourself. */
export class MetadataMap {
  readonly #clusterBytes: number;
  readonly #clusters = new Set<number>();
  #overflown = false;

  constructor(clusterBytes: number) {
    this.#clusterBytes = clusterBytes;
  }

  add(offsetBytes: number): void {
    if (this.#overflown) return;
    this.#clusters.add(Math.floor(offsetBytes / this.#clusterBytes));
    if (this.#clusters.size <= MAX_CLUSTERS) return;
    this.#overflown = true;
    this.#clusters.clear();
  }

  remove(offsetBytes: number): void {
    this.#clusters.delete(Math.floor(offsetBytes / this.#clusterBytes));
  }

  /** Some table lies within the range; undefined where there are too many to know. */
  overlaps(offsetBytes: number, lengthBytes: number): boolean | undefined {
    if (this.#overflown) return undefined;
    const last = Math.floor((offsetBytes + lengthBytes - 1) / this.#clusterBytes);
    for (let cluster = Math.floor(offsetBytes / this.#clusterBytes); cluster <= last; cluster++)
      if (this.#clusters.has(cluster)) return true;
    return false;
  }
}
