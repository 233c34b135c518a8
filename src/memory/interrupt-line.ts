// A level-triggered interrupt line: the level is the state, an edge is only news of it.

export type LineListener = (raised: boolean) => void;

/**
 * One wire from a device to an interrupt controller. Setting the level that it already has tells nobody anything.
 *
 * Every listener hears every edge, in order: one that causes the next edge from within, as an interrupt handler does that
 * acknowledges, first lets the others hear of the edge that it was called for.
 */
export class InterruptLine {
  #raised = false;
  readonly #listeners: LineListener[] = [];
  /** Listeners numbered 0 to `#untold - 1` have yet to hear of the current edge. */
  #untold = 0;

  get raised(): boolean {
    return this.#raised;
  }

  /** Raises (true) or lowers (false) the line. */
  set(raised: boolean): void {
    if (this.#untold > 0) this.#tell(); // called from within a listener, who is not to overtake the edge before
    if (raised === this.#raised) return;
    this.#raised = raised;
    this.#untold = this.#listeners.length;
    this.#tell();
  }

  /** Calls `listener` at each edge, from within whatever caused it; the function returned ends that. */
  onChange(listener: LineListener): () => void {
    this.#listeners.push(listener);
    return () => {
      const index = this.#listeners.indexOf(listener);
      if (index < 0) return;
      this.#listeners.splice(index, 1);
      if (index < this.#untold) this.#untold--;
    };
  }

  #tell(): void {
    const raised = this.#raised;
    while (this.#untold > 0) this.#listeners[--this.#untold]!(raised);
  }
}
