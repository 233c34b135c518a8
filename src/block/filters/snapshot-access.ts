// snapshot-access: the snapshot of a copy-before-write filter as a node of its own, to be read. docs/reference/backup.md §5.

import { BlockError } from "../../base/errors.ts";
import type { IoVector } from "../../base/io-vector.ts";
import type { BlockDriver, BlockStatus, ChildRole, DriverChild } from "../driver.ts";
import type { DriverOpener } from "../graph-options.ts";
import type { BlockNode } from "../node.ts";
import { NO_PERMISSIONS, type Permissions } from "../permissions.ts";
import type { SnapshotSource } from "../snapshot-source.ts";

/** The snapshot that `file` keeps; reading fails with ENOTSUP if it keeps none, as every write does. */
export class SnapshotAccessDriver implements BlockDriver {
  readonly driverName: string = "snapshot-access";
  readonly readOnly: boolean = false;
  readonly clusterSizeBytes: undefined;
  readonly lengthBytes: number;
  readonly children: readonly DriverChild[];
  readonly #file: BlockNode;

  constructor(options: { file: BlockNode }) {
    this.#file = options.file;
    this.lengthBytes = options.file.driver.snapshot?.lengthBytes ?? options.file.lengthBytes;
    this.children = [{ role: "file", node: options.file }];
  }

  read(offsetBytes: number, vector: IoVector): Promise<void> {
    return this.#snapshot().read(offsetBytes, vector);
  }

  write(): void {
    throw new BlockError("ENOTSUP");
  }

  writeZeroes(): void {
    throw new BlockError("ENOTSUP");
  }

  discard(offsetBytes: number, lengthBytes: number): Promise<void> {
    return this.#snapshot().discard(offsetBytes, lengthBytes);
  }

  flush(): void {}

  blockStatus(offsetBytes: number, lengthBytes: number): Promise<BlockStatus> {
    return this.#snapshot().blockStatus(offsetBytes, lengthBytes);
  }

  async close(): Promise<void> {}

  /** It goes past the requests of the node below: it minds nobody there. */
  childPermissions(_role: ChildRole, _asked: Permissions): Permissions {
    return NO_PERMISSIONS;
  }

  #snapshot(): SnapshotSource {
    const { snapshot } = this.#file.driver;
    if (snapshot === undefined) throw new BlockError("ENOTSUP");
    return snapshot;
  }
}

export const snapshotAccessOpener: DriverOpener = {
  driver: "snapshot-access",
  children: [{ role: "file", required: true }],
  open: (context) => new SnapshotAccessDriver({ file: context.child("file") }),
};
