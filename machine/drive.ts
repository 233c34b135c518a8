// A drive of a script's machine: an image as the guest, the monitor and the script know it.

import { QmpError } from "../src/base/errors.ts";
import type { BlockBackend } from "../src/block/backend.ts";
import type { BlockGraph } from "../src/block/graph.ts";
import type { BlockdevOptions } from "../src/block/graph-options.ts";
import { probeUnopened } from "../src/block/image-file.ts";
import type { BlockNode } from "../src/block/node.ts";
import { devicePermissions } from "../src/block/permissions.ts";
import type { DriveOptions } from "./drive-options.ts";

/** One drive of a machine: opened with it, and closed with it. */
export interface Drive {
  /** Also what QMP's commands call it. */
  readonly id: string;
  readonly options: DriveOptions;
  readonly backend: BlockBackend;
  /** What the guest's requests reach first: bitmaps and backups belong here. */
  readonly node: BlockNode;
}

/** Opens the image; what cannot be opened or has no bytes is refused, and nothing was written to it. */
export async function openDrive(graph: BlockGraph, id: string, options: DriveOptions): Promise<Drive> {
  const { readOnly = false, cache = "writeback" } = options;
  const node = await graph.open(await nodeOptions(graph, options));
  try {
    if (node.lengthBytes === 0) throw new QmpError(`Could not use '${describe(options)}' as a drive: it is empty`);
    const permissions = devicePermissions(readOnly, false);
    const backend = graph.addBackend({ name: id, node, readOnly, writeCache: cache === "writeback", permissions });
    return { id, options, backend, node };
  } catch (error) {
    await graph.release(node);
    throw error;
  }
}

/** What blockdev-add would be told. */
async function nodeOptions(graph: BlockGraph, options: DriveOptions): Promise<BlockdevOptions> {
  const { discard = "unmap", readOnly = false } = options;
  const common = { discard, "read-only": readOnly, "node-name": options.nodeName };
  switch (options.driver) {
    case "file": {
      const file = { driver: "file", filename: options.path, "x-io": options.xIo ?? "auto", discard };
      return { driver: options.format ?? (await probeUnopened(graph, file)), file, ...common };
    }
    case "memory":
      return { driver: "memory", size: options.sizeBytes, ...common };
    case "null-co":
      return { driver: "null-co", size: options.sizeBytes, "read-zeroes": true, ...common };
  }
}

function describe(options: DriveOptions): string {
  return options.driver === "file" ? options.path : options.driver;
}
