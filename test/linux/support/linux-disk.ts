// A disk for a Linux guest: an image on the host, a block graph with its monitor, and the device before it.
import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { VirtioBlk } from "../../../devices/virtio-blk/virtio-blk.ts";
import type { RingFeatures } from "../../../devices/virtio-features.ts";
import { SystemMonitor } from "../../../machine/system-monitor.ts";
import type { BlockBackend } from "../../../src/block/backend.ts";

export const MIB: number = 1 << 20;
/** The whole disk. The file system leaves its end free. */
export const DISK_BYTES: number = 64 * MIB;
export const FILESYSTEM_BYTES: number = 48 * MIB;
/** Reads of this sector fail. */
export const BAD_SECTOR: number = (60 * MIB) / 512;

/** Runs a program of the host; its output. Throws when its status is not 0. */
export function host(program: string, ...args: readonly string[]): string {
  const { status, stdout, stderr } = spawnSync(program, args, { encoding: "utf8" });
  if (status !== 0) throw new Error(`${program} ${args.join(" ")} ended with ${status}:\n${stdout}${stderr}`);
  return stdout;
}

/** The image `disk.img` in `folder`: an ext4 file system that holds `files`, made on the host, and room behind it. */
export function makeImage(folder: string, files: Readonly<Record<string, Uint8Array>>): string {
  const image = join(folder, "disk.img");
  for (const [name, content] of Object.entries(files)) writeFileSync(join(folder, name), content);
  host("mke2fs", "-q", "-t", "ext4", "-b", "4096", "-E", "lazy_itable_init=1", image, `${FILESYSTEM_BYTES / 1024}k`);
  const commands = Object.keys(files).map((name) => `write ${join(folder, name)} ${name}`);
  writeFileSync(join(folder, "commands"), `${commands.join("\n")}\n`);
  host("debugfs", "-w", "-f", join(folder, "commands"), image);
  host("truncate", "-s", String(DISK_BYTES), image);
  return image;
}

/** From `open` to `close`. The node of the disk is called `disk`. */
export class LinuxDisk {
  readonly device: VirtioBlk;
  readonly backend: BlockBackend;
  readonly #monitor: SystemMonitor;

  private constructor(monitor: SystemMonitor, backend: BlockBackend, rings: RingFeatures) {
    this.#monitor = monitor;
    this.backend = backend;
    this.device = new VirtioBlk({ backend, serial: "linux", offeredFeatures: rings });
  }

  static async open(image: string, rings: RingFeatures, readOnly = false): Promise<LinuxDisk> {
    const monitor = new SystemMonitor({ ramBytes: MIB, stopped: false, version: "test", output: () => {} });
    const bad = { event: "read_aio", sector: BAD_SECTOR, errno: 5, once: false, immediately: true };
    await monitor.server.execute("blockdev-add", {
      driver: "raw",
      "node-name": "disk",
      "read-only": readOnly,
      discard: "unmap",
      file: {
        driver: "blkdebug",
        "inject-error": [bad],
        "read-only": readOnly,
        discard: "unmap",
        image: { driver: "file", filename: image, "read-only": readOnly, discard: "unmap" },
      },
    });
    const { graph } = monitor.machine;
    const backend = graph.addBackend({ name: "linux", node: graph.node("disk")!, readOnly, writeCache: true });
    return new LinuxDisk(monitor, backend, rings);
  }

  /** A command of the monitor. */
  execute<Result = unknown>(command: string, args: object = {}): Promise<Result> {
    return this.#monitor.server.execute<Result>(command, args);
  }

  /** Makes an empty image of the disk's size and a node of that name on it. */
  async addTarget(name: string, path: string): Promise<void> {
    writeFileSync(path, "");
    host("truncate", "-s", String(DISK_BYTES), path);
    await this.execute("blockdev-add", { driver: "raw", "node-name": name, file: { driver: "file", filename: path } });
  }

  /** Resolves once no job is left. Rejects when one ends with an error. */
  async jobsDone(): Promise<void> {
    const jobs = (): Promise<readonly { id: string; error?: string }[]> => this.execute("query-jobs");
    for (let left = await jobs(); left.length > 0; left = await jobs()) {
      const failed = left.find(({ error }) => error !== undefined);
      if (failed !== undefined) throw new Error(`job ${failed.id}: ${failed.error}`);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }

  async close(): Promise<void> {
    for (let busy = this.backend.untilIdle(); busy !== undefined; busy = this.backend.untilIdle()) await busy;
    await this.#monitor.close("host-qmp-quit");
  }
}
