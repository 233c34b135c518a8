// Devices of another program that has QEMU's command line, as subjects of the conformance suite: driven over a qtest socket, their
// host told what to do over a monitor.

import { mkdtempSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Subject, SubjectFactory, SubjectOptions, SubjectUnavailable } from "../../guest/conformance/subject.ts";
import { QtestChannel } from "../../guest/targets/qtest-channel.ts";
import { QtestTarget } from "../../guest/targets/qtest-target.ts";
import { diskProperties, unavailableDisk } from "./disk-properties.ts";
import { DEVICE_ID, monitorHost, NODE_NAME } from "./monitor-host.ts";
import { QmpConnection } from "./qmp-connection.ts";
import { boardOf, type QtestBoard } from "./qtest-board.ts";
import { SpawnedProcess, type SpawnedProgram, StartError } from "./spawned-process.ts";

const SECTOR_BYTES = 512;
const RAM_MIB = 64;
const START_TIMEOUT_MS = 10_000;
const DEFAULT_TIMEOUT_MS = 5_000;
/** What a device may offer, and does not by itself: set on where there is such a property. */
const DEVICE_SWITCHES: readonly string[] = ["in_order", "notification_data"];

/** Starts one process for each device. `close` when the last one is closed. */
export class SpawnedSubjects implements SubjectFactory {
  readonly name: string;
  readonly #program: SpawnedProgram;
  readonly #timeoutMs: number;
  readonly #board: QtestBoard;
  readonly #folder: string;
  readonly #channel: QtestChannel;
  #switches: readonly string[] = [];
  #count = 0;

  private constructor(program: SpawnedProgram, timeoutMs: number) {
    this.name = program.name;
    this.#program = program;
    this.#timeoutMs = timeoutMs;
    this.#board = boardOf(program.command);
    this.#folder = mkdtempSync(join(tmpdir(), "vblk-conformance-"));
    this.#channel = new QtestChannel({ timeoutMs });
  }

  /**
   * Starts the program once, without a device, to ask what its devices can offer. Rejects when it cannot be started or does
   * not speak QMP. `timeoutMs` (5000): how long an answer may take before a process counts as hung.
   */
  static async start(
    program: SpawnedProgram,
    options: { readonly timeoutMs?: number | undefined } = {},
  ): Promise<SpawnedSubjects> {
    const subjects = new SpawnedSubjects(program, options.timeoutMs ?? DEFAULT_TIMEOUT_MS);
    try {
      subjects.#switches = await subjects.#askForSwitches();
      return subjects;
    } catch (error) {
      await subjects.close();
      throw error;
    }
  }

  async open(options: SubjectOptions): Promise<Subject | SubjectUnavailable> {
    const unavailable = unavailableDisk(options);
    if (unavailable !== undefined) return { unavailable };
    const paths = this.#paths();
    writeFileSync(paths.image, "");
    truncateSync(paths.image, options.capacitySectors * SECTOR_BYTES);
    const process = new SpawnedProcess(this.#program, commandLine(options, paths, this.#switches));
    let monitor: QmpConnection | undefined;
    const close = async (): Promise<void> => {
      this.#channel.disconnect();
      monitor?.close();
      await process.kill();
      rmSync(paths.image, { force: true });
    };
    try {
      await process.untilListening(START_TIMEOUT_MS, paths.qtest, paths.monitor);
      monitor = await QmpConnection.open(paths.monitor, this.#timeoutMs);
      this.#channel.connect(paths.qtest);
      this.#channel.ask(`irq_intercept_in ${this.#board.interruptController}`);
      const target = new QtestTarget({ channel: this.#channel, ramSizeBytes: RAM_MIB << 20, ...this.#board });
      return { target, host: monitorHost(monitor), obituary: () => process.obituary, close };
    } catch (error) {
      await close();
      if (error instanceof StartError && options.queues > 1) {
        return { unavailable: `the program does not start with ${options.queues} queues` };
      }
      const properties = diskProperties(options);
      if (error instanceof StartError && properties.length > 0) {
        return { unavailable: `the program does not start with ${properties.join(",")}` };
      }
      throw error;
    }
  }

  async close(): Promise<void> {
    await this.#channel.close();
    rmSync(this.#folder, { recursive: true, force: true });
  }

  async #askForSwitches(): Promise<readonly string[]> {
    const wanted = [...DEVICE_SWITCHES, ...(this.#program.deviceSwitches ?? [])];
    const path = this.#paths().monitor;
    const args = ["-M", "none", "-nodefaults", "-display", "none", "-qmp", `unix:${path},server=on,wait=off`];
    const process = new SpawnedProcess(this.#program, args);
    try {
      await process.untilListening(START_TIMEOUT_MS, path);
      const monitor = await QmpConnection.open(path, this.#timeoutMs);
      try {
        const answer = await monitor.execute("device-list-properties", { typename: "virtio-blk-device" });
        const names = new Set((Array.isArray(answer) ? answer : []).map((property: unknown) => nameOf(property)));
        return wanted.filter((name) => names.has(name));
      } finally {
        monitor.close();
      }
    } finally {
      await process.kill();
    }
  }

  #paths(): SubjectPaths {
    const base = join(this.#folder, String(this.#count++));
    return { image: `${base}.img`, qtest: `${base}.qtest`, monitor: `${base}.qmp` };
  }
}

function nameOf(property: unknown): unknown {
  return typeof property === "object" && property !== null && "name" in property ? property.name : undefined;
}

interface SubjectPaths {
  readonly image: string;
  readonly qtest: string;
  readonly monitor: string;
}

function commandLine(options: SubjectOptions, paths: SubjectPaths, switches: readonly string[]): readonly string[] {
  const disk = {
    driver: "raw",
    "node-name": NODE_NAME,
    "read-only": options.readOnly,
    discard: "unmap",
    file: { driver: "file", filename: paths.image, "read-only": options.readOnly, discard: "unmap" },
  };
  const device = [
    `virtio-blk-device,drive=${NODE_NAME},id=${DEVICE_ID},serial=conformance`,
    `packed=${options.packed ? "on" : "off"}`,
    `num-queues=${options.queues}`,
    ...diskProperties(options),
    ...switches.map((name) => `${name}=on`),
  ].join(",");
  return [
    ...["-M", "virt", "-accel", "tcg", "-S", "-nodefaults", "-display", "none", "-m", `${RAM_MIB}M`],
    ...["-global", `virtio-mmio.force-legacy=${options.legacy ? "on" : "off"}`],
    ...["-qtest", `unix:${paths.qtest},server=on,wait=off`, "-qtest-log", "none"],
    ...["-qmp", `unix:${paths.monitor},server=on,wait=off`],
    ...["-blockdev", JSON.stringify(disk), "-device", device],
  ];
}
