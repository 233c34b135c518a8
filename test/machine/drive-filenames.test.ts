// What -drive takes for the name of a file, and where its drives go: the texts are a real QEMU 7.2's.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { parseCommandLine } from "../../machine/command-line.ts";
import { namedFile } from "../../machine/drive-filenames.ts";
import { MonitoredMachine } from "../../machine/monitored-machine.ts";
import type { BlockInfo } from "../../machine/qmp-types.ts";
import { ImageFolder } from "../block/drivers/qcow2/qcow2-images.ts";
import { withFolder } from "../support/cli.ts";

const MIB = 1 << 20;

/** What query-block says of a machine with these options, in a folder with an image. */
function blocksOf(options: (folder: string) => readonly string[]): Promise<readonly BlockInfo[]> {
  return withFolder(async (folder) => {
    writeFileSync(join(folder, "a.img"), new Uint8Array(MIB));
    writeFileSync(join(folder, "rules"), '[inject-error]\nevent = "read_aio"\nerrno = "5"\n');
    const commandLine = parseCommandLine(["-M", "virt", "-S", ...options(folder)]);
    const made = await MonitoredMachine.create(commandLine, { version: "1.2.3" });
    try {
      return await made.server.execute<readonly BlockInfo[]>("query-block");
    } finally {
      made.end();
      await made.ended;
    }
  });
}

const drive = (value: (folder: string) => string) => (folder: string) => ["-drive", value(folder)];

describe("the file of a drive", () => {
  it.each<[string, (folder: string) => string, object]>([
    ["a protocol without a file", () => "if=none,id=d,format=raw,file=null-aio://", { drv: "raw" }],
    ["that of disks that complete at once", () => "if=none,id=d,file=null-co://", { drv: "raw", file: "null-co://" }],
    [
      "options as JSON",
      (folder) => `if=none,id=d,file=json:{"driver":"file",,"filename":"${folder}/a.img",,"node-name":"n"}`,
      { drv: "file", "node-name": "n", image: { "virtual-size": MIB } },
    ],
    [
      "JSON that says what format= says",
      (folder) =>
        `if=none,id=d,format=raw,file=json:{"driver":"raw",,"file":{"driver":"file",,"filename":"${folder}/a.img"}}`,
      { drv: "raw", image: { "virtual-size": MIB } },
    ],
    [
      "faults without rules",
      (folder) => `if=none,id=d,format=raw,file=blkdebug::${folder}/a.img`,
      { drv: "raw", image: { "virtual-size": MIB } },
    ],
    [
      "faults by the rules of a file",
      (folder) => `if=none,id=d,format=raw,file=blkdebug:${folder}/rules:${folder}/a.img`,
      { drv: "raw", image: { "virtual-size": MIB } },
    ],
  ])("can be %s", async (_what, value, inserted) => {
    expect(await blocksOf(drive(value))).toMatchObject([{ device: "d", inserted }]);
  });

  it("of blkdebug has its rules from the file that is named", async () => {
    const value = (folder: string): string => `if=none,id=d,format=raw,file=blkdebug:${folder}/none:${folder}/a.img`;
    await expect(blocksOf(drive(value))).rejects.toThrow(
      "Could not read blkdebug config file: No such file or directory",
    );
    expect(namedFile("blkdebug:rules:file:a:b")).toEqual({ kind: "blkdebug", config: "rules", path: "a:b" });
  });

  it.each([
    ["json:x", "Could not parse the JSON options: JSON parse error, invalid keyword 'x'"],
    ["json:[1]", "Invalid JSON object given"],
    ['json:{"driver":"file"', "Could not parse the JSON options: JSON parse error, premature EOI"],
    ["blkdebug:a.img", "blkdebug requires both config file and image path"],
    ["null-co:x", "The only allowed filename for this driver is 'null-co://'"],
    ["null-aio:x", "The only allowed filename for this driver is 'null-aio://'"],
    ["zz:x", "Unknown protocol 'zz'"],
    ["blkdebug::json:{}", "Parameter 'driver' is missing"],
  ])("cannot be %s", (name, text) => expect(() => namedFile(name)).toThrow(text));

  it("as JSON is no other format than format= says", async () => {
    const value = (folder: string): string =>
      `if=none,format=raw,file=json:{"driver":"file",,"filename":"${folder}/a.img"}`;
    await expect(blocksOf(drive(value))).rejects.toThrow('A block device must be specified for "file"');
  });
});

describe("the format of a drive", () => {
  let images: ImageFolder;
  beforeEach(async () => {
    images = new ImageFolder();
    await images.create("a.qcow2", { size: 3 * MIB });
  });
  afterEach(() => images.dispose());

  it.each<[string, string, object]>([
    ["is that which it is said to be", "format=qcow2", { drv: "qcow2", image: { "virtual-size": 3 * MIB } }],
    ["is driver= as well", "driver=qcow2", { drv: "qcow2", image: { "virtual-size": 3 * MIB } }],
    ["is found out where nobody says it", "id=d", { drv: "qcow2", image: { "virtual-size": 3 * MIB } }],
    ["can be raw, though there is another", "format=raw", { drv: "raw" }],
  ])("%s", async (_what, said, inserted) => {
    const value = (): string => `if=none,${said},file=${images.file("a.qcow2")}`;
    expect(await blocksOf(drive(value))).toMatchObject([{ inserted }]);
  });

  it("is raw where the file has none that is known", async () => {
    expect(await blocksOf(drive((folder) => `if=none,file=${folder}/a.img`))).toMatchObject([
      { inserted: { drv: "raw" } },
    ]);
  });

  it.each([
    ["format=qcow2", 'A block device must be specified for "file"'],
    ["driver=raw", 'A block device must be specified for "file"'],
    ["format=qcow2,file=null-co://", "Image is not in qcow2 format"],
    ["format=qcow2,file=a.qcow2,size=5", "Block format 'qcow2' does not support the option 'size'"],
    ["format=zz,file=a.qcow2", "Unknown driver 'zz'"],
  ])("%s: is refused", async (said, text) => {
    await expect(blocksOf(drive(() => `if=none,${said}`))).rejects.toThrow(text);
  });
});

describe("if=virtio", () => {
  const image = (folder: string): string => `format=raw,file=${folder}/a.img`;

  it("makes a device for the drive, after those of -device, and counts by itself", async () => {
    const blocks = await blocksOf((folder) => [
      ...["-drive", "if=none,driver=null-co,id=x", "-drive", `if=virtio,${image(folder)}`],
      ...["-drive", "if=none,driver=null-co", "-device", "virtio-blk-device,drive=x,id=first"],
    ]);
    expect(blocks.map(({ device, qdev }) => [device, qdev])).toEqual([
      ["x", "first"],
      ["virtio0", "/machine/peripheral-anon/device[0]"],
      ["none1", undefined],
    ]);
  });

  it("leaves no place for a device that a user wants on the drive", async () => {
    const options = (folder: string): string[] => [
      ...["-drive", `if=virtio,id=d,${image(folder)}`, "-device", "virtio-blk-device,drive=d"],
    ];
    await expect(blocksOf(options)).rejects.toThrow(
      "/a.img: Drive 'd' is already in use because it has been automatically connected to " +
        "another device (did you need 'if=none' in the drive options?)",
    );
  });
});
