// Ranges that are being read and must not change meanwhile.

interface HeldRange {
  readonly start: number;
  readonly end: number;
  waiters: (() => void)[];
}

/** Few at a time, so they stand in a plain list. */
export class HeldRanges {
  readonly #list: HeldRange[] = [];

  /** Holds a range while `action` runs. */
  async during<T>(start: number, length: number, action: () => T | Promise<T>): Promise<T> {
    const range: HeldRange = { start, end: start + length, waiters: [] };
    this.#list.push(range);
    try {
      return await action();
    } finally {
      this.#list.splice(this.#list.indexOf(range), 1);
      for (const wake of range.waiters) wake();
    }
  }

  /** Undefined when nothing of the range is held; else a promise to ask again after. */
  untilFree(start: number, length: number): Promise<void> | undefined {
    const held = this.#list.find((range) => range.start < start + length && start < range.end);
    if (held === undefined) return undefined;
    return new Promise((resolve) => held.waiters.push(resolve));
  }
}
