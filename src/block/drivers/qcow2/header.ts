// The header of a qcow2 image and its extensions: docs/reference/persistence-migration.md §1.1.

import { BlockError } from "../../../base/errors.ts";
import { featureTable } from "./feature-table.ts";
import { getUint64, QCOW2_MAGIC, setUint64, viewOf } from "./format.ts";

export const EXTENSION_BACKING_FORMAT = 0xe2792aca;
export const EXTENSION_DATA_FILE = 0x44415441;
export const EXTENSION_CRYPTO = 0x0537be77;
export const EXTENSION_FEATURE_TABLE = 0x6803f857;
export const EXTENSION_BITMAPS = 0x23852875;

const VERSION_2_BYTES = 72;
const VERSION_3_BYTES = 104;
/** What is written: with the compression type and its padding. */
const WRITTEN_BYTES = 112;
/** Longer headers are other formats' than this one. */
const MAX_HEADER_BYTES = 4096;

/** An extension as it stands in the file: those that are not known are kept and written back as they are. */
export interface HeaderExtension {
  readonly type: number;
  readonly data: Uint8Array;
}

/** All that the first cluster says. Offsets and lengths are bytes. */
export interface Qcow2Header {
  version: number;
  backingFile: string | undefined;
  clusterBits: number;
  /** Of the disk. */
  sizeBytes: number;
  cryptMethod: number;
  l1Entries: number;
  l1Offset: number;
  refcountTableOffset: number;
  refcountTableClusters: number;
  snapshotCount: number;
  snapshotsOffset: number;
  incompatible: bigint;
  compatible: bigint;
  autoclear: bigint;
  refcountOrder: number;
  /** 0 deflate, 1 zstd. */
  compressionType: number;
  extensions: readonly HeaderExtension[];
  /** What stands in the header beyond what is known here. */
  unknownFields: Uint8Array;
}

/** How many bytes `parseHeader` needs to see first, given the first 24. */
export function headerFormatError(head: Uint8Array): string | undefined {
  const view = viewOf(head);
  if (head.length < VERSION_3_BYTES || view.getUint32(0) !== QCOW2_MAGIC) return "Image is not in qcow2 format";
  const version = view.getUint32(4);
  if (version !== 2 && version !== 3) return `Unsupported qcow2 version ${version}`;
  const clusterBits = view.getUint32(20);
  if (clusterBits < 9 || clusterBits > 21) return `Unsupported cluster size: 2^${clusterBits}`;
  if (version === 2) return undefined;
  const length = view.getUint32(100);
  if (length < VERSION_3_BYTES) return "qcow2 header too short";
  if (length > 2 ** clusterBits || length > MAX_HEADER_BYTES) return "qcow2 header exceeds cluster size";
  return undefined;
}

/** Reads a header out of the first cluster, which `headerFormatError` has nothing against. Throws a `BlockError` with QEMU's text. */
export function parseHeader(cluster: Uint8Array): Qcow2Header {
  const view = viewOf(cluster);
  const version = view.getUint32(4);
  const headerBytes = version === 2 ? VERSION_2_BYTES : view.getUint32(100);
  const backingOffset = getUint64(view, 8);
  const backingBytes = view.getUint32(16);
  if (backingOffset > cluster.length) throw new BlockError("EINVAL", "Invalid backing file offset");
  const extensionsEnd = backingOffset === 0 ? cluster.length : backingOffset;
  return {
    version,
    backingFile: backingName(cluster, backingOffset, backingBytes),
    clusterBits: view.getUint32(20),
    sizeBytes: getUint64(view, 24),
    cryptMethod: view.getUint32(32),
    l1Entries: view.getUint32(36),
    l1Offset: getUint64(view, 40),
    refcountTableOffset: getUint64(view, 48),
    refcountTableClusters: view.getUint32(56),
    snapshotCount: view.getUint32(60),
    snapshotsOffset: getUint64(view, 64),
    incompatible: version === 2 ? 0n : view.getBigUint64(72),
    compatible: version === 2 ? 0n : view.getBigUint64(80),
    autoclear: version === 2 ? 0n : view.getBigUint64(88),
    refcountOrder: version === 2 ? 4 : view.getUint32(96),
    compressionType: headerBytes > VERSION_3_BYTES ? view.getUint8(VERSION_3_BYTES) : 0,
    extensions: parseExtensions(cluster, headerBytes, extensionsEnd),
    unknownFields: cluster.slice(Math.min(WRITTEN_BYTES, headerBytes), headerBytes),
  };
}

function backingName(cluster: Uint8Array, offset: number, length: number): string | undefined {
  if (offset === 0) return undefined;
  if (length > Math.min(1023, cluster.length - offset)) throw new BlockError("EINVAL", "Backing file name too long");
  return new TextDecoder().decode(cluster.subarray(offset, offset + length));
}

function parseExtensions(cluster: Uint8Array, start: number, end: number): HeaderExtension[] {
  const view = viewOf(cluster);
  const extensions: HeaderExtension[] = [];
  for (let at = start; at + 8 <= end; ) {
    const type = view.getUint32(at);
    const length = view.getUint32(at + 4);
    if (type === 0) break;
    if (length > end - at - 8) throw new BlockError("EINVAL", "Header extension too large");
    extensions.push({ type, data: cluster.slice(at + 8, at + 8 + length) });
    at += 8 + Math.ceil(length / 8) * 8;
  }
  return extensions;
}

/**
 * The first cluster's beginning. Known extensions come first in QEMU's order, then the others as they were. Throws a `BlockError` with
 * ENOSPC where it does not fit into a cluster.
 */
export function serialiseHeader(header: Qcow2Header): Uint8Array {
  const { version } = header;
  const cluster = new Uint8Array(2 ** header.clusterBits);
  const view = viewOf(cluster);
  view.setUint32(0, QCOW2_MAGIC);
  view.setUint32(4, version);
  view.setUint32(20, header.clusterBits);
  setUint64(view, 24, header.sizeBytes);
  view.setUint32(32, header.cryptMethod);
  view.setUint32(36, header.l1Entries);
  setUint64(view, 40, header.l1Offset);
  setUint64(view, 48, header.refcountTableOffset);
  view.setUint32(56, header.refcountTableClusters);
  view.setUint32(60, header.snapshotCount);
  setUint64(view, 64, header.snapshotsOffset);
  let at = VERSION_2_BYTES;
  if (version >= 3) {
    view.setBigUint64(72, header.incompatible);
    view.setBigUint64(80, header.compatible);
    view.setBigUint64(88, header.autoclear);
    view.setUint32(96, header.refcountOrder);
    view.setUint32(100, WRITTEN_BYTES + header.unknownFields.length);
    view.setUint8(VERSION_3_BYTES, header.compressionType);
    cluster.set(header.unknownFields, WRITTEN_BYTES);
    at = WRITTEN_BYTES + header.unknownFields.length;
  }
  for (const { type, data } of writtenExtensions(header)) {
    if (at + 8 + data.length > cluster.length) throw tooLarge();
    view.setUint32(at, type);
    view.setUint32(at + 4, data.length);
    cluster.set(data, at + 8);
    at += 8 + Math.ceil(data.length / 8) * 8;
  }
  at += 8; // the extension that ends them: type and length 0
  const name = new TextEncoder().encode(header.backingFile ?? "");
  if (at + name.length > cluster.length) throw tooLarge();
  if (header.backingFile !== undefined) {
    setUint64(view, 8, at);
    view.setUint32(16, name.length);
    cluster.set(name, at);
  }
  return cluster.subarray(0, Math.min(cluster.length, Math.ceil((at + name.length) / 512) * 512));
}

const ORDER: readonly number[] = [
  EXTENSION_BACKING_FORMAT,
  EXTENSION_DATA_FILE,
  EXTENSION_CRYPTO,
  EXTENSION_FEATURE_TABLE,
  EXTENSION_BITMAPS,
];

function writtenExtensions({ version, clusterBits, extensions }: Qcow2Header): HeaderExtension[] {
  const kept = extensions.filter(({ type }) => type !== EXTENSION_FEATURE_TABLE);
  // Beside the names there is little room for anything else in small clusters.
  const named = version >= 3 && clusterBits > 12;
  const all = named ? [...kept, { type: EXTENSION_FEATURE_TABLE, data: featureTable() }] : kept;
  const place = ({ type }: HeaderExtension): number => (ORDER.includes(type) ? ORDER.indexOf(type) : ORDER.length);
  return all.sort((a, b) => place(a) - place(b));
}

/** An extension's data, of the first one of that type. */
export function extensionData(header: Qcow2Header, type: number): Uint8Array | undefined {
  return header.extensions.find((extension) => extension.type === type)?.data;
}

function tooLarge(): BlockError {
  return new BlockError("ENOSPC", "The header does not fit into the first cluster");
}
