// What queries tell of a node: QMP's BlockDeviceInfo. docs/reference/monitor.md §2, corrections.md D.

import type { BlockBackend } from "../../block/backend.ts";
import type { NodeParent } from "../../block/drain.ts";
import type { BlockNode } from "../../block/node.ts";
import type { DetectZeroes } from "../../block/node-settings.ts";
import { array, bool, enumeration, type Int64, int, object, optional, str, type Type } from "../schema/types.ts";
import { backingOf, describeImage, type ImageFacts, type ImageInfo, imageInfo } from "./query-block-image.ts";
import { describeLimits, type IoLimits, ioLimits } from "./query-block-limits.ts";
import { childOf, imageName } from "./query-block-names.ts";

/** QMP's BlockDirtyInfo. */
export interface BlockDirtyInfo {
  /** Bitmaps that jobs use have none. */
  readonly name?: string;
  /** Dirty bytes, whole granules. */
  readonly count: Int64;
  readonly granularity: Int64;
  readonly recording: boolean;
  readonly busy: boolean;
  readonly persistent: boolean;
  readonly inconsistent?: boolean;
}

/** QMP's BlockDeviceInfo, of QEMU 10.1. Limits are those of the backend by which the node is looked at. */
export interface BlockDeviceInfo extends IoLimits {
  readonly file: string;
  readonly "node-name": string;
  readonly ro: boolean;
  readonly drv: string;
  readonly backing_file?: string;
  readonly backing_file_depth: Int64;
  readonly children: readonly { readonly "node-name": string; readonly child: string }[];
  readonly active: boolean;
  readonly encrypted: boolean;
  readonly detect_zeroes: DetectZeroes;
  readonly image: ImageInfo;
  readonly cache: { readonly writeback: boolean; readonly direct: boolean; readonly "no-flush": boolean };
  readonly write_threshold: Int64;
  readonly "dirty-bitmaps"?: readonly BlockDirtyInfo[];
}

export const blockDeviceInfo: Type<BlockDeviceInfo> = object({
  file: str,
  "node-name": str,
  ro: bool,
  drv: str,
  backing_file: optional(str),
  backing_file_depth: int,
  children: array(object({ "node-name": str, child: str })),
  active: bool,
  encrypted: bool,
  detect_zeroes: enumeration("off", "on", "unmap"),
  ...ioLimits,
  image: imageInfo,
  cache: object({ writeback: bool, direct: bool, "no-flush": bool }),
  write_threshold: int,
  "dirty-bitmaps": optional(
    array(
      object({
        name: optional(str),
        count: int,
        granularity: int,
        recording: bool,
        busy: bool,
        persistent: bool,
        inconsistent: optional(bool),
      }),
    ),
  ),
}) as Type<unknown> as Type<BlockDeviceInfo>;

const MAX_UINT64 = 2n ** 64n - 1n;

export interface DescribeNodeOptions {
  /** Without what is below, as if there were none. */
  readonly flat?: boolean;
  /** By which the node is looked at. */
  readonly backend?: BlockBackend | undefined;
}

export function describeNode(
  facts: ImageFacts,
  node: BlockNode,
  { flat = false, backend }: DescribeNodeOptions = {},
): BlockDeviceInfo {
  const { settings, driver } = node;
  const backingFile = childOf(node, "backing");
  return {
    file: imageName(facts.nodes, node),
    "node-name": node.name,
    ro: node.readOnly,
    drv: driver.driverName,
    ...(backingFile === undefined ? {} : { backing_file: imageName(facts.nodes, backingFile) }),
    backing_file_depth: flat ? 0 : backingDepth(node),
    // QEMU lists the child first that was attached last.
    children: driver.children.map((child) => ({ "node-name": child.node.name, child: child.role })).reverse(),
    active: node.active,
    encrypted: false,
    detect_zeroes: settings.detectZeroes,
    ...describeLimits(backend?.throttleGroup),
    image: describeImage(facts, node, flat),
    cache: {
      writeback: backend?.writeCache ?? true,
      direct: settings.cacheDirect,
      "no-flush": settings.cacheNoFlush,
    },
    write_threshold: thresholdOf(node),
    ...describeBitmaps(node),
  };
}

/**
 * The filter that a job's interception of `node` stands for: nobody's node here, but QEMU's clients expect to see it in the place
 * of the node. Its bitmaps, which are the job's affair and have no names, are left out.
 */
export function describeFilter(
  facts: ImageFacts,
  filterName: string,
  node: BlockNode,
  { flat = false, backend }: DescribeNodeOptions = {},
): BlockDeviceInfo {
  const below = describeNode(facts, node, { backend });
  const { "dirty-bitmaps": _bitmaps, backing_file: _backing, ...info } = below;
  const { filename, "virtual-size": size, "actual-size": actual, "dirty-flag": dirty } = below.image;
  return {
    ...info,
    "node-name": filterName,
    drv: "copy-before-write",
    backing_file_depth: flat ? 0 : backingDepth(node) + 1,
    children: [
      ...targetsOf(facts, filterName).map((target) => ({ "node-name": target.name, child: "target" })),
      { "node-name": node.name, child: "file" },
    ],
    detect_zeroes: "off",
    image: {
      filename,
      format: "copy-before-write",
      "virtual-size": size,
      ...(actual === undefined ? {} : { "actual-size": actual }),
      ...(dirty === undefined ? {} : { "dirty-flag": dirty }),
      ...(flat ? {} : { "backing-image": below.image }),
    },
    cache: { ...info.cache, writeback: backend?.writeCache ?? true },
    write_threshold: 0,
  };
}

function targetsOf(facts: ImageFacts, filterName: string): BlockNode[] {
  const isOfFilter = ({ parentName, role }: NodeParent): boolean =>
    role === "target" && parentName === `node '${filterName}'`;
  return Array.from(facts.nodes, ({ node }) => node).filter((node) => Array.from(node.parents).some(isOfFilter));
}

function backingDepth(node: BlockNode): number {
  const backing = backingOf(node);
  return backing === undefined ? 0 : 1 + backingDepth(backing);
}

/** One of 2^64 - 1 is a rounded number by now. */
function thresholdOf({ writeThreshold: { bytes } }: BlockNode): Int64 {
  if (Number.isSafeInteger(bytes)) return bytes;
  const exact = BigInt(bytes);
  return exact > MAX_UINT64 ? MAX_UINT64 : exact;
}

/** Newest first; no member at all where there are none. */
function describeBitmaps(node: BlockNode): { readonly "dirty-bitmaps"?: readonly BlockDirtyInfo[] } {
  if (node.bitmaps.count === 0) return {};
  const bitmaps = Array.from(node.bitmaps, (bitmap) => ({
    ...(bitmap.name === undefined ? {} : { name: bitmap.name }),
    recording: bitmap.recording,
    persistent: bitmap.persistent,
    busy: bitmap.busy,
    granularity: bitmap.granularityBytes,
    count: bitmap.countBytes,
    ...(bitmap.inconsistent ? { inconsistent: true } : {}),
  }));
  return { "dirty-bitmaps": bitmaps };
}
