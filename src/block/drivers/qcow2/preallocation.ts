// Giving clusters their places before anything is written to them.

import type { Qcow2Image } from "./image.ts";

/** Clusters that one step takes. */
const STEP_BYTES = 16 << 20;
const ZEROES = new Uint8Array(1 << 20);

/** Of a range that has nothing yet: `metadata` makes the tables, the others write the data's zeroes as well. Whole clusters. */
export async function preallocate(
  image: Qcow2Image,
  from: number,
  to: number,
  how: "off" | "metadata" | "falloc" | "full",
): Promise<void> {
  if (how === "off") return;
  const { layout, mapping, file } = image;
  const { clusterBytes, sliceReach, extended } = layout;
  for (let at = from; at < to; ) {
    const start = at;
    const most = Math.max(1, Math.floor(STEP_BYTES / clusterBytes));
    const left = Math.ceil((Math.min(to, start - (start % sliceReach) + sliceReach) - start) / clusterBytes);
    const clusters = Math.min(most, left);
    await image.mutex.run(async () => {
      await image.beginChange();
      const { offsetBytes } = await image.allocator.allocate(clusters);
      await file.reach(offsetBytes + clusters * clusterBytes);
      if (how !== "metadata") await writeZeroes(image, offsetBytes, clusters * clusterBytes);
      const table = await image.l2ForChange(start);
      // Subclusters have places, and no data.
      const bits = extended ? { allocated: 0, zero: 0 } : undefined;
      const index = mapping.indexOf(start);
      for (let i = 0; i < clusters; i++) mapping.setHost(table, index + i, offsetBytes + i * clusterBytes, bits);
      await image.settleIfCrowded();
    });
    at += clusters * clusterBytes;
  }
}

async function writeZeroes({ file }: Qcow2Image, offsetBytes: number, lengthBytes: number): Promise<void> {
  for (let done = 0; done < lengthBytes; done += ZEROES.length)
    await file.writeBytes(offsetBytes + done, ZEROES.subarray(0, Math.min(ZEROES.length, lengthBytes - done)));
}
