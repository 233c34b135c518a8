// Backups from and to qcow2 images by this program's commands, and the same by a real QEMU's: replies, events, and the images that come of them.
import { copyFileSync } from "node:fs";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type ShownBitmap, shownBitmaps } from "../block/drivers/qcow2/bitmap-tools.ts";
import { describeWithTools } from "../support/tools.ts";
import { compareImages, FILE, mapOf, QCOW2, startLayered, told } from "./layered-images.ts";
import { QEMU } from "./programs.ts";
import { TwinMachines } from "./twin-machines.ts";

const MIB = 1 << 20;
/** What of a bitmap's bytes is copied before a slow job waits for the first time. */
const FIRST_RUN = 128 * 1024;
/** Sources that stand on others than their images say, or are filters. */
const ODD_SOURCES: Readonly<Record<string, object>> = {
  "on-nothing": { ...QCOW2("other.qcow2"), backing: null },
  "on-another": { ...QCOW2("other.qcow2"), backing: { ...QCOW2("middle.qcow2"), backing: null } },
  "on-raw": { ...QCOW2("other.qcow2"), backing: { driver: "raw", file: FILE("raw.img") } },
  "on-the-same": { ...QCOW2("other.qcow2"), backing: QCOW2("middle.qcow2") },
  throttled: { driver: "throttle", "throttle-group": "group", file: QCOW2("other.qcow2") },
  "with-faults": { driver: "qcow2", file: { driver: "blkdebug", image: FILE("other.qcow2") } },
};

describeWithTools(["qemu-img", "qemu-io", QEMU], "Backups beside a real QEMU's", () => {
  let twins: TwinMachines;
  let count = 0;
  /** A file or job that there was not before. */
  const fresh = (): string => `target${count++}.qcow2`;

  beforeAll(async () => {
    twins = await startLayered();
  });
  afterAll(() => twins.close());

  it.each(["raw", "bottom", "middle", "top"])(
    "drive-backup of the layer %s makes the image that QEMU makes",
    async (device) => {
      const source = device === "raw" ? "raw.img" : `${device}.qcow2`;
      for (const sync of ["full", "top"]) {
        const target = fresh();
        await twins.job("drive-backup", { "job-id": "job", device, sync, target, format: "qcow2" });
        compareImages(twins, target);
        expect(twins.ours.folder.run("qemu-img", "compare", "-U", source, target)).toBe("Images are identical.\n");
      }
    },
  );

  it("sync=none keeps what is changed, on top of the source", async () => {
    const drive = "if=none,id=drv,node-name=top,driver=qcow2,file.driver=file,file.filename=top.qcow2,discard=unmap";
    const driven = await TwinMachines.start(["-drive", drive], (folder) => {
      for (const image of ["raw.img", "bottom.qcow2", "middle.qcow2"])
        copyFileSync(twins.ours.folder.file(image), folder.file(image));
      copyFileSync(twins.ours.folder.file("other.qcow2"), folder.file("top.qcow2"));
      copyFileSync(twins.ours.folder.file("other.qcow2"), folder.file("before.qcow2"));
    });
    try {
      const target = fresh();
      await driven.job("drive-backup", { "job-id": "job", device: "drv", sync: "none", target }, async () => {
        for (const command of ["write -P 31 190k 20k", "write -P 32 1M 64k", "write -z 4090k 8k", "write -P 33 1M 1k"])
          await driven.change("drv", command);
        await driven.succeed("job-cancel", { id: "job" });
      });
      compareImages(driven, target);
      for (const { folder } of driven.both)
        expect(folder.run("qemu-img", "compare", "-U", "before.qcow2", target)).toBe("Images are identical.\n");
    } finally {
      await driven.close();
    }
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
      compareImages(twins, target);
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
    if (outcome === "completed") compareImages(twins, target);
    await twins.succeed("block-dirty-bitmap-remove", bitmap);
  });

  it.each([{}, { mode: "existing" }])("compressed clusters are as many as QEMU's: %j", async (mode) => {
    const target = fresh();
    if ("mode" in mode) twins.run("qemu-img", "create", "-q", "-f", "qcow2", target, "4098k");
    await twins.job("drive-backup", { "job-id": "job", device: "top", sync: "full", target, compress: true, ...mode });
    compareImages(twins, target);
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

  it("the bitmaps of the source are not the target's", async () => {
    await twins.succeed("block-dirty-bitmap-add", { node: "top", name: "kept", persistent: true });
    const target = fresh();
    await twins.job("drive-backup", { "job-id": "job", device: "top", sync: "full", target });
    const none: readonly ShownBitmap[] = [];
    for (const { folder } of twins.both) expect(shownBitmaps(folder, target)).toEqual(none);
    await twins.succeed("block-dirty-bitmap-remove", { node: "top", name: "kept" });
  });
});
