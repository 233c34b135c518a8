// Objects of the type iothread, and query-iothreads: docs/reference/monitor.md §1.3, §2.

import { QmpError } from "../../base/errors.ts";
import { type Command, defineCommand } from "../command.ts";
import { array, type Int64, int, type ObjectType, object, optional, str } from "../schema/types.ts";

const MAX_INT64 = 2n ** 63n - 1n;
const DEFAULT_POLL_MAX_NS = 32_768;
const PARAMETERS = ["poll-max-ns", "poll-grow", "poll-shrink", "aio-max-batch"] as const;

type Parameter = (typeof PARAMETERS)[number];
type Parameters = Readonly<Record<Parameter, Int64>>;

/** What may be said of one. */
export type IoThreadOptions = { readonly [Name in Parameter]?: Int64 | undefined };

/** The members of QMP's IothreadProperties. */
export const ioThreadProperties: ObjectType<IoThreadOptions> = object({
  "poll-max-ns": optional(int),
  "poll-grow": optional(int),
  "poll-shrink": optional(int),
  "aio-max-batch": optional(int),
});

const ioThreadInfo = object({
  id: str,
  "thread-id": int,
  "poll-max-ns": int,
  "poll-grow": int,
  "poll-shrink": int,
  "aio-max-batch": int,
});

/**
 * The iothreads that users have made. Everything runs on one thread here, so nothing runs on them: there are no more than the
 * names that clients give and ask for.
 */
export class IoThreads {
  readonly #threadId: number;
  readonly #threads = new Map<string, Parameters>();

  /** `threadId` is the number that all are told to have. */
  constructor(threadId: number) {
    this.#threadId = threadId;
  }

  has(id: string): boolean {
    return this.#threads.has(id);
  }

  /** Throws a `QmpError` with QEMU's text for a number that cannot be. */
  add(id: string, options: IoThreadOptions): void {
    for (const name of PARAMETERS) {
      const value = options[name];
      if (value !== undefined && value < 0)
        throw new QmpError(`${name} value must be in range [0, ${String(MAX_INT64)}]`);
    }
    this.#threads.set(id, {
      "poll-max-ns": options["poll-max-ns"] ?? DEFAULT_POLL_MAX_NS,
      "poll-grow": options["poll-grow"] ?? 0,
      "poll-shrink": options["poll-shrink"] ?? 0,
      "aio-max-batch": options["aio-max-batch"] ?? 0,
    });
  }

  /** False if there is none of that name. */
  delete(id: string): boolean {
    return this.#threads.delete(id);
  }

  /** query-iothreads. */
  query(): Command {
    return defineCommand({
      name: "query-iothreads",
      returns: array(ioThreadInfo),
      allowPreconfig: true,
      run: () => Array.from(this.#threads, ([id, parameters]) => ({ id, "thread-id": this.#threadId, ...parameters })),
    });
  }
}
