// A drive: the nodes of one image, and the backend through which a device uses it.

import { QmpError } from "../src/base/errors.ts";
import { BlockBackend } from "../src/block/backend.ts";
import type { BlockDriver } from "../src/block/driver.ts";
import { FileDriver } from "../src/block/drivers/file/file-driver.ts";
import { MemoryDriver } from "../src/block/drivers/memory.ts";
import { NullDriver } from "../src/block/drivers/null.ts";
import { RawDriver } from "../src/block/drivers/raw.ts";
import { BlockNode } from "../src/block/node.ts";
import type { DriveOptions, FileDriveOptions } from "./drive-options.ts";

/** One drive of a machine. */
export class Drive {
  readonly id: string;
  readonly options: DriveOptions;
  readonly backend: BlockBackend;
  /** What the guest's requests reach first: bitmaps and backups belong here. */
  readonly node: BlockNode;
  /** From the top down; what stands on others is closed before them. */
  readonly #nodes: readonly BlockNode[];

  private constructor(id: string, options: DriveOptions, nodes: readonly [BlockNode, ...BlockNode[]]) {
    this.id = id;
    this.options = options;
    this.node = nodes[0];
    this.#nodes = nodes;
    this.backend = new BlockBackend({
      name: id,
      node: this.node,
      readOnly: options.readOnly ?? false,
      writeCache: (options.cache ?? "writeback") === "writeback",
    });
  }

  /** Opens the image; what cannot be opened or has no bytes is refused, and nothing was written to it. */
  static async open(id: string, options: DriveOptions): Promise<Drive> {
    const { discard = "unmap", readOnly = false } = options;
    const driver = await openDriver(options);
    if (driver.lengthBytes === 0) {
      await driver.close();
      throw new QmpError(`Could not use '${describe(options)}' as a drive: it is empty`);
    }
    const bottom = new BlockNode({ name: options.driver === "file" ? `${id}-file` : id, driver, discard });
    if (options.driver !== "file") return new Drive(id, options, [bottom]);
    const top = new BlockNode({ name: id, driver: new RawDriver({ file: bottom, readOnly }), discard });
    return new Drive(id, options, [top, bottom]);
  }

  /** Flushes and closes, with nothing in flight and no job on the node. */
  async close(): Promise<void> {
    try {
      if (!this.backend.readOnly) await this.backend.flush();
    } finally {
      this.backend.close();
      for (const node of this.#nodes) {
        for (const bitmap of [...node.bitmaps]) node.bitmaps.release(bitmap);
        await node.close();
      }
    }
  }
}

function openDriver(options: DriveOptions): BlockDriver | Promise<BlockDriver> {
  const { readOnly = false } = options;
  switch (options.driver) {
    case "file":
      return openFile(options, readOnly);
    case "memory":
      return new MemoryDriver({ lengthBytes: options.sizeBytes, readOnly });
    case "null-co":
      return new NullDriver({ lengthBytes: options.sizeBytes, readOnly });
  }
}

function openFile(options: FileDriveOptions, readOnly: boolean): Promise<FileDriver> {
  return FileDriver.open({ path: options.path, readOnly, xIo: options.xIo ?? "auto" });
}

function describe(options: DriveOptions): string {
  return options.driver === "file" ? options.path : options.driver;
}
