// Making the disk of a qcow2 image longer or shorter.

import { BlockError } from "../../../base/errors.ts";
import { MAX_HOST_BYTES, MAX_L1_BYTES, roundUp } from "./format.ts";
import type { Qcow2Image } from "./image.ts";
import type { ClusterZeroer } from "./zero-clusters.ts";

/** Nothing else is in flight. What is added reads as zeroes. The header is changed last when the disk grows, and first when it shrinks. */
export async function resizeImage(image: Qcow2Image, zeroer: ClusterZeroer, lengthBytes: number): Promise<void> {
  const { header, layout } = image;
  const before = header.sizeBytes;
  const size = roundUp(lengthBytes, 512);
  if (lengthBytes !== size) throw new BlockError("EINVAL", "The new size must be a multiple of 512");
  if (header.snapshotCount > 0 && layout.version < 3)
    throw new BlockError("ENOTSUP", "Can't resize a v2 image which has snapshots");
  if (size === before) return;
  if (size > MAX_HOST_BYTES - 512) throw new BlockError("EFBIG", "Failed to grow the L1 table: File too large");
  if (size < before) {
    const { clusterBytes } = layout;
    await setSize(image, size);
    await zeroer.forget(roundUp(size, clusterBytes), roundUp(before, clusterBytes));
    await image.flush();
    await image.mutex.run(() => image.dropL2Tables(Math.ceil(size / layout.l2Reach)));
    return;
  }
  await image.mutex.run(() => growL1(image, Math.ceil(size / layout.l2Reach)));
  await setSize(image, size, () => zeroer.coverBacking(before, size));
}

/** A disk that grows is longer in memory before what is added can be written to, and in the file after that. */
async function setSize(image: Qcow2Image, size: number, prepare?: () => Promise<void>): Promise<void> {
  const { header } = image;
  const before = header.sizeBytes;
  header.sizeBytes = size;
  try {
    await prepare?.();
    await image.flush();
    await image.mutex.run(() => image.writeHeader());
  } catch (error) {
    header.sizeBytes = before;
    throw error;
  }
}

/** Another table, in other clusters, where the one that there is too short. */
async function growL1(image: Qcow2Image, entries: number): Promise<void> {
  const { file, header, l1, layout, allocator } = image;
  const { clusterBytes } = layout;
  if (entries <= l1.entries) return;
  if (entries * 8 > MAX_L1_BYTES) throw new BlockError("EFBIG", "Failed to grow the L1 table: File too large");
  await image.beginChange();
  await file.event("l1_grow_alloc_table");
  const { offsetBytes } = await allocator.allocate(Math.ceil((entries * 8) / clusterBytes));
  await image.commitWithin();
  const bytes = l1.grown(entries);
  await file.event("l1_grow_write_table");
  await file.writeBytes(offsetBytes, padded(bytes));
  await file.flush();
  const old = { offset: header.l1Offset, length: header.l1Entries * 8 };
  await file.event("l1_grow_activate_table");
  header.l1Offset = offsetBytes;
  header.l1Entries = entries;
  try {
    await image.writeHeader();
  } catch (error) {
    // Nobody knows which of the two the file has now: neither is given up.
    [header.l1Offset, header.l1Entries] = [old.offset, old.length / 8];
    throw error;
  }
  l1.replace(offsetBytes, bytes);
  if (old.length > 0) image.freeLater(old.offset, old.length);
}

function padded(bytes: Uint8Array): Uint8Array {
  const whole = new Uint8Array(roundUp(bytes.length, 512));
  whole.set(bytes);
  return whole;
}
