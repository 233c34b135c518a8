// Compressed clusters: raw deflate in a window of 4 KiB, and zstd, which is read only. docs/reference/persistence-migration.md §1.2.

import { Decompress } from "fzstd";
import { deflateRaw, inflateRaw } from "../../../base/deflate.ts";
import { BlockError } from "../../../base/errors.ts";

const COMPRESSION_ZSTD = 1;

/** Clusters of an image with this compression type may be written by `compressCluster`. */
export function writesCompressed(type: number): boolean {
  return type !== COMPRESSION_ZSTD;
}

/** The compressed form of a cluster, as deflate; undefined where that is not smaller. */
export function compressCluster(cluster: Uint8Array): Promise<Uint8Array | undefined> {
  return deflateRaw(cluster);
}

/** A cluster out of its compressed form, which may have anything behind it. Fails with EIO where it has not that many bytes. */
export async function decompressCluster(data: Uint8Array, clusterBytes: number, type: number): Promise<Uint8Array> {
  if (type === COMPRESSION_ZSTD) return unzstd(data, clusterBytes);
  const cluster = await inflateRaw(data, clusterBytes);
  if (cluster === undefined) throw new BlockError("EIO", "Compressed cluster is damaged");
  return cluster;
}

/** Stops as soon as it has what was asked for: what comes behind is no part of the frame. */
function unzstd(data: Uint8Array, clusterBytes: number): Uint8Array {
  const cluster = new Uint8Array(clusterBytes);
  let done = 0;
  try {
    const stream = new Decompress((chunk) => {
      const some = chunk.subarray(0, clusterBytes - done);
      cluster.set(some, done);
      done += some.length;
    });
    // In pieces, so that a frame that claims to be huge is left as soon as there is enough.
    for (let at = 0; at < data.length && done < clusterBytes; at += 512) stream.push(data.subarray(at, at + 512));
  } catch (error) {
    if (done < clusterBytes) throw new BlockError("EIO", "Compressed cluster is damaged", { cause: error });
  }
  if (done < clusterBytes) throw new BlockError("EIO", "Compressed cluster is damaged");
  return cluster;
}
