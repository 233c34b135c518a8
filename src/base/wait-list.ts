// Those who wait for one thing to happen, and all hear of it at once.

/** `T` is what they hear. */
export class WaitList<T = void> {
  #waiting: ((value: T) => void)[] = [];

  /** Resolves at the next `wake`. */
  wait(): Promise<T> {
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
    });
  }

  /** Lets go on who waits by now, in the order in which they came. */
  wake(value: T): void {
    if (this.#waiting.length === 0) return;
    const woken = this.#waiting;
    this.#waiting = [];
    for (const resolve of woken) resolve(value);
  }
}
