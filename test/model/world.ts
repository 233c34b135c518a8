// The machine of the model test: a block graph on drivers that delay, reorder and fail, and the monitor's commands on it.

import type { Errno } from "../../src/base/errors.ts";
import { IoVector } from "../../src/base/io-vector.ts";
import type { BlockBackend } from "../../src/block/backend.ts";
import type { BlockStatus } from "../../src/block/driver.ts";
import { memoryOpener } from "../../src/block/drivers/memory-openers.ts";
import { rawOpener } from "../../src/block/drivers/raw-opener.ts";
import { blkdebugOpener } from "../../src/block/filters/blkdebug-opener.ts";
import { copyBeforeWriteOpener } from "../../src/block/filters/copy-before-write-opener.ts";
import { snapshotAccessOpener } from "../../src/block/filters/snapshot-access.ts";
import { throttleOpener } from "../../src/block/filters/throttle.ts";
import { ThrottleGroups } from "../../src/block/filters/throttle-group.ts";
import { BlockGraph } from "../../src/block/graph.ts";
import type { DriverOpener } from "../../src/block/graph-options.ts";
import type { BlockNode } from "../../src/block/node.ts";
import { JobList } from "../../src/job/job-list.ts";
import { bitmapCommands } from "../../src/qmp/commands/bitmap.ts";
import { reportWriteThresholds } from "../../src/qmp/commands/block-write-threshold.ts";
import { blockdevCommands } from "../../src/qmp/commands/blockdev.ts";
import { jobCommands, reportJobs } from "../../src/qmp/commands/job.ts";
import { queryBlockCommands } from "../../src/qmp/commands/query-block.ts";
import { queryBlockstatsCommands } from "../../src/qmp/commands/query-blockstats.ts";
import { transactionCommands } from "../../src/qmp/commands/transaction.ts";
import { QmpServer } from "../../src/qmp/qmp-server.ts";
import { same } from "../support/copy-pair.ts";
import { type DriverCall, FaultyDriver } from "../support/faulty-driver.ts";
import { Simulation } from "../support/simulation.ts";
import { fileOpener } from "./file-opener.ts";
import { type Change, FlatDisk } from "./flat-disk.ts";
import { Guest } from "./guest.ts";

const BLOCK = 4096;
const ZEROES = new Uint8Array(BLOCK);
const STALE = 0xee;

/** What the machine is made of. */
export interface WorldOptions {
  readonly seed: number;
  readonly disks: number;
  readonly fleecing: boolean;
  readonly sizes: readonly [number, number];
  readonly delayed: readonly [number, number];
}

/** A disk that a guest uses, and what the model knows of it. */
export interface Disk {
  readonly node: BlockNode;
  readonly driver: FaultyDriver;
  readonly flat: FlatDisk;
  readonly guest: Guest;
  readonly backend: BlockBackend;
}

interface Fault {
  readonly percent: number;
  readonly errno: Errno;
  readonly kinds: readonly string[];
}

/**
 *     drive0 ─ d0        drive1 ─ t1 (throttle) ─ d1        drive2 ─ c2 (copy-before-write) ─ d2, with s2 (snapshot-access) on c2
 *
 * and targets m0, m1 and m2, on which programs put more, and files that drive-backup makes. What is all zeroes in a disk is not allocated there.
 */
export class World {
  readonly simulation: Simulation;
  readonly graph: BlockGraph;
  readonly jobs: JobList;
  readonly server: QmpServer;
  readonly disks: Disk[] = [];
  /** What s2 shows for good. */
  snapshot: Uint8Array = new Uint8Array();
  /** Faults that have happened. */
  faultCount = 0;
  /** Called when a drained section of a disk ends, before its guest goes on. */
  onUndrained: () => void = () => {};
  /** Called while a disk is being drained, the last time when all is. */
  onQuiet: () => undefined = () => undefined;
  /** Called when a disk's driver has changed something. */
  onChange: (disk: Disk, change: Change) => void = () => {};
  readonly #options: WorldOptions;
  readonly #faults = new Map<string, Fault>();

  private constructor(options: WorldOptions) {
    this.#options = options;
    const clock = new Simulation(options.seed);
    this.simulation = clock;
    const groups = new ThrottleGroups(clock);
    groups.add("tg", { "iops-total": 400, "bps-write": 40_000_000 });
    const drivers = [memoryOpener, rawOpener, blkdebugOpener, copyBeforeWriteOpener, snapshotAccessOpener];
    this.graph = new BlockGraph({
      drivers: [...drivers, throttleOpener(groups), this.#faultyOpener(), this.#fileOpener()],
      clock,
    });
    this.jobs = new JobList(this.graph.names);
    this.server = new QmpServer({ clock, wallClock: clock, version: "0" });
    const { graph, jobs } = this;
    this.server.commands.add(
      ...bitmapCommands(graph),
      ...blockdevCommands({ graph, jobs }),
      ...jobCommands(jobs),
      ...transactionCommands({ graph, jobs, clock }),
      ...queryBlockCommands({ graph }),
      ...queryBlockstatsCommands(graph),
    );
    reportJobs(jobs, this.server.events);
    reportWriteThresholds(graph, this.server.events);
  }

  static async create(options: WorldOptions): Promise<World> {
    const world = new World(options);
    const { graph } = world;
    const [size] = options.sizes;
    const add = (name: string, bytes: number): Promise<BlockNode> =>
      graph.add({ driver: "faulty", "node-name": name, size: bytes, discard: "unmap" });
    for (let i = 0; i < options.disks; i++) await add(`d${i}`, size);
    for (const name of ["m0", "m1", "m2"]) await add(name, size);
    const tops = ["d0", "d1", "d2"];
    const filter = { discard: "unmap" } as const;
    if (options.disks > 1) {
      await graph.add({ driver: "throttle", "node-name": "t1", file: "d1", "throttle-group": "tg", ...filter });
      tops[1] = "t1";
    }
    if (options.fleecing) {
      const d2 = await add("d2", size);
      world.snapshot = contents(d2).slice();
      const target = { driver: "memory", size };
      await graph.add({ driver: "copy-before-write", "node-name": "c2", file: "d2", target, ...filter });
      await graph.add({ driver: "snapshot-access", "node-name": "s2", file: "c2" });
      tops[2] = "c2";
    }
    for (const [i, top] of tops.entries())
      if (graph.node(`d${i}`) !== undefined) world.#addDisk(`d${i}`, `drive${i}`, top);
    return world;
  }

  setFault(node: string, fault: Fault): void {
    this.#faults.set(node, fault);
  }

  clearFaults(): void {
    this.#faults.clear();
  }

  /** The disk that a node is. */
  diskOf(node: BlockNode): Disk | undefined {
    return this.disks.find((disk) => disk.node === node);
  }

  #addDisk(name: string, drive: string, top: string): void {
    const { graph } = this;
    const node = graph.getNode(name);
    const untilQuiet = (): undefined => this.onQuiet();
    const marks = { beginDrain() {}, untilQuiet, endDrain: () => this.onUndrained() };
    node.attachParent({ parentName: "the test", ...marks });
    const backend = graph.addBackend({ name: drive, node: graph.getNode(top) });
    const driver = node.driver as FaultyDriver;
    const guest = new Guest(backend, driver.bytes);
    this.disks.push({ node, driver, flat: new FlatDisk(name, node.lengthBytes), guest, backend });
  }

  #faultyOpener(): DriverOpener {
    const { seed, delayed } = this.#options;
    return {
      driver: "faulty",
      children: [],
      open: ({ options }) => {
        const name = String(options["node-name"]);
        const isDisk = name.startsWith("d");
        const bytes = new Uint8Array(Number(options["size"])).fill(STALE);
        if (isDisk) fill(bytes, seed + name.charCodeAt(1));
        const driver: FaultyDriver = new FaultyDriver({
          simulation: this.simulation,
          bytes,
          delayed: delayed[isDisk ? 0 : 1],
          fault: (call) => this.#fault(name, call),
          onEnd: (call) => this.#note(name, call),
          ...(isDisk ? { status: (at: number, length: number) => statusOf(driver.bytes, at, length) } : {}),
        });
        return driver;
      },
    };
  }

  #fileOpener(): DriverOpener {
    const { simulation } = this;
    const delayed = this.#options.delayed[1];
    return fileOpener((filename, bytes) => {
      return new FaultyDriver({ simulation, bytes, delayed, fault: (call) => this.#fault(filename, call) });
    });
  }

  #fault(node: string, { kind }: DriverCall): Errno | undefined {
    const fault = this.#faults.get(node);
    if (fault?.kinds.includes(kind) !== true || this.simulation.random.below(100) >= fault.percent) return undefined;
    this.faultCount++;
    return fault.errno;
  }

  #note(name: string, { kind, offsetBytes, lengthBytes }: DriverCall): void {
    if (kind !== "write" && kind !== "write-zeroes" && kind !== "discard") return;
    const disk = this.disks.find(({ node }) => node.name === name);
    if (disk === undefined) return;
    const change = { offsetBytes, lengthBytes };
    disk.flat.changes.push(change);
    this.onChange(disk, change);
  }
}

/** What is in a node just now, past all requests. */
export function contents(node: BlockNode): Uint8Array {
  const { driver } = node;
  if (driver instanceof FaultyDriver) return driver.bytes;
  const child = driver.children[0]?.node;
  const below = child === undefined ? undefined : contents(child);
  if (driver.driverName !== "memory") return below!;
  const bytes = new Uint8Array(driver.lengthBytes);
  if (below !== undefined) bytes.set(below.subarray(0, bytes.length));
  for (let at = 0; at < bytes.length; ) {
    const status = driver.blockStatus(at, bytes.length - at) as BlockStatus;
    if (status.allocated) void driver.read(at, IoVector.of(bytes, at, status.lengthBytes));
    at += status.lengthBytes;
  }
  return bytes;
}

/** A block that is all zeroes is a hole. */
export function isHole(bytes: Uint8Array, at: number): boolean {
  const start = Math.floor(at / BLOCK) * BLOCK;
  const block = bytes.subarray(start, start + BLOCK);
  return block[0] === 0 && same(block, ZEROES.subarray(0, block.length));
}

function statusOf(bytes: Uint8Array, offset: number, length: number): BlockStatus {
  const hole = isHole(bytes, offset);
  const blockEnd = (at: number): number => (Math.floor(at / BLOCK) + 1) * BLOCK;
  let end = blockEnd(offset);
  while (end < offset + length && isHole(bytes, end) === hole) end = blockEnd(end);
  const lengthBytes = Math.min(end, offset + length) - offset;
  return { lengthBytes, allocated: !hole, data: !hole, zero: hole };
}

/** Runs of blocks, each of one value, many of them zeroes. */
function fill(bytes: Uint8Array, seed: number): void {
  const { random } = new Simulation(seed);
  for (let at = 0; at < bytes.length; ) {
    const end = at + BLOCK * (1 + random.below(30));
    bytes.fill(random.chance(0.4) ? 0 : 1 + random.below(255), at, end);
    at = end;
  }
}
