// Writes the chunks of the dirty-bitmap section: docs/reference/persistence-migration.md §5.2.

import { isZero } from "../base/zero.ts";
import type { DirtyBitmap } from "../bitmap/dirty-bitmap.ts";
import type { BinaryWriter } from "./binary-writer.ts";
import {
  BITMAP_BITS,
  BITMAP_COMPLETE,
  BITMAP_DEVICE_NAME,
  BITMAP_ENABLED,
  BITMAP_EOS,
  BITMAP_NAME,
  BITMAP_PERSISTENT,
  BITMAP_START,
  BITMAP_ZEROES,
  CHUNK_ALIGN_BYTES,
  CHUNK_GROUPS,
  SECTOR_BYTES,
} from "./stream-format.ts";

/** A bitmap that migrates, and by which names. */
export interface SentBitmap {
  readonly bitmap: DirtyBitmap;
  readonly nodeAlias: string;
  readonly bitmapAlias: string;
  readonly persistent: boolean;
}

const CHUNK_BYTES = CHUNK_GROUPS / 8;

/** Remembers which node and which bitmap were named last, from one section to the next: names are not repeated. */
export class BitmapEncoder {
  readonly #words: Uint8Array = new Uint8Array(CHUNK_BYTES);
  #nodeAlias: string | undefined;
  #bitmapAlias: string | undefined;

  start(out: BinaryWriter, sent: SentBitmap): void {
    this.#header(out, sent, BITMAP_START);
    out.u32(sent.bitmap.granularityBytes);
    out.u8((sent.bitmap.enabled ? BITMAP_ENABLED : 0) | (sent.persistent ? BITMAP_PERSISTENT : 0));
  }

  /** One chunk from `offset` on. Returns where the next one begins; no less than the bitmap's size after the last. */
  bits(out: BinaryWriter, sent: SentBitmap, offset: number): number {
    const { bits, granularityBytes, sizeBytes } = sent.bitmap;
    const length = Math.min(CHUNK_GROUPS * granularityBytes, sizeBytes - offset);
    const wordBytes = bits.serializationSize(offset, length);
    this.#words.fill(0);
    bits.serialize(offset, length, this.#words);
    const empty = isZero(this.#words, 0, wordBytes);
    this.#header(out, sent, empty ? BITMAP_BITS | BITMAP_ZEROES : BITMAP_BITS);
    out.u64(offset / SECTOR_BYTES).u32(Math.ceil(length / SECTOR_BYTES));
    if (!empty) {
      const bufferBytes = Math.ceil(wordBytes / CHUNK_ALIGN_BYTES) * CHUNK_ALIGN_BYTES;
      out.u64(bufferBytes).bytes(this.#words.subarray(0, bufferBytes));
    }
    return offset + length;
  }

  complete(out: BinaryWriter, sent: SentBitmap): void {
    this.#header(out, sent, BITMAP_COMPLETE);
  }

  endOfSection(out: BinaryWriter): void {
    out.u8(BITMAP_EOS);
  }

  #header(out: BinaryWriter, { nodeAlias, bitmapAlias }: SentBitmap, flags: number): void {
    const namesNode = nodeAlias !== this.#nodeAlias;
    const namesBitmap = namesNode || bitmapAlias !== this.#bitmapAlias;
    out.u8(flags | (namesNode ? BITMAP_DEVICE_NAME : 0) | (namesBitmap ? BITMAP_NAME : 0));
    if (namesNode) out.counted(nodeAlias);
    if (namesBitmap) out.counted(bitmapAlias);
    this.#nodeAlias = nodeAlias;
    this.#bitmapAlias = bitmapAlias;
  }
}
