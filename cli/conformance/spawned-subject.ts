// Devices of another program that has QEMU's command line, as subjects of the conformance suite: driven over a qtest socket, their
// host told what to do over a monitor.

import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type {
  Subject,
  SubjectFactory,
  SubjectHost,
  SubjectOptions,
  SubjectUnavailable,
} from "../../guest/conformance/subject.ts";
import { QtestChannel } from "../../guest/targets/qtest-channel.ts";
import { QtestTarget } from "../../guest/targets/qtest-target.ts";
import { type Board, boardOf } from "./boards.ts";
import { QmpConnection } from "./qmp-connection.ts";

const SECTOR_BYTES = 512;
const RAM_MIB = 64;
const START_TIMEOUT_MS = 10_000;
/** Rounds of asking the monitor and waiting, after which nothing is due any more that does not wait for somebody. */
const SETTLE_ROUNDS = 3;
const SETTLE_PAUSE_MS = 8;

/** What to start. */
export interface SpawnedProgram {
  /** How reports call it. */
  readonly name: string;
  readonly command: string;
  /** Before those that every program is given. */
  readonly args?: readonly string[];
}

/** Starts one process for each device. `close` when the last one is closed. */
export class SpawnedSubjects implements SubjectFactory {
  readonly name: string;
  readonly #program: SpawnedProgram;
  readonly #board: Board;
  readonly #folder: string;
  readonly #channel: QtestChannel;
  #count = 0;

  constructor(program: SpawnedProgram) {
    this.name = program.name;
    this.#program = program;
    this.#board = boardOf(program.command);
    this.#folder = mkdtempSync(join(tmpdir(), "vblk-conformance-"));
    this.#channel = new QtestChannel();
  }

  async open(options: SubjectOptions): Promise<Subject | SubjectUnavailable> {
    const unavailable = whatIsMissing(options);
    if (unavailable !== undefined) return { unavailable };
    const paths = this.#paths();
    writeFileSync(paths.image, "");
    truncateSync(paths.image, options.capacitySectors * SECTOR_BYTES);
    const process = new SpawnedProcess(this.#program, commandLine(options, paths));
    try {
      await process.untilExists(paths.qtest, paths.monitor);
      const monitor = await QmpConnection.open(paths.monitor);
      this.#channel.connect(paths.qtest);
      this.#channel.ask(`irq_intercept_in ${this.#board.interruptController}`);
      const target = new QtestTarget({ channel: this.#channel, ramSizeBytes: RAM_MIB << 20, ...this.#board });
      return {
        target,
        host: monitorHost(monitor),
        obituary: () => process.obituary,
        close: async () => {
          this.#channel.disconnect();
          monitor.close();
          await process.kill();
          rmSync(paths.image);
        },
      };
    } catch (error) {
      await process.kill();
      throw error;
    }
  }

  async close(): Promise<void> {
    await this.#channel.close();
    rmSync(this.#folder, { recursive: true, force: true });
  }

  #paths(): SubjectPaths {
    const base = join(this.#folder, String(this.#count++));
    return { image: `${base}.img`, qtest: `${base}.qtest`, monitor: `${base}.qmp` };
  }
}

interface SubjectPaths {
  readonly image: string;
  readonly qtest: string;
  readonly monitor: string;
}

/** Why the program cannot make such a device. */
function whatIsMissing(options: SubjectOptions): string | undefined {
  if (options.zoned !== undefined) return "the program has no zoned disks";
  if (options.bigEndian) return "the program has no big-endian guest";
  if (options.lifetime !== undefined) return "the program has no disks that know their wear";
  if (options.secureErase !== undefined) return "the program has no disks that erase for good";
  if (options.barrier === true) return "the program has no VIRTIO_BLK_F_BARRIER";
  return undefined;
}

/** The disk is raw over blkdebug over a file: blkdebug is where the host holds requests. */
function commandLine(options: SubjectOptions, paths: SubjectPaths): readonly string[] {
  const discard = options.unmaps === false ? "ignore" : "unmap";
  const disk = {
    driver: "raw",
    "node-name": "disk",
    "read-only": options.readOnly,
    discard,
    file: {
      driver: "blkdebug",
      "node-name": "debug",
      "read-only": options.readOnly,
      discard,
      image: { driver: "file", filename: paths.image, "read-only": options.readOnly, discard },
    },
  };
  const device = [
    "virtio-blk-device,drive=disk,serial=conformance",
    `packed=${options.packed ? "on" : "off"}`,
    `num-queues=${options.queues}`,
    ...diskProperties(options),
  ].join(",");
  return [
    ...["-M", "virt", "-accel", "tcg", "-S", "-nodefaults", "-display", "none", "-m", `${RAM_MIB}M`],
    ...["-global", `virtio-mmio.force-legacy=${options.legacy ? "on" : "off"}`],
    ...["-qtest", `unix:${paths.qtest},server=on,wait=off`, "-qtest-log", "none"],
    ...["-qmp", `unix:${paths.monitor},server=on,wait=off`],
    ...["-blockdev", JSON.stringify(disk), "-device", device],
  ];
}

/** What the disk says of itself, as properties of the device; none where a case does not care. */
function diskProperties({ blockSizeBytes, geometry, topology }: SubjectOptions): readonly string[] {
  const properties: string[] = [];
  if (blockSizeBytes !== undefined) properties.push(`logical_block_size=${blockSizeBytes}`);
  if (geometry !== undefined) {
    const { cylinders, heads, sectors } = geometry;
    properties.push(`cyls=${cylinders}`, `heads=${heads}`, `secs=${sectors}`);
  }
  const block = blockSizeBytes ?? SECTOR_BYTES;
  const physical = block << (topology?.physicalBlockExp ?? 0);
  if (physical > SECTOR_BYTES) properties.push(`physical_block_size=${physical}`);
  if (topology !== undefined) {
    properties.push(`min_io_size=${topology.minIoBlocks * block}`, `opt_io_size=${topology.optIoBlocks * block}`);
  }
  return properties;
}

/** What a monitor can do for the suite. */
function monitorHost(monitor: QmpConnection): SubjectHost {
  const qemuIo = (command: string): Promise<unknown> =>
    monitor.execute("human-monitor-command", { "command-line": `qemu-io disk "${command}"` });
  return {
    resize: async (capacitySectors) => {
      await monitor.execute("block_resize", { "node-name": "disk", size: capacitySectors * SECTOR_BYTES });
    },
    async holdRequests() {
      await qemuIo("break read_aio held_read");
      await qemuIo("break write_aio held_write");
      return async () => {
        for (const tag of ["held_read", "held_write"]) {
          await qemuIo(`remove_break ${tag}`);
          await qemuIo(`resume ${tag}`); // which says so where nothing was held
        }
        await settle(monitor);
      };
    },
    settle: () => settle(monitor),
  };
}

async function settle(monitor: QmpConnection): Promise<void> {
  for (let round = 0; round < SETTLE_ROUNDS; round++) {
    await new Promise((resolve) => setTimeout(resolve, SETTLE_PAUSE_MS));
    await monitor.execute("query-status").catch(() => {}); // a process that is gone has settled: the next access tells
  }
}

/** A process from its start to its end, with the last that it said. */
class SpawnedProcess {
  readonly #child: ChildProcess;
  readonly #ended: Promise<void>;
  #said = "";
  #how: string | undefined;

  constructor(program: SpawnedProgram, args: readonly string[]) {
    this.#child = spawn(program.command, [...(program.args ?? []), ...args], { stdio: ["ignore", "ignore", "pipe"] });
    this.#child.stderr!.setEncoding("utf8").on("data", (text: string) => {
      this.#said = (this.#said + text).slice(-4096);
    });
    this.#ended = new Promise((resolve) => {
      this.#child.once("error", (error) => {
        this.#how = error.message;
        resolve();
      });
      this.#child.once("close", (status, signal) => {
        this.#how = signal === null ? `it ended with status ${status}` : `it was ended by ${signal}`;
        resolve();
      });
    });
  }

  /** How it ended, if it did, and the last that it said. */
  get obituary(): string | undefined {
    const last = this.#said.trimEnd().split("\n").at(-1);
    const parts = [this.#how, last === "" ? undefined : last];
    return parts.filter((part) => part !== undefined).join("; ") || undefined;
  }

  /** Resolves once its sockets are there. Rejects when it ends before, or takes too long. */
  async untilExists(...paths: readonly string[]): Promise<void> {
    const startedMs = performance.now();
    while (!paths.every((path) => existsSync(path))) {
      if (this.#how !== undefined) throw new Error(`'${this.#child.spawnfile}' did not start: ${this.obituary}`);
      if (performance.now() - startedMs > START_TIMEOUT_MS)
        throw new Error(`'${this.#child.spawnfile}' opens no sockets`);
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
  }

  async kill(): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#ended;
  }
}
