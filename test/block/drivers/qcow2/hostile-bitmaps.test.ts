// Damaged bitmaps in qcow2 images: what is wrong with each is said in QEMU's words. docs/reference/persistence-migration.md §2.
import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { afterAll, beforeAll, expect, it } from "vitest";
import { onWarning } from "../../../../src/base/warnings.ts";
import { describeWithTools } from "../../../support/tools.ts";
import { shownBitmaps } from "./bitmap-tools.ts";
import { ImageFolder } from "./qcow2-images.ts";

let folder: ImageFolder;
let good: Buffer;
beforeAll(() => {
  folder = new ImageFolder();
  folder.run("qemu-img", "create", "-f", "qcow2", "good", "64M");
  for (const name of ["one", "two"]) folder.run("qemu-img", "bitmap", "--add", "good", name);
  folder.run("qemu-io", "-f", "qcow2", "-c", "write 1M 64k", "good");
  good = readFileSync(folder.file("good"));
});
afterAll(() => folder.dispose());

/** Where things are in an image that QEMU has made. */
class Places {
  readonly image: Buffer;
  readonly extension: number;
  readonly directory: number;
  /** The second entry, which is as long as the first. */
  readonly second: number;
  readonly table: number;

  constructor(image: Buffer) {
    this.image = image;
    let at = 112;
    while (image.readUInt32BE(at) !== 0x23852875) at += 8 + Math.ceil(image.readUInt32BE(at + 4) / 8) * 8;
    this.extension = at;
    this.directory = Number(image.readBigUInt64BE(at + 24));
    this.second = this.directory + 32;
    this.table = Number(image.readBigUInt64BE(this.directory));
  }
}

type Damage = (image: Buffer, places: Places) => void;

const extension32 =
  (field: number, value: number): Damage =>
  (image, { extension }) =>
    image.writeUInt32BE(value, extension + 8 + field);
const extension64 =
  (field: number, value: bigint): Damage =>
  (image, { extension }) =>
    image.writeBigUInt64BE(value, extension + 8 + field);
const entry32 =
  (field: number, value: number): Damage =>
  (image, { directory }) =>
    image.writeUInt32BE(value, directory + field);
const entry8 =
  (field: number, value: number): Damage =>
  (image, { directory }) =>
    image.writeUInt8(value, directory + field);
const entry64 =
  (field: number, value: bigint): Damage =>
  (image, { directory }) =>
    image.writeBigUInt64BE(value, directory + field);
const table64 =
  (value: bigint): Damage =>
  (image, { table }) =>
    image.writeBigUInt64BE(value, table);
const both =
  (...list: Damage[]): Damage =>
  (image, places) => {
    for (const damage of list) damage(image, places);
  };
/** Both entries of one name; the second with other flags. */
const twins =
  (flags: number): Damage =>
  (image, { directory, second }) => {
    image.copy(image, second + 24, directory + 24, directory + 27);
    image.writeUInt32BE(flags, second + 12);
  };

const CONSTRAINTS = "Bitmap 'one' doesn't satisfy the constraints";

const CASES: readonly (readonly [what: string, damage: Damage, text: string])[] = [
  ["an extension too short", (i, p) => i.writeUInt32BE(16, p.extension + 4), "bitmaps_ext: Invalid extension length"],
  ["no bitmaps", extension32(0, 0), "found bitmaps extension with zero bitmaps"],
  [
    "too many bitmaps",
    extension32(0, 65536),
    "bitmaps_ext: Image has 65536 bitmaps, exceeding the QEMU supported maximum of 65535",
  ],
  ["a reserved field", extension32(4, 1), "bitmaps_ext: Reserved field is not zero"],
  [
    "a directory too large",
    extension64(8, 67107848n),
    "bitmaps_ext: bitmap directory size (67107848) exceeds the maximum supported size (67107840)",
  ],
  [
    "a directory beyond all measure",
    extension64(8, 2n ** 64n - 8n),
    "bitmaps_ext: bitmap directory size (18446744073709551608) exceeds the maximum supported size (67107840)",
  ],
  ["a directory of nothing", extension64(8, 0n), "Requested bitmap directory size is zero"],
  ["a directory unaligned", extension64(16, 512n), "bitmaps_ext: invalid bitmap directory offset"],
  ["fewer bitmaps than entries", extension32(0, 1), "More bitmaps found than specified in header extension"],
  ["more bitmaps than entries", extension32(0, 3), "Less bitmaps found than specified in header extension"],
  ["a directory cut off", extension64(8, 60n), "Broken bitmap directory"],
  ["a directory with a tail", extension64(8, 72n), "Broken bitmap directory"],
  ["a name beyond the directory", entry32(16, 0x01_10_03_ff), "Broken bitmap directory"],
  ["extra data", entry32(20, 8), "Bitmap extra data is not supported"],
  ["no table", entry64(0, 0n), CONSTRAINTS],
  ["a table unaligned", entry64(0, 512n), CONSTRAINTS],
  ["an empty table", entry32(8, 0), CONSTRAINTS],
  ["a table too large", entry32(8, 0x8000001), CONSTRAINTS],
  ["data of more than 512 MiB", entry32(8, 8193), CONSTRAINTS],
  ["a reserved flag", entry32(12, 8), CONSTRAINTS],
  ["extra data that may be ignored", entry32(12, 4), CONSTRAINTS],
  ["an unknown type", entry8(16, 2), CONSTRAINTS],
  ["a granularity too small", entry8(17, 8), CONSTRAINTS],
  ["a granularity too large", entry8(17, 32), CONSTRAINTS],
  ["a table longer than the bitmap", entry32(8, 2), "Could not read bitmap 'one' from image: Invalid argument"],
  [
    "a table entry with a reserved bit",
    table64(2n),
    "Could not read bitmap_table table from image for bitmap 'one': Invalid argument",
  ],
  [
    "a table entry unaligned",
    table64(0x1_0200n),
    "Could not read bitmap_table table from image for bitmap 'one': Invalid argument",
  ],
  [
    "a table entry with data and all ones",
    table64(0x1_0001n),
    "Could not read bitmap_table table from image for bitmap 'one': Invalid argument",
  ],
  [
    "a table where no file reaches",
    entry64(0, 2n ** 63n),
    "Could not read bitmap_table table from image for bitmap 'one': Input/output error",
  ],
  [
    "a directory where no file reaches",
    extension64(16, 2n ** 63n),
    "Failed to read bitmap directory: Input/output error",
  ],
  ["one name twice", twins(2), "Bitmap already exists: one"],
];

/** Of what is no damage: what is loaded. */
const HARMLESS: readonly (readonly [what: string, damage: Damage, loaded: readonly object[]])[] = [
  ["one name twice, once in use", twins(3), [{ name: "one", inconsistent: false, countBytes: 65536 }]],
  [
    "a bad table of a bitmap in use",
    both(entry32(12, 3), table64(2n)),
    [
      { name: "two", inconsistent: false, countBytes: 65536 },
      { name: "one", inconsistent: true, countBytes: 0 },
    ],
  ],
  [
    "a table entry of all ones",
    table64(1n),
    [
      { name: "two", inconsistent: false, countBytes: 65536 },
      { name: "one", inconsistent: false, countBytes: 64 << 20 },
    ],
  ],
  [
    "data beyond the end of the file",
    table64(1n << 40n),
    [
      { name: "two", inconsistent: false, countBytes: 65536 },
      { name: "one", inconsistent: false, countBytes: 0 },
    ],
  ],
  [
    "bytes in the padding",
    entry8(31, 0xff),
    [
      { name: "two", inconsistent: false, countBytes: 65536 },
      { name: "one", inconsistent: false, countBytes: 65536 },
    ],
  ],
  ["bitmaps that somebody has not minded", (image) => image.writeBigUInt64BE(0n, 88), []],
];

function damaged(damage: Damage): void {
  const image = Buffer.from(good);
  damage(image, new Places(image));
  writeFileSync(folder.file("bad"), image);
}

describeWithTools(["qemu-img", "qemu-io"], "an image with damaged bitmaps", () => {
  it.each(CASES)("%s: is refused, in QEMU's words", async (_what, damage, text) => {
    damaged(damage);
    const { stderr } = spawnSync("qemu-img", ["info", "bad"], { cwd: folder.path, encoding: "utf8" });
    expect(stderr).toBe(`qemu-img: Could not open 'bad': ${text}\n`);
    for (const options of [{}, { "read-only": true }]) {
      await expect(folder.open("bad", options)).rejects.toMatchObject({ message: text });
      expect([...folder.graph.nodes]).toEqual([]);
    }
  });

  it.each(HARMLESS)("%s: is opened", async (_what, damage, loaded) => {
    damaged(damage);
    const node = await folder.open("bad");
    const bitmaps = Array.from(node.bitmaps, ({ name, inconsistent, countBytes }) => ({
      name,
      inconsistent,
      countBytes,
    }));
    expect(bitmaps).toEqual(loaded);
    await folder.close(node);
    const names = shownBitmaps(folder, "bad").map(({ name }) => name);
    expect(new Set(names)).toEqual(new Set(bitmaps.map(({ name }) => name)));
  });
});

describeWithTools(["qemu-img", "qemu-io"], "an extension that is void", () => {
  it("is left out of the header by the first writable open, and its clusters are leaks", async () => {
    damaged((image) => image.writeBigUInt64BE(0n, 88));
    const before = readFileSync(folder.file("bad"));
    const warnings: string[] = [];
    const end = onWarning((message) => warnings.push(message));
    await folder.close(await folder.open("bad", { "read-only": true }));
    end();
    const { stderr } = spawnSync("qemu-img", ["info", "bad"], { cwd: folder.path, encoding: "utf8" });
    expect(warnings.map((warning) => `qemu-img: ${warning}`)).toEqual([stderr.trimEnd()]);
    expect(readFileSync(folder.file("bad")).equals(before)).toBe(true);
    await folder.close(await folder.open("bad"));
    expect(
      readFileSync(folder.file("bad"))
        .subarray(0, 1024)
        .includes(Buffer.from([0x23, 0x85, 0x28, 0x75])),
    ).toBe(false);
    expect(folder.check("bad")).toMatch(/^3: /);
  });
});
