// query-block, query-named-block-nodes and query-blockstats, with what a real QEMU 7.2 answers (and `active` and `children` of 10.1).
import { writeFileSync } from "node:fs";
import { stat } from "node:fs/promises";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { BlockError } from "../../../src/base/errors.ts";
import { IoVector } from "../../../src/base/io-vector.ts";
import type { BlockBackend } from "../../../src/block/backend.ts";
import { fileOpener } from "../../../src/block/drivers/file/file-opener.ts";
import { memoryOpener, nullOpener } from "../../../src/block/drivers/memory-openers.ts";
import { rawOpener } from "../../../src/block/drivers/raw-opener.ts";
import { BlockGraph } from "../../../src/block/graph.ts";
import type { BlockdevOptions } from "../../../src/block/graph-options.ts";
import { Interception } from "../../../src/block/interception.ts";
import { queryBlockCommands } from "../../../src/qmp/commands/query-block.ts";
import { queryBlockstatsCommands } from "../../../src/qmp/commands/query-blockstats.ts";
import { useTemporaryFolder } from "../../block/drivers/file/support/temporary-folder.ts";
import { type Execute, executor, refused } from "./support/invoke.ts";

const inFolder = useTemporaryFolder();
let graph: BlockGraph;
let execute: Execute;
beforeEach(() => {
  graph = new BlockGraph({ drivers: [rawOpener, nullOpener, memoryOpener, fileOpener()] });
  const allocatedBytes = async (path: string): Promise<number> => (await stat(path)).blocks * 512;
  execute = executor([...queryBlockCommands({ graph, allocatedBytes }), ...queryBlockstatsCommands(graph)]);
});
afterEach(async () => {
  for (const backend of graph.backends) await graph.removeBackend(backend);
  await graph.close();
});

async function query(name: string, args = {}): Promise<Record<string, unknown>[]> {
  const result = await execute(name, args);
  expect(result).toBeInstanceOf(Array);
  return result as Record<string, unknown>[];
}

/** A raw image in a file: `r` on `f`. */
async function addImage(): Promise<string> {
  const filename = inFolder("f.img");
  writeFileSync(filename, Buffer.alloc(1_000_000, 1));
  await graph.add({
    driver: "raw",
    "node-name": "r",
    file: { driver: "file", "node-name": "f", filename },
  });
  return filename;
}

const DEFAULTS = {
  ro: false,
  backing_file_depth: 0,
  active: true,
  children: [],
  encrypted: false,
  detect_zeroes: "off",
  bps: 0,
  bps_rd: 0,
  bps_wr: 0,
  iops: 0,
  iops_rd: 0,
  iops_wr: 0,
  cache: { writeback: true, direct: false, "no-flush": false },
  write_threshold: 0,
};

describe("query-named-block-nodes", () => {
  it("describes nodes, newest first", async () => {
    const filename = await addImage();
    const { blocks } = await stat(filename);
    await graph.add({ driver: "null-co", "node-name": "n", size: 1000000 });
    const image = { filename, "virtual-size": 1000448, "actual-size": blocks * 512, "dirty-flag": false };
    expect(await query("query-named-block-nodes")).toEqual([
      {
        ...DEFAULTS,
        "node-name": "n",
        drv: "null-co",
        file: 'json:{"driver": "null-co", "size": 1000000}',
        image: {
          filename: 'json:{"driver": "null-co", "size": 1000000}',
          format: "null-co",
          "virtual-size": 1000448,
          "actual-size": 0,
        },
      },
      {
        ...DEFAULTS,
        "node-name": "r",
        drv: "raw",
        file: filename,
        children: [{ "node-name": "f", child: "file" }],
        image: { ...image, format: "raw" },
      },
      { ...DEFAULTS, "node-name": "f", drv: "file", file: filename, image: { ...image, format: "file" } },
    ]);
  });

  it("shows settings, a threshold, and bitmaps newest first, those without a name too", async () => {
    await graph.add({
      driver: "memory",
      size: 1 << 20,
      "node-name": "n",
      "read-only": true,
      discard: "unmap",
      "detect-zeroes": "unmap",
      cache: { direct: true, "no-flush": true },
    });
    graph.setWriteThreshold("n", 777);
    const { bitmaps } = graph.getNode("n");
    bitmaps.add({ name: "b0" }).set(0, 1);
    bitmaps.add({ name: "b1", granularityBytes: 512, disabled: true });
    bitmaps.createSuccessor(bitmaps.get("b0"));
    const other = { persistent: false, busy: false };
    const [info] = await query("query-named-block-nodes", { flat: true });
    expect(info).toMatchObject({
      ro: true,
      detect_zeroes: "unmap",
      cache: { writeback: true, direct: true, "no-flush": true },
      write_threshold: 777,
    });
    expect(info!["dirty-bitmaps"]).toEqual([
      { ...other, recording: true, granularity: 65536, count: 0 },
      { ...other, name: "b1", recording: false, granularity: 512, count: 0 },
      { ...other, name: "b0", recording: true, busy: true, granularity: 65536, count: 65536 },
    ]);
    bitmaps.reclaim(bitmaps.get("b0"));
  });

  it("tells a threshold of 2^64 - 1 as it was set", async () => {
    await graph.add({ driver: "null-co", "node-name": "n" });
    graph.setWriteThreshold("n", Number(2n ** 64n - 1n));
    expect((await query("query-named-block-nodes"))[0]!["write_threshold"]).toBe(18446744073709551615n);
  });

  it.each<[Omit<BlockdevOptions, "node-name">, string]>([
    [{ driver: "null-co" }, "null-co://"],
    [{ driver: "null-co", "latency-ns": 5, discard: "unmap", "read-only": false }, "null-co://"],
    [{ driver: "null-co", "read-zeroes": false }, 'json:{"read-zeroes": false, "driver": "null-co"}'],
    [
      { driver: "null-co", size: 1048576, "read-zeroes": true, "latency-ns": 5 },
      'json:{"read-zeroes": true, "driver": "null-co", "size": 1048576}',
    ],
    [{ driver: "raw", file: { driver: "null-co" } }, "null-co://"],
    [
      { driver: "raw", offset: 512, file: { driver: "null-co" } },
      'json:{"offset": 512, "driver": "raw", "file": {"driver": "null-co"}}',
    ],
    [
      { driver: "raw", offset: 0, size: 512, file: { driver: "raw", file: { driver: "null-co", size: 4096 } } },
      'json:{"offset": 0, "driver": "raw", "size": 512, "file": {"driver": "raw", "file": {"driver": "null-co", "size": 4096}}}',
    ],
    [{ driver: "memory", size: 512 }, 'json:{"driver": "memory", "size": 512}'],
  ])("names the image of %j", async (options, name) => {
    await graph.add({ ...options, "node-name": "n" } as BlockdevOptions);
    const info = (await query("query-named-block-nodes")).find((info) => info["node-name"] === "n")!;
    expect(info["file"]).toBe(name);
    expect(info["image"]).toMatchObject({ filename: name });
  });

  it("shows the backing chain, and nothing of it where the listing is flat", async () => {
    await graph.add({ driver: "null-co", "node-name": "base", size: 65536 });
    await graph.add({ driver: "memory", "node-name": "mid", backing: "base" });
    await graph.add({ driver: "memory", "node-name": "top", backing: "mid", "cluster-size": 4096 });
    const base = {
      filename: 'json:{"driver": "null-co", "size": 65536}',
      format: "null-co",
      "virtual-size": 65536,
      "actual-size": 0,
    };
    const mid = {
      filename: 'json:{"driver": "memory"}',
      format: "memory",
      "virtual-size": 65536,
      "actual-size": 0,
      "cluster-size": 65536,
      "backing-filename": base.filename,
      "full-backing-filename": base.filename,
    };
    const top = {
      filename: 'json:{"driver": "memory", "cluster-size": 4096}',
      format: "memory",
      "virtual-size": 65536,
      "actual-size": 0,
      "cluster-size": 4096,
      "backing-filename": mid.filename,
      "full-backing-filename": mid.filename,
    };
    const info = {
      ...DEFAULTS,
      "node-name": "top",
      drv: "memory",
      file: top.filename,
      backing_file: mid.filename,
      children: [{ "node-name": "mid", child: "backing" }],
    };
    expect((await query("query-named-block-nodes"))[0]).toEqual({
      ...info,
      backing_file_depth: 2,
      image: { ...top, "backing-image": { ...mid, "backing-image": base } },
    });
    expect((await query("query-named-block-nodes", { flat: true }))[0]).toEqual({ ...info, image: top });
    expect(await execute("query-named-block-nodes", { flat: 1 })).toEqual(
      refused("Invalid parameter type for 'flat', expected: boolean"),
    );
  });

  it("has no actual-size for a file of which that is not known", async () => {
    await addImage();
    const commands = queryBlockCommands({ graph, allocatedBytes: async () => undefined });
    const [raw] = (await executor(commands)("query-named-block-nodes")) as { image: object }[];
    expect(raw!.image).not.toHaveProperty("actual-size");
    expect(raw!.image).toMatchObject({ "dirty-flag": false });
  });
});

function attach(backend: BlockBackend, id?: string): BlockBackend {
  backend.attachDevice({ id, path: "/machine/peripheral-anon/device[0]", shareRw: false });
  return backend;
}

describe("query-block", () => {
  it("lists drives and then devices on nodes, and no node of nobody's", async () => {
    await graph.add({ driver: "null-co", "node-name": "n" });
    await graph.add({ driver: "null-co", "node-name": "unused" });
    const onNode = attach(graph.addBackend({ name: "", node: graph.getNode("n") }), "vb0");
    graph.addBackend({ name: "", node: graph.getNode("unused") });
    graph.addBackend({ name: "empty" });
    const node = await graph.open({ driver: "null-co", "node-name": "m" });
    const drive = attach(graph.addBackend({ name: "d0", node, writeCache: false }));
    drive.errors.werror = "enospc";
    const image = { filename: "null-co://", format: "null-co", "virtual-size": 1073741824, "actual-size": 0 };
    const inserted = { ...DEFAULTS, drv: "null-co", file: "null-co://", image };
    expect(await query("query-block")).toEqual([
      { device: "empty", type: "unknown", removable: true, locked: false },
      {
        device: "d0",
        qdev: "/machine/peripheral-anon/device[0]",
        type: "unknown",
        removable: false,
        locked: false,
        "io-status": "ok",
        inserted: {
          ...inserted,
          "node-name": "m",
          cache: { writeback: false, direct: false, "no-flush": false },
        },
      },
      {
        device: "",
        qdev: "vb0",
        type: "unknown",
        removable: false,
        locked: false,
        inserted: { ...inserted, "node-name": "n" },
      },
    ]);
    onNode.errors.rerror = "stop";
    onNode.errors.decide("read", new BlockError("EIO"));
    drive.errors.decide("write", new BlockError("ENOSPC"));
    expect((await query("query-block")).map((info) => info["io-status"])).toEqual([undefined, "nospace", "failed"]);
  });

  it("shows a job's filter in the place of the node, and lists it among the nodes", async () => {
    await graph.add({ driver: "null-co", "node-name": "s", size: 65536 });
    await graph.add({ driver: "memory", "node-name": "t", size: 65536 });
    const [source, target] = [graph.getNode("s"), graph.getNode("t")];
    attach(graph.addBackend({ name: "", node: source }), "vb0");
    source.bitmaps.add({ name: "b" });
    const filter = new Interception({ filterName: "#block1", source, target, reason: "backup" });
    filter.attachTarget();
    filter.coverSource();
    filter.activate();
    const filename = 'json:{"driver": "null-co", "size": 65536}';
    const image = { filename, format: "copy-before-write", "virtual-size": 65536, "actual-size": 0 };
    const info = {
      ...DEFAULTS,
      "node-name": "#block1",
      drv: "copy-before-write",
      file: filename,
      children: [
        { "node-name": "t", child: "target" },
        { "node-name": "s", child: "file" },
      ],
    };
    const backing = { ...image, format: "null-co" };
    expect((await query("query-block"))[0]!["inserted"]).toEqual({
      ...info,
      backing_file_depth: 1,
      image: { ...image, "backing-image": backing },
    });
    const nodes = await query("query-named-block-nodes", { flat: true });
    expect(nodes.map((info) => info["node-name"])).toEqual(["#block1", "t", "s"]);
    expect(nodes[0]).toEqual({ ...info, image });
    expect((await query("query-blockstats"))[0]).toMatchObject({
      "node-name": "#block1",
      parent: { "node-name": "s" },
    });
    filter.remove();
    expect((await query("query-block"))[0]!["inserted"]).toMatchObject({ "node-name": "s", drv: "null-co" });
  });
});

const NO_STATS = {
  ...{ rd_bytes: 0, rd_operations: 0, rd_total_time_ns: 0, rd_merged: 0 },
  ...{ wr_bytes: 0, wr_operations: 0, wr_total_time_ns: 0, wr_merged: 0, wr_highest_offset: 0 },
  ...{ unmap_bytes: 0, unmap_operations: 0, unmap_total_time_ns: 0, unmap_merged: 0 },
  ...{ flush_operations: 0, flush_total_time_ns: 0 },
  ...{ failed_rd_operations: 0, failed_wr_operations: 0, failed_unmap_operations: 0, failed_flush_operations: 0 },
  ...{ invalid_rd_operations: 0, invalid_wr_operations: 0, invalid_unmap_operations: 0, invalid_flush_operations: 0 },
  account_invalid: false,
  account_failed: false,
  timed_stats: [],
};
const FILE_STATS = { driver: "file", "discard-nb-ok": 0, "discard-nb-failed": 0, "discard-bytes-ok": 0 };

describe("query-blockstats", () => {
  it("counts a device's requests, and of nodes how far they were written", async () => {
    await addImage();
    await graph.add({ driver: "null-co", "node-name": "unused" });
    graph.addBackend({ name: "empty" });
    const backend = attach(graph.addBackend({ name: "", node: graph.getNode("r") }), "vb0");
    await backend.write(512, IoVector.of(new Uint8Array(1024)));
    backend.accounting.done("write", 1024, 7);
    backend.accounting.done("read", 512);
    backend.accounting.done("flush", 0);
    backend.accounting.failed("unmap");
    backend.accounting.invalid("read");
    const written = { ...NO_STATS, wr_highest_offset: 1536 };
    const file = { "node-name": "f", stats: written, "driver-specific": FILE_STATS };
    expect(await query("query-blockstats")).toEqual([
      { device: "empty", stats: { ...NO_STATS, account_invalid: true, account_failed: true } },
      {
        device: "",
        qdev: "vb0",
        "node-name": "r",
        stats: {
          ...written,
          rd_bytes: 512,
          rd_operations: 1,
          wr_bytes: 1024,
          wr_operations: 1,
          wr_total_time_ns: 7,
          flush_operations: 1,
          failed_unmap_operations: 1,
          invalid_rd_operations: 1,
          account_invalid: true,
          account_failed: true,
        },
        parent: file,
      },
    ]);
    expect(await query("query-blockstats", { "query-nodes": true })).toEqual([
      file,
      { "node-name": "r", stats: written, parent: file },
      { "node-name": "unused", stats: NO_STATS },
    ]);
  });

  it("shows backing nodes, and nothing where there are no drives and devices", async () => {
    await graph.add({ driver: "null-co", "node-name": "base", size: 65536 });
    await graph.add({ driver: "memory", "node-name": "top", backing: "base" });
    const base = { "node-name": "base", stats: NO_STATS };
    expect(await query("query-blockstats", { "query-nodes": true })).toEqual([
      base,
      { "node-name": "top", stats: NO_STATS, backing: base },
    ]);
    expect(await query("query-blockstats")).toEqual([]);
    expect(await execute("query-blockstats", { "query-nodes": "x" })).toEqual(
      refused("Invalid parameter type for 'query-nodes', expected: boolean"),
    );
  });
});
