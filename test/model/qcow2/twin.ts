// The naive twin of a qcow2 image: an array of bytes, its bitmaps in memory and those in the file. docs/reference/persistence-migration.md §3.

import { expect } from "vitest";
import type { DirtyBitmapList } from "../../../src/bitmap/dirty-bitmap-list.ts";
import type { FlatBitmap } from "../../bitmap/flat-bitmap.ts";

const SECTOR = 512;

/** A named bitmap of the node. */
export interface RamBitmap {
  readonly name: string;
  bits: FlatBitmap;
  recording: boolean;
  readonly persistent: boolean;
  readonly: boolean;
  readonly inconsistent: boolean;
  /** The backup that, with what is dirty since, comes to what the disk is; undefined where there is none. */
  chain: string | undefined;
}

/** An entry of the image's bitmap directory. */
export interface StoredBitmap {
  readonly name: string;
  readonly bits: FlatBitmap;
  readonly auto: boolean;
  readonly chain: string | undefined;
  inUse: boolean;
}

/** What one image should be. */
export class ImageTwin {
  bytes: Uint8Array;
  /** Newest first. */
  ram: RamBitmap[] = [];
  /** In the directory's order. */
  stored: StoredBitmap[] = [];
  readOnly = false;
  /** A crash has left clusters that nobody uses. */
  mayLeak = false;
  /** What was flushed last; undefined where nobody knows. */
  #flushed: Uint8Array | undefined;
  /** By sector, whether it may be different since. */
  #touched: Uint8Array;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
    this.#touched = new Uint8Array(bytes.length / SECTOR);
    this.flushed();
  }

  find(name: string): RamBitmap | undefined {
    return this.ram.find((bitmap) => bitmap.name === name);
  }

  /** Of what a request asks for, bitmaps take note in full, and of what it changes the disk. */
  request(start: number, length: number): void {
    this.#touched.fill(1, start / SECTOR, (start + length) / SECTOR);
    for (const { bits, recording } of this.ram) if (recording) bits.set(start, length);
  }

  resize(lengthBytes: number): void {
    const bytes = new Uint8Array(lengthBytes);
    bytes.set(this.bytes.subarray(0, lengthBytes));
    this.bytes = bytes;
    this.#touched = new Uint8Array(lengthBytes / SECTOR);
    this.#flushed = undefined;
    for (const bitmap of this.ram) {
      if (!bitmap.inconsistent) bitmap.bits.truncate(lengthBytes);
      bitmap.chain = undefined;
    }
  }

  flushed(): void {
    this.#flushed = this.bytes.slice();
    this.#touched.fill(0);
  }

  /** What was flushed, and has not been asked to change since, is on a disk after a crash. */
  checkKept(disk: Uint8Array): void {
    if (this.#flushed === undefined) return;
    for (let sector = 0; sector < this.#touched.length; sector++) {
      if (this.#touched[sector] === 1) continue;
      const at = sector * SECTOR;
      if (Buffer.compare(disk.subarray(at, at + SECTOR), this.#flushed.subarray(at, at + SECTOR)) !== 0)
        expect.fail(`sector ${sector} was flushed and is lost`);
    }
  }

  /** §3.3: entries keep their places, new ones come behind them. */
  store(): void {
    for (const { name, bits, recording, persistent, readonly, inconsistent, chain } of this.ram) {
      if (!persistent || inconsistent || readonly) continue;
      const entry = { name, bits: bits.clone(), auto: recording, chain, inUse: false };
      const index = this.stored.findIndex((other) => other.name === name);
      if (index < 0) this.stored.push(entry);
      else this.stored[index] = entry;
    }
  }

  /** §3.1 */
  load(): void {
    for (const entry of this.stored) {
      const { name, bits, auto, chain, inUse } = entry;
      if (inUse && this.find(name) !== undefined) continue;
      this.ram.unshift({
        name,
        bits: bits.clone(),
        recording: auto && !inUse,
        persistent: true,
        readonly: this.readOnly,
        inconsistent: inUse,
        chain: inUse ? undefined : chain,
      });
      if (!this.readOnly) entry.inUse = true;
    }
  }

  /** The bitmaps in memory are these, by every bit. */
  check(list: DirtyBitmapList, when: string): void {
    const seen = [...list].map((bitmap) =>
      [
        bitmap.name,
        bitmap.granularityBytes,
        bitmap.busy ? "busy" : "",
        bitmap.recording ? "recording" : "",
        bitmap.persistent ? "persistent" : "",
        bitmap.readonly ? "readonly" : "",
        bitmap.inconsistent ? "inconsistent" : bitmap.countBytes,
      ].join(" "),
    );
    const expected = this.ram.map(({ name, bits, recording, persistent, readonly, inconsistent }) =>
      [
        name,
        bits.granularity,
        "",
        recording ? "recording" : "",
        persistent ? "persistent" : "",
        readonly ? "readonly" : "",
        inconsistent ? "inconsistent" : bits.countBytes,
      ].join(" "),
    );
    expect(seen.join("\n"), `bitmaps ${when}`).toBe(expected.join("\n"));
    for (const { name, bits, inconsistent } of this.ram) {
      if (inconsistent) continue;
      const real = list.get(name).bits;
      for (let bit = 0; bit < bits.bits.length; bit++)
        if (real.get(bit * bits.granularity) !== (bits.bits[bit] === 1))
          expect.fail(`bit ${bit} of bitmap ${name} should be ${bits.bits[bit]} ${when}`);
    }
  }

  /** As `qemu-img info` shows what is in the file. */
  get shown(): object[] {
    return this.stored.map(({ name, bits, auto, inUse }) => ({
      flags: [...(inUse ? ["in-use"] : []), ...(auto ? ["auto"] : [])],
      name,
      granularity: bits.granularity,
    }));
  }
}
