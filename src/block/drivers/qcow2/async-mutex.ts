// One holder at a time, in the order in which they came; and the same for ranges of clusters.

/** Lets one task at a time through. Its queue is as long as there are requests in flight, which the node's users bound. */
export class AsyncMutex {
  #held = false;
  #busy = false;
  readonly #waiters: (() => void)[] = [];

  /** Somebody is about something. While nobody is, what is done within one turn of the event loop need not ask. */
  get busy(): boolean {
    return this.#busy;
  }

  /** Waits for those who came before. Whoever goes on at once, and looks whether it is `busy`, holds nobody up who comes later. */
  async turn(): Promise<void> {
    if (!this.#held) return;
    await new Promise<void>((resolve) => this.#waiters.push(resolve));
    this.#release();
  }

  async run<Result>(task: () => Promise<Result>): Promise<Result> {
    if (this.#held) await new Promise<void>((resolve) => this.#waiters.push(resolve));
    else this.#held = true;
    this.#busy = true;
    try {
      return await task();
    } finally {
      this.#busy = false;
      this.#release();
    }
  }

  #release(): void {
    const next = this.#waiters.shift();
    if (next === undefined) this.#held = false;
    else next();
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

  /** Somebody has some of the clusters `first` to `last`. */
  isHeld(first: number, last: number): boolean {
    if (this.#ranges.size === 0) return false;
    for (const range of this.#ranges) if (range.first <= last && first <= range.last) return true;
    return false;
  }

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
