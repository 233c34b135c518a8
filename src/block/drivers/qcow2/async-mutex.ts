// One holder at a time, in the order in which they came; and the same for ranges of clusters.

/** Lets one task at a time through. Its queue is as long as there are requests in flight, which the node's users bound. */
export class AsyncMutex {
  #held = false;
  readonly #waiters: (() => void)[] = [];

  async run<Result>(task: () => Promise<Result>): Promise<Result> {
    if (this.#held) await new Promise<void>((resolve) => this.#waiters.push(resolve));
    else this.#held = true;
    try {
      return await task();
    } finally {
      const next = this.#waiters.shift();
      if (next === undefined) this.#held = false;
      else next();
    }
  }
}

interface LockedRange {
  readonly first: number;
  readonly last: number;
  readonly released: Promise<void>;
}

/** Ranges of guest clusters of which each has one task that changes where they are. */
export class ClusterLocks {
  readonly #ranges = new Set<LockedRange>();

  /** Runs `task` when nobody else has any of the clusters `first` to `last`. Those who came earlier go first. */
  async run<Result>(first: number, last: number, task: () => Promise<Result>): Promise<Result> {
    const before = [...this.#ranges].filter((range) => range.first <= last && first <= range.last);
    let release = (): void => {};
    const range: LockedRange = {
      first,
      last,
      released: new Promise((resolve) => {
        release = resolve;
      }),
    };
    this.#ranges.add(range);
    try {
      for (const { released } of before) await released;
      return await task();
    } finally {
      this.#ranges.delete(range);
      release();
    }
  }
}
