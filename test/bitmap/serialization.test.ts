// Parts of a serialised bitmap and its hash: docs/reference/bitmaps.md §1.2 (sha256) and §1.3.
import { describe, expect, it } from "vitest";
import { HierarchicalBitmap } from "../../src/bitmap/hierarchical-bitmap.ts";

const MIB = 1 << 20;

/** 161 groups of 64 KiB, as in the example of docs/reference/corrections.md. */
function bitmap161(): HierarchicalBitmap {
  return new HierarchicalBitmap(161 * 65536, 65536);
}

describe("HierarchicalBitmap.sha256", () => {
  it("is that of a real QEMU after the same writes, at every granularity", async () => {
    // Writes of 512 bytes at 0, of 1024 at 65024, of 512 at the end of 1 MiB; granularity, dirty bytes, hash.
    const expected: [number, number, string][] = [
      [512, 2048, "4252aa5b20f6c75786aaa787a6b02486c2e2fe496ac79d7e38d7404683ac4661"],
      [1024, 4096, "0d41fb6e72ca60727636169d72ae3b46189af71465188e1571a2077463b163f2"],
      [2048, 8192, "ee3b19e8be67492318b2dc64940289e636fd3dfdce52861baa89b28cc064ea10"],
      [4096, 16384, "b7279b7e0c557bd7c341f493bc49c2077a0ccfa655a3d7b00e1fe54b8c192f8f"],
      [65536, 196608, "7cefd78ab2c8e2eed64271821f62cd868982b48e67ee49f479eee6870ad031ad"],
      [1048576, 1048576, "7c9fa136d4413fa6173637e883b6998d32e1d675f88cddff9dcbcf331820f4b8"],
    ];
    for (const [granularity, dirtyBytes, hash] of expected) {
      const bitmap = new HierarchicalBitmap(MIB, granularity);
      bitmap.set(0, 512);
      bitmap.set(65024, 1024);
      bitmap.set(1048064, 512);
      expect(bitmap.countBytes).toBe(dirtyBytes);
      expect(await bitmap.sha256()).toBe(hash);
    }
  });

  it("covers whole 64-bit words, clean ones too", async () => {
    const hash = (granularity: number): Promise<string> => new HierarchicalBitmap(MIB, granularity).sha256();
    expect(await hash(512)).toBe("5341e6b2646979a70e57653007a1f310169421ec9bdd9f1a5648f75ade005af1");
    expect(await hash(4096)).toBe("66687aadf862bd776c8fc18b8e9f8e20089714856ee233b3902a591d0d5f2925");
    expect(await hash(65536)).toBe("af5570f5a1810b7af78caf4bc70a660f0df51e42baf91d4de5b2328de0e83dfc");
  });

  it("is that of the moment of the call", async () => {
    const bitmap = new HierarchicalBitmap(MIB, 65536);
    const hash = bitmap.sha256();
    bitmap.set(0, 1);
    expect(await hash).toBe("af5570f5a1810b7af78caf4bc70a660f0df51e42baf91d4de5b2328de0e83dfc");
  });
});

describe("the geometry of a serialised bitmap", () => {
  it("has parts that begin at multiples of 64 groups", () => {
    expect(new HierarchicalBitmap(MIB, 512).serializationAlignBytes).toBe(32768);
    expect(new HierarchicalBitmap(MIB, 65536).serializationAlignBytes).toBe(4194304);
    expect(() => new HierarchicalBitmap(MIB, 2 ** 58).serializationAlignBytes).toThrow("granularity too large");
  });

  it("takes eight bytes for each word that a range covers", () => {
    const bitmap = bitmap161();
    expect(bitmap.serializationSize(0, 0)).toBe(0);
    expect(bitmap.serializationSize(0, 161 * 65536)).toBe(24);
    expect(bitmap.serializationSize(0, 64 * 65536)).toBe(8);
    expect(bitmap.serializationSize(128 * 65536, 33 * 65536)).toBe(8);
    expect(bitmap.serializationSize(64 * 65536, 97 * 65536)).toBe(16);
  });

  it("says how much disk a chunk tells about", () => {
    expect(bitmap161().serializationCoverage(1024)).toBe(65536 * 8 * 1024);
    expect(() => bitmap161().serializationCoverage(1)).toThrow("end within a word");
  });

  it("refuses parts that begin or end within a word, and ranges outside", () => {
    const bitmap = bitmap161();
    const out = new Uint8Array(64);
    expect(() => bitmap.serialize(65536, 64 * 65536, out)).toThrow("starts within a word");
    expect(() => bitmap.serialize(0, 65 * 65536, out)).toThrow("ends within a word");
    expect(() => bitmap.serialize(128 * 65536, 64 * 65536, out)).toThrow("outside the bitmap");
    expect(() => bitmap.serialize(-64 * 65536, 64 * 65536, out)).toThrow("negative range");
    expect(() => bitmap.deserialize(0, 160 * 65536, out)).toThrow("ends within a word");
    expect(() => bitmap.deserializeZeroes(65536, 64 * 65536)).toThrow("starts within a word");
    expect(() => bitmap.deserializeOnes(0, 65536)).toThrow("ends within a word");
    expect(bitmap.countBytes).toBe(0);
  });

  it("needs buffers of the size that it states", () => {
    const bitmap = bitmap161();
    expect(() => bitmap.serialize(0, 161 * 65536, new Uint8Array(23))).toThrow("serialize: no room");
    expect(() => bitmap.deserialize(0, 161 * 65536, new Uint8Array(23))).toThrow("deserialize: too few bytes");
  });
});

describe("a serialised bitmap", () => {
  it("has bit i at bit i % 8 of byte i / 8", () => {
    const bitmap = bitmap161();
    for (const bit of [0, 9, 63, 64, 100, 160]) bitmap.set(bit * 65536, 1);
    const bytes = new Uint8Array(24);
    bitmap.serialize(0, 161 * 65536, bytes);
    expect([...bytes]).toEqual([1, 2, 0, 0, 0, 0, 0, 0x80, 1, 0, 0, 0, 0x10, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0]);
    const part = new Uint8Array(9).fill(0xaa);
    bitmap.serialize(64 * 65536, 64 * 65536, part);
    expect([...part]).toEqual([1, 0, 0, 0, 0x10, 0, 0, 0, 0xaa]);
    bitmap.serialize(0, 0, part);
    expect(part[0]).toBe(1);
  });

  it("reads back, from a view at an odd address too, and replaces what was there", () => {
    const bitmap = bitmap161();
    bitmap.set(0, 161 * 65536);
    const bytes = Uint8Array.of(0xff, 1, 2, 0, 0, 0, 0, 0, 0x80, 1, 0, 0, 0, 0x10, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0);
    bitmap.deserialize(0, 161 * 65536, bytes.subarray(1));
    const iterator = bitmap.iterate();
    const bits: number[] = [];
    for (let offset = iterator.next(); offset >= 0; offset = iterator.next()) bits.push(offset / 65536);
    expect(bits).toEqual([0, 9, 63, 64, 100, 160]);
    expect(bitmap.countBytes).toBe(6 * 65536);
  });

  it("reads back part by part, the bitmap being right after each", () => {
    const bitmap = bitmap161();
    bitmap.deserialize(64 * 65536, 64 * 65536, Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 0x80));
    expect([bitmap.countBytes, bitmap.nextDirty(0)]).toEqual([131072, 64 * 65536]);
    bitmap.deserialize(0, 64 * 65536, Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0x80));
    expect([bitmap.countBytes, bitmap.nextDirty(0)]).toEqual([196608, 63 * 65536]);
    bitmap.deserialize(0, 0, new Uint8Array(0));
    bitmap.deserializeZeroes(64 * 65536, 97 * 65536);
    expect(bitmap.countBytes).toBe(65536);
    bitmap.deserializeZeroes(0, 0);
    bitmap.deserializeOnes(128 * 65536, 0);
    expect(bitmap.countBytes).toBe(65536);
  });

  it("drops bits past the end, and `ones` sets none there", async () => {
    // QEMU keeps them; see docs/reference/corrections.md on the all-ones form. Here they are neither counted nor hashed.
    const bitmap = bitmap161();
    bitmap.deserialize(0, 161 * 65536, new Uint8Array(24).fill(0xff));
    expect(bitmap.countBytes).toBe(161 * 65536);
    const hash = await bitmap.sha256();
    const bytes = new Uint8Array(24);
    bitmap.serialize(0, 161 * 65536, bytes);
    expect([...bytes.subarray(16)]).toEqual([0xff, 0xff, 0xff, 0xff, 1, 0, 0, 0]);
    const ones = bitmap161();
    ones.deserializeOnes(0, 161 * 65536);
    expect(await ones.sha256()).toBe(hash);
    ones.truncate(192 * 65536);
    expect(ones.countBytes).toBe(161 * 65536);
  });

  it("takes bytes in shared memory", () => {
    const bitmap = bitmap161();
    const shared = new Uint8Array(new SharedArrayBuffer(32), 3, 24);
    shared[0] = 5;
    bitmap.deserialize(0, 161 * 65536, shared);
    expect(bitmap.countBytes).toBe(131072);
    bitmap.serialize(0, 161 * 65536, shared);
    expect([...shared.subarray(0, 2)]).toEqual([5, 0]);
  });
});
