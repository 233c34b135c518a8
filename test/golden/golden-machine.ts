// A machine with a golden scenario's nodes and devices, that carries out its steps and tells what it saw, as the traces do.
import { createHash } from "node:crypto";
import { addDriverNodes } from "./golden-nodes.ts";
import { systemClock } from "../../src/base/clock.ts";
import { BlockError, QmpError, strerror } from "../../src/base/errors.ts";
import { IoVector } from "../../src/base/io-vector.ts";
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
import type { GoldenEvent, GoldenImage, GoldenIo, GoldenNode, GoldenResult, GoldenStep } from "./golden-files.ts";

const RAM_BYTES = 1 << 20;
/** Turns of the event loop after which a job that should have moved counts as hung. */
const MAX_TURNS = 100_000;

export class GoldenMachine {
  readonly #machine: SystemMachine;
  readonly #commands: ReadonlyMap<string, Command>;
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

  static async create(nodes: readonly GoldenNode[]): Promise<GoldenMachine> {
    const golden = new GoldenMachine();
    for (const node of nodes) {
      await addDriverNodes(golden.#machine.graph, node);
      if (node.device !== undefined) {
        await golden.#machine.addDevice(parseDeviceOptions(`virtio-blk-device,id=${node.device},drive=${node.name}`));
      }
    }
    golden.#events = [];
    return golden;
  }

  async perform(step: GoldenStep): Promise<GoldenResult> {
    this.#events = [];
    const result = await this.#act(step);
    return this.#events.length === 0 ? result : { ...result, events: this.#events };
  }

  /** Named bitmaps of every node that has any, by name, as the traces have them. */
  async bitmaps(): Promise<Record<string, JsonObject[]>> {
    const all: Record<string, JsonObject[]> = {};
    for (const { node } of this.#machine.graph.nodes) {
      for (const bitmap of node.bitmaps) {
        if (bitmap.name === undefined) continue;
        const { name, recording, persistent, busy, granularityBytes: granularity, countBytes: count, bits } = bitmap;
        all[node.name] ??= [];
        all[node.name]!.push({ name, recording, persistent, busy, granularity, count, sha256: await bits.sha256() });
      }
    }
    for (const list of Object.values(all)) list.sort((a, b) => (String(a["name"]) < String(b["name"]) ? -1 : 1));
    return all;
  }

  /** What the file below a node holds: faults are injected above it. */
  async image(name: string): Promise<GoldenImage> {
    const node = this.#machine.graph.getNode(`${name}-file`);
    const bytes = new Uint8Array(node.lengthBytes);
    await node.read(0, IoVector.of(bytes));
    return { bytes: bytes.length, sha256: createHash("sha256").update(bytes).digest("hex") };
  }

  async close(): Promise<void> {
    await this.#machine.close();
  }

  async #act(step: GoldenStep): Promise<GoldenResult> {
    if (step.qmp !== undefined) return this.#command(step.qmp, step.args ?? {}, step.waitAfter);
    if (step.io !== undefined) return this.#io(step.io);
    if (step.backup !== undefined) return this.#backup(step.backup, step.wait);
    if (step.waitJob !== undefined) return { job: await this.#waitFor(step.waitJob, step.status ?? [null]) };
    if (step.image !== undefined) return { image: await this.image(step.image) };
    if (step.jobs !== undefined) return { jobs: this.#jobs() };
    await this.#turns(Math.ceil(step.settle! / 2));
    return {};
  }

  async #command(name: string, args: JsonObject, waitAfter: GoldenStep["waitAfter"]): Promise<GoldenResult> {
    const result = await this.#execute(name, args);
    if (waitAfter === undefined) {
      await this.#turns(50);
      return result;
    }
    const job: JsonObject = {};
    for (const id of typeof waitAfter === "string" ? [waitAfter] : waitAfter) {
      job[id] = await this.#waitFor(id, [null, "concluded"]);
    }
    return { ...result, job };
  }

  async #backup(args: JsonObject, wait: GoldenStep["wait"]): Promise<GoldenResult> {
    const result = await this.#execute("blockdev-backup", args);
    if (result.error !== undefined) return result;
    const id = String(args["job-id"]);
    if (wait === false) {
      await this.#turns(200);
      return result;
    }
    return { ...result, job: await this.#waitFor(id, wait ?? [null, "concluded"]) };
  }

  async #execute(name: string, args: JsonObject): Promise<GoldenResult> {
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

  async #io({ op, off, len, pattern = 0, node }: GoldenIo): Promise<GoldenResult> {
    const backend = node === undefined ? this.#machine.slots.devices[0]!.backend : undefined;
    try {
      await request(backend ?? this.#machine.graph.getNode(node!), op, off, len, pattern);
    } catch (error) {
      if (!(error instanceof BlockError)) throw error;
      return { ok: false, msg: `failed: ${strerror(error.errno)}` };
    }
    return { ok: true };
  }

  async #waitFor(id: string, statuses: readonly (string | null)[]): Promise<JsonObject> {
    for (let turn = 0; turn < MAX_TURNS; turn++) {
      const info = this.#machine.jobs.get(id)?.query();
      const status = info?.status ?? null;
      const quiet = info === undefined || !info.busy;
      if (statuses.includes(status) && (status !== "paused" || quiet)) {
        return info?.error === undefined ? { status } : { status, error: info.error };
      }
      await this.#turns(1);
    }
    throw new Error(`job '${id}' is still ${this.#machine.jobs.get(id)?.status}`);
  }

  #jobs(): JsonObject[] {
    return [...this.#machine.jobs].map((job) => {
      const { id, type, status, progress, error } = job.query();
      const info = { id, type, status, current: progress.current, total: progress.total };
      return error === undefined ? info : { ...info, error };
    });
  }

  async #turns(count: number): Promise<void> {
    for (let i = 0; i < count; i++) await new Promise((resolve) => setImmediate(resolve));
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
