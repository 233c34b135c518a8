// qcow2 images for benchmarks, made by this project's driver: without data, full, or with pieces of data.

import { randomFillSync } from "node:crypto";
import { rmSync } from "node:fs";
import { IoVector } from "../src/base/io-vector.ts";
import { BlockBackend } from "../src/block/backend.ts";
import { fileOpener } from "../src/block/drivers/file/file-opener.ts";
import { qcow2Opener } from "../src/block/drivers/qcow2/opener.ts";
import { BlockGraph } from "../src/block/graph.ts";
import type { BlockNode } from "../src/block/node.ts";
import { PERM_ALL } from "../src/block/permissions.ts";
import { MIB } from "./images.ts";

export interface Qcow2Content {
  /** Stands on this image, of the same size. */
  readonly backingFile?: string;
  /** So many pieces of data, one in each of as many equal parts. */
  readonly pieces?: number;
  readonly pieceBytes?: number;
}

/** A new image with clusters of 64 KiB; what was at `path` is gone. */
export async function makeQcow2Image(path: string, sizeBytes: number, content: Qcow2Content = {}): Promise<void> {
  const { backingFile, pieces = 0, pieceBytes = MIB } = content;
  rmSync(path, { force: true });
  const graph = graphOfFiles();
  await graph.create({ driver: "file", filename: path, size: 0 });
  const backing = backingFile === undefined ? {} : { "backing-file": backingFile, "backing-fmt": "qcow2" as const };
  await graph.create({ driver: "qcow2", file: { driver: "file", filename: path }, size: sizeBytes, ...backing });
  if (pieces === 0) return;
  const piece = randomFillSync(new Uint8Array(pieceBytes));
  await withQcow2(path, async (node) => {
    for (let i = 0; i < pieces; i++) await node.write((i * sizeBytes) / pieces, IoVector.of(piece));
    await node.flush();
  });
}

/** Opens an image for reading and writing in this process, and closes it when `use` is done. */
export async function withQcow2<T>(path: string, use: (node: BlockNode) => Promise<T>): Promise<T> {
  const graph = graphOfFiles();
  const node = await graph.open({ driver: "qcow2", file: { driver: "file", filename: path } });
  const backend = new BlockBackend({ name: "bench", node, permissions: { needs: PERM_ALL, shares: PERM_ALL } });
  try {
    return await use(node);
  } finally {
    backend.close();
    await graph.release(node);
  }
}

function graphOfFiles(): BlockGraph {
  return new BlockGraph({ drivers: [fileOpener(), qcow2Opener] });
}
