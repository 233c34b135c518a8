// Makes qcow2 images, laid out as QEMU does: docs/reference/persistence-migration.md §1.2.

import { BlockError, QmpError } from "../../../base/errors.ts";
import { BlockBackend } from "../../backend.ts";
import type { BlockNode } from "../../node.ts";
import { PERM_ALL, PERM_CONSISTENT_READ, PERM_RESIZE, PERM_WRITE } from "../../permissions.ts";
import { COMPAT_LAZY_REFCOUNTS, INCOMPAT_COMPRESSION, INCOMPAT_EXTENDED_L2 } from "./feature-table.ts";
import { layoutOf, MAX_BACKING_NAME_BYTES, MAX_HOST_BYTES, viewOf } from "./format.ts";
import { EXTENSION_BACKING_FORMAT, type Qcow2Header, serialiseHeader } from "./header.ts";
import { Qcow2File } from "./image-file.ts";
import { openImage } from "./open-image.ts";
import { preallocate } from "./preallocation.ts";
import { Qcow2Driver } from "./qcow2.ts";
import { setRefcount } from "./refcount-block.ts";
import { CachedTable } from "./table-cache.ts";

export interface NewQcow2Image {
  /** A multiple of 512. */
  readonly sizeBytes: number;
  readonly version?: 2 | 3;
  readonly clusterBytes?: number;
  readonly refcountBits?: number;
  readonly lazyRefcounts?: boolean;
  readonly extendedL2?: boolean;
  readonly compressionType?: "zlib" | "zstd";
  readonly backingFile?: string | undefined;
  readonly backingFormat?: string | undefined;
  readonly preallocation?: "off" | "metadata" | "falloc" | "full";
}

/** What `NewQcow2Image` says, checked, with its defaults. */
type Wanted = Required<Omit<NewQcow2Image, "backingFile" | "backingFormat">> &
  Pick<NewQcow2Image, "backingFile" | "backingFormat">;

/** Makes `node` hold an empty image in place of all that it held. Throws `QmpError` and `BlockError` with QEMU's texts. */
export async function createImage(node: BlockNode, image: NewQcow2Image): Promise<void> {
  const wanted = checked(image);
  const permissions = { needs: PERM_CONSISTENT_READ | PERM_WRITE | PERM_RESIZE, shares: PERM_ALL & ~PERM_RESIZE };
  const backend = new BlockBackend({ name: "", node, permissions });
  try {
    await format(node, wanted);
  } finally {
    backend.close();
  }
}

async function format(node: BlockNode, wanted: Wanted): Promise<void> {
  const { clusterBytes, refcountBits, sizeBytes } = wanted;
  if (node.lengthBytes > 0) await node.resize(0);
  const file = new Qcow2File(node, clusterBytes);
  const header = headerOf(wanted);
  const refcountOrder = Math.log2(refcountBits);
  const table = new Uint8Array(clusterBytes);
  viewOf(table).setUint32(4, 2 * clusterBytes);
  const block = new CachedTable(2 * clusterBytes, new Uint8Array(clusterBytes));
  for (let cluster = 0; cluster < 3; cluster++) setRefcount(block, refcountOrder, cluster, 1);
  // The header comes last: what has none is no image.
  await file.writeBytes(2 * clusterBytes, block.bytes);
  await file.writeBytes(clusterBytes, table);
  await file.flush();
  await file.writeBytes(0, serialiseHeader(header));
  const made = await openImage(node, { readOnly: false });
  const driver = new Qcow2Driver({ image: made, backing: undefined, readOnly: false });
  await driver.resize(sizeBytes);
  await preallocate(made, 0, sizeBytes, wanted.preallocation);
  await driver.close();
}

function headerOf(wanted: Wanted): Qcow2Header {
  const { version, clusterBytes, refcountBits, lazyRefcounts, extendedL2, compressionType } = wanted;
  const { backingFile, backingFormat } = wanted;
  const zstd = compressionType === "zstd";
  return {
    version,
    backingFile,
    clusterBits: Math.log2(clusterBytes),
    sizeBytes: 0,
    cryptMethod: 0,
    l1Entries: 0,
    l1Offset: 0,
    refcountTableOffset: clusterBytes,
    refcountTableClusters: 1,
    snapshotCount: 0,
    snapshotsOffset: 0,
    incompatible: (zstd ? INCOMPAT_COMPRESSION : 0n) | (extendedL2 ? INCOMPAT_EXTENDED_L2 : 0n),
    compatible: lazyRefcounts ? COMPAT_LAZY_REFCOUNTS : 0n,
    autoclear: 0n,
    refcountOrder: Math.log2(refcountBits),
    compressionType: zstd ? 1 : 0,
    extensions:
      backingFormat === undefined
        ? []
        : [{ type: EXTENSION_BACKING_FORMAT, data: new TextEncoder().encode(backingFormat) }],
    unknownFields: new Uint8Array(0),
  };
}

function checked(image: NewQcow2Image): Wanted {
  const wanted: Wanted = {
    version: 3,
    clusterBytes: 65536,
    refcountBits: 16,
    lazyRefcounts: false,
    extendedL2: false,
    compressionType: "zlib",
    preallocation: "off",
    ...image,
  };
  const { version, clusterBytes, refcountBits, sizeBytes, backingFile, backingFormat } = wanted;
  const old = version < 3;
  const level = "compatibility level 1.1 and above (use version=v3 or greater)";
  if (sizeBytes % 512 !== 0) throw new QmpError("Image size must be a multiple of 512 bytes");
  if (!isPowerOfTwo(clusterBytes) || clusterBytes < 512 || clusterBytes > 2 ** 21)
    throw new QmpError("Cluster size must be a power of two between 512 and 2048k");
  if (wanted.extendedL2) {
    if (clusterBytes < 2 ** 14)
      throw new QmpError("Extended L2 entries are only supported with cluster sizes of at least 16384 bytes");
    if (old) throw new QmpError(`Extended L2 entries are only supported with ${level}`);
  }
  if (backingFile !== undefined && wanted.preallocation !== "off" && !wanted.extendedL2)
    throw new QmpError("Backing file and preallocation can only be used at the same time if extended_l2 is on");
  if (backingFormat !== undefined && backingFile === undefined)
    throw new QmpError("Backing format cannot be used without backing file");
  if (wanted.lazyRefcounts && old) throw new QmpError(`Lazy refcounts only supported with ${level}`);
  if (!isPowerOfTwo(refcountBits) || refcountBits > 64)
    throw new QmpError("Refcount width must be a power of two and may not exceed 64 bits");
  if (refcountBits !== 16 && old)
    throw new QmpError(
      "Different refcount widths than 16 bits require compatibility level 1.1 or above (use version=v3 or greater)",
    );
  if (wanted.compressionType !== "zlib" && old)
    throw new QmpError(`Non-zlib compression type is only supported with ${level}`);
  if (new TextEncoder().encode(backingFile ?? "").length > MAX_BACKING_NAME_BYTES)
    throw new BlockError("EINVAL", "Backing file name too long");
  checkSize(wanted);
  return wanted;
}

/** An L1 table reaches only so far: better said before anything is written. */
function checkSize({ sizeBytes, version, clusterBytes, extendedL2, refcountBits }: Wanted): void {
  const options = { version, clusterBits: Math.log2(clusterBytes), extended: extendedL2 };
  const { l2Reach } = layoutOf({ ...options, refcountOrder: Math.log2(refcountBits) });
  if (sizeBytes > Math.min(l2Reach * 2 ** 22, MAX_HOST_BYTES - 512))
    throw new BlockError("EFBIG", "Could not resize image: Failed to grow the L1 table: File too large");
}

function isPowerOfTwo(value: number): boolean {
  return value > 0 && Number.isInteger(Math.log2(value));
}
