// Reads the chunks of the dirty-bitmap section: docs/reference/persistence-migration.md §5.2, §5.3.

import { orCutOff, StreamError } from "./stream-error.ts";
import {
  BITMAP_BITS,
  BITMAP_COMPLETE,
  BITMAP_DEVICE_NAME,
  BITMAP_ENABLED,
  BITMAP_EOS,
  BITMAP_LONG_FLAGS,
  BITMAP_NAME,
  BITMAP_PERSISTENT,
  BITMAP_RESERVED_FLAGS,
  BITMAP_START,
  BITMAP_VERSION,
  BITMAP_ZEROES,
  MAX_CHUNK_BYTES,
  SECTOR_BYTES,
} from "./stream-format.ts";
import type { SectionHandler } from "./stream-loader.ts";
import type { StreamSource } from "./stream-source.ts";

/** What a bitmap begins with. */
export interface ReceivedBitmapOptions {
  /** Unchecked. */
  readonly granularityBytes: number;
  readonly enabled: boolean;
  readonly persistent: boolean;
}

/**
 * Whom the chunks concern. Each is about the node and the bitmap that were named last, in whichever section. A `StreamError` thrown ends
 * the migration; who wants to go on without bitmaps ignores what comes.
 */
export interface BitmapChunks {
  /** A chunk names a node, or counts on one that was named. */
  selectNode(alias: string | undefined): void;
  /** As `selectNode`. A bitmap that `starts` is not there yet. */
  selectBitmap(alias: string | undefined, starts: boolean): void;
  start(options: ReceivedBitmapOptions): void;
  /** The bits of a range, unchecked; all are zero without `words`, which are a view for the time of the call. */
  bits(offsetBytes: number, lengthBytes: number, words: Uint8Array | undefined): void;
  complete(): void;
}

/** The handler of the section. */
export function bitmapSection(chunks: BitmapChunks): SectionHandler {
  return {
    version: BITMAP_VERSION,
    async load(source, version) {
      if (version !== BITMAP_VERSION) throw new StreamError("EINVAL");
      while (await loadChunk(source, chunks)) {}
    },
  };
}

/** False after the last one of the section. */
async function loadChunk(source: StreamSource, chunks: BitmapChunks): Promise<boolean> {
  const wait = source.need(1);
  if (wait !== undefined) await wait;
  const flags = source.u8();
  if ((flags & BITMAP_LONG_FLAGS) !== 0) {
    throw new StreamError("EINVAL", `Unknown flags in migrated dirty bitmap header: ${flags.toString(16)}`);
  }
  const says = (flags & ~BITMAP_EOS) !== 0;
  if ((flags & BITMAP_DEVICE_NAME) !== 0) chunks.selectNode(await readName(source, "node"));
  else if (says) chunks.selectNode(undefined);
  const starts = (flags & BITMAP_START) !== 0;
  if ((flags & BITMAP_NAME) !== 0) chunks.selectBitmap(await readName(source, "bitmap"), starts);
  else if (says) chunks.selectBitmap(undefined, starts);
  if (starts) await loadStart(source, chunks);
  else if ((flags & BITMAP_COMPLETE) !== 0) chunks.complete();
  else if ((flags & BITMAP_BITS) !== 0) await loadBits(source, chunks, (flags & BITMAP_ZEROES) !== 0);
  return (flags & BITMAP_EOS) === 0;
}

/** QEMU takes an empty name for one that could not be read. */
async function readName(source: StreamSource, what: "node" | "bitmap"): Promise<string> {
  const message = `Unable to read ${what} alias string`;
  const name = await orCutOff(source.counted(), "EINVAL", message);
  if (name === undefined || name === "") throw new StreamError("EINVAL", message);
  return name;
}

async function loadStart(source: StreamSource, chunks: BitmapChunks): Promise<void> {
  await source.need(5);
  const granularityBytes = source.u32();
  const flags = source.u8();
  if ((flags & BITMAP_RESERVED_FLAGS) !== 0) {
    throw new StreamError("EINVAL", `Unknown flags in migrated dirty bitmap header: ${flags.toString(16)}`);
  }
  chunks.start({
    granularityBytes,
    enabled: (flags & BITMAP_ENABLED) !== 0,
    persistent: (flags & BITMAP_PERSISTENT) !== 0,
  });
}

async function loadBits(source: StreamSource, chunks: BitmapChunks, zeroes: boolean): Promise<void> {
  await source.need(12);
  const offset = source.u64() * SECTOR_BYTES;
  const length = source.u32() * SECTOR_BYTES;
  if (zeroes) {
    chunks.bits(offset, length, undefined);
    return;
  }
  await source.need(8);
  const size = source.u64();
  if (size > MAX_CHUNK_BYTES) {
    throw new StreamError("EIO", "Bitmap migration stream buffer allocation request is too large");
  }
  await orCutOff(source.need(size), "EIO", "Failed to read bitmap bits");
  chunks.bits(offset, length, source.bytes(size));
}
