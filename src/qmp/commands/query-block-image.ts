// What queries tell of the image in a node: QMP's ImageInfo. docs/reference/monitor.md §2.

import { fullBackingName, pathBelow } from "../../block/backing-path.ts";
import { filteredChild } from "../../block/filtered-child.ts";
import type { BlockNode } from "../../block/node.ts";
import type { NodeList } from "../../block/node-list.ts";
import { array, bool, type Int64, int, lazy, object, optional, str, type Type } from "../schema/types.ts";
import {
  type FormatSpecific,
  formatFacts,
  formatSpecific,
  type SnapshotInfo,
  snapshotInfo,
} from "./query-block-format.ts";
import { childOf, imageName } from "./query-block-names.ts";

/** QMP's ImageInfo. */
export interface ImageInfo {
  readonly filename: string;
  readonly format: string;
  /** Bytes, a multiple of 512. */
  readonly "virtual-size": Int64;
  /** What the image takes of the disk below. */
  readonly "actual-size"?: Int64;
  readonly "dirty-flag"?: boolean;
  readonly "cluster-size"?: Int64;
  readonly "backing-filename"?: string;
  readonly "full-backing-filename"?: string;
  readonly "backing-filename-format"?: string;
  /** Internal ones. */
  readonly snapshots?: readonly SnapshotInfo[];
  readonly "backing-image"?: ImageInfo;
  readonly "format-specific"?: FormatSpecific;
}

export const imageInfo: Type<ImageInfo> = object({
  filename: str,
  format: str,
  "dirty-flag": optional(bool),
  "actual-size": optional(int),
  "virtual-size": int,
  "cluster-size": optional(int),
  "backing-filename": optional(str),
  "full-backing-filename": optional(str),
  "backing-filename-format": optional(str),
  snapshots: optional(array(snapshotInfo)),
  "backing-image": optional(lazy(() => imageInfo)),
  "format-specific": optional(formatSpecific),
});

/** How many bytes a file takes on its disk; undefined where that cannot be known. */
export type AllocatedBytes = (path: string) => Promise<number | undefined>;

/** What to know of nodes at one moment. */
export interface ImageFacts {
  readonly nodes: NodeList;
  /** What files take, by their names, as far as that is known. */
  readonly allocatedBytes: ReadonlyMap<string, number>;
}

/** Looks at the files first, so that what is then told of the nodes is of one moment. */
export async function gatherImageFacts(nodes: NodeList, allocatedBytes?: AllocatedBytes): Promise<ImageFacts> {
  const known = new Map<string, number>();
  if (allocatedBytes === undefined) return { nodes, allocatedBytes: known };
  const files = Array.from(nodes, ({ node }) => node).filter(({ driver }) => driver.driverName === "file");
  for (const path of new Set(files.map((node) => imageName(nodes, node)))) {
    const bytes = await allocatedBytes(path);
    if (bytes !== undefined) known.set(path, bytes);
  }
  return { nodes, allocatedBytes: known };
}

/** Drivers whose data are in memory, or nowhere. */
const NOT_ON_DISK: readonly string[] = ["null-co", "memory"];
/** Drivers that cannot say what their image takes. */
const SIZE_UNKNOWN: readonly string[] = ["blkdebug"];

/** What is below a node and counts as its backing image: what a filter filters, or a backing file. */
export function backingOf(node: BlockNode): BlockNode | undefined {
  return filteredChild(node) ?? childOf(node, "backing");
}

/** Flat: without the backing image. */
export function describeImage(facts: ImageFacts, node: BlockNode, flat: boolean): ImageInfo {
  const { nodes } = facts;
  const { driverName, clusterSizeBytes } = node.driver;
  const actual = actualSize(facts, node);
  const backingFile = childOf(node, "backing");
  const format = formatFacts(node.driver);
  const backingName = backingFile === undefined ? undefined : imageName(nodes, backingFile);
  const named = format === undefined ? backingName : format.backingFile;
  // As the header says, whatever the image stands on now.
  const full = format?.backingFile === undefined ? named : fullBackingName(pathBelow(node), format.backingFile);
  const backing = flat ? undefined : backingOf(node);
  return {
    filename: imageName(nodes, node),
    format: driverName,
    "virtual-size": node.lengthBytes,
    ...(actual === undefined ? {} : { "actual-size": actual }),
    ...(format !== undefined || hasDirtyFlag(node) ? { "dirty-flag": format?.dirty ?? false } : {}),
    ...(clusterSizeBytes === undefined ? {} : { "cluster-size": clusterSizeBytes }),
    ...(named === undefined || full === undefined ? {} : { "backing-filename": named, "full-backing-filename": full }),
    ...(format?.backingFormat === undefined ? {} : { "backing-filename-format": format.backingFormat }),
    ...(format === undefined || format.snapshots.length === 0 ? {} : { snapshots: format.snapshots }),
    ...(backing === undefined ? {} : { "backing-image": describeImage(facts, backing, false) }),
    ...(format === undefined ? {} : { "format-specific": format.specific }),
  };
}

/** What a node's image takes of its host's disk; undefined where that cannot be told. */
export function actualSize(facts: ImageFacts, node: BlockNode): number | undefined {
  const { driverName } = node.driver;
  if (NOT_ON_DISK.includes(driverName)) return 0;
  if (SIZE_UNKNOWN.includes(driverName)) return undefined;
  if (driverName === "file") return facts.allocatedBytes.get(imageName(facts.nodes, node));
  const below = childOf(node, "file");
  return below === undefined ? undefined : actualSize(facts, below);
}

/** Files have one, and so has what passes the question on to a file. */
function hasDirtyFlag(node: BlockNode): boolean {
  const { driverName } = node.driver;
  if (driverName === "file") return true;
  const below = driverName === "raw" ? childOf(node, "file") : filteredChild(node);
  return below !== undefined && hasDirtyFlag(below);
}
