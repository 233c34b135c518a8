// The virtio-mmio slots of the board `virt`, and the block devices in them: docs/reference/monitor.md §8.

import { VirtioBlk } from "../devices/virtio-blk/virtio-blk.ts";
import { VirtioMmio } from "../devices/virtio-mmio.ts";
import type { Clock } from "../src/base/clock.ts";
import { QmpError } from "../src/base/errors.ts";
import { IoVector } from "../src/base/io-vector.ts";
import type { BlockBackend } from "../src/block/backend.ts";
import type { BlockGraph } from "../src/block/graph.ts";
import { NO_PERMISSIONS } from "../src/block/permissions.ts";
import type { Bus } from "../src/memory/bus.ts";
import type { GuestMemory } from "../src/memory/guest-memory.ts";
import { InterruptLine } from "../src/memory/interrupt-line.ts";
import type { VirtioBlkDeviceOptions } from "./device-options.ts";

const SLOTS = 32;
const SLOT_BASE = 0x0a00_0000;
const SLOT_BYTES = 0x200;
const SECTOR_BYTES = 512;
const STATUS = 0x070;

/** A block device in its slot. */
export interface SlotDevice {
  readonly id: string | undefined;
  /** Its id, or its place among devices without one: how users and messages name it. */
  readonly path: string;
  readonly backend: BlockBackend;
  readonly address: number;
  readonly region: VirtioMmio;
  readonly line: InterruptLine;
}

/** Which slot is the first device's: the last one, as on QEMU's board, or the first. */
export type SlotOrder = "from-last" | "from-first";

/** The board's 32 slots. */
export class VirtioSlots {
  readonly devices: SlotDevice[] = [];
  readonly #memory: GuestMemory;
  readonly #bus: Bus;
  readonly #graph: BlockGraph;
  readonly #clock: Clock;
  readonly #order: SlotOrder;

  constructor(options: { memory: GuestMemory; bus: Bus; graph: BlockGraph; clock: Clock; order: SlotOrder }) {
    this.#memory = options.memory;
    this.#bus = options.bus;
    this.#graph = options.graph;
    this.#clock = options.clock;
    this.#order = options.order;
  }

  /** The device of that id or path. */
  find(name: string): SlotDevice | undefined {
    return this.devices.find(({ id, path }) => id === name || path === name);
  }

  /** Puts a device on its drive or node into the next slot. Throws a `QmpError`, and has then done nothing. */
  async plugIn(options: VirtioBlkDeviceOptions): Promise<SlotDevice> {
    const { id } = options;
    if (id !== undefined && this.devices.some((device) => device.id === id)) {
      throw new QmpError(`Duplicate ID '${id}' for device`);
    }
    if (this.devices.length === SLOTS) throw new QmpError("No 'virtio-bus' bus found for device 'virtio-blk-device'");
    const backend = await this.#claimBackend(options);
    if (options.rerror !== undefined) backend.errors.rerror = options.rerror;
    if (options.werror !== undefined) backend.errors.werror = options.werror;
    if (options.writeCache !== undefined) backend.writeCache = options.writeCache;
    const line = new InterruptLine();
    const { logicalBlockSizeBytes: block, physicalBlockSizeBytes: physical } = options;
    const device = new VirtioBlk({
      backend,
      serial: options.serial,
      queueSizeMax: options.queueSize,
      clock: this.#clock,
      topology: {
        blockSizeBytes: block,
        physicalBlockExp: Math.log2(physical / block),
        alignmentOffsetBlocks: 0,
        minIoBlocks: 0,
        optIoBlocks: 0,
      },
    });
    const region = new VirtioMmio({ device, memory: this.#memory, line });
    const taken = this.devices.length;
    const address = SLOT_BASE + SLOT_BYTES * (this.#order === "from-first" ? taken : SLOTS - 1 - taken);
    this.#bus.map(address, region);
    const made = { id, path: backend.device!.path, backend, address, region, line };
    this.devices.push(made);
    await lookAtPartitionTable(backend);
    return made;
  }

  /** All devices as after power on. */
  reset(): void {
    for (const { region } of this.devices) region.write(STATUS, 4, 0);
  }

  /** Resets the devices, waits for what they had in flight, and gives their backends back. */
  async unplugAll(): Promise<void> {
    this.reset();
    for (const { backend } of this.devices) {
      for (let busy = backend.untilIdle(); busy !== undefined; busy = backend.untilIdle()) await busy;
      backend.detachDevice();
    }
    this.devices.length = 0;
  }

  async #claimBackend(options: VirtioBlkDeviceOptions): Promise<BlockBackend> {
    const { id, drive: name, shareRw } = options;
    const anonymous = this.devices.filter((device) => device.id === undefined).length;
    const device = { id, path: id ?? `/machine/peripheral-anon/device[${anonymous}]`, shareRw };
    const drive = this.#graph.drive(name);
    if (drive !== undefined) {
      if (drive.device !== undefined) throw new QmpError(`Drive '${name}' is already in use by another device`);
      if (drive.root === undefined) throw new QmpError("Device needs media, but drive is empty");
      drive.attachDevice(device);
      return drive;
    }
    const node = this.#graph.node(name);
    if (node === undefined) throw new QmpError(`Property 'virtio-blk-device.drive' can't find value '${name}'`);
    const backend = this.#graph.addBackend({ name: "", node, permissions: NO_PERMISSIONS });
    backend.errors.rerror = "auto";
    backend.errors.werror = "auto";
    try {
      backend.attachDevice(device);
    } catch (error) {
      await this.#graph.removeBackend(backend);
      throw error;
    }
    return backend;
  }
}

/** QEMU guesses the disk's geometry from its first sector: fault injection below a device has seen one read when it starts. */
async function lookAtPartitionTable(backend: BlockBackend): Promise<void> {
  if (backend.lengthBytes < SECTOR_BYTES) return;
  try {
    await backend.read(0, IoVector.of(new Uint8Array(SECTOR_BYTES)));
  } catch {
    // It is a guess: a disk that cannot be read has the geometry that one without partitions has.
  }
}
