// A level-triggered interrupt line: the level is the state, an edge is only news of it.

export type LineListener = (raised: boolean) => void;

/** One wire from a device to an interrupt controller. Setting the level that it already has tells nobody anything. */
export class InterruptLine {
  #raised = false;
  readonly #listeners: LineListener[] = [];

  get raised(): boolean {
    return this.#raised;
  }

  /** Raises (true) or lowers (false) the line. */
  set(raised: boolean): void {
    if (raised === this.#raised) return;
    this.#raised = raised;
    // A listener may end its own subscription, or cause the next edge, from within.
    for (let i = this.#listeners.length - 1; i >= 0; i--) this.#listeners[i]?.(raised);
  }

  /** Calls `listener` at each edge, from within whatever caused it; the function returned ends that. */
  onChange(listener: LineListener): () => void {
    this.#listeners.push(listener);
    return () => {
      const index = this.#listeners.indexOf(listener);
      if (index >= 0) this.#listeners.splice(index, 1);
    };
  }
}
