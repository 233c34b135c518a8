// What stands between guests and a node that is being copied: docs/reference/backup.md §4.4, corrections.md B1.

import { BlockError } from "../base/errors.ts";
import { tracePoint } from "../base/trace.ts";
import { type BeforeWriteNotifier, DROP_REQUEST, type NotifierVerdict } from "./before-write-notifier.ts";
import type { BlockCopy } from "./block-copy.ts";
import type { NodeParent } from "./drain.ts";
import type { Interception } from "./interception.ts";
import type { TrackedRequest } from "./tracked-request.ts";

const traceEnter = tracePoint("backup_do_cow_enter");
const traceReturn = tracePoint("backup_do_cow_return");

/**
 * What becomes of a guest's write whose old data cannot be copied, as in QMP. `break-guest-write` fails it with the errno of that
 * copy. `break-snapshot` lets it pass, and from then on all others too without a copy of theirs: the target is of no use then.
 */
export type OnCbwError = "break-guest-write" | "break-snapshot";

/**
 * Lets a guest change a cluster only when its old content is on the target. What becomes of a write
 * whose old data cannot be copied is `onCbwError`'s choice. Discards succeed and do nothing, and write-zeroes deallocate nothing.
 *
 * Writes that are intercepted cause writes to the target, so draining the target drains those who make them, and the job, which
 * writes there too. It does not drain other users of the source: where requests to the target lead to the source, that is how they
 * come there, and the section would go in a circle.
 */
export class BlockCopyNotifier implements BeforeWriteNotifier {
  readonly #copy: BlockCopy;
  readonly #targetParent: NodeParent;
  readonly #onCbwError: OnCbwError;
  #snapshotError: BlockError | undefined;

  /** `interception` says whose writes these are, and `job` who else writes to the target, as whose user it is named. */
  constructor(
    copy: BlockCopy,
    interception: Interception,
    job: NodeParent,
    onCbwError: OnCbwError = "break-guest-write",
  ) {
    this.#copy = copy;
    this.#onCbwError = onCbwError;
    this.#targetParent = {
      parentName: job.parentName,
      beginDrain: () => {
        interception.beginDrain();
        job.beginDrain();
      },
      untilQuiet: () => interception.untilQuiet() ?? job.untilQuiet(),
      endDrain: () => {
        interception.endDrain();
        job.endDrain();
      },
    };
  }

  /** Of `break-snapshot`: the first error of a guest's copy. Since then the target is not what it should be. */
  get snapshotError(): BlockError | undefined {
    return this.#snapshotError;
  }

  /** From now on the source is intercepted. The caller has drained it. */
  install(): void {
    this.#copy.source.beforeWrite.add(this);
    this.#copy.notifier = this;
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
    if (traceEnter.enabled || traceReturn.enabled) return this.#traced(request);
    return this.#intercept(request);
  }

  #intercept(request: TrackedRequest): NotifierVerdict | Promise<NotifierVerdict> {
    if (request.kind === "discard") return DROP_REQUEST;
    request.mayUnmap = false;
    if (this.#snapshotError !== undefined) return undefined;
    if (this.#onCbwError === "break-guest-write") return this.#copyFor(request);
    try {
      return this.#copyFor(request)?.catch((error: unknown) => this.#breakSnapshot(error));
    } catch (error) {
      return this.#breakSnapshot(error);
    }
  }

  #traced(request: TrackedRequest): NotifierVerdict | Promise<NotifierVerdict> {
    const { offsetBytes: offset, lengthBytes: bytes, kind } = request;
    const start = offset - (offset % this.#copy.clusterSizeBytes);
    if (traceEnter.enabled) traceEnter.emit({ start, offset, bytes, kind });
    const done = (error?: unknown): void => {
      const ret = error === undefined ? 0 : error instanceof BlockError ? `-${error.errno}` : String(error);
      if (traceReturn.enabled) traceReturn.emit({ offset, bytes, ret });
    };
    const failed = (error: unknown): never => {
      done(error);
      throw error;
    };
    try {
      const verdict = this.#intercept(request);
      if (verdict instanceof Promise) {
        return verdict.then((later) => {
          done();
          return later;
        }, failed);
      }
      done();
      return verdict;
    } catch (error) {
      return failed(error);
    }
  }

  #copyFor({ offsetBytes, lengthBytes }: TrackedRequest): undefined | Promise<undefined> {
    return this.#copy.copyForGuest(offsetBytes, lengthBytes);
  }

  #breakSnapshot(error: unknown): undefined {
    if (!(error instanceof BlockError)) throw error;
    this.#snapshotError ??= error;
    return undefined;
  }
}
