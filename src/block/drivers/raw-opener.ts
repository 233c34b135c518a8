// Opens raw images from options: docs/reference/monitor.md §6, corrections.md A6.

import { QmpError } from "../../base/errors.ts";
import { SECTOR_SIZE_BYTES } from "../driver.ts";
import type { BlockdevOptions, BlockdevReference, DriverOpener, OpenContext } from "../graph-options.ts";
import { PLAIN_IMAGE } from "../image-file.ts";
import type { BlockNode } from "../node.ts";
import { RawDriver } from "./raw.ts";
import { ProbedRawDriver } from "./raw-probed.ts";

/** QMP's options of `raw`. */
export interface RawNodeOptions extends BlockdevOptions {
  readonly file: BlockdevReference;
  readonly offset?: number;
  readonly size?: number;
  /** Nobody said that it is raw: `PROBED_AS_RAW`. Not QMP's. */
  readonly "x-probed"?: boolean;
}

export const rawOpener: DriverOpener = {
  driver: "raw",
  children: [{ role: "file", required: true }],
  image: PLAIN_IMAGE,
  reopen: {
    // Who reopens it says that it is raw.
    changeable: ["file", "offset", "size", "x-probed"],
    resettable: ["offset", "size", "x-probed"],
    check(options, node) {
      const { offset = 0, size } = options as RawNodeOptions;
      checkPart(node.driver.children[0]!.node, offset, size);
    },
  },
  open(context: OpenContext): RawDriver {
    const { offset = 0, size, "x-probed": probed = false } = context.options as RawNodeOptions;
    const file = context.child("file");
    checkPart(file, offset, size);
    if (probed) return new ProbedRawDriver({ file, readOnly: false });
    return new RawDriver({ file, readOnly: false, offsetBytes: offset, sizeBytes: size });
  },
};

/** Throws a `QmpError` unless the file holds such a part. */
function checkPart(file: BlockNode, offset: number, size: number | undefined): void {
  const { lengthBytes } = file;
  if (offset > lengthBytes) {
    throw new QmpError(`Offset (${offset}) cannot be greater than size of the containing file (${lengthBytes})`);
  }
  if (size === undefined) return;
  if (lengthBytes - offset < size) {
    throw new QmpError(
      `The sum of offset (${offset}) and size (${size}) has to be smaller or equal to the ` +
        ` actual size of the containing file (${lengthBytes})`,
    );
  }
  if (size % SECTOR_SIZE_BYTES !== 0) throw new QmpError("Specified size is not multiple of 512");
}
