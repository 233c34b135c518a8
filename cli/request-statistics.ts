// What the guest asked of its disk, by type: counted from the device's trace points, so that it costs nothing otherwise.

import { subscribeTrace, type TraceFields } from "../src/base/trace.ts";

/** Requests of one type. */
export interface RequestCount {
  readonly type: string;
  requests: number;
  bytes: number;
  errors: number;
  /** From the moment the device took a request up to its end, summed over all. */
  timeMs: number;
}

const POINTS: Readonly<Record<string, string>> = {
  virtio_blk_handle_read: "read",
  virtio_blk_handle_write: "write",
  virtio_blk_handle_flush: "flush",
  virtio_blk_handle_get_id: "get-id",
};

/** Counts from its making until `stop`. */
export class RequestStatistics {
  readonly counts: readonly RequestCount[] = Object.values(POINTS).map((type) => newCount(type));
  /** Requests that the device refused before it looked at the disk. */
  readonly refused: RequestCount = newCount("refused");
  readonly #started = new Map<number, { readonly count: RequestCount; readonly atMs: number }>();
  readonly #unsubscribe: () => void;

  constructor() {
    this.#unsubscribe = subscribeTrace("virtio_blk_*", (name, fields) => this.#note(name, fields));
  }

  stop(): void {
    this.#unsubscribe();
  }

  #note(name: string, fields: TraceFields): void {
    const head = Number(fields["head"]);
    if (name === "virtio_blk_req_complete") {
      const started = this.#started.get(head);
      this.#started.delete(head);
      const count = started?.count ?? this.refused;
      count.requests++;
      if (started !== undefined) count.timeMs += performance.now() - started.atMs;
      if (fields["status"] !== 0) count.errors++;
      return;
    }
    const count = this.counts.find((candidate) => candidate.type === POINTS[name]);
    if (count === undefined) return; // a point that others count
    count.bytes += Number(fields["bytes"]);
    this.#started.set(head, { count, atMs: performance.now() });
  }
}

function newCount(type: string): RequestCount {
  return { type, requests: 0, bytes: 0, errors: 0, timeMs: 0 };
}
