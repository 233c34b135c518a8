// A human monitor on a graph in memory: what it prints where, line by line.

import { BlockError } from "../../../src/base/errors.ts";
import type { RunStateName } from "../../../src/base/run-state.ts";
import type { BlockBackend } from "../../../src/block/backend.ts";
import type { MemoryDriver } from "../../../src/block/drivers/memory.ts";
import { memoryOpener, nullOpener } from "../../../src/block/drivers/memory-openers.ts";
import { rawOpener } from "../../../src/block/drivers/raw-opener.ts";
import { blkdebugOpener } from "../../../src/block/filters/blkdebug-opener.ts";
import { ThrottleGroups } from "../../../src/block/filters/throttle-group.ts";
import { BlockGraph } from "../../../src/block/graph.ts";
import { JobList } from "../../../src/job/job-list.ts";
import { HumanMonitor } from "../../../src/qmp/hmp/human-monitor.ts";
import type { HumanMonitorServices } from "../../../src/qmp/hmp/human-monitor-services.ts";

export const KIB: number = 1024;
export const MIB: number = 1024 * KIB;

/** `ms` passes at each look at the clock; timers are over at once. */
class SteppingClock {
  now = 0;
  timers = 0;
  readonly stepMs: number;

  constructor(stepMs: number) {
    this.stepMs = stepMs;
  }

  nowMs(): number {
    this.now += this.stepMs;
    return this.now;
  }

  setTimer(delayMs: number, callback: () => void): () => void {
    this.timers++;
    this.now += delayMs;
    const timer = setImmediate(callback);
    return () => clearImmediate(timer);
  }

  async yield(): Promise<void> {}
}

export class Rig {
  readonly clock: SteppingClock;
  readonly graph: BlockGraph;
  readonly jobs: JobList = new JobList();
  readonly throttleGroups: ThrottleGroups;
  readonly monitor: HumanMonitor;
  readonly devices: Map<string, BlockBackend> = new Map();
  readonly files: Map<string, Uint8Array> = new Map();
  readonly log: string[] = [];
  readonly interrupt: AbortController = new AbortController();
  state: RunStateName = "running";
  out = "";
  err = "";

  constructor(options: { stepMs?: number; name?: string } = {}) {
    this.clock = new SteppingClock(options.stepMs ?? 1);
    this.graph = new BlockGraph({ drivers: [memoryOpener, nullOpener, rawOpener, blkdebugOpener], clock: this.clock });
    this.throttleGroups = new ThrottleGroups(this.clock);
    this.monitor = new HumanMonitor(this.#services(options.name));
  }

  /** Executes a line and says all that was printed: to the monitor, then `out:` and `err:` of the program. */
  async line(line: string): Promise<string> {
    this.out = "";
    this.err = "";
    const returned = await this.monitor.execute(line);
    return returned + (this.out === "" ? "" : `out: ${this.out}`) + (this.err === "" ? "" : `err: ${this.err}`);
  }

  /** A command of qemu-io on `device`. */
  io(device: string, command: string): Promise<string> {
    return this.line(`qemu-io ${device} "${command}"`);
  }

  /** A node in memory, and its bytes. */
  async addMemory(name: string, size: number, options: object = {}): Promise<Uint8Array> {
    const node = await this.graph.add({ driver: "memory", "node-name": name, size, ...options });
    return (node.driver as MemoryDriver).bytes;
  }

  /** A drive on a node of its own, `<id>n`, and its bytes. */
  async addDrive(id: string, size: number, options: object = {}): Promise<Uint8Array> {
    const bytes = await this.addMemory(`${id}n`, size, options);
    this.graph.addBackend({ name: id, node: this.graph.getNode(`${id}n`) });
    return bytes;
  }

  /** raw on blkdebug on memory, under the drive. */
  async addDebugDrive(id: string, size: number): Promise<void> {
    await this.addMemory(`${id}-file`, size);
    await this.graph.add({ driver: "blkdebug", "node-name": `${id}-debug`, image: `${id}-file` });
    const node = await this.graph.add({ driver: "raw", "node-name": `${id}n`, file: `${id}-debug` });
    this.graph.addBackend({ name: id, node });
  }

  #services(name: string | undefined): HumanMonitorServices {
    const say = (what: string) => (): void => {
      this.log.push(what);
    };
    return {
      graph: this.graph,
      jobs: this.jobs,
      throttleGroups: this.throttleGroups,
      clock: this.clock,
      version: { qemu: { major: 10, minor: 1, micro: 2 }, package: "virtio-blk 0.1.0" },
      name,
      interrupted: this.interrupt.signal,
      runState: () => this.state,
      deviceBackend: (id) => this.devices.get(id),
      imageName: (node) => `/images/${node.name}`,
      allocatedBytes: async (node) => (node.name === "base" ? undefined : 200704),
      output: (text) => {
        this.out += text;
      },
      errorOutput: (text) => {
        this.err += text;
      },
      readFile: async (path, maxBytes) => {
        const bytes = this.files.get(path);
        if (bytes === undefined) throw new BlockError("ENOENT");
        return bytes.subarray(0, maxBytes);
      },
      stop: say("stop"),
      cont: say("cont"),
      quit: say("quit"),
      systemReset: say("system_reset"),
    };
  }
}
