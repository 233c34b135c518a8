// Images that blockdev-create makes, and images whose backing files are told by options, in this program and in a real QEMU.
import { afterAll, beforeAll, expect, it } from "vitest";
import { describeWithTools } from "../support/tools.ts";
import { compareImages, FILE, mapOf, QCOW2, startLayered, told } from "./layered-images.ts";
import { QEMU } from "./programs.ts";
import type { TwinMachines } from "./twin-machines.ts";

const MIB = 1 << 20;

/** Options in place of a name. */
function json(options: object): string {
  return `json:${JSON.stringify(options)}`;
}

describeWithTools(["qemu-img", "qemu-io", QEMU], "Images made and opened beside a real QEMU", () => {
  let twins: TwinMachines;
  let count = 0;
  /** A file that there was not before. */
  const fresh = (): string => `image${count++}.qcow2`;

  beforeAll(async () => {
    twins = await startLayered();
  });
  afterAll(() => twins.close());

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
    { "data-file-raw": true },
    { "data-file-raw": false },
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

  it("blockdev-create refuses a backing format that nobody knows before there is a job", async () => {
    const options = { driver: "qcow2", file: FILE("raw.img"), size: MIB, "backing-file": "x", "backing-fmt": "nosuch" };
    const reply = await twins.execute("blockdev-create", { "job-id": "create", options });
    expect(reply).toHaveProperty("error.desc", "Parameter 'backing-fmt' does not accept value 'nosuch'");
  });

  it.each<[string, string]>([
    [json(QCOW2("middle.qcow2")), "qcow2"],
    [json({ ...QCOW2("middle.qcow2"), backing: null }), "qcow2"],
    [json({ driver: "qcow2", file: FILE("none.qcow2") }), "qcow2"],
    [json([]), "qcow2"],
    ["json:{", "qcow2"],
    [json({ driver: "null-co", size: 65536, "read-zeroes": true }), "null-co"],
    ["null-co://", "null-co"],
    ["null-co://", "raw"],
    ["blkdebug::middle.qcow2", "qcow2"],
    ["blkdebug::raw.img", "raw"],
    ["blkdebug:no.config:raw.img", "raw"],
    ["file:raw.img", "raw"],
    ["zz:raw.img", "raw"],
  ])("an image that stands on %s as %s is opened as QEMU opens it", async (name, format) => {
    const image = fresh();
    twins.run("qemu-img", "create", "-q", "-u", "-f", "qcow2", "-b", name, "-F", format, image, "3M");
    const { return: opened } = await twins.execute("blockdev-add", { ...QCOW2(image), "node-name": "named" });
    if (opened === undefined) return;
    const target = fresh();
    await twins.job("drive-backup", { "job-id": "job", device: "named", sync: "full", target });
    compareImages(twins, target);
    await twins.succeed("blockdev-del", { "node-name": "named" });
  });

  it("an image that stands on itself by options is refused", async () => {
    const { folder, client } = twins.ours;
    const name = json(QCOW2("loop.qcow2"));
    folder.run("qemu-img", "create", "-q", "-u", "-f", "qcow2", "-b", name, "-F", "qcow2", "loop.qcow2", "3M");
    const { error } = await client.execute("blockdev-add", { ...QCOW2("loop.qcow2"), "node-name": "loop" });
    expect(error).toMatchObject({ desc: expect.stringContaining("creates an infinite loop.") });
  });
});
