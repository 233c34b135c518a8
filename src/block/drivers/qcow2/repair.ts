// Puts the refcounts of an image right that a crash left marked dirty.

import { BlockError } from "../../../base/errors.ts";
import { checkImage, MAX_WRONG_COUNTS } from "./check.ts";
import type { Qcow2Image } from "./image.ts";

/** 64 million counts: images of 4 TiB with clusters of 64 KiB. */
const MAX_ROUNDS = 64;

/** Sets every count that is not what is used. Within the mutex. Fails with EIO where tables contradict themselves. */
export async function repairRefcounts(image: Qcow2Image): Promise<void> {
  for (let round = 0; round < MAX_ROUNDS; round++) if (await repairSome(image)) return;
  throw new BlockError("EIO", "Could not repair dirty image: too many refcounts are wrong");
}

/** True if that was all. */
async function repairSome(image: Qcow2Image): Promise<boolean> {
  const { damage, wrongCounts, endCluster } = await checkImage(image, { copiedFlags: false });
  if (damage.length > 0) throw new BlockError("EIO", `Could not repair dirty image: ${damage[0]}`);
  const { refcounts, layout } = image;
  let free = Math.max(endCluster, Math.ceil(image.file.lengthBytes / layout.clusterBytes));
  /** A block that is missing comes behind everything; its own count may be in another that is missing. */
  const addBlocks = async (cluster: number): Promise<void> => {
    if ((await refcounts.blockOf(cluster)) !== undefined) return;
    const place = free++;
    await refcounts.insertBlock(Math.floor(cluster / layout.refcountsPerBlock), place * layout.clusterBytes);
    await addBlocks(place);
    await refcounts.change(place, 1);
  };
  for (const { cluster, stored, used } of wrongCounts) {
    await addBlocks(cluster);
    await refcounts.change(cluster, used - stored);
  }
  return wrongCounts.length < MAX_WRONG_COUNTS;
}
