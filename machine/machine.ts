// A machine: RAM, a bus, and a virtio block device on it for each drive.

import { VirtioBlk } from "../devices/virtio-blk/virtio-blk.ts";
import { VirtioMmio } from "../devices/virtio-mmio.ts";
import { type Clock, systemClock } from "../src/base/clock.ts";
import { QmpError } from "../src/base/errors.ts";
import { Bus } from "../src/memory/bus.ts";
import { GuestMemory } from "../src/memory/guest-memory.ts";
import { InterruptLine } from "../src/memory/interrupt-line.ts";
import { Drive } from "./drive.ts";
import type { DriveOptions } from "./drive-options.ts";

const RAM_BASE = 0x4000_0000;
const DEFAULT_RAM_BYTES = 64 << 20;
const SLOT_BASE = 0x0a00_0000;
const SLOT_BYTES = 0x200;
const MAX_SLOTS = 32;
const MAX_SERIAL_BYTES = 20;

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
  readonly disks: readonly MachineDisk[];

  private constructor(options: MachineOptions, drives: readonly Drive[]) {
    this.clock = options.clock ?? systemClock;
    this.memory = new GuestMemory({ baseAddress: RAM_BASE, sizeBytes: options.ramBytes ?? DEFAULT_RAM_BYTES });
    this.bus = new Bus({ memory: this.memory, unmapped: "zeroes" });
    this.disks = drives.map((drive, slot) => this.#plugIn(drive, slot));
  }

  /** Opens every drive; where one cannot be opened the others are closed again. */
  static async create(options: MachineOptions): Promise<Machine> {
    if (options.drives.length > MAX_SLOTS)
      throw new QmpError(`a machine has ${MAX_SLOTS} slots, not ${options.drives.length}`);
    const drives: Drive[] = [];
    try {
      for (const [index, drive] of options.drives.entries()) {
        const id = drive.id ?? `drive${index}`;
        checkDrive(id, drive, drives);
        drives.push(await Drive.open(id, drive));
      }
      return new Machine(options, drives);
    } catch (error) {
      for (const drive of drives) await drive.close();
      throw error;
    }
  }

  /** Resets the devices, waits for what is in flight, flushes and closes the drives. No job may be left. */
  async close(): Promise<void> {
    const errors: unknown[] = [];
    for (const { region, drive } of this.disks) {
      region.write(0x070, 4, 0); // Status: what is in flight is the device's no more
      try {
        for (let busy = drive.backend.untilIdle(); busy !== undefined; busy = drive.backend.untilIdle()) await busy;
        await drive.close();
      } catch (error) {
        errors.push(error);
      }
    }
    if (errors.length > 0) throw errors[0];
  }

  #plugIn(drive: Drive, slot: number): MachineDisk {
    const line = new InterruptLine();
    const device = new VirtioBlk({
      backend: drive.backend,
      serial: drive.options.serial ?? drive.id.slice(0, MAX_SERIAL_BYTES),
      clock: this.clock,
    });
    const region = new VirtioMmio({ device, memory: this.memory, line });
    const address = SLOT_BASE + SLOT_BYTES * slot;
    this.bus.map(address, region);
    return { drive, address, region, line };
  }
}

function checkDrive(id: string, options: DriveOptions, others: readonly Drive[]): void {
  if (!/^[A-Za-z][A-Za-z0-9\-._]*$/.test(id)) throw new QmpError(`Invalid drive ID '${id}'`);
  if (others.some((other) => other.id === id)) throw new QmpError(`Drive ID '${id}' already in use`);
  if (new TextEncoder().encode(options.serial ?? "").length > MAX_SERIAL_BYTES) {
    throw new QmpError(`drive '${id}': a serial has at most ${MAX_SERIAL_BYTES} bytes`);
  }
}
