// blockdev-reopen: what may change, what users and drivers say to it, and that all of it happens or nothing. Texts are QEMU 7.2's.
import { chmodSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { IoVector } from "../../src/base/io-vector.ts";
import { BlockBackend } from "../../src/block/backend.ts";
import { fileOpener } from "../../src/block/drivers/file/file-opener.ts";
import { memoryOpener, nullOpener } from "../../src/block/drivers/memory-openers.ts";
import { rawOpener } from "../../src/block/drivers/raw-opener.ts";
import { BlockGraph } from "../../src/block/graph.ts";
import type { BlockdevOptions } from "../../src/block/graph-options.ts";
import { Interception } from "../../src/block/interception.ts";
import {
  devicePermissions,
  PERM_ALL,
  PERM_CONSISTENT_READ,
  PERM_WRITE,
  type Permissions,
} from "../../src/block/permissions.ts";
import { useCompanions } from "./drivers/file/support/processes.ts";
import { useTemporaryFolder } from "./drivers/file/support/temporary-folder.ts";

const inFolder = useTemporaryFolder();
const companions = useCompanions();
const NO_PERL = "/nonexistent/perl";

let graph: BlockGraph;
const backends: BlockBackend[] = [];
function makeGraph(perl = "perl"): BlockGraph {
  return new BlockGraph({ drivers: [rawOpener, nullOpener, memoryOpener, fileOpener({ perl })] });
}
beforeEach(() => {
  writeFileSync(inFolder("a.img"), new Uint8Array(4096));
  graph = makeGraph();
});
afterEach(async () => {
  for (const backend of backends.splice(0)) backend.close();
  await graph.close();
});

function file(more: Partial<BlockdevOptions> = {}): BlockdevOptions {
  return { driver: "file", "node-name": "f", filename: inFolder("a.img"), ...more };
}

function raw(more: Partial<BlockdevOptions> = {}): BlockdevOptions {
  return { driver: "raw", "node-name": "r", file: "f", ...more };
}

function use(name: string, permissions?: Permissions): BlockBackend {
  const backend = new BlockBackend({ name: "", node: graph.node(name)!, ...(permissions && { permissions }) });
  backends.push(backend);
  return backend;
}

/** As a monitor's command writes: by a backend that asks for no less, if not by a disk's. */
async function write(name: string, value: number, disk?: BlockBackend): Promise<void> {
  if (disk !== undefined) return disk.write(0, IoVector.of(new Uint8Array(512).fill(value)));
  const permissions = { needs: PERM_CONSISTENT_READ | PERM_WRITE, shares: PERM_ALL };
  const backend = new BlockBackend({ name: "", node: graph.node(name)!, permissions });
  try {
    await backend.write(0, IoVector.of(new Uint8Array(512).fill(value)));
  } finally {
    backend.close();
  }
}

function text(message: string): RegExp {
  return new RegExp(`^${message.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&")}$`);
}

describe("BlockGraph.reopen", () => {
  it("changes what nodes have in common, and sets the rest to its defaults, but for discard", async () => {
    await graph.add(file());
    await graph.add(raw({ discard: "unmap" }));
    await graph.reopen([raw({ "detect-zeroes": "on", cache: { "no-flush": true } })]);
    expect(graph.node("r")?.settings).toMatchObject({ discard: "unmap", detectZeroes: "on", cacheNoFlush: true });
    await graph.reopen([raw({ discard: "ignore" })]);
    expect(graph.node("r")?.settings).toMatchObject({ discard: "ignore", detectZeroes: "off", cacheNoFlush: false });
    await expect(graph.reopen([raw({ "detect-zeroes": "unmap" })])).rejects.toThrow(
      "setting detect-zeroes to unmap is not allowed without setting discard operation to unmap",
    );
    expect(graph.node("r")?.settings.detectZeroes).toBe("off");
    await graph.reopen([raw({ discard: "unmap", "detect-zeroes": "unmap" })]);
    await graph.reopen([raw({ "detect-zeroes": "unmap" })]);
    expect(graph.node("r")?.settings).toMatchObject({ discard: "unmap", detectZeroes: "unmap", cacheNoFlush: false });
  });

  it("refuses what it cannot change, by the name of the option", async () => {
    await graph.add(file({ locking: "auto" }));
    await graph.add(raw());
    await graph.add({ driver: "null-co", "node-name": "n", size: 4096 });
    await graph.add({ driver: "memory", "node-name": "m", backing: "n" });
    const inner = { driver: "null-co", size: 4096 };
    for (const [options, message] of [
      [raw({ "node-name": "zz" }), "Failed to find node with node-name='zz'"],
      [raw({ "node-name": undefined }), "node-name not specified"],
      [{ driver: "null-co", "node-name": "r" }, "Cannot change the option 'driver'"],
      [raw({ file: inner }), "Cannot change the option 'file.driver'"],
      [raw({ file: "zz" }), "Cannot find device='' nor node-name='zz'"],
      [file({ locking: "auto", filename: inFolder("b.img") }), "Cannot change the option 'filename'"],
      [file({ locking: "off" }), "Cannot change the option 'locking'"],
      [file(), "Option 'locking' cannot be reset to its default value"],
      [{ driver: "null-co", "node-name": "n" }, "Option 'size' cannot be reset to its default value"],
      [{ driver: "null-co", "node-name": "n", size: 8192 }, "Cannot change the option 'size'"],
      [
        { driver: "null-co", "node-name": "n", size: 4096, "read-zeroes": true },
        "Cannot change the option 'read-zeroes'",
      ],
      [{ driver: "memory", "node-name": "m", backing: "r" }, "Cannot change the option 'backing'"],
      [{ driver: "memory", "node-name": "m", backing: inner }, "Cannot change the option 'backing.driver'"],
    ] as const) {
      await expect(graph.reopen([options as BlockdevOptions]), message).rejects.toThrow(text(message));
    }
    await graph.reopen([{ driver: "memory", "node-name": "m", backing: "n", discard: "unmap" }]);
  });

  it("reports in QEMU's order what will not do", async () => {
    await graph.add({ driver: "null-co", "node-name": "k", size: 4096 });
    await graph.add(file());
    await graph.add(raw());
    const wrong = { "detect-zeroes": "unmap", size: 5, file: "zz" } as const;
    const orders: [BlockdevOptions, string][] = [
      [raw(wrong), "setting detect-zeroes to unmap is not allowed without setting discard operation to unmap"],
      [raw({ ...wrong, "detect-zeroes": "off" }), "Specified size is not multiple of 512"],
      [raw({ file: "zz", driver: "null-co" }), "Cannot find device='' nor node-name='zz'"],
      [raw({ "node-name": "k", file: "f" }), "Option 'size' cannot be reset to its default value"],
      [raw({ "node-name": "k", file: "f", size: 5 }), "Cannot set file child to format node without file child"],
      [{ driver: "raw", "node-name": "k", size: 8192, offset: 5 }, "Cannot change the option 'offset'"],
      [
        { driver: "null-co", "node-name": "k", size: 4096, "force-share": true },
        "Cannot change the option 'force-share'",
      ],
    ];
    for (const [options, message] of orders)
      await expect(graph.reopen([options]), message).rejects.toThrow(text(message));
  });

  it("shows another part of the file, or another file", async () => {
    await graph.add(file());
    await graph.add(raw());
    await graph.add({ driver: "memory", "node-name": "m", size: 1024 });
    const lengths: number[] = [];
    use("r").onResize((length) => lengths.push(length));
    graph.node("r")!.bitmaps.add({ name: "b" });
    await graph.reopen([raw({ offset: 512, size: 1024 })]);
    expect(graph.node("r")?.lengthBytes).toBe(1024);
    await expect(graph.reopen([raw({ offset: 8192 })])).rejects.toThrow(
      "Offset (8192) cannot be greater than size of the containing file (4096)",
    );
    await graph.reopen([raw({ file: "m" })]);
    await graph.reopen([raw()]);
    expect(lengths).toEqual([1024, 4096]);
    expect([...graph.node("m")!.parents]).toEqual([]);
    expect([...graph.node("r")!.bitmaps].map(({ sizeBytes }) => sizeBytes)).toEqual([4096]);
  });

  it("makes no node stand on itself", async () => {
    await graph.add({ driver: "null-co", "node-name": "n" });
    await graph.add(raw({ "node-name": "c1", file: "n" }));
    await graph.add(raw({ "node-name": "c2", file: "c1" }));
    const c1 = (below: string): BlockdevOptions => raw({ "node-name": "c1", file: below });
    await expect(graph.reopen([c1("c2")])).rejects.toThrow(
      text("Making 'c2' a file child of 'c1' would create a cycle"),
    );
    await expect(graph.reopen([c1("c1")])).rejects.toThrow(
      text("Making 'c1' a file child of 'c1' would create a cycle"),
    );
  });

  it("makes no node stand on one whose writes a job copies to it", async () => {
    const [m0, m1] = [await graph.add({ driver: "null-co", "node-name": "m0" }), { driver: "null-co" }];
    await graph.add(raw({ "node-name": "n0", file: "m0" }));
    const target = await graph.add(raw({ "node-name": "n1", file: m1 }));
    const interception = new Interception({ filterName: "#flt", source: m0, target, reason: "a job" });
    interception.attachTarget();
    interception.coverSource();
    interception.activate();
    await expect(graph.reopen([raw({ "node-name": "n1", file: "n0" })])).rejects.toThrow(
      text("Making 'n0' a file child of 'n1' would create a cycle"),
    );
    await expect(graph.reopen([raw({ "node-name": "n1", file: "m0" })])).rejects.toThrow(
      text(
        "Permission conflict on node 'm0': permissions 'write' are both required by node 'n1' (uses node 'm0' as 'file' child) and unshared by node '#flt' (uses node 'm0' as 'file' child).",
      ),
    );
    interception.remove();
    await graph.reopen([raw({ "node-name": "n1", file: "n0" })]);
  });

  it("reopens what was given within, and closes what is no longer used", async () => {
    const inner = { driver: "file", filename: inFolder("a.img"), "node-name": "f" };
    await graph.add(raw({ file: inner }));
    await graph.add({ driver: "memory", "node-name": "m", size: 512 });
    await graph.reopen([raw({ file: { ...inner, discard: "ignore" } })]);
    expect(graph.node("f")?.settings.discard).toBe("ignore");
    await graph.reopen([raw({ file: "m" })]);
    expect(graph.node("f")).toBeUndefined();
  });

  it("refuses to make read-only what somebody writes to, and then changes nothing at all", async () => {
    await graph.add(file());
    await graph.add(raw());
    await graph.add({ driver: "null-co", "node-name": "n" });
    use("r");
    const cases: [BlockdevOptions[], string][] = [
      [[raw({ "read-only": true })], "r"],
      [[file({ "read-only": true })], "f"],
      [
        [
          { driver: "null-co", "node-name": "n", discard: "unmap" },
          raw({ "read-only": true }),
          file({ "read-only": true }),
        ],
        "r",
      ],
    ];
    for (const [list, name] of cases) {
      await expect(graph.reopen(list)).rejects.toThrow(
        text(`Read-only block node '${name}' cannot support read-write users`),
      );
    }
    expect(graph.node("n")?.settings.discard).toBe("ignore");
    expect([graph.node("r")?.readOnly, graph.node("f")?.readOnly]).toEqual([false, false]);
    backends.pop()!.close();
    await write("r", 3);
    expect(readFileSync(inFolder("a.img"))[0]).toBe(3);
  });

  it("refuses writers of what is read-only below, until both are reopened", async () => {
    await graph.add(file());
    await graph.add(raw());
    await graph.reopen([file({ "read-only": true })]);
    await expect(write("r", 1)).rejects.toThrow(text("Block node is read-only"));
    await graph.reopen([raw({ "read-only": true })]);
    await graph.reopen([raw()]);
    await expect(write("r", 1)).rejects.toThrow(text("Block node is read-only"));
    await graph.reopen([raw(), file()]);
    await write("r", 1);
    expect(readFileSync(inFolder("a.img"))[0]).toBe(1);
  });

  it("waits for requests in flight, and lets those that come meanwhile go on afterwards", async () => {
    await graph.add(file({ "x-io": "threads" }));
    await graph.add(raw());
    const backend = use("r");
    const writing = backend.write(0, IoVector.of(new Uint8Array(512).fill(1)));
    const reopening = graph.reopen([raw({ "detect-zeroes": "on" })]);
    const later = backend.write(512, IoVector.of(new Uint8Array(512).fill(2)));
    await Promise.all([writing, reopening, later]);
    expect([...readFileSync(inFolder("a.img")).subarray(511, 513)]).toEqual([1, 2]);
  });
});

describe.each(["perl", NO_PERL])("FileDriver.prepareReopen, locks by %s", (perl) => {
  beforeEach(() => {
    graph = makeGraph(perl);
  });

  it("keeps the same file, wherever it is by now", async () => {
    await graph.add(file({ "read-only": true }));
    renameSync(inFolder("a.img"), inFolder("moved.img"));
    writeFileSync(inFolder("a.img"), new Uint8Array(512).fill(9));
    if (perl === "perl") {
      await graph.reopen([file()]);
      await write("f", 1);
      expect(readFileSync(inFolder("moved.img"))[0]).toBe(1);
    }
    expect(readFileSync(inFolder("a.img"))[0]).toBe(9);
  });

  it("lets others read once it is read-only, and nobody again when it writes", async () => {
    const path = inFolder("a.img");
    await graph.add(file());
    const disk = use("f", devicePermissions(false, false));
    await write("f", 5, disk);
    const refused = companions.hold(path, "reader", perl);
    expect((await refused.hears(/^(held|refused) .*/m))[0]).toMatch(/^refused/);
    await refused.finish();
    disk.setPermissions({ needs: PERM_CONSISTENT_READ, shares: PERM_ALL });
    await graph.reopen([file({ "read-only": true })]);
    const holder = companions.hold(path, "reader", perl);
    expect((await holder.hears(/^(held|refused) .*/m))[0]).toMatch(/^held/);
    await expect(write("f", 6)).rejects.toThrow("Block node is read-only");
    // Where it is locked as it is used, only who writes is in the way.
    const writeAgain = async (): Promise<void> => {
      await graph.reopen([file()]);
      disk.setPermissions(devicePermissions(false, false));
    };
    await expect(writeAgain()).rejects.toThrow(text('Failed to get "write" lock'));
    await holder.finish();
    await writeAgain();
    await write("f", 7, disk);
    expect(readFileSync(path)[0]).toBe(7);
  });

  it("gives the lock back when another node of the list is against it", async () => {
    const path = inFolder("a.img");
    await graph.add(file());
    await graph.add({ driver: "memory", "node-name": "m", size: 512 });
    use("m");
    const reader = use("f", devicePermissions(true, false));
    const list = [file({ "read-only": true }), { driver: "memory", "node-name": "m", size: 512, "read-only": true }];
    await expect(graph.reopen(list)).rejects.toThrow("Read-only block node 'm' cannot support read-write users");
    const other = companions.hold(path, "writer", perl);
    expect((await other.hears(/^(held|refused) .*/m))[0]).toMatch(/^refused/);
    await other.finish();
    reader.setPermissions({ needs: PERM_CONSISTENT_READ, shares: PERM_ALL });
    await write("f", 8);
    expect(readFileSync(path)[0]).toBe(8);
  });
});

describe("auto-read-only", () => {
  /** A file that may not be written to, not even by root. */
  function unwritable(): string {
    if (process.getuid?.() === 0) return "/sys/kernel/uevent_seqnum";
    chmodSync(inFolder("a.img"), 0o444);
    return inFolder("a.img");
  }

  it("opens read-only what may not be written to, and stays with it", async () => {
    const filename = unwritable();
    await expect(graph.add(file({ filename }))).rejects.toThrow(
      /^Could not open '.*': (Permission denied|Read-only file system)$/,
    );
    await graph.add(file({ filename, "auto-read-only": true }));
    expect(graph.node("f")?.readOnly).toBe(true);
    await expect(graph.reopen([file({ filename })])).rejects.toThrow(
      /^Could not reopen '.*': (Permission denied|Read-only file system)$/,
    );
    await graph.reopen([file({ filename, "auto-read-only": true })]);
    expect(graph.node("f")?.readOnly).toBe(true);
    await expect(write("f", 1)).rejects.toThrow("Block node is read-only");
  });

  it("opens for writing what may be written to", async () => {
    await graph.add(file({ "auto-read-only": true }));
    await write("f", 1);
    expect(readFileSync(inFolder("a.img"))[0]).toBe(1);
  });
});
