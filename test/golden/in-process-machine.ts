// A machine with a golden scenario's nodes and devices, in the process of the test.
import { addDriverNodes, readQcow2 } from "./golden-nodes.ts";
import { systemClock } from "../../src/base/clock.ts";
import { BlockError, QmpError, strerror } from "../../src/base/errors.ts";
import { IoVector } from "../../src/base/io-vector.ts";
import type { MemoryDriver } from "../../src/block/drivers/memory.ts";
import type { BlockBackend } from "../../src/block/backend.ts";
import { SystemMachine } from "../../machine/system-machine.ts";
import { parseDeviceOptions } from "../../machine/device-options.ts";
import { bitmapCommands } from "../../src/qmp/commands/bitmap.ts";
import { blockdevCommands } from "../../src/qmp/commands/blockdev.ts";
import { jobCommands } from "../../src/qmp/commands/job.ts";
import { transactionCommands } from "../../src/qmp/commands/transaction.ts";
import type { Command } from "../../src/qmp/command.ts";
import { EventQueue, systemWallClock } from "../../src/qmp/events.ts";
import type { JsonObject } from "../../src/qmp/json/value.ts";
import type { GoldenBitmaps, GoldenEvent, GoldenIo, GoldenNode, GoldenResult } from "./golden-files.ts";
import type { JobState, MachineUnderTest } from "./machine-under-test.ts";

const RAM_BYTES = 1 << 20;
/** Of the event loop, in one rest. */
const TURNS = 20;

export class InProcessMachine implements MachineUnderTest {
  readonly #machine: SystemMachine;
  readonly #commands: ReadonlyMap<string, Command>;
  /** Kept past the machine's end. */
  readonly #remaining = new Map<string, Uint8Array>();
  #events: GoldenEvent[] = [];

  private constructor() {
    const events = new EventQueue({ clock: systemClock, wallClock: systemWallClock });
    events.listen(({ event, data = {} }) => this.#events.push({ event, data: data as JsonObject }));
    this.#machine = new SystemMachine({ ramBytes: RAM_BYTES, stopped: false, events });
    const { graph, jobs, clock } = this.#machine;
    const commands = [
      ...bitmapCommands(graph),
      ...transactionCommands({ graph, jobs, clock }),
      ...jobCommands(jobs),
      ...blockdevCommands(this.#machine),
    ];
    this.#commands = new Map(commands.map((command) => [command.name, command]));
  }

  static async create(nodes: readonly GoldenNode[]): Promise<InProcessMachine> {
    const made = new InProcessMachine();
    for (const node of nodes) {
      await addDriverNodes(made.#machine.graph, node);
      if (node.device !== undefined) {
        await made.#machine.addDevice(parseDeviceOptions(`virtio-blk-device,id=${node.device},drive=${node.name}`));
      }
    }
    return made;
  }

  async execute(name: string, args: JsonObject): Promise<GoldenResult> {
    const command = this.#commands.get(name);
    if (command === undefined) {
      return { error: { class: "CommandNotFound", desc: `The command ${name} has not been found` } };
    }
    try {
      return { return: (await command.invoke(args, { session: undefined })) ?? {} };
    } catch (error) {
      if (error instanceof QmpError) return { error: { class: error.errorClass, desc: error.message } };
      if (error instanceof BlockError) return { error: { class: "GenericError", desc: error.message } };
      throw error;
    }
  }

  async io({ op, off, len, pattern = 0, node }: GoldenIo): Promise<GoldenResult> {
    const backend = node === undefined ? this.#machine.slots.devices[0]!.backend : undefined;
    try {
      await request(backend ?? this.#machine.graph.getNode(node!), op, off, len, pattern);
    } catch (error) {
      if (!(error instanceof BlockError)) throw error;
      return { ok: false, msg: `failed: ${strerror(error.errno)}` };
    }
    return { ok: true };
  }

  async jobs(): Promise<JobState[]> {
    return Array.from(this.#machine.jobs, (job) => {
      const { id, type, status, busy, progress, error } = job.query();
      const state = { id, type, status, busy, current: Number(progress.current), total: Number(progress.total) };
      return error === undefined ? state : { ...state, error };
    });
  }

  async bitmaps(): Promise<GoldenBitmaps> {
    const all: Record<string, JsonObject[]> = {};
    for (const { node } of this.#machine.graph.nodes) {
      for (const bitmap of node.bitmaps) {
        if (bitmap.name === undefined) continue;
        const { name, recording, persistent, busy, granularityBytes: granularity, countBytes: count, bits } = bitmap;
        all[node.name] ??= [];
        all[node.name]!.push({ name, recording, persistent, busy, granularity, count, sha256: await bits.sha256() });
      }
    }
    return all;
  }

  async image(name: string): Promise<Uint8Array> {
    const remaining = this.#remaining.get(name);
    if (remaining !== undefined) return remaining;
    const { graph } = this.#machine;
    const node = graph.getNode(`${name}-file`);
    if (graph.getNode(name).driver.driverName !== "raw") {
      await graph.getNode(name).flush();
      return readQcow2((node.driver as MemoryDriver).bytes.slice());
    }
    const bytes = new Uint8Array(node.lengthBytes);
    await node.read(0, IoVector.of(bytes));
    return bytes;
  }

  async rest(): Promise<void> {
    for (let i = 0; i < TURNS; i++) await new Promise((resolve) => setImmediate(resolve));
  }

  takeEvents(): GoldenEvent[] {
    return this.#events.splice(0);
  }

  async close(): Promise<void> {
    await this.#machine.jobs.cancelAll();
    const formatted = new Map<string, MemoryDriver>();
    for (const { node } of this.#machine.graph.nodes) {
      if (!node.name.endsWith("-file")) continue;
      const name = node.name.slice(0, -"-file".length);
      if (this.#machine.graph.getNode(name).driver.driverName === "raw") this.#remaining.set(name, await this.image(name));
      else formatted.set(name, node.driver as MemoryDriver);
    }
    await this.#machine.close();
    // What an image in a format holds is what was in its file when that was closed.
    for (const [name, { bytes }] of formatted) this.#remaining.set(name, await readQcow2(bytes));
  }
}

type Requests = Pick<BlockBackend, "read" | "write" | "writeZeroes" | "discard" | "flush">;

function request(to: Requests, op: GoldenIo["op"], off: number, len: number, pattern: number): void | Promise<void> {
  switch (op) {
    case "write":
      return to.write(off, IoVector.of(new Uint8Array(len).fill(pattern)));
    case "read":
      return to.read(off, IoVector.of(new Uint8Array(len)));
    case "zero":
      return to.writeZeroes(off, len);
    case "zero-unmap":
      return to.writeZeroes(off, len, { mayUnmap: true });
    case "discard":
      return to.discard(off, len);
    case "flush":
      return to.flush();
  }
}
