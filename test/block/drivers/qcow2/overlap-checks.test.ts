// What `overlap-check` guards, section by section, beside what a real QEMU guards in the same images.
import { spawnSync } from "node:child_process";
import { copyFileSync, readFileSync, writeFileSync } from "node:fs";
import { afterEach, beforeEach, expect, it } from "vitest";
import { IoVector } from "../../../../src/base/io-vector.ts";
import { describeWithTools } from "../../../support/tools.ts";
import { ImageFolder } from "./qcow2-images.ts";

const OFFSETS = (1n << 56n) - 512n;
const COPIED = 1n << 63n;

/** The sections, the first template that checks each, and what messages call them. */
const SECTIONS: readonly [section: string, template: string, name: string][] = [
  ["active-l1", "constant", "active L1 table"],
  ["active-l2", "cached", "active L2 table"],
  ["refcount-table", "constant", "refcount table"],
  ["refcount-block", "cached", "refcount block"],
  ["snapshot-table", "constant", "snapshot table"],
  ["inactive-l1", "cached", "inactive L1 table"],
  ["inactive-l2", "all", "inactive L2 table"],
  ["bitmap-directory", "constant", "bitmap directory"],
];
const TEMPLATES = ["none", "constant", "cached", "all"];

describeWithTools(["qemu-img", "qemu-io"], "overlap-check", () => {
  let folder: ImageFolder;

  beforeEach(() => {
    folder = new ImageFolder();
    folder.run("qemu-img", "create", "-q", "-f", "qcow2", "-o", "cluster_size=512", "disk.qcow2", "1M");
    folder.run("qemu-io", "-c", "write 0 256k", "disk.qcow2");
    folder.run("qemu-img", "snapshot", "-c", "snapshot", "disk.qcow2");
    folder.run("qemu-io", "-c", "write 0 64k", "disk.qcow2");
    folder.run("qemu-img", "bitmap", "--add", "disk.qcow2", "b0");
  });

  afterEach(() => folder.dispose());

  /** Makes the first cluster of the disk be where a table is. */
  function pointAt(section: string, name: string): void {
    const bytes = readFileSync(folder.file("disk.qcow2"));
    const at = (offset: number): number => Number(bytes.readBigUInt64BE(offset) & OFFSETS);
    const [l1, snapshots, refcountTable] = [at(40), at(64), at(48)];
    const inactiveL1 = at(snapshots);
    const l2 = at(l1);
    const extension = bytes.indexOf(Buffer.from("2385287500000018", "hex"));
    const place: Record<string, number> = {
      "active-l1": l1,
      "active-l2": l2,
      "refcount-table": refcountTable,
      "refcount-block": at(refcountTable),
      "snapshot-table": snapshots,
      "inactive-l1": inactiveL1,
      // The active image has a copy of its own by now.
      "inactive-l2": at(inactiveL1),
      "bitmap-directory": at(extension + 8 + 16),
    };
    bytes.writeBigUInt64BE(BigInt(place[section]!) | COPIED, l2);
    writeFileSync(folder.file(name), bytes);
  }

  /** What a write there fails with, in short; undefined where it does not. */
  async function failure(section: string, overlapCheck: unknown): Promise<string | undefined> {
    pointAt(section, "damaged.qcow2");
    const node = await folder.open("damaged.qcow2", { "overlap-check": overlapCheck });
    try {
      await node.write(0, IoVector.of(new Uint8Array(512).fill(1)));
      return undefined;
    } catch (error) {
      return /overlaps with (.*)\)/.exec((error as Error).message)?.[1] ?? String(error);
    } finally {
      await Promise.allSettled([folder.close(node)]);
    }
  }

  /** As `failure`, of QEMU. */
  function theirFailure(section: string, options: string): string | undefined {
    pointAt(section, "damaged.qcow2");
    const image = `driver=qcow2,file.filename=${folder.file("damaged.qcow2")},${options}`;
    const { stderr, stdout } = spawnSync("qemu-io", ["-c", "write 0 512", "--image-opts", image], { encoding: "utf8" });
    return (
      /overlaps with (.*)\)/.exec(stdout + stderr)?.[1] ?? (stdout.startsWith("wrote 512/512") ? undefined : stderr)
    );
  }

  it.each(SECTIONS)("guards the %s from template %s on, as QEMU does", async (section, first, name) => {
    for (const template of TEMPLATES) {
      const expected = TEMPLATES.indexOf(template) >= TEMPLATES.indexOf(first) ? name : undefined;
      expect(await failure(section, template), template).toBe(expected);
      expect(await failure(section, { template }), `{ ${template} }`).toBe(expected);
      expect(theirFailure(section, `overlap-check=${template}`), `QEMU: ${template}`).toBe(expected);
    }
    const byDefault = first === "all" ? undefined : name;
    expect(await failure(section, undefined)).toBe(byDefault);
  });

  it.each(SECTIONS)("guards the %s alone, or all but it, where that is said", async (section, _first, name) => {
    expect(await failure(section, { template: "none", [section]: true })).toBe(name);
    expect(theirFailure(section, `overlap-check=none,overlap-check.${section}=on`)).toBe(name);
    expect(await failure(section, { template: "all", [section]: false })).toBe(undefined);
    expect(theirFailure(section, `overlap-check=all,overlap-check.${section}=off`)).toBe(undefined);
  });

  it("guards the header from being given out as a new cluster, whatever is checked", async () => {
    await folder.create("free.qcow2", { size: 1 << 20 });
    const bytes = readFileSync(folder.file("free.qcow2"));
    bytes.writeUInt16BE(0, 0x20000);
    for (const [check, text] of [
      [{ template: "none", "main-header": true }, "overlaps with qcow2_header"],
      [{ template: "all", "main-header": false }, "Preventing invalid allocation of a cluster at offset 0"],
    ] as const) {
      writeFileSync(folder.file("free.qcow2"), bytes);
      const node = await folder.open("free.qcow2", { "overlap-check": check });
      const writing = async (): Promise<void> => node.write(0, IoVector.of(new Uint8Array(512)));
      await expect(writing()).rejects.toThrow(text);
      await Promise.allSettled([folder.close(node)]);
    }
  });

  it("is what blockdev-reopen makes it", async () => {
    pointAt("refcount-table", "damaged.qcow2");
    const { graph } = folder;
    const options = {
      driver: "qcow2",
      "node-name": "disk",
      file: { driver: "file", filename: folder.file("damaged.qcow2") },
    };
    const node = await graph.add(options);
    const original = new Uint8Array(512);
    await node.read(0, IoVector.of(original));
    const writing = async (): Promise<void> => node.write(0, IoVector.of(original));
    await graph.reopen([{ ...options, "overlap-check": { template: "none" } }]);
    await writing();
    await graph.reopen([{ ...options, "overlap-check": { template: "none", "refcount-table": true } }]);
    await expect(writing()).rejects.toThrow("overlaps with refcount table");
    copyFileSync(folder.file("disk.qcow2"), folder.file("damaged.qcow2"));
    await Promise.allSettled([graph.delete("disk")]);
  });
});
