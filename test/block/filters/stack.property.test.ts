// Filters and formats on one another, over a driver that is slow and fails: what is read is what was written, and nothing hangs.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { BlockError, type Errno } from "../../../src/base/errors.ts";
import { IoVector } from "../../../src/base/io-vector.ts";
import type { BlockBackend } from "../../../src/block/backend.ts";
import { debugPointsOf } from "../../../src/block/debug-points.ts";
import { memoryOpener } from "../../../src/block/drivers/memory-openers.ts";
import { rawOpener } from "../../../src/block/drivers/raw-opener.ts";
import { blkdebugOpener } from "../../../src/block/filters/blkdebug-opener.ts";
import { copyBeforeWriteOpener } from "../../../src/block/filters/copy-before-write-opener.ts";
import { throttleOpener } from "../../../src/block/filters/throttle.ts";
import { ThrottleGroups } from "../../../src/block/filters/throttle-group.ts";
import { BlockGraph } from "../../../src/block/graph.ts";
import type { BlockdevOptions, DriverOpener } from "../../../src/block/graph-options.ts";
import { FaultyDriver } from "../../support/faulty-driver.ts";
import { Random, Simulation } from "../../support/simulation.ts";

const LENGTH = 6 * 65536;
const SECTOR = 512;
const SECTORS = LENGTH / SECTOR;

const LAYERS = ["raw", "throttle", "blkdebug", "copy-before-write", "memory"] as const;
type Layer = (typeof LAYERS)[number];

interface Request {
  readonly kind: "write" | "zero" | "discard" | "read" | "flush";
  readonly at: number;
  readonly length: number;
}

/** Requests that run side by side, the first of them sent within the drained section, and what else happens meanwhile. */
interface Batch {
  readonly requests: readonly Request[];
  /** Which node of the stack is drained, counted from the top. */
  readonly drained: number;
  readonly breakAt: "read_aio" | "write_aio" | "pwritev" | "none";
}

function options(layer: Layer, below: string, name: string): BlockdevOptions {
  const common = { "node-name": name, discard: "unmap" } as const;
  switch (layer) {
    case "raw":
      return { driver: "raw", ...common, file: below };
    case "throttle":
      return { driver: "throttle", ...common, file: below, "throttle-group": "tg" };
    case "blkdebug":
      return { driver: "blkdebug", ...common, image: below };
    case "copy-before-write":
      return { driver: layer, ...common, file: below, target: { driver: "memory", size: LENGTH } };
    case "memory":
      return { driver: "memory", ...common, backing: below, "cluster-size": 4096 };
  }
}

/** What a sector holds: a byte, or undefined where a failed request or a discard has left who knows what. */
type Model = (number | undefined)[];

class Stack {
  readonly simulation: Simulation;
  readonly random: Random;
  readonly graph: BlockGraph;
  readonly names: string[] = ["bottom"];
  readonly driver: FaultyDriver;
  readonly model: Model = new Array<number>(SECTORS).fill(0);
  #backend: BlockBackend | undefined;

  constructor(seed: number, rate: number) {
    this.simulation = new Simulation(seed);
    this.random = new Random(seed);
    const fault = (): Errno | undefined => (this.random.chance(rate) ? "EIO" : undefined);
    const { simulation } = this;
    this.driver = new FaultyDriver({ simulation, bytes: new Uint8Array(LENGTH), delayed: 0.6, maxDelayMs: 3, fault });
    const faulty: DriverOpener = { driver: "faulty", children: [], open: () => this.driver };
    const groups = new ThrottleGroups(simulation);
    groups.add("tg", { "iops-total": 200, "bps-write": 10_000_000 });
    const drivers = [faulty, rawOpener, memoryOpener, blkdebugOpener, copyBeforeWriteOpener, throttleOpener(groups)];
    this.graph = new BlockGraph({ drivers, clock: simulation });
  }

  get backend(): BlockBackend {
    return this.#backend!;
  }

  async build(layers: readonly Layer[]): Promise<void> {
    await this.graph.add({ driver: "faulty", "node-name": "bottom", discard: "unmap" });
    for (const [i, layer] of layers.entries()) {
      await this.graph.add(options(layer, this.names[0]!, `n${i}`));
      this.names.unshift(`n${i}`);
    }
    this.#backend = this.graph.addBackend({ name: "drive", node: this.graph.node(this.names[0]!)! });
  }

  async request({ kind, at, length }: Request): Promise<void> {
    const value = this.random.below(255) + 1;
    const [offset, bytes] = [at * SECTOR, length * SECTOR];
    try {
      switch (kind) {
        case "write":
          await this.backend.write(offset, IoVector.of(new Uint8Array(bytes).fill(value)));
          return this.#note(at, length, value);
        case "zero":
          await this.backend.writeZeroes(offset, bytes);
          return this.#note(at, length, 0);
        case "discard":
          this.#note(at, length, undefined);
          return await this.backend.discard(offset, bytes);
        case "flush":
          return await this.backend.flush();
        case "read":
          return await this.#read(at, length);
      }
    } catch (error) {
      if (!(error instanceof BlockError)) throw error;
      if (kind === "write" || kind === "zero") this.#note(at, length, undefined);
    }
  }

  async #read(at: number, length: number): Promise<void> {
    const bytes = new Uint8Array(length * SECTOR);
    await this.backend.read(at * SECTOR, IoVector.of(bytes));
    for (let i = 0; i < length; i++) {
      const expected = this.model[at + i];
      const sector = bytes.subarray(i * SECTOR, (i + 1) * SECTOR);
      if (expected !== undefined && !sector.every((byte) => byte === expected))
        throw new Error(`sector ${at + i} holds ${sector[0]}, not ${expected}`);
    }
  }

  #note(at: number, length: number, value: number | undefined): void {
    this.model.fill(value, at, at + length);
  }

  async batch({ requests, drained, breakAt }: Batch): Promise<void> {
    const { simulation, graph } = this;
    const node = graph.node(this.names[drained % this.names.length]!)!;
    if (breakAt !== "none") debugPointsOf(this.backend.node)?.setBreakpoint(breakAt, "tag");
    const [held, ...atOnce] = disjoint(requests) as [Request, ...Request[]];
    const running = atOnce.map((request) => this.request(request));
    let late: Promise<void> | undefined;
    const draining = async (): Promise<void> => {
      await simulation.after(this.random.below(3));
      using _section = await node.drain();
      late = this.request(held);
      await simulation.after(this.random.below(3));
      expect(node.inFlight).toBe(0);
      expect(this.backend.inFlight).toBe(0);
    };
    await simulation.run(draining());
    debugPointsOf(this.backend.node)?.removeBreakpoint("tag");
    await simulation.run(Promise.all([...running, late]));
  }

  async close(): Promise<void> {
    const { simulation, graph, driver } = this;
    driver.fault = undefined;
    await simulation.run(this.request({ kind: "read", at: 0, length: SECTORS }));
    await simulation.run(graph.removeBackend(this.backend));
    await simulation.run(graph.close());
    expect([...graph.nodes]).toEqual([]);
  }
}

/** Those that touch nothing that an earlier one touches: what two that overlap leave nobody knows. */
function disjoint(requests: readonly Request[]): Request[] {
  const taken = new Set<number>();
  return requests.filter(({ at, length }) => {
    const sectors = Array.from({ length }, (_, i) => at + i);
    if (sectors.some((sector) => taken.has(sector))) return false;
    for (const sector of sectors) taken.add(sector);
    return true;
  });
}

describe("a stack of filters", () => {
  it("keeps what is written, drains and closes", async () => {
    const request = fc
      .record({
        kind: fc.constantFrom("write", "write", "zero", "discard", "read", "flush" as const),
        at: fc.nat(SECTORS - 1),
        length: fc.integer({ min: 1, max: 160 }),
      })
      .map(({ kind, at, length }) => ({ kind, at, length: Math.min(length, SECTORS - at) }));
    const batch = fc.record({
      requests: fc.array(request, { minLength: 1, maxLength: 6 }),
      drained: fc.nat(5),
      breakAt: fc.constantFrom("none", "read_aio", "write_aio", "pwritev" as const),
    });
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.constantFrom(...LAYERS), { maxLength: 5 }),
        fc.array(batch, { minLength: 1, maxLength: 8 }),
        fc.nat(),
        fc.constantFrom(0, 0, 0.05),
        async (layers, batches, seed, rate) => {
          const stack = new Stack(seed, rate);
          await stack.build(layers);
          for (const each of batches) await stack.batch(each);
          await stack.close();
        },
      ),
      { numRuns: process.env["VBLK_SOAK"] === undefined ? 120 : 10_000 },
    );
  });
});
