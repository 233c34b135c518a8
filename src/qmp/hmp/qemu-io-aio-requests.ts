// Requests that go on after their command has returned: docs/reference/monitor.md §5.1.

import { BlockError, strerror } from "../../base/errors.ts";
import type { BlockBackend } from "../../block/backend.ts";

/** Requests on the way, each with the backend that it goes through. */
export class AioRequests {
  readonly #pending = new Map<Promise<void>, BlockBackend>();
  #broken: { readonly error: unknown } | undefined;

  /** How many are on the way. */
  get count(): number {
    return this.#pending.size;
  }

  /** Keeps a request in mind until it ends. What it rejects with is no I/O error, and thrown by the next wait. */
  add(backend: BlockBackend, request: Promise<void>): void {
    const tracked: Promise<void> = request
      .catch((error: unknown) => {
        this.#broken ??= { error };
      })
      .finally(() => this.#pending.delete(tracked));
    this.#pending.set(tracked, backend);
  }

  /** Resolves when all have ended, or all of one backend. */
  async untilDone(backend?: BlockBackend): Promise<void> {
    for (const [request, of] of [...this.#pending]) if (backend === undefined || of === backend) await request;
    if (this.#broken !== undefined) throw this.#broken.error;
  }
}

/** The text of an error of a request. What is none is a mistake of the program, and thrown. */
export function errorText(error: unknown): string {
  if (error instanceof BlockError) return strerror(error.errno);
  throw error;
}
