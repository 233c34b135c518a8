// What query-named-block-nodes tells of qcow2 images, beside what qemu-img tells.
import { mkdirSync } from "node:fs";
import { expect, it } from "vitest";
import { describeImage, gatherImageFacts } from "../../../src/qmp/commands/query-block-image.ts";
import { ImageFolder } from "../../block/drivers/qcow2/qcow2-images.ts";
import { describeWithTools } from "../../support/tools.ts";

describeWithTools(["qemu-img"], "ImageInfo of a qcow2 node", () => {
  it.each<[string, { bitmaps?: boolean; [option: string]: unknown }]>([
    ["version 3", { "lazy-refcounts": true, "refcount-bits": 8, "cluster-size": 4096 }],
    ["version 2", { version: "v2" }],
    ["extended L2 and zstd", { "extended-l2": true, "compression-type": "zstd" }],
    ["version 3 with bitmaps", { bitmaps: true }],
  ])("has what qemu-img says of it: %s", async (_what, { bitmaps = false, ...options }) => {
    const folder = new ImageFolder();
    try {
      await folder.create("base.qcow2", { size: 1 << 20 });
      await folder.create("top.qcow2", {
        size: 1 << 20,
        "backing-file": "base.qcow2",
        "backing-fmt": "qcow2",
        ...options,
      });
      if (bitmaps) {
        folder.run("qemu-img", "bitmap", "--add", "-g", "4096", "top.qcow2", "recording");
        folder.run("qemu-img", "bitmap", "--add", "--disable", "top.qcow2", "still");
      }
      const told = JSON.parse(folder.run("qemu-img", "info", "--output=json", folder.file("top.qcow2"))) as object;
      const node = await folder.open("top.qcow2", { "read-only": true });
      const facts = await gatherImageFacts(folder.graph.nodes);
      const { "backing-image": below, ...own } = describeImage(facts, node, false);
      const { "actual-size": _size, ...expected } = told as Record<string, unknown>;
      expect(own).toEqual(expected);
      expect(below).toMatchObject({ filename: folder.file("base.qcow2"), format: "qcow2", "virtual-size": 1 << 20 });
    } finally {
      await folder.dispose();
    }
  });

  it.each([
    ["a relative name", "../base.qcow2", "sub/../base.qcow2"],
    ["a name that begins at the root", "/nowhere/base.qcow2", "/nowhere/base.qcow2"],
    ["a name with a protocol", "file:base.qcow2", "file:base.qcow2"],
  ])("has the whole name of what the header names, whatever the node stands on: %s", async (_what, name, whole) => {
    const folder = new ImageFolder();
    try {
      mkdirSync(folder.file("sub"));
      const create = ["create", "-q", "-f", "qcow2", "-u", "-b", name, "-F", "qcow2", "sub/top.qcow2", "1M"];
      folder.run("qemu-img", ...create);
      const expected = whole.startsWith("sub/") ? `${folder.path}/${whole}` : whole;
      for (const backing of [null, "other"]) {
        if (backing !== null) await folder.graph.add({ driver: "null-co", "node-name": backing, size: 1 << 20 });
        const node = await folder.open("sub/top.qcow2", { "read-only": true, backing });
        const info = describeImage(await gatherImageFacts(folder.graph.nodes), node, false);
        expect(info).toMatchObject({ "backing-filename": name, "full-backing-filename": expected });
        await folder.close(node);
      }
    } finally {
      await folder.dispose();
    }
  });
});
