// What the block graph does to nodes and backends on behalf of other commands. Orders and texts are those of a real QEMU 7.2.
import { existsSync, statSync, writeFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { IoVector } from "../../src/base/io-vector.ts";
import { BlockBackend } from "../../src/block/backend.ts";
import { PERM_ALL, PERM_CONSISTENT_READ, PERM_WRITE } from "../../src/block/permissions.ts";
import { NULL, SIX, useGraph } from "./support/graph-rig.ts";

const rig = useGraph();
const { add, inFolder, names } = rig;

describe("BlockGraph.resize", () => {
  it("refuses in QEMU's order", async () => {
    await add({ ...SIX, "read-only": true }, "ro");
    await add(NULL, "n");
    await add({ driver: "raw", file: SIX, size: 512 }, "fixed");
    await expect(rig.graph.resize("zz", undefined, -1)).rejects.toThrow("Cannot find device='zz' nor node-name=''");
    await expect(rig.graph.resize(undefined, "ro", -1)).rejects.toThrow("Parameter 'size' expects a >0 size");
    await expect(rig.graph.resize(undefined, "ro", 512)).rejects.toThrow("Image is read-only");
    await expect(rig.graph.resize(undefined, "n", 512)).rejects.toThrow("Image format driver does not support resize");
    await expect(rig.graph.resize(undefined, "fixed", 1024)).rejects.toThrow("Cannot resize fixed-size raw disks");
    await add({ driver: "raw", file: "n", offset: 512 }, "a");
    await add({ driver: "raw", file: "n", offset: 512 }, "b");
    await expect(rig.graph.resize(undefined, "a", 512)).rejects.toThrow(
      "Permission conflict on node 'n': permissions 'resize' are both required by node 'a' (uses node 'n' as 'file' child) and unshared by node 'b' (uses node 'n' as 'file' child).",
    );
    expect(rig.graph.node("a")?.parentCount).toBe(0);
  });

  it("makes the file as long as asked for, and the node that rounded up", async () => {
    writeFileSync(inFolder("a.img"), new Uint8Array(4096));
    await add({ driver: "raw", file: { driver: "file", filename: inFolder("a.img") } }, "r");
    await rig.graph.resize(undefined, "r", 1000);
    expect(rig.graph.node("r")?.lengthBytes).toBe(1024);
    expect(statSync(inFolder("a.img")).size).toBe(1000);
    await add({ driver: "raw", file: "r", offset: 512 }, "part");
    await rig.graph.resize(undefined, "part", 2050);
    expect(statSync(inFolder("a.img")).size).toBe(2562);
    expect(rig.graph.node("r")?.lengthBytes).toBe(3072);
  });
});

describe("BlockGraph.setWriteThreshold", () => {
  it("tells once of a write that ends beyond it, of whatever kind", async () => {
    await add({ driver: "raw", file: { ...SIX, "node-name": "f" }, discard: "unmap" }, "r");
    const node = rig.graph.node("r")!;
    const heard: unknown[] = [];
    const end = rig.graph.onWriteThreshold((of, threshold, exceeded) => heard.push([of.name, threshold, exceeded]));
    const requests = [
      () => node.write(0, IoVector.of(new Uint8Array(1024))),
      () => node.writeZeroes(512, 512),
      () => node.discard(512, 512),
    ];
    for (const request of requests) {
      rig.graph.setWriteThreshold("r", 1023);
      rig.graph.setWriteThreshold("f", 1023);
      await request();
      await request();
      expect(heard.splice(0)).toEqual([
        ["r", 1023, 1],
        ["f", 1023, 1],
      ]);
      expect(node.writeThreshold.bytes).toBe(0);
    }
    rig.graph.setWriteThreshold("r", 1024);
    await node.write(0, IoVector.of(new Uint8Array(1024)));
    await node.read(512, IoVector.of(new Uint8Array(1024)));
    expect(heard).toEqual([]);
    expect(node.writeThreshold.bytes).toBe(1024);
    rig.graph.setWriteThreshold("r", 0);
    await node.write(512, IoVector.of(new Uint8Array(1024)));
    expect(heard).toEqual([]);
    expect(node.beforeWrite.count).toBe(0);
    end();
    expect(() => rig.graph.setWriteThreshold("zz", 1)).toThrow(/^Device 'zz' not found$/);
  });

  it("hears nothing of what an earlier notifier fails, whoever came first", async () => {
    await add(SIX, "n");
    const node = rig.graph.node("n")!;
    const heard: unknown[] = [];
    rig.graph.onWriteThreshold((of) => heard.push(of.name));
    rig.graph.setWriteThreshold("n", 1);
    const failing = {
      beforeWrite(): never {
        throw new Error("no");
      },
    };
    node.beforeWrite.add(failing);
    expect(() => node.write(0, IoVector.of(new Uint8Array(512)))).toThrow("no");
    expect(heard).toEqual([]);
    node.beforeWrite.remove(failing);
    await node.write(0, IoVector.of(new Uint8Array(512)));
    expect(heard).toEqual(["n"]);
  });
});

describe("BlockGraph.create", () => {
  it("makes files, of a length that QEMU takes", async () => {
    const options = { driver: "file", filename: inFolder("new.img") };
    await rig.graph.create({ ...options, size: 1000 });
    expect(statSync(inFolder("new.img")).size).toBe(1000);
    await rig.graph.create({ ...options, size: 3 << 20, preallocation: "full" });
    expect(statSync(inFolder("new.img")).size).toBe(3 << 20);
    expect(statSync(inFolder("new.img")).blocks).toBeGreaterThanOrEqual((3 << 20) / 512);
    for (const [more, text] of [
      [{ size: -1 }, "Could not resize file: Invalid argument"],
      [{ size: 2 ** 62 }, "Could not resize file: File too large"],
      [{ size: 1, filename: "/nonexistent/x" }, "Could not create '/nonexistent/x': No such file or directory"],
      [{ size: 1, filename: inFolder(".") }, `Could not create '${inFolder(".")}': Is a directory`],
    ] as const) {
      await expect(rig.graph.create({ ...options, ...more })).rejects.toThrow(text);
    }
    expect(existsSync("/nonexistent/x")).toBe(false);
  });

  it("is for drivers that have images to make", async () => {
    expect(() => rig.graph.checkCreate("raw")).toThrow("Driver does not support blockdev-create");
    expect(() => rig.graph.checkCreate("zz")).toThrow("Unknown driver 'zz'");
    rig.graph.checkCreate("file");
  });
});

describe("BlockGraph.addBackend", () => {
  it("refuses ids that are taken, by drives or nodes", async () => {
    await add(NULL, "n");
    const drive = rig.graph.addBackend({ name: "d" });
    expect(() => rig.graph.addBackend({ name: "d" })).toThrow("Device with id 'd' already exists");
    expect(() => rig.graph.addBackend({ name: "n" })).toThrow("Device name 'n' conflicts with an existing node name");
    const permissions = { needs: PERM_CONSISTENT_READ | PERM_WRITE, shares: PERM_ALL };
    const unnamed = rig.graph.addBackend({ name: "", node: rig.graph.node("n")!, permissions });
    const late = rig.graph.addBackend({ name: "e" });
    expect(rig.graph.backends).toEqual([drive, late, unnamed]);
    for (const backend of rig.graph.backends) await rig.graph.removeBackend(backend);
    expect(names()).toEqual(["n"]);
  });
});

describe("BlockGraph.drainAll", () => {
  it("drains every node, and holds all backends' requests", async () => {
    await add(SIX, "a");
    await add({ driver: "raw", file: SIX }, "b");
    const backends = ["a", "b"].map((name) => new BlockBackend({ name: `d${name}`, node: rig.graph.node(name)! }));
    const section = await rig.graph.drainAll();
    const writes = backends.map((backend) => backend.write(0, IoVector.of(new Uint8Array(512))));
    expect(writes.every((write) => write instanceof Promise)).toBe(true);
    section[Symbol.dispose]();
    section[Symbol.dispose]();
    await Promise.all(writes);
    for (const backend of backends) backend.close();
  });
});
