// block-set-write-threshold: tells once when a write goes beyond an offset. docs/reference/monitor.md §3.

import type { BeforeWriteNotifier, BeforeWriteNotifiers } from "./before-write-notifier.ts";
import type { TrackedRequest } from "./tracked-request.ts";

/** Called with what QMP's BLOCK_WRITE_THRESHOLD has: the threshold, and by how many bytes the request goes beyond it. */
export type ThresholdListener = (thresholdBytes: number, exceededBytes: number) => void;

/**
 * The threshold of one node, from setting to the first write, write-zeroes or discard that ends beyond it; one that ends
 * exactly there does not. It lets every request pass.
 */
export class WriteThreshold implements BeforeWriteNotifier {
  readonly #notifiers: BeforeWriteNotifiers;
  #bytes = 0;
  #exceeded: ThresholdListener | undefined;

  /** `notifiers`: those of the node. */
  constructor(notifiers: BeforeWriteNotifiers) {
    this.#notifiers = notifiers;
  }

  /** The offset that the next write beyond it is reported for; 0 for none. */
  get bytes(): number {
    return this.#bytes;
  }

  /** `exceeded` is called once, when a request is about to write beyond `bytes`. */
  set(bytes: number, exceeded: ThresholdListener): void {
    this.clear();
    if (bytes === 0) return;
    this.#bytes = bytes;
    this.#exceeded = exceeded;
    this.#notifiers.addLast(this);
  }

  clear(): void {
    if (this.#bytes === 0) return;
    this.#bytes = 0;
    this.#exceeded = undefined;
    this.#notifiers.remove(this);
  }

  beforeWrite(request: TrackedRequest): undefined {
    const bytes = this.#bytes;
    if (request.endBytes <= bytes) return undefined;
    const exceeded = this.#exceeded!;
    this.clear();
    exceeded(bytes, request.endBytes - bytes);
    return undefined;
  }
}
