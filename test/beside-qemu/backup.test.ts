// Backups from and to qcow2 images by this program's commands, and the same by a real QEMU's: replies, events, and the images that come of them.
import { afterAll, beforeAll, expect, it } from "vitest";
import { type ShownBitmap, shownBitmaps } from "../block/drivers/qcow2/bitmap-tools.ts";
import { CLEAN } from "../block/drivers/qcow2/qcow2-images.ts";
import { describeWithTools } from "../support/tools.ts";
import { QEMU } from "./programs.ts";
import { type Twin, TwinMachines } from "./twin-machines.ts";

const MIB = 1 << 20;
/** What of a bitmap's bytes is copied before a slow job waits for the first time. */
const FIRST_RUN = 128 * 1024;
const FILE = (filename: string): object => ({ driver: "file", filename });
const QCOW2 = (filename: string): object => ({ driver: "qcow2", file: FILE(filename) });

/** Sources, by the names of their nodes. */
const SOURCES: Readonly<Record<string, object>> = {
  raw: { driver: "raw", file: FILE("raw.img") },
  bottom: QCOW2("bottom.qcow2"),
  middle: QCOW2("middle.qcow2"),
  top: QCOW2("top.qcow2"),
};
/** Sources that stand on others than their images say, or are filters. */
const ODD_SOURCES: Readonly<Record<string, object>> = {
  "on-nothing": { ...QCOW2("other.qcow2"), backing: null },
  "on-another": { ...QCOW2("other.qcow2"), backing: { ...QCOW2("middle.qcow2"), backing: null } },
  "on-raw": { ...QCOW2("other.qcow2"), backing: { driver: "raw", file: FILE("raw.img") } },
  "on-the-same": { ...QCOW2("other.qcow2"), backing: QCOW2("middle.qcow2") },
  throttled: { driver: "throttle", "throttle-group": "group", file: QCOW2("other.qcow2") },
  "with-faults": { driver: "qcow2", file: { driver: "blkdebug", image: FILE("other.qcow2") } },
};

interface Extent {
  readonly start: number;
  readonly length: number;
  readonly depth: number;
  readonly zero: boolean;
  readonly data: boolean;
}

/** All that `qemu-img info` tells, but for what the image takes of its host's disk. */
function told({ folder }: Twin, image: string): object {
  const info = JSON.parse(folder.run("qemu-img", "info", "-U", "--output=json", image)) as Record<string, unknown>;
  const { "actual-size": _, ...rest } = info;
  return rest;
}

/** What of an image is where in its chain. Where in its file it is depends on which of several copies came first. */
function mapOf({ folder }: Twin, image: string): readonly Extent[] {
  const extents = JSON.parse(folder.run("qemu-img", "map", "-U", "--output=json", image)) as Extent[];
  const merged: Extent[] = [];
  for (const { start, length, depth, zero, data } of extents) {
    const last = merged.at(-1);
    if (last?.depth === depth && last.zero === zero && last.data === data)
      merged[merged.length - 1] = { ...last, length: last.length + length };
    else merged.push({ start, length, depth, zero, data });
  }
  return merged;
}

describeWithTools(["qemu-img", "qemu-io", QEMU], "Backups beside a real QEMU's", () => {
  let twins: TwinMachines;
  let count = 0;
  /** A file or job that there was not before. */
  const fresh = (): string => `target${count++}.qcow2`;

  beforeAll(async () => {
    twins = await TwinMachines.start();
    const create = (...args: readonly string[]): void => twins.run("qemu-img", "create", "-q", "-f", ...args);
    const write = (format: string, image: string, ...commands: readonly string[]): void =>
      twins.run("qemu-io", "-f", format, ...commands.flatMap((command) => ["-c", command]), image);
    create("raw", "raw.img", "2M");
    write("raw", "raw.img", "write -P 1 0 1M", "write -P 2 1536k 512k");
    create("qcow2", "-b", "raw.img", "-F", "raw", "bottom.qcow2", "5M");
    write("qcow2", "bottom.qcow2", "write -P 3 512k 300k", "write -P 4 4M 1M");
    create("qcow2", "-b", "bottom.qcow2", "-F", "qcow2", "-o", "cluster_size=4096", "middle.qcow2", "3M");
    write("qcow2", "middle.qcow2", "write -P 5 100k 10k", "write -z 1M 64k");
    create("qcow2", "-b", "middle.qcow2", "-F", "qcow2", "-o", "extended_l2=on", "top.qcow2", "4098k");
    write("qcow2", "top.qcow2", "write -P 6 200k 2k", "write -P 7 2M 256k", "write -z 600k 64k", "write -P 8 4096k 2k");
    twins.run("cp", "top.qcow2", "other.qcow2");
    for (const [node, options] of Object.entries(SOURCES)) {
      // An image that another is open on is not written to.
      const readOnly = node === "top" ? {} : { "read-only": true };
      await twins.succeed("blockdev-add", { ...options, "node-name": node, ...readOnly });
    }
    await twins.succeed("object-add", { "qom-type": "throttle-group", id: "group" });
  });
  afterAll(() => twins.close());

  const compareTargets = (target: string): void => {
    const [ours, theirs] = twins.both;
    expect(told(ours, target)).toEqual(told(theirs, target));
    expect(mapOf(ours, target)).toEqual(mapOf(theirs, target));
    // Without what it stands on, which may be open for writing.
    expect(ours.folder.check(`json:${JSON.stringify({ ...QCOW2(target), backing: null })}`)).toBe(CLEAN);
  };

  it.each(["raw", "bottom", "middle", "top"])(
    "drive-backup of the layer %s makes the image that QEMU makes",
    async (device) => {
      const source = device === "raw" ? "raw.img" : `${device}.qcow2`;
      for (const sync of ["full", "top"]) {
        const target = fresh();
        await twins.job("drive-backup", { "job-id": "job", device, sync, target, format: "qcow2" });
        compareTargets(target);
        expect(twins.ours.folder.run("qemu-img", "compare", "-U", source, target)).toBe("Images are identical.\n");
      }
    },
  );

  it("sync=none keeps what is changed, on top of the source", async () => {
    const target = fresh();
    await twins.job("drive-backup", { "job-id": "job", device: "top", sync: "none", target }, async () => {
      for (const { client } of twins.both) await client.execute("block-job-cancel", { device: "job" });
    });
    compareTargets(target);
  });

  it.each(Object.entries(ODD_SOURCES))("drive-backup names what the source stands on: %s", async (node, options) => {
    await twins.succeed("blockdev-add", { ...options, "node-name": node });
    for (const sync of ["top", "none"]) {
      const target = fresh();
      await twins.job("drive-backup", { "job-id": "job", device: node, sync, target, format: "qcow2" }, async () => {
        if (sync === "none") await twins.succeed("job-cancel", { id: "job" });
      });
      expect(told(twins.ours, target)).toEqual(told(twins.theirs, target));
      if (sync === "top") expect(mapOf(twins.ours, target)).toEqual(mapOf(twins.theirs, target));
    }
    await twins.succeed("blockdev-del", { "node-name": node });
  });

  it("blockdev-backup copies the top layer alone onto what that stands on", async () => {
    for (const device of ["bottom", "middle", "top"]) {
      const below = { bottom: "raw.img", middle: "bottom.qcow2", top: "middle.qcow2" }[device]!;
      const length = { bottom: 5 * MIB, middle: 3 * MIB, top: 4098 * 1024 }[device]!;
      const target = fresh();
      const format = device === "bottom" ? "raw" : "qcow2";
      twins.run("qemu-img", "create", "-q", "-f", "qcow2", "-b", below, "-F", format, target, String(length));
      await twins.succeed("blockdev-add", { ...QCOW2(target), "node-name": "target" });
      await twins.job("blockdev-backup", { "job-id": "job", device, target: "target", sync: "top" });
      await twins.succeed("blockdev-del", { "node-name": "target" });
      compareTargets(target);
      expect(twins.ours.folder.run("qemu-img", "compare", "-U", `${device}.qcow2`, target)).toBe(
        "Images are identical.\n",
      );
    }
  });

  it.each([
    ["on-success", "completed"],
    ["on-success", "cancelled"],
    ["always", "completed"],
    ["always", "cancelled"],
    ["never", "completed"],
    ["never", "cancelled"],
  ])("bitmap-mode=%s leaves the bits that it leaves in QEMU when it is %s", async (mode, outcome) => {
    const bitmap = { node: "top", name: "bits" };
    await twins.succeed("block-dirty-bitmap-add", { ...bitmap, granularity: 65536 });
    for (const command of [
      `write -P 11 0 ${FIRST_RUN}`,
      "write -P 12 1M 64k",
      "write -P 13 3M 64k",
      "write -P 14 4096k 512",
    ])
      await twins.change("top", command);
    const target = fresh();
    const job = { "job-id": "job", device: "top", sync: "bitmap", bitmap: "bits", "bitmap-mode": mode, target };
    const paced = { ...job, speed: 1, "x-perf": { "max-workers": 1 }, "auto-finalize": false };
    await twins.job("drive-backup", outcome === "completed" ? job : paced, async () => {
      if (outcome === "completed") return;
      await twins.until("query-block-jobs", (jobs) => (jobs as { offset: number }[])[0]?.offset === FIRST_RUN);
      await twins.succeed("job-cancel", { id: "job" });
    });
    await twins.succeed("x-debug-block-dirty-bitmap-sha256", bitmap);
    if (outcome === "completed") compareTargets(target);
    await twins.succeed("block-dirty-bitmap-remove", bitmap);
  });

  it.each([{}, { mode: "existing" }])("compressed clusters are as many as QEMU's: %j", async (mode) => {
    const target = fresh();
    if ("mode" in mode) twins.run("qemu-img", "create", "-q", "-f", "qcow2", target, "4098k");
    await twins.job("drive-backup", { "job-id": "job", device: "top", sync: "full", target, compress: true, ...mode });
    compareTargets(target);
    const [ours, theirs] = twins.both.map(({ folder }) => {
      const check = JSON.parse(folder.run("qemu-img", "check", "--output=json", target)) as Record<string, unknown>;
      return { allocated: check["allocated-clusters"], compressed: check["compressed-clusters"] };
    });
    expect(ours!.compressed).toBeGreaterThan(10);
    expect(ours).toEqual(theirs);
  });

  it.each<[object, string]>([
    [{ target: "rawcopy.img", format: "raw", compress: true }, "Compression is not supported for this drive "],
    [{ target: "x", format: "nosuch" }, "Unknown file format 'nosuch'"],
    [{ target: "raw.img", mode: "existing", format: "nosuch" }, "Unknown driver 'nosuch'"],
    [{ target: "text.img", mode: "existing", format: "qcow2" }, "Image is not in qcow2 format"],
    [{ target: "small.qcow2", mode: "existing", format: "qcow2" }, "Source and target image have different sizes"],
    [{ target: "small.qcow2", mode: "existing" }, "Source and target image have different sizes"],
    [{ target: "none.qcow2", mode: "existing" }, "Could not open 'none.qcow2': No such file or directory"],
    [{ target: "x", format: "raw", sync: "top" }, "Backing file not supported for file format 'raw'"],
    [{ target: "x", format: "raw", sync: "none" }, "Backing file not supported for file format 'raw'"],
    [{ target: "no/x" }, "Could not create 'no/x': No such file or directory"],
    [{ target: "top.qcow2", mode: "existing" }, 'Failed to get "write" lock'],
    [{ target: "middle.qcow2", mode: "existing" }, 'Failed to get "write" lock'],
    [
      { target: "orphan.qcow2", mode: "existing" },
      "Could not open backing file: Could not open 'gone.qcow2': No such file or directory",
    ],
    [{ target: "wrong.qcow2", mode: "existing" }, "Could not open backing file: Image is not in qcow2 format"],
    [{ target: "x", sync: "incremental", bitmap: "no" }, "Bitmap 'no' could not be found"],
  ])("%j is refused in QEMU's words", async (args, text) => {
    twins.run("qemu-img", "create", "-q", "-f", "raw", "text.img", "4098k");
    twins.run("qemu-img", "create", "-q", "-f", "qcow2", "small.qcow2", "2M");
    for (const [image, backing] of [
      ["orphan.qcow2", "gone.qcow2"],
      ["wrong.qcow2", "raw.img"],
    ] as const)
      twins.run("qemu-img", "create", "-q", "-u", "-f", "qcow2", "-b", backing, "-F", "qcow2", image, "4098k");
    const reply = await twins.execute("drive-backup", { "job-id": "job", device: "top", sync: "full", ...args });
    expect(reply).toEqual({ error: { class: "GenericError", desc: text } });
  });

  it.each([
    QCOW2("middle.qcow2"),
    { ...QCOW2("middle.qcow2"), backing: null },
    { driver: "qcow2", file: FILE("none.qcow2") },
    [],
  ])("images that stand on %j are opened as QEMU opens them", async (options) => {
    const image = fresh();
    const name = `json:${JSON.stringify(options)}`;
    twins.run("qemu-img", "create", "-q", "-u", "-f", "qcow2", "-b", name, "-F", "qcow2", image, "3M");
    const { return: opened } = await twins.execute("blockdev-add", { ...QCOW2(image), "node-name": "named" });
    if (opened === undefined) return;
    const target = fresh();
    await twins.job("drive-backup", { "job-id": "job", device: "named", sync: "full", target });
    compareTargets(target);
    await twins.succeed("blockdev-del", { "node-name": "named" });
  });

  it.each([
    {},
    { "backing-file": "top.qcow2", "backing-fmt": "qcow2" },
    { "backing-fmt": "qcow2" },
    { "cluster-size": 4096, "refcount-bits": 1 },
    { "cluster-size": 1000 },
    { "refcount-bits": 3 },
    { version: "v2" },
    { version: "v2", "lazy-refcounts": true },
    { version: "v2", "extended-l2": true },
    { version: "v2", "refcount-bits": 8 },
    { "extended-l2": true, "lazy-refcounts": true },
    { "extended-l2": true, "cluster-size": 4096 },
    { "compression-type": "zstd" },
    { preallocation: "metadata" },
    { preallocation: "full", "backing-file": "top.qcow2" },
    { "cluster-size": 512, size: 2 ** 50 },
    { size: 1000 },
  ])("blockdev-create with %j makes the image that QEMU makes, or says why not", async (options) => {
    const image = fresh();
    const create = async (what: object): Promise<boolean> => {
      await twins.succeed("blockdev-create", { "job-id": "create", options: what });
      await twins.until("query-jobs", (jobs) => (jobs as { status: string }[])[0]?.status === "concluded");
      const [job] = (await twins.succeed("query-jobs")) as readonly { error?: string }[];
      await twins.succeed("job-dismiss", { id: "create" });
      return job?.error === undefined;
    };
    expect(await create({ driver: "file", filename: image, size: 0 })).toBe(true);
    if (!(await create({ driver: "qcow2", file: FILE(image), size: 4 * MIB, ...options }))) return;
    expect(told(twins.ours, image)).toEqual(told(twins.theirs, image));
    expect(mapOf(twins.ours, image)).toEqual(mapOf(twins.theirs, image));
  });

  it("an image that stands on itself by options is refused", async () => {
    const { folder, client } = twins.ours;
    const name = `json:${JSON.stringify(QCOW2("loop.qcow2"))}`;
    folder.run("qemu-img", "create", "-q", "-u", "-f", "qcow2", "-b", name, "-F", "qcow2", "loop.qcow2", "3M");
    const { error } = await client.execute("blockdev-add", { ...QCOW2("loop.qcow2"), "node-name": "loop" });
    expect(error).toMatchObject({ desc: expect.stringContaining("creates an infinite loop.") });
  });

  it("the bitmaps of the source are not the target's", async () => {
    await twins.succeed("block-dirty-bitmap-add", { node: "top", name: "kept", persistent: true });
    const target = fresh();
    await twins.job("drive-backup", { "job-id": "job", device: "top", sync: "full", target });
    const none: readonly ShownBitmap[] = [];
    for (const { folder } of twins.both) expect(shownBitmaps(folder, target)).toEqual(none);
    await twins.succeed("block-dirty-bitmap-remove", { node: "top", name: "kept" });
  });
});
