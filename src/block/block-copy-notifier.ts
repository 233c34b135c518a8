// What stands between guests and a node that is being copied: docs/reference/backup.md §4.4, corrections.md B1.

import { type BeforeWriteNotifier, DROP_REQUEST, type NotifierVerdict } from "./before-write-notifier.ts";
import type { BlockCopy } from "./block-copy.ts";
import type { NodeParent } from "./drain.ts";
import type { TrackedRequest } from "./tracked-request.ts";

/**
 * Lets a guest change a cluster only when its old content is on the target. A write whose old data cannot be copied fails
 * with the errno of that copy. Discards succeed and do nothing, and write-zeroes deallocate nothing.
 *
 * Guests' writes to the source cause writes to the target, so draining the target drains the source. Neither may stand below
 * the other.
 */
export class BlockCopyNotifier implements BeforeWriteNotifier {
  readonly #copy: BlockCopy;
  readonly #targetParent: NodeParent;

  /** `parentName` is how messages name the user of the target. */
  constructor(copy: BlockCopy, parentName: string) {
    this.#copy = copy;
    this.#targetParent = {
      parentName,
      beginDrain: () => copy.source.beginDrain(),
      untilQuiet: () => copy.source.untilQuiet(),
      endDrain: () => copy.source.endDrain(),
    };
  }

  /** From now on the source is intercepted. The caller has drained it. */
  install(): void {
    this.#copy.source.beforeWrite.add(this);
    this.#copy.target.attachParent(this.#targetParent);
  }

  /** Guests that wait in here still go on to the target: `BlockCopy.untilIdle` tells when the last one has. */
  remove(): void {
    this.#copy.source.beforeWrite.remove(this);
  }

  /** Lets go of the target; nothing is under way any more. */
  release(): void {
    this.#copy.target.detachParent(this.#targetParent);
  }

  beforeWrite(request: TrackedRequest): NotifierVerdict | Promise<NotifierVerdict> {
    if (request.kind === "discard") return DROP_REQUEST;
    request.mayUnmap = false;
    return this.#copy.copyForGuest(request.offsetBytes, request.lengthBytes);
  }
}
