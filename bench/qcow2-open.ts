// How long a qcow2 image of 1 TiB takes to open whose bitmap is loaded with it, beside a real QEMU's `blockdev-add`.

import { join } from "node:path";
import { type BlockPeer, OURS, QEMUS, withPeers } from "./block-peer.ts";
import { GIB, inFolder } from "./images.ts";
import { makeQcow2Image, withQcow2 } from "./qcow2-images.ts";
import { type BenchTable, median, ms, ratioOf } from "./report.ts";

const ROUNDS = 7;
const DISK_BYTES = 1024 * GIB;
/** A run of 1 to 8 dirty granules in so many: bits that no shortcut is for. */
const PERIOD = 16;
const BITMAP = "bitmap0";

interface Content {
  readonly name: string;
  readonly granularityBytes: number;
  /** Dirty granules are in the first part of each piece of the disk. */
  readonly pieceBytes: number;
  readonly partBytes: number;
}

const CONTENTS: readonly Content[] = [
  { name: "64 KiB, all over: 2 MiB of bits", granularityBytes: 65536, pieceBytes: DISK_BYTES, partBytes: DISK_BYTES },
  { name: "4 KiB, all over: 32 MiB of bits", granularityBytes: 4096, pieceBytes: DISK_BYTES, partBytes: DISK_BYTES },
  { name: "512 B, 1/64 of 256 MiB", granularityBytes: 512, pieceBytes: 16 * GIB, partBytes: GIB / 4 },
];

/** In a folder below `parent`, which has room for 200 MiB. */
export function qcow2OpenBenchmarks(parent: string): Promise<BenchTable[]> {
  return inFolder(parent, async (folder) => {
    const image = join(folder, "disk.qcow2");
    const kinds = [OURS, ...QEMUS.slice(0, 1)];
    const rows = await withPeers(kinds, async (peers) => {
      await makeQcow2Image(image, DISK_BYTES);
      const without = await openEach(peers, image, undefined);
      const made = [["none", ...without.map((all) => ms(median(all))), ratio(without)]];
      for (const content of CONTENTS) {
        await makeQcow2Image(image, DISK_BYTES);
        const times = await openEach(peers, image, await addBitmap(image, content));
        const loading = times.map((all, i) => all.map((elapsedMs) => elapsedMs - median(without[i]!)));
        const figures = times.map((all, i) => `${ms(median(all))} (${ms(median(loading[i]!))})`);
        made.push([content.name, ...figures, `${ratio(times)} (${ratio(loading)})`]);
      }
      return made;
    });
    const what = "its bitmap is loaded, and marked as in use; in parentheses what that adds";
    const title = `Opening a qcow2 image of 1 TiB for writing, by blockdev-add; ${what}`;
    return [{ title, columns: ["bitmap", ...kinds.map(({ name }) => name), "virtio-blk is as fast"], rows }];
  });
}

function ratio([ours, theirs]: readonly (readonly number[])[]): string {
  return theirs === undefined ? "-" : ratioOf(theirs, ours!);
}

/** Milliseconds, each peer in turn; the bitmap is stored again when the node goes. */
async function openEach(
  peers: readonly BlockPeer[],
  image: string,
  countBytes: number | undefined,
): Promise<number[][]> {
  const times = peers.map((): number[] => []);
  for (let round = 0; round < ROUNDS; round++) {
    for (const [i, peer] of peers.entries()) {
      const startedMs = performance.now();
      await peer.add("disk", image, false, "qcow2");
      times[i]!.push(performance.now() - startedMs);
      const loaded = await loadedBytes(peer);
      if (loaded !== countBytes) throw new Error(`${peer.name}: ${loaded} bytes are dirty instead of ${countBytes}`);
      await peer.remove("disk");
    }
  }
  return times;
}

/** What the bitmap that a peer has loaded says of the disk; undefined where there is none. */
async function loadedBytes(peer: BlockPeer): Promise<number | undefined> {
  const nodes = (await peer.qmp.execute("query-named-block-nodes", { flat: true })) as {
    "node-name": string;
    "dirty-bitmaps"?: { name: string; count: number }[];
  }[];
  const node = nodes.find((candidate) => candidate["node-name"] === "disk");
  return node?.["dirty-bitmaps"]?.find(({ name }) => name === BITMAP)?.count;
}

/** Gives the image an enabled bitmap that is kept in it. Returns how much of the disk it says is dirty. */
function addBitmap(image: string, content: Content): Promise<number> {
  const { granularityBytes, pieceBytes, partBytes } = content;
  return withQcow2(image, (node) => {
    const bitmap = node.bitmaps.add({ name: BITMAP, granularityBytes });
    bitmap.persistent = true;
    let run = 0;
    for (let piece = 0; piece < DISK_BYTES; piece += pieceBytes)
      for (let at = piece; at < piece + partBytes; at += PERIOD * granularityBytes)
        bitmap.set(at, ((run++ % 8) + 1) * granularityBytes);
    return Promise.resolve(bitmap.countBytes);
  });
}
