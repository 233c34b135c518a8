// A script's machine: RAM, a bus, a virtio block device on it for each drive, and the monitor with all of QMP's commands.

import type { VirtioMmio } from "../devices/virtio-mmio.ts";
import type { Clock } from "../src/base/clock.ts";
import { QmpError } from "../src/base/errors.ts";
import type { Bus } from "../src/memory/bus.ts";
import type { GuestMemory } from "../src/memory/guest-memory.ts";
import type { InterruptLine } from "../src/memory/interrupt-line.ts";
import type { QmpServer } from "../src/qmp/qmp-server.ts";
import { scriptBoard } from "./boards.ts";
import { type Drive, openDrive } from "./drive.ts";
import type { DriveOptions } from "./drive-options.ts";
import { packageVersion } from "./package-version.ts";
import type { SystemMachine } from "./system-machine.ts";
import { SystemMonitor } from "./system-monitor.ts";

const DEFAULT_RAM_BYTES = 64 << 20;
const MAX_SLOTS = 32;
const MAX_SERIAL_BYTES = 20;
const QUEUE_SIZE = 256;
const BLOCK_BYTES = 512;

export interface MachineOptions {
  readonly drives: readonly DriveOptions[];
  /** Guest RAM, 64 MiB by default. */
  readonly ramBytes?: number;
  readonly clock?: Clock;
}

/** One virtio block device on the bus. */
export interface MachineDisk {
  readonly drive: Drive;
  /** Where its registers begin on the bus. */
  readonly address: number;
  readonly region: VirtioMmio;
  readonly line: InterruptLine;
}

/** RAM at 0x40000000, and device i at 0x0a000000 + 0x200·i with an interrupt line of its own. */
export class Machine {
  readonly memory: GuestMemory;
  readonly bus: Bus;
  readonly clock: Clock;
  /** Those that it was made with, in their order. */
  readonly disks: readonly MachineDisk[];
  /** Block graph, jobs and run state: what commands work on. */
  readonly system: SystemMachine;
  /** Runs QMP's commands, one at a time, and tells events. It may serve clients beside the script. */
  readonly monitor: QmpServer;
  /** Resolves when the command `quit` was given. */
  readonly quit: Promise<void>;
  readonly #monitor: SystemMonitor;

  private constructor(monitor: SystemMonitor, disks: readonly MachineDisk[]) {
    const { machine, server, quit } = monitor;
    this.memory = machine.memory;
    this.bus = machine.bus;
    this.clock = machine.clock;
    this.disks = disks;
    this.system = machine;
    this.monitor = server;
    this.quit = quit;
    this.#monitor = monitor;
  }

  /** Opens every drive; where one cannot be opened the others are closed again. */
  static async create(options: MachineOptions): Promise<Machine> {
    const { drives, ramBytes = DEFAULT_RAM_BYTES, clock } = options;
    if (drives.length > MAX_SLOTS) throw new QmpError(`a machine has ${MAX_SLOTS} slots, not ${drives.length}`);
    const monitor = new SystemMonitor({
      ramBytes,
      stopped: false,
      version: packageVersion(),
      output: (text) => void process.stderr.write(text), // the standard output is the script's
      board: scriptBoard,
      ...(clock === undefined ? {} : { clock }),
    });
    const disks: MachineDisk[] = [];
    try {
      for (const [index, drive] of drives.entries()) {
        disks.push(await addDisk(monitor.machine, drive.id ?? `drive${index}`, drive));
      }
    } catch (error) {
      await monitor.close("host-signal");
      throw error;
    }
    return new Machine(monitor, disks);
  }

  /** Cancels jobs, resets the devices, waits for what is in flight, flushes and closes the drives and all other nodes. */
  async close(): Promise<void> {
    await this.#monitor.close("host-signal");
  }
}

async function addDisk(machine: SystemMachine, id: string, options: DriveOptions): Promise<MachineDisk> {
  checkDrive(machine, id, options);
  const drive = await openDrive(machine.graph, id, options);
  const { address, region, line } = await machine.addDevice({
    id: undefined,
    drive: id,
    serial: options.serial ?? id.slice(0, MAX_SERIAL_BYTES),
    writeCache: undefined,
    shareRw: false,
    queueSize: QUEUE_SIZE,
    rerror: undefined,
    werror: undefined,
    logicalBlockSizeBytes: BLOCK_BYTES,
    physicalBlockSizeBytes: BLOCK_BYTES,
  });
  return { drive, address, region, line };
}

function checkDrive({ graph }: SystemMachine, id: string, options: DriveOptions): void {
  if (!/^[A-Za-z][A-Za-z0-9\-._]*$/.test(id)) throw new QmpError(`Invalid drive ID '${id}'`);
  if (graph.drive(id) !== undefined) throw new QmpError(`Drive ID '${id}' already in use`);
  if (new TextEncoder().encode(options.serial ?? "").length > MAX_SERIAL_BYTES) {
    throw new QmpError(`drive '${id}': a serial has at most ${MAX_SERIAL_BYTES} bytes`);
  }
}
