// Where a script's backup goes: a raw image in a file of its own, made for it.

import { stat } from "node:fs/promises";
import { QmpError } from "../src/base/errors.ts";
import type { BlockGraph } from "../src/block/graph.ts";
import type { BlockNode } from "../src/block/node.ts";
import type { DriveInfo } from "./control.ts";

/** The node of one backup's target, from `open` to `close`. */
export class BackupTarget {
  readonly path: string;
  readonly node: BlockNode;
  readonly #graph: BlockGraph;

  private constructor(path: string, node: BlockNode, graph: BlockGraph) {
    this.path = path;
    this.node = node;
    this.#graph = graph;
  }

  /**
   * Makes an image of `lengthBytes` zeroes at `path`, or opens the one that is there if it is `existing`. What was there is
   * overwritten, unless somebody uses it or it is an image of one of `drives`: then it is left as it is and a `QmpError` or
   * `BlockError` says so.
   */
  static async open(
    graph: BlockGraph,
    options: { readonly path: string; readonly existing: boolean; readonly lengthBytes: number },
    drives: readonly DriveInfo[],
  ): Promise<BackupTarget> {
    const { path, existing, lengthBytes } = options;
    for (const drive of drives) {
      if (drive.path !== undefined && (await isSameFile(drive.path, path))) {
        throw new QmpError(`Source and target cannot be the same: '${path}' is the image of drive '${drive.id}'`);
      }
    }
    if (!existing) await graph.create({ driver: "file", filename: path, size: lengthBytes });
    const node = await graph.open({
      driver: "raw",
      discard: "unmap",
      file: { driver: "file", filename: path, discard: "unmap" },
    });
    return new BackupTarget(path, node, graph);
  }

  /** Puts what was written on stable storage. */
  async flush(): Promise<void> {
    await this.node.flush();
  }

  async close(): Promise<void> {
    await this.#graph.release(this.node);
  }
}

/** Whether two paths lead to one file; false when the second leads nowhere. */
async function isSameFile(path: string, other: string): Promise<boolean> {
  const [a, b] = await Promise.all([path, other].map((one) => stat(one, { bigint: true }).catch(() => undefined)));
  return a !== undefined && b !== undefined && a.dev === b.dev && a.ino === b.ino;
}
