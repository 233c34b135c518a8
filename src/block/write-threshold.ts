// block-set-write-threshold: tells once when a write goes beyond an offset. docs/reference/monitor.md §3.

import type { BeforeWriteNotifier } from "./before-write-notifier.ts";
import type { TrackedRequest } from "./tracked-request.ts";

/** Called with what QMP's BLOCK_WRITE_THRESHOLD has: the threshold, and by how many bytes the request goes beyond it. */
export type ThresholdListener = (thresholdBytes: number, exceededBytes: number) => void;

/**
 * The threshold of one node, from setting to the first write, write-zeroes or discard that ends beyond it; one that ends
 * exactly there does not. It lets every request pass.
 */
export class WriteThreshold implements BeforeWriteNotifier {
  readonly bytes: number;
  readonly #exceeded: ThresholdListener;

  constructor(bytes: number, exceeded: ThresholdListener) {
    this.bytes = bytes;
    this.#exceeded = exceeded;
  }

  beforeWrite(request: TrackedRequest): undefined {
    if (request.endBytes > this.bytes) this.#exceeded(this.bytes, request.endBytes - this.bytes);
    return undefined;
  }
}
