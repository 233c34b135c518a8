// Making a disk longer with what is added in its place in the file at once: QMP's PreallocMode, as far as commands here say it.

import { Pacer, systemClock } from "../base/clock.ts";
import { QmpError } from "../base/errors.ts";
import { IoVector } from "../base/io-vector.ts";
import type { BlockNode } from "./node.ts";

export type PreallocationMode = "off" | "metadata" | "falloc" | "full";

/** Which modes a driver has, and how it says that a disk cannot become shorter with one. */
const DRIVERS: Readonly<Record<string, { readonly modes: readonly PreallocationMode[]; readonly shrinks: string }>> = {
  qcow2: { modes: ["metadata", "falloc", "full"], shrinks: "Preallocation can't be used for shrinking an image" },
  raw: { modes: ["falloc", "full"], shrinks: "Cannot use preallocation for shrinking files" },
  file: { modes: ["falloc", "full"], shrinks: "Cannot use preallocation for shrinking files" },
};
const ZEROES = new Uint8Array(1 << 20);

/**
 * As `BlockNode.resize`. What is added is written with zeroes, whatever the mode but `off`: with `metadata` too, which so takes more
 * room than it has to, and what was added stays where that fails. Throws a `QmpError` with QEMU's text where the driver has no such mode.
 */
export async function resizePreallocated(node: BlockNode, lengthBytes: number, mode: PreallocationMode): Promise<void> {
  if (mode === "off" || node.driver.resize === undefined) return node.resize(lengthBytes);
  using _drained = await node.drain();
  const before = node.lengthBytes;
  const known = DRIVERS[node.driver.driverName];
  if (known !== undefined && lengthBytes < before) throw new QmpError(known.shrinks);
  if (known?.modes.includes(mode) !== true) throw new QmpError(`Unsupported preallocation mode: ${mode}`);
  await node.resize(lengthBytes);
  const pacer = new Pacer(systemClock);
  const end = node.lengthBytes;
  for (let at = before; at < end; at += ZEROES.length) {
    // Not by the node: what was added is clean in its bitmaps, and zeroes are to be written as such.
    await node.driver.write(at, IoVector.of(ZEROES, 0, Math.min(ZEROES.length, end - at)));
    if (pacer.step()) await pacer.yield();
  }
}
