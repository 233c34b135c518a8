// Opens a qcow2 image in a file: every check of the header and the tables, before anything is read that they give the size of.

import { BlockError } from "../../../base/errors.ts";
import type { BlockNode } from "../../node.ts";
import { checkBitmapsExtension, hasStaleBitmaps, setBitmapsExtension } from "./bitmap-extension.ts";
import {
  AUTOCLEAR_BITMAPS,
  COMPAT_LAZY_REFCOUNTS,
  INCOMPAT_COMPRESSION,
  INCOMPAT_CORRUPT,
  INCOMPAT_DATA_FILE,
  INCOMPAT_DIRTY,
  INCOMPAT_EXTENDED_L2,
  INCOMPAT_KNOWN,
  unsupportedFeatures,
} from "./feature-table.ts";
import {
  type Layout,
  layoutOf,
  MAX_HOST_BYTES,
  MAX_L1_BYTES,
  MAX_REFCOUNT_ORDER,
  MAX_REFCOUNT_TABLE_BYTES,
  MAX_SNAPSHOTS,
  MIN_EXTENDED_CLUSTER_BITS,
} from "./format.ts";
import { EXTENSION_FEATURE_TABLE, extensionData, headerFormatError, parseHeader, type Qcow2Header } from "./header.ts";
import { Qcow2Image } from "./image.ts";
import { Qcow2File } from "./image-file.ts";
import { readSnapshotTables } from "./metadata-guard.ts";
import { repairRefcounts } from "./repair.ts";
import { type RuntimeOptions, settleRuntimeOptions } from "./runtime-options.ts";
import { readSnapshots } from "./snapshots.ts";

const HEAD_BYTES = 512;

/** What the node's options say. */
export interface OpenImageOptions extends RuntimeOptions {
  readonly readOnly: boolean;
}

/** Reads header and tables. Throws a `BlockError` with QEMU's text. Writes nothing: `beginWriting` does. */
export async function openImage(node: BlockNode, options: OpenImageOptions): Promise<Qcow2Image> {
  const header = await readHeader(node);
  const layout = checkHeader(header, options.readOnly);
  checkBitmapsExtension(header);
  const file = new Qcow2File(node, layout.clusterBytes);
  const { clusterBytes } = layout;
  const snapshots = header.snapshotCount > 0 ? await readSnapshots(file, header) : undefined;
  const refcountTable = await explained("Could not initialize refcount handling", async () => {
    await file.event("reftable_load");
    return file.readBytes(header.refcountTableOffset, header.refcountTableClusters * clusterBytes);
  });
  const l1 = await explained("Could not read L1 table", () => file.readBytes(header.l1Offset, header.l1Entries * 8));
  const settings = settleRuntimeOptions(options, layout, {
    diskBytes: header.sizeBytes,
    lazyRefcounts: (header.compatible & COMPAT_LAZY_REFCOUNTS) !== 0n,
  });
  return new Qcow2Image({
    ...{ file, header, layout, l1, refcountTable, settings },
    snapshots: snapshots && (await readSnapshotTables(file, layout, settings.overlapChecks, snapshots)),
  });
}

/** What the first writable open of an image does: counts that a crash left are put right, and features that are not known forgotten. */
export async function beginWriting(image: Qcow2Image): Promise<void> {
  const { header } = image;
  const autoclear = header.autoclear & AUTOCLEAR_BITMAPS;
  if (autoclear !== header.autoclear || hasStaleBitmaps(header)) {
    header.autoclear = autoclear;
    if (hasStaleBitmaps(header)) setBitmapsExtension(header, undefined);
    await image.mutex.run(() => image.writeHeader());
  }
  if ((header.incompatible & INCOMPAT_DIRTY) === 0n) return;
  await image.mutex.run(() => repairRefcounts(image));
  await image.settle();
}

async function readHeader(node: BlockNode): Promise<Qcow2Header> {
  const probe = new Qcow2File(node, HEAD_BYTES);
  const head = await probe.readBytes(0, HEAD_BYTES);
  const wrong = headerFormatError(head);
  if (wrong !== undefined) throw new BlockError("EINVAL", wrong);
  const clusterBytes = 2 ** (head[23] ?? 0);
  return parseHeader(await probe.readBytes(0, clusterBytes));
}

/** Every check that takes the header alone, in QEMU's order. */
function checkHeader(header: Qcow2Header, readOnly: boolean): Layout {
  const { version, clusterBits, incompatible, refcountOrder, compressionType } = header;
  const clusterBytes = 2 ** clusterBits;
  const unknown = incompatible & ~INCOMPAT_KNOWN;
  if (unknown !== 0n)
    throw new BlockError("ENOTSUP", unsupportedFeatures(unknown, extensionData(header, EXTENSION_FEATURE_TABLE)));
  if ((incompatible & INCOMPAT_CORRUPT) !== 0n && !readOnly)
    throw new BlockError("EACCES", "qcow2: Image is corrupt; cannot be opened read/write");
  const extended = (incompatible & INCOMPAT_EXTENDED_L2) !== 0n;
  if (refcountOrder > MAX_REFCOUNT_ORDER)
    throw invalid("Reference count entry width too large; may not exceed 64 bits");
  if (header.cryptMethod > 2) throw invalid(`Unsupported encryption method ${header.cryptMethod}`);
  if (header.cryptMethod !== 0) throw new BlockError("ENOTSUP", "Encrypted images are not supported");
  if ((incompatible & INCOMPAT_DATA_FILE) !== 0n)
    throw new BlockError("ENOTSUP", "Images with an external data file are not supported");
  if (compressionType > 1) throw new BlockError("ENOTSUP", `qcow2: unknown compression type: ${compressionType}`);
  const typed = (incompatible & INCOMPAT_COMPRESSION) !== 0n;
  if (compressionType === 0 && typed) throw invalid("qcow2: Compression type incompatible feature bit must not be set");
  if (compressionType !== 0 && !typed) throw invalid("qcow2: Compression type incompatible feature bit must be set");
  if (extended && clusterBits < MIN_EXTENDED_CLUSTER_BITS)
    throw invalid(`qcow2: Extended L2 entries are only supported with cluster sizes of at least ${2 ** 14} bytes`);
  const layout = layoutOf({ version, clusterBits, extended, refcountOrder });
  checkTable(header.refcountTableOffset, header.refcountTableClusters * clusterBytes, clusterBytes, {
    most: MAX_REFCOUNT_TABLE_BYTES,
    name: "Reference count table",
  });
  if (header.refcountTableClusters === 0) throw invalid("Image does not contain a reference count table");
  if (header.snapshotCount > MAX_SNAPSHOTS) throw new BlockError("EFBIG", "Snapshot table too large");
  if (header.snapshotCount > 0 && !isTableOffset(header.snapshotsOffset, clusterBytes))
    throw invalid("Snapshot table offset invalid");
  if (header.sizeBytes > MAX_HOST_BYTES - 512) throw new BlockError("EFBIG", "Image is too big");
  if (header.sizeBytes % 512 !== 0) header.sizeBytes = Math.ceil(header.sizeBytes / 512) * 512;
  checkTable(header.l1Offset, header.l1Entries * 8, clusterBytes, { most: MAX_L1_BYTES, name: "Active L1 table" });
  if (header.l1Entries < Math.ceil(header.sizeBytes / layout.l2Reach)) throw invalid("L1 table is too small");
  return layout;
}

function checkTable(offset: number, bytes: number, clusterBytes: number, of: { most: number; name: string }): void {
  if (bytes > of.most) throw new BlockError("EFBIG", `${of.name} too large`);
  if (bytes > 0 && !isTableOffset(offset, clusterBytes)) throw invalid(`${of.name} offset invalid`);
}

function isTableOffset(offset: number, clusterBytes: number): boolean {
  return offset % clusterBytes === 0 && offset > 0 && offset < MAX_HOST_BYTES - MAX_L1_BYTES;
}

/** A table that cannot be read is named in the message. */
async function explained<Result>(text: string, read: () => Promise<Result>): Promise<Result> {
  try {
    return await read();
  } catch (error) {
    if (!(error instanceof BlockError)) throw error;
    throw new BlockError(error.errno, `${text}: ${error.message}`, { cause: error });
  }
}

function invalid(message: string): BlockError {
  return new BlockError("EINVAL", message);
}
