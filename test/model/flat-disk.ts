// The naive twin of a disk and of its named bitmaps: flat arrays, and the sentences of docs/reference/bitmaps.md §2.4 and §3 as code.

import { expect } from "vitest";
import type { DirtyBitmapList } from "../../src/bitmap/dirty-bitmap-list.ts";
import { FlatBitmap } from "../bitmap/flat-bitmap.ts";

/** A named bitmap. While a job has it, `frozen` holds what guests write meanwhile. */
export interface TwinBitmap {
  readonly name: string;
  recording: boolean;
  bits: FlatBitmap;
  frozen: FlatBitmap | undefined;
  /** When it was made; when its successor was. The list is sorted by this. */
  born: number;
  successorBorn: number;
  /** What the successful backups of a chain that began with a full one come to; undefined where there is no such chain. */
  chain: Uint8Array | undefined;
}

/** What a driver was asked to change, in the order in which the requests ended. */
export interface Change {
  readonly offsetBytes: number;
  readonly lengthBytes: number;
}

/**
 * Changes are taken into the bitmaps late: when something happens of which it is known what came before it and what after
 * (`advance`).
 */
export class FlatDisk {
  readonly name: string;
  lengthBytes: number;
  /** Newest first. */
  bitmaps: TwinBitmap[] = [];
  readonly changes: Change[] = [];
  #taken = 0;
  #births = 0;

  constructor(name: string, lengthBytes: number) {
    this.name = name;
    this.lengthBytes = lengthBytes;
  }

  find(name: string): TwinBitmap | undefined {
    return this.bitmaps.find((bitmap) => bitmap.name === name);
  }

  /** Takes in the changes before the one with this number. */
  advance(to: number): void {
    for (; this.#taken < to; this.#taken++) {
      const { offsetBytes, lengthBytes } = this.changes[this.#taken]!;
      for (const { recording, bits, frozen } of this.bitmaps)
        if (recording) (frozen ?? bits).set(offsetBytes, lengthBytes);
    }
  }

  add(name: string, granularity: number, disabled: boolean): void {
    expect(this.find(name), `${name} was made twice`).toBeUndefined();
    const bits = new FlatBitmap(this.lengthBytes, granularity);
    this.bitmaps.unshift({
      name,
      recording: !disabled,
      bits,
      frozen: undefined,
      born: ++this.#births,
      successorBorn: 0,
      chain: undefined,
    });
  }

  remove(name: string): void {
    const gone = this.free(name);
    this.bitmaps = this.bitmaps.filter((bitmap) => bitmap !== gone);
  }

  /** One that a command may change: no job has it. */
  free(name: string): TwinBitmap {
    const bitmap = this.find(name);
    if (bitmap === undefined)
      throw new Error(`a command succeeded on ${this.name}'s bitmap ${name}, which is not there`);
    expect(bitmap.frozen, `a command succeeded on ${name}, which a job has`).toBeUndefined();
    return bitmap;
  }

  freeze(name: string): TwinBitmap {
    const bitmap = this.free(name);
    bitmap.frozen = new FlatBitmap(this.lengthBytes, bitmap.bits.granularity);
    bitmap.successorBorn = ++this.#births;
    return bitmap;
  }

  /** The successor takes the name, at its own place in the list. */
  abdicate(bitmap: TwinBitmap): void {
    bitmap.bits = bitmap.frozen!;
    bitmap.frozen = undefined;
    bitmap.born = bitmap.successorBorn;
    this.bitmaps.sort((a, b) => b.born - a.born);
  }

  reclaim(bitmap: TwinBitmap): void {
    bitmap.bits.merge(bitmap.frozen!);
    bitmap.frozen = undefined;
  }

  resize(lengthBytes: number): void {
    this.lengthBytes = lengthBytes;
    for (const bitmap of this.bitmaps) {
      expect(bitmap.frozen, "resized while a job has a bitmap").toBeUndefined();
      bitmap.bits.truncate(lengthBytes);
      if (bitmap.chain !== undefined) bitmap.chain = resized(bitmap.chain, lengthBytes);
    }
  }

  /** The bitmaps are these: by name, order, flags and count; or by every bit. */
  check(list: DirtyBitmapList, when: string, everyBit = false): void {
    this.advance(this.changes.length);
    const named = [...list].filter(({ name }) => name !== undefined);
    const seen = named.map(({ name, busy, recording, granularityBytes, countBytes, successor }) => {
      return [name, busy, recording, granularityBytes, countBytes, successor?.countBytes].join(" ");
    });
    const expected = this.bitmaps.map(({ name, recording, bits, frozen }) => {
      return [name, frozen !== undefined, recording, bits.granularity, bits.countBytes, frozen?.countBytes].join(" ");
    });
    expect(seen.join("\n"), `bitmaps of ${this.name} ${when}`).toBe(expected.join("\n"));
    if (!everyBit) return;
    for (const [i, { bits, name }] of this.bitmaps.entries()) {
      for (let bit = 0; bit < bits.bits.length; bit++) {
        if (named[i]!.bits.get(bit * bits.granularity) === (bits.bits[bit] === 1)) continue;
        expect.fail(`bit ${bit} of ${this.name}'s bitmap ${name} should be ${bits.bits[bit]} ${when}`);
      }
    }
  }
}

function resized(bytes: Uint8Array, lengthBytes: number): Uint8Array {
  const result = new Uint8Array(lengthBytes);
  result.set(bytes.subarray(0, lengthBytes));
  return result;
}
