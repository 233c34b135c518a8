// Before-write notifiers: whoever must see a node's old data before a request changes it.

import { assert } from "../base/assert.ts";
import type { TrackedRequest } from "./tracked-request.ts";

/** The request succeeds without being carried out. Only a discard may be dropped: it promises nothing. */
export const DROP_REQUEST = "drop";

/** What becomes of the request: `undefined` lets it pass. */
export type NotifierVerdict = undefined | typeof DROP_REQUEST;

/**
 * Called with every write, write-zeroes and discard of a node, after it has waited for what conflicts with it and before the
 * driver sees it. The request waits for the promise; a `BlockError`, thrown or rejected, fails it with that errno, and then
 * the driver is never called and no bitmap records it.
 *
 * Reads that a notifier makes on its own node must be asked for `fromNotifier`: they are part of the request.
 */
export interface BeforeWriteNotifier {
  beforeWrite(request: TrackedRequest): NotifierVerdict | Promise<NotifierVerdict>;
}

/** A node's notifiers, called in the order in which they were added, those added last behind all others. */
export class BeforeWriteNotifiers {
  /** Replaced, never changed in place: a run that is under way meets nobody who came after it began. */
  #list: readonly BeforeWriteNotifier[] = [];
  readonly #last = new Set<BeforeWriteNotifier>();
  /** How many there are, as a field: the write path looks at it for every request. */
  count = 0;

  add(notifier: BeforeWriteNotifier): void {
    assert(!this.#list.includes(notifier), "before-write notifier: added twice");
    const others = this.#list.length - this.#last.size;
    this.#list = [...this.#list.slice(0, others), notifier, ...this.#list.slice(others)];
    this.count = this.#list.length;
  }

  /** Adds one that is only interested in requests that all others let pass, also those that are added later. */
  addLast(notifier: BeforeWriteNotifier): void {
    assert(!this.#list.includes(notifier), "before-write notifier: added twice");
    this.#last.add(notifier);
    this.#list = [...this.#list, notifier];
    this.count = this.#list.length;
  }

  /**
   * After this no request reaches `notifier`, not even one that is waiting for another notifier just now; but those that it
   * has under way are still its own.
   */
  remove(notifier: BeforeWriteNotifier): void {
    assert(this.#list.includes(notifier), "before-write notifier: not there");
    this.#list = this.#list.filter((other) => other !== notifier);
    this.#last.delete(notifier);
    this.count = this.#list.length;
  }

  /** Runs all of them, in order, and stops at the first that fails or drops the request. The one that makes it is left out. */
  run(request: TrackedRequest, maker?: BeforeWriteNotifier): NotifierVerdict | Promise<NotifierVerdict> {
    const list = this.#list;
    for (let i = 0; i < list.length; i++) {
      if (list[i] === maker) continue;
      const verdict = list[i]!.beforeWrite(request);
      if (verdict === undefined) continue;
      if (verdict === DROP_REQUEST) return dropped(request);
      return this.#finish(list, i, verdict, request, maker);
    }
    return undefined;
  }

  async #finish(
    list: readonly BeforeWriteNotifier[],
    from: number,
    first: Promise<NotifierVerdict>,
    request: TrackedRequest,
    maker: BeforeWriteNotifier | undefined,
  ): Promise<NotifierVerdict> {
    let verdict = await first;
    for (let i = from + 1; i < list.length && verdict === undefined; i++) {
      const notifier = list[i]!;
      if (notifier !== maker && this.#list.includes(notifier)) verdict = await notifier.beforeWrite(request);
    }
    return verdict === undefined ? undefined : dropped(request);
  }
}

function dropped(request: TrackedRequest): typeof DROP_REQUEST {
  assert(request.kind === "discard", `before-write notifier: drops a ${request.kind}`);
  return DROP_REQUEST;
}
