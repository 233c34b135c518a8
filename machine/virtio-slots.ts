// The virtio-mmio slots of a board, and the block devices in them: docs/reference/monitor.md §8.

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
import type { SlotLayout } from "./boards.ts";
import type { VirtioBlkDeviceOptions } from "./device-options.ts";
import { EmptySlot } from "./empty-slot.ts";

const SECTOR_BYTES = 512;
const BUS_NAME = /^virtio-mmio-bus\.(0|[1-9][0-9]*)$/;

/** A block device in its slot. */
export interface SlotDevice {
  readonly id: string | undefined;
  /** Its id, or its place among devices without one: how users and messages name it. */
  readonly path: string;
  readonly backend: BlockBackend;
  readonly slot: number;
  readonly address: number;
  readonly region: VirtioMmio;
  readonly line: InterruptLine;
}

export interface VirtioSlotsOptions {
  readonly layout: SlotLayout;
  /** Version 1 of the registers instead of version 2. */
  readonly legacy: boolean;
  readonly memory: GuestMemory;
  readonly bus: Bus;
  readonly graph: BlockGraph;
  readonly clock: Clock;
}

/** What stands in the slots, and the interrupt line of each. */
export class VirtioSlots {
  readonly devices: SlotDevice[] = [];
  /** Of slot i. */
  readonly lines: readonly InterruptLine[];
  readonly legacy: boolean;
  readonly #layout: SlotLayout;
  readonly #memory: GuestMemory;
  readonly #bus: Bus;
  readonly #graph: BlockGraph;
  readonly #clock: Clock;

  constructor(options: VirtioSlotsOptions) {
    const { layout, legacy, memory, bus, graph, clock } = options;
    this.legacy = legacy;
    this.#layout = layout;
    this.#memory = memory;
    this.#bus = bus;
    this.#graph = graph;
    this.#clock = clock;
    this.lines = Array.from({ length: layout.count }, () => new InterruptLine());
    if (layout.showEmpty) for (let slot = 0; slot < layout.count; slot++) this.#showEmpty(slot);
  }

  /** The device of that id or path. */
  find(name: string): SlotDevice | undefined {
    return this.devices.find(
      ({ id, path }) => path === name || (id !== undefined && (id === name || `/machine/peripheral/${id}` === name)),
    );
  }

  /** Puts a device on its drive or node into the next slot. Throws a `QmpError`, and has then done nothing. */
  async plugIn(options: VirtioBlkDeviceOptions): Promise<SlotDevice> {
    const { id } = options;
    if (id !== undefined && this.devices.some((device) => device.id === id)) {
      throw new QmpError(`Duplicate ID '${id}' for device`);
    }
    const slot = this.freeSlot(options.bus);
    this.#refuseHostManaged(options.drive);
    const backend = await this.#claimBackend(options);
    if (options.rerror !== undefined) backend.errors.rerror = options.rerror;
    if (options.werror !== undefined) backend.errors.werror = options.werror;
    if (options.writeCache !== undefined) backend.writeCache = options.writeCache;
    const line = this.lines[slot]!;
    const { logicalBlockSizeBytes: block, physicalBlockSizeBytes: physical, properties } = options;
    const device = new VirtioBlk({
      backend,
      serial: options.serial,
      queueSizeMax: options.queueSize,
      clock: this.#clock,
      offeredFeatures: options.ringFeatures ?? {},
      ...(properties && {
        queues: properties.queues,
        blockFeatures: properties.blockFeatures,
        limits: properties.limits,
      }),
      ...(properties?.geometry && { geometry: properties.geometry }),
      topology: {
        blockSizeBytes: block,
        physicalBlockExp: Math.log2(physical / block),
        alignmentOffsetBlocks: 0,
        minIoBlocks: Math.floor((properties?.minIoBytes ?? 0) / block),
        optIoBlocks: Math.floor((properties?.optIoBytes ?? 0) / block),
      },
    });
    const region = new VirtioMmio({ device, memory: this.#memory, line, legacy: this.legacy });
    const address = this.#addressOf(slot);
    if (this.#layout.showEmpty) this.#bus.unmap(address);
    this.#bus.map(address, region);
    const made = { id, path: backend.device!.path, backend, slot, address, region, line };
    this.devices.push(made);
    await lookAtPartitionTable(backend);
    return made;
  }

  /** The slot of that bus, or the first in the board's order. A `QmpError` if there is none, or it is taken. */
  freeSlot(bus: string | undefined): number {
    return bus === undefined ? this.#nextSlot() : this.#slotOf(bus);
  }

  /** All devices as after power on. */
  reset(): void {
    for (const { region } of this.devices) region.reset();
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

  #addressOf(slot: number): number {
    return this.#layout.baseAddress + this.#layout.strideBytes * slot;
  }

  #showEmpty(slot: number): void {
    this.#bus.map(this.#addressOf(slot), new EmptySlot({ legacy: this.legacy }));
  }

  /** The first that is free in the board's order. */
  #nextSlot(): number {
    const { count, order } = this.#layout;
    for (let place = 0; place < count; place++) {
      const slot = order === "from-first" ? place : count - 1 - place;
      if (!this.#isTaken(slot)) return slot;
    }
    throw new QmpError("No 'virtio-bus' bus found for device 'virtio-blk-device'");
  }

  /** That of a bus by its name, `virtio-mmio-bus.31`. */
  #slotOf(bus: string): number {
    const slot = Number(BUS_NAME.exec(bus)?.[1] ?? Number.NaN);
    if (!(slot < this.#layout.count)) throw new QmpError(`Bus '${bus}' not found`);
    if (this.#isTaken(slot)) throw new QmpError(`Bus '${bus}' is full`);
    return slot;
  }

  /** VIRTIO 1.4 §5.2.5.2: without ZONED, which the legacy interface lacks, nobody may use such a disk: better said than never served. */
  #refuseHostManaged(name: string): void {
    const zones = this.#graph.findNode(name)?.driver.zones;
    if (!this.legacy || zones?.layout.model !== "host-managed") return;
    throw new QmpError(`Host-managed zoned disk '${name}' needs force-legacy=off: legacy registers have no zones`);
  }

  #isTaken(slot: number): boolean {
    return this.devices.some((device) => device.slot === slot);
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
