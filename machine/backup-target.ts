// Where a backup goes: a raw image in a file of its own, made for it.

import { stat } from "node:fs/promises";
import { QmpError } from "../src/base/errors.ts";
import { FileDriver } from "../src/block/drivers/file/file-driver.ts";
import { RawDriver } from "../src/block/drivers/raw.ts";
import { BlockNode } from "../src/block/node.ts";
import type { DriveInfo } from "./control.ts";

/** The nodes of one backup's target, from `open` to `close`. */
export class BackupTarget {
  readonly path: string;
  readonly node: BlockNode;
  readonly #file: BlockNode;

  private constructor(path: string, node: BlockNode, file: BlockNode) {
    this.path = path;
    this.node = node;
    this.#file = file;
  }

  /**
   * Makes an image of `lengthBytes` zeroes at `path`, or opens the one that is there if it is `existing`. What was there is
   * overwritten, unless somebody uses it or it is an image of one of `drives`: then it is left as it is and a `QmpError` or
   * `BlockError` says so.
   */
  static async open(
    options: { readonly path: string; readonly existing: boolean; readonly lengthBytes: number; readonly id: string },
    drives: readonly DriveInfo[],
  ): Promise<BackupTarget> {
    const { path, existing, lengthBytes, id } = options;
    for (const drive of drives) {
      if (drive.path !== undefined && (await isSameFile(drive.path, path))) {
        throw new QmpError(`Source and target cannot be the same: '${path}' is the image of drive '${drive.id}'`);
      }
    }
    const driver = existing ? await FileDriver.open({ path }) : await FileDriver.create({ path, lengthBytes });
    const file = new BlockNode({ name: `${id}-target-file`, driver, discard: "unmap" });
    const node = new BlockNode({ name: `${id}-target`, driver: new RawDriver({ file }), discard: "unmap" });
    return new BackupTarget(path, node, file);
  }

  /** Puts what was written on stable storage. */
  async flush(): Promise<void> {
    await this.node.flush();
  }

  async close(): Promise<void> {
    await this.node.close();
    await this.#file.close();
  }
}

/** Whether two paths lead to one file; false when the second leads nowhere. */
async function isSameFile(path: string, other: string): Promise<boolean> {
  const [a, b] = await Promise.all([path, other].map((one) => stat(one, { bigint: true }).catch(() => undefined)));
  return a !== undefined && b !== undefined && a.dev === b.dev && a.ino === b.ino;
}
