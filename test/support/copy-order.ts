// What must be true of the order of requests while a node is copied: old data on the target before new data reach the source.

import { expect } from "vitest";
import type { FaultyDriver } from "./faulty-driver.ts";

export interface CopyOrder {
  readonly source: FaultyDriver;
  readonly target: FaultyDriver;
  readonly clusterSizeBytes: number;
  /** `Simulation.order` from when on, and until when, guests were intercepted. */
  readonly from: number;
  readonly until: number;
  /** Whether the cluster at an offset was to be copied; all were by default. */
  readonly belongs?: (offsetBytes: number) => boolean;
}

/** Checks the order of all requests of the two drivers. */
export function checkCopyOrder(order: CopyOrder): void {
  const { source, target, clusterSizeBytes, from, until, belongs = () => true } = order;
  for (const change of source.calls) {
    if (change.begun < from || change.begun > until) continue;
    if (change.kind === "discard") expect.fail(`discard at ${change.offsetBytes} reached a disk that is being copied`);
    if (change.kind !== "write" && change.kind !== "write-zeroes") continue;
    const end = change.offsetBytes + change.lengthBytes;
    for (let at = floorTo(change.offsetBytes, clusterSizeBytes); at < end; at += clusterSizeBytes) {
      if (!belongs(at) || copiedBefore(target, at, Math.min(at + clusterSizeBytes, source.lengthBytes), change.begun))
        continue;
      expect.fail(
        `${change.kind} of ${change.offsetBytes}+${change.lengthBytes} before the cluster at ${at} was copied`,
      );
    }
  }
}

/** No byte was written to the target twice. */
export function checkCopiedOnce(target: FaultyDriver): void {
  const written = target.calls
    .filter((call) => call.kind === "write" || call.kind === "write-zeroes")
    .sort((a, b) => a.offsetBytes - b.offsetBytes);
  for (let i = 1; i < written.length; i++) {
    const { offsetBytes, lengthBytes } = written[i - 1]!;
    if (written[i]!.offsetBytes < offsetBytes + lengthBytes)
      expect.fail(`target written twice at ${written[i]!.offsetBytes}`);
  }
}

/** Requests that succeeded and had ended by then cover the range. */
function copiedBefore(target: FaultyDriver, start: number, end: number, then: number): boolean {
  const done = target.calls
    .filter((call) => (call.kind === "write" || call.kind === "write-zeroes") && call.error === undefined)
    .filter((call) => call.ended !== undefined && call.ended < then)
    .sort((a, b) => a.offsetBytes - b.offsetBytes);
  let covered = start;
  for (const { offsetBytes, lengthBytes } of done) {
    if (offsetBytes > covered) break;
    covered = Math.max(covered, offsetBytes + lengthBytes);
  }
  return covered >= end;
}

function floorTo(value: number, unit: number): number {
  return Math.floor(value / unit) * unit;
}
