// Opens copy-before-write filters from options.

import { QmpError } from "../../base/errors.ts";
import type { DirtyBitmap } from "../../bitmap/dirty-bitmap.ts";
import type { OnCbwError } from "../block-copy-notifier.ts";
import type { BlockdevOptions, BlockdevReference, DriverOpener, OpenContext } from "../graph-options.ts";
import { CopyBeforeWriteDriver } from "./copy-before-write.ts";

/** QMP's options of `copy-before-write`. */
export interface CopyBeforeWriteNodeOptions extends BlockdevOptions {
  readonly file: BlockdevReference;
  readonly target: BlockdevReference;
  readonly bitmap?: { readonly node: string; readonly name: string };
  readonly "on-cbw-error"?: OnCbwError;
  /** Seconds. */
  readonly "cbw-timeout"?: number;
  readonly "min-cluster-size"?: number;
}

/** It has no `reopen`: not even what nodes have in common can be changed, as with QEMU's. */
export const copyBeforeWriteOpener: DriverOpener = {
  driver: "copy-before-write",
  children: [
    { role: "file", required: true },
    { role: "target", required: true },
  ],
  open(context): CopyBeforeWriteDriver {
    const options = context.options as CopyBeforeWriteNodeOptions;
    return new CopyBeforeWriteDriver({
      file: context.child("file"),
      target: context.child("target"),
      bitmap: options.bitmap === undefined ? undefined : findBitmap(context, options.bitmap),
      onCbwError: options["on-cbw-error"] ?? "break-guest-write",
      cbwTimeoutSeconds: options["cbw-timeout"] ?? 0,
      minClusterSizeBytes: options["min-cluster-size"] ?? 0,
      clock: context.clock,
    });
  },
};

function findBitmap(context: OpenContext, { node, name }: { node: string; name: string }): DirtyBitmap {
  const found = context.findNode(node);
  if (found === undefined) throw new QmpError(`Node '${node}' not found`);
  return found.bitmaps.get(name);
}
