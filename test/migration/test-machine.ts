// A machine that is nothing but nodes and a run state, and migrates over pipes.
import type { Clock } from "../../src/base/clock.ts";
import { RunState, type RunStateName } from "../../src/base/run-state.ts";
import type { DirtyBitmap } from "../../src/bitmap/dirty-bitmap.ts";
import { InactivationError } from "../../src/block/activation.ts";
import { nullOpener } from "../../src/block/drivers/memory-openers.ts";
import { BlockGraph } from "../../src/block/graph.ts";
import type { IncomingHost } from "../../src/migration/incoming-migration.ts";
import { Migration } from "../../src/migration/migration.ts";
import type { MigrationCapability } from "../../src/migration/migration-settings.ts";
import { PipeEnd, type PipeFaults } from "./pipe.ts";
import { PipeChannels } from "./pipe-channels.ts";

/** Timers are due a turn of the loop later, whatever they say; that is how long they took. */
export class HastyClock implements Clock {
  #nowMs = 0;

  nowMs(): number {
    return this.#nowMs;
  }

  setTimer(delayMs: number, callback: () => void): () => void {
    const timer = setImmediate(() => {
      this.#nowMs += delayMs;
      callback();
    });
    return () => clearImmediate(timer);
  }

  yield(): Promise<void> {
    return new Promise((resolve) => setImmediate(resolve));
  }
}

/** What is to be seen of a bitmap. */
export interface SeenBitmap {
  readonly name: string | undefined;
  readonly granularity: number;
  readonly count: number;
  readonly recording: boolean;
  readonly busy: boolean;
  readonly persistent: boolean;
  readonly sha256: string;
}

export class TestMachine {
  readonly graph: BlockGraph;
  readonly runState: RunState;
  readonly migration: Migration;
  /** Statuses, and STOP and RESUME. */
  readonly events: string[] = [];
  readonly lines: string[] = [];
  lost = false;
  readonly #channels = new PipeChannels();
  refuseInactivation = false;
  onInactivate: () => void = () => {};
  #wake: (() => void)[] = [];

  private constructor(incoming: boolean) {
    const clock = new HastyClock();
    const opensInactive = (): boolean => this.runState.state === "inmigrate";
    this.graph = new BlockGraph({ drivers: [nullOpener], clock, opensInactive });
    this.runState = new RunState(incoming ? "inmigrate" : "running");
    this.runState.onChange((running) => void this.#note(running ? "RESUME" : "STOP"));
    const host: IncomingHost = {
      machine: "none",
      uuid: undefined,
      graph: this.graph,
      clock,
      runState: this.runState,
      channels: this.#channels,
      stop: async (state) => {
        if (!this.runState.stop(state)) this.runState.restate(state);
      },
      inactivate: async () => {
        this.onInactivate();
        if (this.refuseInactivation) throw new InactivationError("Failed to inactivate all nodes", "EPERM");
        await this.graph.inactivateAll();
      },
      takeBack: (before) => this.#goOn(before),
      report: (line) => void this.lines.push(line),
      onStatus: (status) => this.#note(status),
      onPass: () => {},
      arrive: (state) => this.#goOn(state),
      onLost: () => {
        this.lost = true;
      },
    };
    this.migration = new Migration(host);
  }

  /** With nodes of these lengths. */
  static async create(nodes: Readonly<Record<string, number>>, incoming = false): Promise<TestMachine> {
    const machine = new TestMachine(incoming);
    for (const [name, size] of Object.entries(nodes)) {
      await machine.graph.add({ driver: "null-co", "node-name": name, size, "read-zeroes": true });
    }
    if (incoming) await machine.migration.awaitIncoming("unix:in");
    return machine;
  }

  set destination(machine: TestMachine | undefined) {
    this.#channels.destination = machine === undefined ? undefined : machine.#channels;
  }

  /** What the next connection does. */
  set faults(faults: PipeFaults) {
    this.#channels.faults = faults;
  }

  /** The last connection's end. */
  get pipe(): PipeEnd | undefined {
    return this.#channels.pipe;
  }

  capabilities(...names: readonly MigrationCapability[]): this {
    this.migration.setCapabilities(names.map((capability) => ({ capability, state: true })));
    return this;
  }

  bitmap(node: string, name: string): DirtyBitmap {
    return this.graph.getNode(node).bitmaps.get(name);
  }

  /** All that there are, anonymous ones too, by their nodes. */
  async seen(): Promise<Readonly<Record<string, readonly SeenBitmap[]>>> {
    const nodes: Record<string, SeenBitmap[]> = {};
    for (const { node } of this.graph.nodes) {
      nodes[node.name] = [];
      for (const bitmap of node.bitmaps) {
        nodes[node.name]!.push({
          name: bitmap.name,
          granularity: bitmap.granularityBytes,
          count: bitmap.countBytes,
          recording: bitmap.recording,
          busy: bitmap.busy,
          persistent: bitmap.persistent,
          sha256: await bitmap.bits.sha256(),
        });
      }
    }
    return nodes;
  }

  /** Resolves when an event is the last or has been. */
  async until(...events: readonly string[]): Promise<void> {
    while (!events.some((event) => this.events.includes(event))) {
      await new Promise<void>((resolve) => this.#wake.push(resolve));
    }
    await settle();
  }

  /** Sends what it likes to the machine that waits. */
  async feed(stream: Uint8Array): Promise<void> {
    const [source, destination] = PipeEnd.pair();
    this.#channels.accept(destination);
    source.write(stream);
    await source.end();
    await this.until("completed", "failed");
  }

  async #goOn(state: RunStateName): Promise<void> {
    await this.graph.activateAll();
    if (state === "running") this.runState.resume();
    else this.runState.restate(state);
  }

  #note(event: string): void {
    this.events.push(event);
    for (const wake of this.#wake.splice(0)) wake();
  }
}

export async function settle(): Promise<void> {
  for (let turn = 0; turn < 6; turn++) await new Promise((resolve) => setImmediate(resolve));
}
