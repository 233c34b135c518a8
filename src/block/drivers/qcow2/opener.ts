// Opens and makes qcow2 images from options: docs/reference/persistence-migration.md §1, monitor.md §6.

import { BlockError, QmpError } from "../../../base/errors.ts";
import type {
  BlockdevCreateOptions,
  BlockdevOptions,
  DriverOpener,
  OpenContext,
  OptionValue,
} from "../../graph-options.ts";
import type { ImageGraph, NewImage } from "../../image-file.ts";
import type { BlockNode } from "../../node.ts";
import { createImage, type NewQcow2Image } from "./create.ts";
import { QCOW2_MAGIC, viewOf } from "./format.ts";
import { EXTENSION_BACKING_FORMAT, extensionData } from "./header.ts";
import { beginWriting, openImage } from "./open-image.ts";
import { overlapChecksOf } from "./overlap-checks.ts";
import { Qcow2Driver } from "./qcow2.ts";
import type { RuntimeOptions } from "./runtime-options.ts";

/** QMP's options of `qcow2`. */
interface Qcow2NodeOptions extends BlockdevOptions {
  readonly backing?: BlockdevOptions | string | null;
  readonly "lazy-refcounts"?: boolean;
  readonly "cache-size"?: number;
  readonly "l2-cache-size"?: number;
  readonly "l2-cache-entry-size"?: number;
  readonly "refcount-cache-size"?: number;
  readonly "cache-clean-interval"?: number;
  readonly "overlap-check"?: OptionValue;
  readonly "pass-discard-request"?: boolean;
  readonly "pass-discard-snapshot"?: boolean;
  readonly "pass-discard-other"?: boolean;
  readonly "discard-no-unref"?: boolean;
}

const RUNTIME_OPTIONS = [
  "lazy-refcounts",
  "cache-size",
  "l2-cache-size",
  "l2-cache-entry-size",
  "refcount-cache-size",
  "cache-clean-interval",
  "overlap-check",
  "pass-discard-request",
  "pass-discard-snapshot",
  "pass-discard-other",
  "discard-no-unref",
];

export const qcow2Opener: DriverOpener = {
  driver: "qcow2",
  children: [
    { role: "file", required: true },
    { role: "backing", required: false },
  ],
  reopen: {
    changeable: ["backing", ...RUNTIME_OPTIONS],
    resettable: RUNTIME_OPTIONS,
  },
  open: openDriver,
  openedAnewOnActivation: true,
  create: createFromOptions,
  image: {
    hasBacking: true,
    create: createFile,
    probe: (head) =>
      head.length >= 8 && viewOf(head).getUint32(0) === QCOW2_MAGIC && viewOf(head).getUint32(4) >= 2 ? 100 : 0,
  },
};

async function openDriver(context: OpenContext): Promise<Qcow2Driver> {
  const options = context.options as Qcow2NodeOptions;
  const file = context.child("file");
  await settleOthers(file);
  const readOnly = context.settings.readOnly || (context.settings.autoReadOnly && file.readOnly);
  const image = await openImage(file, {
    readOnly: readOnly || !context.active,
    ...runtimeOptions(options, context.settings.discard === "unmap"),
  });
  if (!readOnly && context.active) {
    if (file.readOnly) throw new QmpError("Block node is read-only");
    await beginWriting(image);
  }
  const { backingFile } = image.header;
  let backing = context.optionalChild("backing");
  if (backing === undefined && options.backing === undefined && backingFile !== undefined && backingFile !== "") {
    const format = extensionData(image.header, EXTENSION_BACKING_FORMAT);
    const name = format === undefined ? undefined : new TextDecoder().decode(format);
    backing = await openBacking(context, file, backingFile, name);
  }
  const { active, clock, imageDamaged } = context;
  return new Qcow2Driver({ image, backing, readOnly, active, clock, onDamage: imageDamaged });
}

async function openBacking(
  context: OpenContext,
  file: BlockNode,
  name: string,
  format: string | undefined,
): Promise<BlockNode> {
  try {
    return await context.openBackingFile(file, name, format);
  } catch (error) {
    if (error instanceof QmpError) throw new QmpError(`Could not open backing file: ${error.message}`);
    if (error instanceof BlockError) throw new BlockError(error.errno, `Could not open backing file: ${error.message}`);
    throw error;
  }
}

/** A node that is opened anew still has its old driver: what that has not written yet the new one could not see. */
async function settleOthers(file: BlockNode): Promise<void> {
  for (const { node } of file.parents)
    if (node?.driver instanceof Qcow2Driver && node.driver.writable) await node.driver.image.settle();
}

/** Discards that the guest asks for pass by default where the node heeds them at all. */
function runtimeOptions(options: Qcow2NodeOptions, heedsDiscards: boolean): RuntimeOptions {
  return {
    cacheBytes: options["cache-size"],
    l2CacheBytes: options["l2-cache-size"],
    l2CacheEntryBytes: options["l2-cache-entry-size"],
    refcountCacheBytes: options["refcount-cache-size"],
    cacheCleanSeconds: options["cache-clean-interval"],
    lazyRefcounts: options["lazy-refcounts"],
    overlapChecks: overlapChecksOf(options["overlap-check"]),
    passDiscards: {
      request: options["pass-discard-request"] ?? heedsDiscards,
      snapshot: options["pass-discard-snapshot"] ?? true,
      other: options["pass-discard-other"] ?? false,
    },
    discardNoUnref: options["discard-no-unref"],
  };
}

/** QMP's BlockdevCreateOptionsQcow2. */
interface Qcow2CreateOptions extends BlockdevCreateOptions {
  readonly file: string;
  readonly size: number;
  readonly version?: "v2" | "v3";
  readonly "backing-file"?: string;
  readonly "backing-fmt"?: string;
  readonly "cluster-size"?: number;
  readonly "refcount-bits"?: number;
  readonly "lazy-refcounts"?: boolean;
  readonly "extended-l2"?: boolean;
  readonly "compression-type"?: "zlib" | "zstd";
  readonly preallocation?: "off" | "metadata" | "falloc" | "full";
}

async function createFromOptions(given: BlockdevCreateOptions, graph: ImageGraph): Promise<void> {
  const options = given as Qcow2CreateOptions;
  if (given["data-file"] !== undefined) throw new QmpError("External data files are not supported");
  if (given["data-file-raw"] === true) throw new QmpError("data-file-raw requires data-file");
  if (given["encrypt"] !== undefined) throw new QmpError("Encrypted images are not supported");
  const image: NewQcow2Image = {
    sizeBytes: options.size,
    ...definedOf({
      version: options.version === undefined ? undefined : options.version === "v2" ? 2 : 3,
      clusterBytes: options["cluster-size"],
      refcountBits: options["refcount-bits"],
      lazyRefcounts: options["lazy-refcounts"],
      extendedL2: options["extended-l2"],
      compressionType: options["compression-type"],
      backingFile: options["backing-file"],
      backingFormat: options["backing-fmt"],
      preallocation: options.preallocation,
    }),
  };
  if (image.sizeBytes < 0) throw new QmpError("Image size too large");
  await withNode(graph, options["file"] as OptionValue, (node) => createImage(node, image));
}

/** Without members that are undefined. */
function definedOf(options: Record<string, unknown>): Partial<NewQcow2Image> {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
}

async function withNode(graph: ImageGraph, given: OptionValue, use: (node: BlockNode) => Promise<void>): Promise<void> {
  if (typeof given === "string") return use(graph.lookup(given).node);
  const node = await graph.open(given as BlockdevOptions);
  try {
    await use(node);
  } finally {
    await graph.release(node);
  }
}

async function createFile({ filename, lengthBytes, backing }: NewImage, graph: ImageGraph): Promise<void> {
  await graph.create({ driver: "file", filename, size: 0 });
  const image: NewQcow2Image = {
    sizeBytes: lengthBytes,
    ...(backing === undefined ? {} : { backingFile: backing.filename, backingFormat: backing.format }),
  };
  await withNode(graph, { driver: "file", filename }, (node) => createImage(node, image));
}
