// Chains of incremental backups that this program and a real QEMU take in turn of one disk, restored by both, against an array of bytes.
import { readFileSync, rmSync } from "node:fs";
import fc from "fast-check";
import { afterAll, beforeAll, expect, it } from "vitest";
import { QtestChannel } from "../../guest/targets/qtest-channel.ts";
import { IoVector } from "../../src/base/io-vector.ts";
import { dirtyExtents, hashesByQemu, hashesOf, shownBitmaps } from "../block/drivers/qcow2/bitmap-tools.ts";
import { CLEAN, ImageFolder } from "../block/drivers/qcow2/qcow2-images.ts";
import { describeWithTools } from "../support/tools.ts";
import { ChainMachine, type Changer, ioCommand } from "./chain-machine.ts";
import { ChainModel } from "./chain-model.ts";
import { type ChainProgram, type Change, chainPrograms, DISK_BYTES, type Link } from "./chain-program.ts";
import { endOfJob } from "./job-events.ts";
import { QEMU } from "./programs.ts";

const RUNS = process.env["VBLK_SOAK"] === undefined ? 2 : 60;
const DISK = "disk.qcow2";
const BITMAP = "since";
const JOB = "backup";

class Chain {
  readonly #folder: ImageFolder;
  readonly #channel: QtestChannel;
  readonly #program: ChainProgram;
  readonly #model: ChainModel;
  /** Of each link, what its image is to hold. */
  readonly #restored: { readonly image: string; readonly bytes: Uint8Array }[] = [];

  constructor(folder: ImageFolder, channel: QtestChannel, program: ChainProgram) {
    this.#folder = folder;
    this.#channel = channel;
    this.#program = program;
    folder.run("qemu-img", "create", "-f", "qcow2", "-o", program.diskOptions, DISK, String(DISK_BYTES));
    folder.run("qemu-img", "bitmap", "--add", "-g", String(program.granularity), DISK, BITMAP);
    const info = JSON.parse(folder.run("qemu-img", "info", "--output=json", DISK)) as { "cluster-size": number };
    this.#model = new ChainModel(program.granularity, info["cluster-size"]);
  }

  async run(): Promise<void> {
    for (const link of this.#program.links) {
      await this.#changeByTool(link.byTool);
      const hash = await this.#takeBackup(link);
      await this.#compareDisk(hash);
      await this.#compareLink(this.#restored.length - 1);
    }
    // Nothing that came later has changed what an earlier link holds.
    for (let i = 0; i < this.#restored.length; i++) await this.#compareLink(i);
  }

  async #changeByTool(changes: readonly Change[]): Promise<void> {
    const commands: string[] = [];
    await this.#change(changes, (op, range, byte) => {
      commands.push("-c", ioCommand(op, range, byte));
      return Promise.resolve();
    });
    if (commands.length > 0) this.#folder.run("qemu-io", "-d", "unmap", "-f", "qcow2", ...commands, DISK);
  }

  async #change(changes: readonly Change[], changer: Changer): Promise<void> {
    for (const change of changes) {
      const range = this.#model.rangeOf(change);
      const byte = change.op === "write" ? this.#model.nextByte() : 0;
      await changer(change.op, range, byte);
      this.#model.change(range, byte);
    }
  }

  /** The hash of the bitmap when the process that took the backup was about to end. */
  async #takeBackup(link: Link): Promise<string> {
    const machine =
      link.by === "qemu"
        ? await ChainMachine.startQemu(this.#folder.path)
        : await ChainMachine.startOurs(this.#folder.path, this.#channel);
    try {
      await this.#change(link.before, link.byGuest ? machine.guest : machine.monitor);
      if (link.cancelled) await this.#cancelBackup(machine, link);
      const image = `link${this.#restored.length}.qcow2`;
      const bytes = this.#model.bytes.slice();
      const from = await this.#startBackup(machine, image, link);
      this.#model.clearDirty();
      await this.#change(link.during, link.byGuest ? machine.guest : machine.monitor);
      await machine.client.execute("block-job-set-speed", { device: JOB, speed: 0 }); // refused when all is copied
      await machine.finalize(JOB, from);
      if (link.target === "blockdev-create") await machine.removeTarget();
      const previous = this.#restored.at(-1);
      if (link.target === "drive-backup" && previous !== undefined)
        this.#folder.run("qemu-img", "rebase", "-u", "-f", "qcow2", "-b", previous.image, "-F", "qcow2", image);
      this.#restored.push({ image, bytes });
      return await machine.hash(BITMAP);
    } finally {
      await machine.close();
    }
  }

  /** The bitmap keeps what it has. */
  async #cancelBackup(machine: ChainMachine, link: Link): Promise<void> {
    const image = "cancelled.qcow2";
    const from = await this.#startBackup(machine, image, { ...link, sync: "on-success" });
    await this.#change(link.during, link.byGuest ? machine.guest : machine.monitor);
    await machine.execute("job-cancel", { id: JOB });
    expect(await endOfJob(machine.client, JOB, from)).toMatchObject({ event: "BLOCK_JOB_CANCELLED" });
    if (link.target === "blockdev-create") await machine.removeTarget();
    expect(this.#folder.check(image)).toBe(CLEAN);
    rmSync(this.#folder.file(image));
  }

  /** Copies little before it is told to go on, and ends when it is told to. The number of messages that there were before it. */
  async #startBackup(
    machine: ChainMachine,
    image: string,
    { target, targetOptions, sync, compress }: Link,
  ): Promise<number> {
    const { clusterBytes, extended } = targetOptions;
    const previous = this.#restored.at(-1)?.image;
    const bitmap =
      previous === undefined
        ? { sync: "full", bitmap: BITMAP, "bitmap-mode": "on-success" }
        : sync === "incremental"
          ? { sync, bitmap: BITMAP }
          : { sync: "bitmap", bitmap: BITMAP, "bitmap-mode": sync };
    const job = { "job-id": JOB, device: "drv", compress, speed: 1, "auto-finalize": false, ...bitmap };
    const from = machine.client.qmp.messages.length;
    switch (target) {
      case "drive-backup":
        await machine.execute("drive-backup", { ...job, target: image, format: "qcow2" });
        break;
      case "qemu-img": {
        const backing = previous === undefined ? [] : ["-b", previous, "-F", "qcow2"];
        const options = `cluster_size=${clusterBytes},extended_l2=${extended ? "on" : "off"}`;
        this.#folder.run("qemu-img", "create", "-f", "qcow2", "-o", options, ...backing, image, String(DISK_BYTES));
        await machine.execute("drive-backup", { ...job, target: image, mode: "existing", format: "qcow2" });
        break;
      }
      case "blockdev-create":
        await machine.addTarget(image, {
          size: DISK_BYTES,
          "cluster-size": clusterBytes,
          "extended-l2": extended,
          ...(previous === undefined ? {} : { "backing-file": previous, "backing-fmt": "qcow2" }),
        });
        await machine.execute("blockdev-backup", { ...job, target: "target" });
    }
    return from;
  }

  /** The disk, and its bitmap, as both programs read them. */
  async #compareDisk(hash: string): Promise<void> {
    expect(this.#folder.check(DISK)).toBe(CLEAN);
    const { granularity } = this.#program;
    expect(shownBitmaps(this.#folder, DISK)).toEqual([{ name: BITMAP, granularity, flags: ["auto"] }]);
    expect(hashesByQemu(this.#folder, DISK)).toEqual({ [BITMAP]: hash });
    expect(dirtyExtents(this.#folder, DISK, BITMAP)).toEqual(this.#model.dirtyExtents());
    const node = await this.#folder.open(DISK, { "read-only": true });
    expect(await hashesOf(node)).toEqual({ [BITMAP]: hash });
    await this.#folder.close(node);
    await this.#compareBytes(DISK, this.#model.bytes);
  }

  async #compareLink(index: number): Promise<void> {
    const { image, bytes } = this.#restored[index]!;
    expect(this.#folder.check(image)).toBe(CLEAN);
    await this.#compareBytes(image, bytes);
  }

  async #compareBytes(image: string, bytes: Uint8Array): Promise<void> {
    this.#folder.run("qemu-img", "convert", "-f", "qcow2", "-O", "raw", image, "restored.raw");
    expect(firstDifference(readFileSync(this.#folder.file("restored.raw")), bytes), `${image} by qemu-img`).toBe(-1);
    const node = await this.#folder.open(image, { "read-only": true });
    const read = new Uint8Array(node.lengthBytes);
    await node.read(0, IoVector.of(read));
    await this.#folder.close(node);
    expect(firstDifference(read, bytes), `${image} by this program`).toBe(-1);
  }
}

/** Where two disks differ first: the length of the shorter one where that is all of it. -1 if nowhere. */
function firstDifference(a: Uint8Array, b: Uint8Array): number {
  if (Buffer.compare(a, b) === 0) return -1;
  const at = a.findIndex((byte, i) => byte !== b[i]);
  return at < 0 ? a.length : at;
}

describeWithTools(
  ["qemu-img", "qemu-io", "qemu-nbd", "nbdinfo", "qemu-storage-daemon", QEMU],
  "A chain of backups",
  () => {
    let channel: QtestChannel;
    beforeAll(() => {
      channel = new QtestChannel();
    });
    afterAll(() => channel.close());

    it("taken now by this program and now by QEMU restores every moment", { timeout: 3_600_000 }, async () => {
      await fc.assert(
        fc.asyncProperty(chainPrograms, async (program) => {
          const folder = new ImageFolder();
          try {
            await new Chain(folder, channel, program).run();
          } finally {
            await folder.dispose();
          }
        }),
        { numRuns: RUNS, endOnFailure: true },
      );
    });
  },
);
