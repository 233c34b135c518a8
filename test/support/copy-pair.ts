// A block copy between two faulty drivers, as the tests of the engine use it.

import { BlockCopy } from "../../src/block/block-copy.ts";
import { BlockNode } from "../../src/block/node.ts";
import { FaultyDriver, type FaultyDriverOptions } from "./faulty-driver.ts";
import { Random, type Simulation } from "./simulation.ts";

export const KIB = 1024;
export const MIB: number = 1024 * KIB;
export const CLUSTER: number = 64 * KIB;

/** Bytes of which no unit of 64 is zero, and that follow from a seed. */
export function patterned(lengthBytes: number, seed = 7): Uint8Array {
  const random = new Random(seed);
  const bytes = new Uint8Array(lengthBytes).fill(1);
  for (let at = 0; at < lengthBytes; at += 64) bytes[at] = 1 + random.below(255);
  return bytes;
}

/** Element by element, as `toEqual` does it, takes seconds. */
export function same(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}

export interface CopyPair {
  readonly source: FaultyDriver;
  readonly target: FaultyDriver;
  readonly copy: BlockCopy;
}

/** A copy of everything in `bytes`, on drivers that complete at once unless `source` and `target` say otherwise. */
export function copyPair(
  simulation: Simulation,
  bytes: Uint8Array,
  options: {
    readonly source?: Partial<FaultyDriverOptions>;
    readonly target?: Partial<FaultyDriverOptions>;
    readonly clusterSizeBytes?: number;
    readonly maxChunkBytes?: number;
  } = {},
): CopyPair {
  const source = new FaultyDriver({ simulation, bytes, ...options.source });
  const target = new FaultyDriver({ simulation, bytes: new Uint8Array(bytes.length).fill(0xee), ...options.target });
  const copy = new BlockCopy({
    source: new BlockNode({ name: "source", driver: source }),
    target: new BlockNode({ name: "target", driver: target }),
    clusterSizeBytes: options.clusterSizeBytes ?? CLUSTER,
    clock: simulation,
    ...(options.maxChunkBytes === undefined ? {} : { maxChunkBytes: options.maxChunkBytes }),
  });
  copy.dirty.set(0, bytes.length);
  return { source, target, copy };
}

/** Offsets and lengths of the calls of one kind, in KiB. */
export function rangesKib(driver: FaultyDriver, kind: string): [number, number][] {
  return driver.calls
    .filter((call) => call.kind === kind)
    .map((call) => [call.offsetBytes / KIB, call.lengthBytes / KIB]);
}
