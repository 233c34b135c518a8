// The block graph as blockdev-add, blockdev-del and block_resize see it. Orders and texts are those of a real QEMU 7.2.
import { readFileSync, writeFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { IoVector } from "../../src/base/io-vector.ts";
import { nullOpener } from "../../src/block/drivers/memory-openers.ts";
import { rawOpener } from "../../src/block/drivers/raw-opener.ts";
import { BlockGraph } from "../../src/block/graph.ts";
import type { DriverOpener } from "../../src/block/graph-options.ts";
import { RecordingParent } from "../support/recording-parent.ts";
import { settle } from "../support/simulation.ts";
import { NULL, SIX, useGraph } from "./support/graph-rig.ts";

const rig = useGraph();
const { add, inFolder, names } = rig;

describe("BlockGraph.add", () => {
  it("wants a good name that nobody has", async () => {
    rig.graph.addBackend({ name: "drv" });
    await add(NULL, "n0");
    for (const [name, text] of [
      [undefined, "'node-name' must be specified for the root node"],
      ["n0", "Duplicate nodes with node-name='n0'"],
      ["", "Invalid node-name: ''"],
      ["1bad", "Invalid node-name: '1bad'"],
      ["a b", "Invalid node-name: 'a b'"],
      ["#block000", "Invalid node-name: '#block000'"],
      ["é", "Invalid node-name: 'é'"],
      ["x".repeat(32), "Node name too long"],
      ["drv", "node-name=drv is conflicting with a device id"],
    ] as const) {
      await expect(add(NULL, name), String(name)).rejects.toThrow(new RegExp(`^${text}$`));
    }
    await add(NULL, "x".repeat(31));
    await add(NULL, "a.b-c_d");
    expect(names()).toEqual(["a.b-c_d", "x".repeat(31), "n0"]);
    await rig.graph.removeBackend(rig.graph.drive("drv")!);
  });

  it("opens children that are given within, and lists a node after its file", async () => {
    await add({ driver: "raw", file: SIX }, "r");
    await add({ driver: "raw", file: { ...SIX, "node-name": "f" } }, "q");
    await add({ driver: "memory", backing: { ...SIX, "node-name": "base" } }, "top");
    expect(names()).toEqual(["base", "top", "q", "f", "r", "#"]);
    expect(rig.graph.node("q")?.lengthBytes).toBe(3072);
    expect(rig.graph.node("top")?.lengthBytes).toBe(3072);
  });

  it("reports a missing file before a bad name, and any other child after it", async () => {
    await expect(add({ driver: "raw", file: "zz" }, "1bad")).rejects.toThrow(
      "Cannot find device='zz' nor node-name='zz'",
    );
    await expect(add({ driver: "memory", backing: "zz" }, "1bad")).rejects.toThrow("Invalid node-name: '1bad'");
    await expect(add({ driver: "raw", file: { ...NULL, "node-name": "r" } }, "r")).rejects.toThrow(
      "Duplicate nodes with node-name='r'",
    );
    await expect(add({ driver: "raw" }, "r")).rejects.toThrow('A block device must be specified for "file"');
    await expect(add({ driver: "zz" }, "r")).rejects.toThrow("Unknown driver 'zz'");
    expect(names()).toEqual([]);
    await add(NULL, "r");
  });

  it("makes no node stand on itself", async () => {
    await expect(add({ driver: "memory", backing: "m" }, "m")).rejects.toThrow(
      "Making 'm' a backing child of 'm' would create a cycle",
    );
    await expect(add({ driver: "raw", file: "r" }, "r")).rejects.toThrow("Cannot find device='r' nor node-name='r'");
  });

  it("checks settings when the file is there and before the name is", async () => {
    const wrong = { "detect-zeroes": "unmap", "force-share": true } as const;
    await expect(add({ driver: "raw", file: "zz", ...wrong }, "1bad")).rejects.toThrow("Cannot find device='zz'");
    await expect(add({ driver: "raw", file: NULL, ...wrong }, "1bad")).rejects.toThrow("force-share=on can only");
    await expect(add({ ...NULL, "detect-zeroes": "unmap" }, "1bad")).rejects.toThrow("setting detect-zeroes to unmap");
  });

  it("means a drive's node by the drive's id", async () => {
    const drive = rig.graph.addBackend({ name: "d0", node: await rig.graph.open(NULL) });
    const empty = rig.graph.addBackend({ name: "e0" });
    await add({ driver: "raw", file: "d0" }, "x");
    expect(rig.graph.node("x")?.driver.children[0]?.node).toBe(drive.node);
    await expect(add({ driver: "raw", file: "e0" }, "y")).rejects.toThrow("Device 'e0' has no medium");
    await rig.graph.delete("x");
    for (const backend of [drive, empty]) await rig.graph.removeBackend(backend);
    expect(names()).toEqual([]);
  });

  it("refuses options that are against one another", async () => {
    await expect(add({ ...NULL, "detect-zeroes": "unmap" }, "n")).rejects.toThrow(
      "setting detect-zeroes to unmap is not allowed without setting discard operation to unmap",
    );
    await expect(add({ ...NULL, "force-share": true }, "n")).rejects.toThrow(
      "force-share=on can only be used with read-only images",
    );
  });

  it("gives settings to children that are given within, but not all", async () => {
    const cache = { direct: true, "no-flush": true };
    const file = { ...NULL, "node-name": "f" };
    await add(
      {
        driver: "raw",
        file,
        "read-only": true,
        cache,
        "detect-zeroes": "on",
        "auto-read-only": true,
        "force-share": true,
      },
      "r",
    );
    expect(rig.graph.node("f")?.settings).toEqual({
      readOnly: true,
      autoReadOnly: true,
      forceShare: true,
      discard: "unmap",
      detectZeroes: "off",
      cacheDirect: true,
      cacheNoFlush: true,
    });
    await add({ driver: "raw", file: { ...NULL, "node-name": "f2", "read-only": false }, "read-only": true }, "r2");
    expect(rig.graph.node("f2")?.readOnly).toBe(false);
    await add({ driver: "memory", backing: { ...SIX, "node-name": "base" } }, "top");
    expect(rig.graph.node("base")?.readOnly).toBe(true);
  });

  it("opens a part of a node, if there is such a part", async () => {
    await add({ driver: "null-co", size: 1 << 20 }, "n");
    for (const [options, text] of [
      [{ offset: 1 << 21 }, "Offset (2097152) cannot be greater than size of the containing file (1048576)"],
      [
        { offset: 1 << 20, size: 1024 },
        "The sum of offset (1048576) and size (1024) has to be smaller or equal to the  actual size of the containing file (1048576)",
      ],
      [{ offset: 1 << 19, size: 1000 }, "Specified size is not multiple of 512"],
    ] as const) {
      await expect(add({ driver: "raw", file: "n", ...options }, "r")).rejects.toThrow(text);
    }
    await add({ driver: "raw", file: "n", offset: 513 }, "r");
    expect(rig.graph.node("r")?.lengthBytes).toBe((1 << 20) - 512);
  });

  it("takes QEMU's texts for files that cannot be opened", async () => {
    const file = { driver: "file", filename: inFolder("none.img") };
    await expect(add(file, "f")).rejects.toThrow(`Could not open '${inFolder("none.img")}': No such file or directory`);
    await expect(add({ driver: "raw", file }, "r")).rejects.toThrow("No such file or directory");
    await expect(add({ driver: "file", filename: "" }, "f")).rejects.toThrow(
      "The 'file' block driver requires a file name",
    );
    writeFileSync(inFolder("a.img"), "x".repeat(1000));
    await expect(add({ driver: "file", filename: inFolder("a.img"), aio: "native" }, "f")).rejects.toThrow(
      "aio=native was specified, but it requires cache.direct=on, which was not specified.",
    );
    await add({ driver: "raw", file: { driver: "file", filename: inFolder("a.img"), aio: "threads" } }, "r");
    expect(rig.graph.node("r")?.lengthBytes).toBe(1024);
  });

  it("lets two commands at a time not have one name", async () => {
    writeFileSync(inFolder("a.img"), new Uint8Array(512));
    const file = { driver: "file", filename: inFolder("a.img"), locking: "off" };
    const outcomes = await Promise.allSettled([add(file, "f"), add(file, "f")]);
    expect(outcomes.map(({ status }) => status).sort()).toEqual(["fulfilled", "rejected"]);
  });

  it("lets nobody delete a child while its parent is being opened", async () => {
    let open: () => void = () => {};
    const gate = new Promise<void>((resolve) => {
      open = resolve;
    });
    const slow: DriverOpener = {
      ...rawOpener,
      driver: "slow",
      open: (context) => gate.then(() => rawOpener.open(context)),
    };
    const other = new BlockGraph({ drivers: [slow, nullOpener] });
    await other.add({ ...NULL, "node-name": "f" });
    const adding = other.add({ driver: "slow", "node-name": "r", file: "f" });
    await settle();
    await expect(other.delete("f")).rejects.toThrow("Block device f is in use");
    open();
    await adding;
    await other.close();
  });
});

describe("BlockGraph.delete", () => {
  it("closes the node, and what was opened for it", async () => {
    writeFileSync(inFolder("a.img"), new Uint8Array(512));
    const file = { driver: "file", filename: inFolder("a.img"), "node-name": "f" };
    await add({ driver: "raw", file }, "r");
    await add(NULL, "n");
    await add({ driver: "raw", file: "n" }, "s");
    await rig.graph.delete("r");
    await rig.graph.delete("s");
    expect(names()).toEqual(["n"]);
    await add(file, "f");
  });

  it("refuses in QEMU's order", async () => {
    await expect(rig.graph.delete("zz")).rejects.toThrow("Failed to find node with node-name='zz'");
    const drive = rig.graph.addBackend({ name: "d", node: await rig.graph.open({ ...SIX, "node-name": "dn" }) });
    await expect(rig.graph.delete("dn")).rejects.toThrow("Node dn is in use");
    const blocker = { reason: "block device is in use by block job: backup" };
    drive.node.opBlockers.add(blocker);
    await expect(rig.graph.delete("dn")).rejects.toThrow("Node dn is in use");
    await add({ driver: "raw", file: { ...NULL, "node-name": "f" } }, "r");
    await expect(rig.graph.delete("f")).rejects.toThrow("Node f is not owned by the monitor");
    rig.graph.node("f")!.opBlockers.add(blocker);
    await expect(rig.graph.delete("f")).rejects.toThrow(
      "Node 'f' is busy: block device is in use by block job: backup",
    );
    rig.graph.node("f")!.opBlockers.remove(blocker);
    await add(NULL, "n");
    await add({ driver: "raw", file: "n" }, "s");
    await expect(rig.graph.delete("n")).rejects.toThrow("Block device n is in use");
    await add(SIX, "b");
    await add({ driver: "memory", backing: "b" }, "t");
    await expect(rig.graph.delete("b")).rejects.toThrow("Node 'b' is busy: node is used as backing hd of 't'");
    drive.node.opBlockers.remove(blocker);
    await rig.graph.removeBackend(drive);
  });

  it("keeps what another node still uses, until that is gone", async () => {
    await add({ driver: "raw", file: { ...SIX, "node-name": "f" } }, "r");
    await add({ driver: "raw", file: "f" }, "s");
    await rig.graph.delete("r");
    expect(names()).toEqual(["s", "f"]);
    await rig.graph.delete("s");
    expect(names()).toEqual([]);
  });

  it("puts what was written on the disk, and lets the name be used again", async () => {
    writeFileSync(inFolder("a.img"), new Uint8Array(512));
    await add({ driver: "file", filename: inFolder("a.img") }, "f");
    await rig.graph.node("f")!.write(0, IoVector.of(new Uint8Array(512).fill(7)));
    rig.graph.node("f")!.bitmaps.add({ name: "b" });
    await rig.graph.delete("f");
    expect(readFileSync(inFolder("a.img"))).toEqual(Buffer.alloc(512, 7));
    await add(NULL, "f");
  });
});

describe("BlockGraph.find", () => {
  it("prefers the drive, and shows each name where it was looked for", async () => {
    await add(SIX, "n");
    const drive = rig.graph.addBackend({ name: "d", node: await rig.graph.open(SIX) });
    const empty = rig.graph.addBackend({ name: "e" });
    expect(rig.graph.find("d", "n").node).toBe(drive.node);
    expect(rig.graph.find("zz", "n").node).toBe(rig.graph.node("n"));
    expect(rig.graph.lookup("n").node).toBe(rig.graph.node("n"));
    for (const [device, nodeName, text] of [
      ["zz", "yy", "Cannot find device='zz' nor node-name='yy'"],
      [undefined, "d", "Cannot find device='' nor node-name='d'"],
      ["n", undefined, "Cannot find device='n' nor node-name=''"],
      [undefined, undefined, "Cannot find device='' nor node-name=''"],
      ["", "", "Cannot find device='' nor node-name=''"],
      ["e", "n", "Device 'e' has no medium"],
    ] as const) {
      expect(() => rig.graph.find(device, nodeName)).toThrow(new RegExp(`^${text}$`));
    }
    expect(() => rig.graph.getNode("zz")).toThrow("Failed to find node with node-name='zz'");
    for (const backend of [drive, empty]) await rig.graph.removeBackend(backend);
  });
});

describe("BlockGraph.checkOperation", () => {
  it("names a node by the drive that it is the root of", async () => {
    const drive = rig.graph.addBackend({ name: "d", node: await rig.graph.open({ ...SIX, "node-name": "dn" }) });
    drive.node.opBlockers.add({ reason: "because" });
    expect(() => rig.graph.checkOperation(rig.graph.lookup("dn"), "resize")).toThrow("Node 'd' is busy: because");
    expect(() => rig.graph.checkOperation(rig.graph.lookup("d"), "resize")).toThrow("Node 'd' is busy: because");
    await rig.graph.removeBackend(drive);
  });

  it("finds an intercepted node busy by way of its drive alone", async () => {
    const drive = rig.graph.addBackend({ name: "d", node: await rig.graph.open({ ...SIX, "node-name": "dn" }) });
    const cover = Object.assign(new RecordingParent([], "node 'flt'"), {
      filterName: "flt",
      opBlocker: { reason: "block device is in use by block job: backup" },
    });
    drive.node.attachParent(cover);
    drive.node.coverParents(cover);
    expect(() => rig.graph.checkOperation(rig.graph.lookup("d"), "backup-source")).toThrow(
      "Node 'd' is busy: block device is in use by block job: backup",
    );
    rig.graph.checkOperation(rig.graph.lookup("dn"), "backup-source");
    await expect(rig.graph.delete("dn")).rejects.toThrow("Node dn is not owned by the monitor");
    drive.node.detachParent(cover);
    await rig.graph.removeBackend(drive);
  });
});
