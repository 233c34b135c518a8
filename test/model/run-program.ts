// Runs a program of the model test on a machine and its twin, and compares the two after every command.

import { expect } from "vitest";
import { BlockError, QmpError } from "../../src/base/errors.ts";
import type { BlockBackend } from "../../src/block/backend.ts";
import type { BlockNode } from "../../src/block/node.ts";
import { NO_PERMISSIONS } from "../../src/block/permissions.ts";
import type { Job } from "../../src/job/job.ts";
import type { JobEvent } from "../../src/job/job-event.ts";
import type { JsonObject } from "../../src/qmp/json/value.ts";
import { BackupTwin, bottom } from "./backup-twin.ts";
import type { Program, UserStep } from "./program.ts";
import { tearDown } from "./tear-down.ts";
import { World } from "./world.ts";

const BACKUPS = ["blockdev-backup", "drive-backup"];
const BITMAP_COMMAND = "block-dirty-bitmap-";

/** One action of a transaction, or a command alone. */
interface Action {
  readonly type: string;
  readonly data: JsonObject;
}

/** Throws where machine and twin differ, where anything hangs, and where anything is left at the end. */
export async function runProgram(program: Program): Promise<void> {
  const world = await World.create(program);
  const { simulation } = world;
  const runner = new Runner(world);
  const guests = async (): Promise<void> => {
    const sent: Promise<void>[] = [];
    for (const step of program.guest) {
      await simulation.after(step.afterMs);
      const disk = world.disks[step.disk];
      if (disk !== undefined) sent.push(disk.guest.send(step));
    }
    await Promise.all(sent);
  };
  const user = async (): Promise<void> => {
    for (const step of program.user) await runner.perform(step);
    await tearDown(world, runner);
  };
  await simulation.run(Promise.all([guests(), user()]));
  runner.check("at the end", true);
  for (const { guest, driver } of world.disks) guest.check(driver.bytes);
  await simulation.run(runner.dismantle());
}

/** Gives a machine commands, as a client of its monitor does, and its twin what they mean. */
export class Runner {
  readonly #world: World;
  readonly #twins = new Map<Job, BackupTwin>();
  /** Of the command that runs: what its backups are to do, those that are made, and how many changes each disk had seen. */
  #expected: JsonObject[] = [];
  #made: BackupTwin[] = [];
  #marks: number[] = [];
  #conclusions = 0;
  readonly #devices = new Map<string, BlockBackend>();
  /** What a job has done wrong. */
  #wrong: unknown;

  constructor(world: World) {
    this.#world = world;
    world.jobs.listen((job, event) => {
      try {
        this.#heard(job, event);
      } catch (error) {
        // Thrown here it would be the job's.
        this.#wrong ??= error;
      }
    });
    world.onUndrained = () => this.#mark();
    world.onQuiet = () => this.#endTwins();
    world.onChange = (disk, change) => {
      for (const twin of this.#twins.values()) twin.note(disk, change);
    };
  }

  async perform(step: UserStep): Promise<void> {
    await this.#world.simulation.after(step.afterMs);
    if ("fault" in step) this.#world.setFault(step.fault, step);
    else if ("attach" in step) await this.#attach(step.attach, step.node, step.shareRw);
    else if ("detach" in step) await this.detach(step.detach);
    else await this.execute(step.execute, step.arguments);
  }

  /** False if the command failed. Then nothing must have changed. */
  async execute(name: string, args: JsonObject): Promise<boolean> {
    const actions = actionsOf(name, args);
    this.#expected = actions.filter(({ type }) => BACKUPS.includes(type)).map(({ data }) => data);
    this.#made = [];
    this.#endTwins();
    this.#mark();
    const before = this.#stable();
    const conclusions = this.#conclusions;
    const ending = this.#jobsEnd();
    try {
      await this.#world.server.execute(name, args);
    } catch (error) {
      if (!(error instanceof QmpError || error instanceof BlockError)) throw error;
      expect(this.#mayRefuse(actions), `${name} ${JSON.stringify(args)}: ${error.message}`).toBe(true);
      for (const twin of this.#made)
        if (!twin.job.started && twin.job.status !== "null") expect.fail("a job of a failed command is left");
      // Closing tells of what a flush could not do, but the node is gone.
      if (name !== "blockdev-del" && conclusions === this.#conclusions && !ending && !this.#jobsEnd())
        expect(this.#stable(), `after ${name}: ${error.message}`).toBe(before);
      this.check(`after a failed ${name}: ${error.message}`);
      return false;
    }
    for (const action of actions) this.#apply(action);
    expect(this.#made, "jobs of the command").toEqual([]);
    this.check(`after ${name} ${JSON.stringify(args)}`);
    return true;
  }

  async detach(id: string): Promise<void> {
    const device = this.#devices.get(id);
    if (device === undefined) return;
    this.#devices.delete(id);
    device.detachDevice();
    await this.#world.graph.removeBackend(device);
  }

  /** As a machine does it for `drive=NODE`. */
  async #attach(id: string, nodeName: string, shareRw: boolean): Promise<void> {
    const { graph } = this.#world;
    const node = graph.node(nodeName);
    if (node === undefined || this.#devices.has(id)) return;
    const before = this.#stable();
    let backend: BlockBackend | undefined;
    try {
      backend = graph.addBackend({ name: "", node, permissions: NO_PERMISSIONS });
      backend.attachDevice({ id, path: id, shareRw });
      this.#devices.set(id, backend);
    } catch (error) {
      if (!(error instanceof QmpError)) throw error;
      if (backend !== undefined) await graph.removeBackend(backend);
      expect(this.#stable(), `after a device that could not come: ${error.message}`).toBe(before);
    }
  }

  check(when: string, everyBit = false): void {
    this.#endTwins();
    if (this.#wrong !== undefined) throw this.#wrong;
    for (const { flat, node } of this.#world.disks) flat.check(node.bitmaps, when, everyBit);
  }

  /** Takes everything apart: nothing keeps anything from being deleted. */
  async dismantle(): Promise<void> {
    const { graph, server, disks } = this.#world;
    for (const id of [...this.#devices.keys()]) await this.detach(id);
    for (const { backend } of disks) {
      expect(backend.inFlight).toBe(0);
      await graph.removeBackend(backend);
    }
    for (const { node } of disks)
      for (const parent of node.parents) if (parent.parentName === "the test") node.detachParent(parent);
    for (let names = topNames(graph.nodes); names.length > 0; names = topNames(graph.nodes))
      for (const name of names) await server.execute("blockdev-del", { "node-name": name });
    expect([...graph.nodes].map(({ node }) => node.name)).toEqual([]);
    await server.shutdown();
    await graph.close();
  }

  #mark(): void {
    this.#marks = this.#world.disks.map(({ flat }) => flat.changes.length);
  }

  /** Of jobs that have not yet said so. */
  #endTwins(): undefined {
    for (const [job, twin] of this.#twins) {
      if (!twin.started || twin.ended || !twin.gaveBitmapBack) continue;
      twin.succeeded = job.transaction.finalizing;
      twin.end();
    }
  }

  #heard(job: Job, event: JobEvent): void {
    if (event.kind === "status-change" && event.status === "created") {
      const args = this.#expected.shift();
      if (args === undefined) return;
      const twin = new BackupTwin(this.#world, job, args);
      this.#shareStorage(twin);
      this.#twins.set(job, twin);
      this.#made.push(twin);
    }
    const twin = this.#twins.get(job);
    if (twin === undefined) return;
    if (event.kind === "completed") twin.succeeded = event.error === undefined;
    if (event.kind !== "status-change") return;
    if (event.status === "concluded") {
      this.#conclusions++;
      if (!twin.ended) twin.end();
    }
    if (event.status === "null") this.#twins.delete(job);
  }

  /** Others may write where the twin's target is: guests, or another job. Or it takes from a guest what it has copied. */
  #shareStorage(twin: BackupTwin): void {
    const { written } = twin;
    const { discarded } = twin;
    for (const { node, guest } of this.#world.disks) if (discarded.has(node)) guest.share();
    for (const { node, guest } of this.#world.disks) {
      if (!written.has(node)) continue;
      guest.share();
      twin.shared = true;
    }
    for (const other of this.#twins.values()) {
      if (!other.ended && twin.takesFrom(other)) other.shared = true;
      if (!other.ended && other.takesFrom(twin)) twin.shared = true;
      if (other.ended || [...other.written].every((node) => !written.has(node))) continue;
      other.shared = true;
      twin.shared = true;
    }
  }

  /** Takes a command's effects into the model, at the moment that the command had. */
  #apply({ type, data }: Action): void {
    const { disks } = this.#world;
    const [node, name] = [String(data["node"]), String(data["name"])];
    const index = disks.findIndex(
      (disk) => disk.flat.name === node || (type === "block_resize" && disk.node === this.#resized(data)),
    );
    const flat = disks[index]?.flat;
    if (type.startsWith(BITMAP_COMMAND) || type === "block_resize") flat?.advance(this.#marks[index]!);
    switch (type) {
      case "block-dirty-bitmap-add":
        return flat!.add(name, Number(data["granularity"]), data["disabled"] === true);
      case "block-dirty-bitmap-remove":
        return flat!.remove(name);
      case "block-dirty-bitmap-clear": {
        const bitmap = flat!.free(name);
        bitmap.bits.bits.fill(0);
        bitmap.chain = undefined;
        return;
      }
      case "block-dirty-bitmap-enable":
        flat!.free(name).recording = true;
        return;
      case "block-dirty-bitmap-disable": {
        const bitmap = flat!.free(name);
        bitmap.recording = false;
        bitmap.chain = undefined;
        return;
      }
      case "block-dirty-bitmap-merge":
        return this.#merge(node, data);
      case "block_resize":
        if (flat === undefined) return;
        flat.resize(disks[index]!.node.lengthBytes);
        return disks[index]!.guest.resized(flat.lengthBytes);
      case "blockdev-backup":
      case "drive-backup":
        for (const [i, disk] of disks.entries()) disk.flat.advance(this.#marks[i]!);
        return this.#made.shift()!.start();
      default:
    }
  }

  /** Filters and raw nodes have the length of what they stand on. */
  #resized(data: JsonObject): BlockNode {
    return bottom(this.#world.graph.getNode(String(data["node-name"])));
  }

  #merge(node: string, data: JsonObject): void {
    const { disks } = this.#world;
    const diskOf = (name: string) => disks.find(({ flat }) => flat.name === name)!.flat;
    const target = diskOf(node).free(String(data["target"]));
    for (const source of data["bitmaps"] as (string | JsonObject)[]) {
      const flat = typeof source === "string" ? diskOf(node) : diskOf(String(source["node"]));
      flat.advance(this.#marks[disks.findIndex((disk) => disk.flat === flat)]!);
      const bitmap = flat.free(typeof source === "string" ? source : String(source["name"]));
      expect(bitmap.bits.size, "merged bitmaps of different sizes").toBe(target.bits.size);
      target.bits.merge(bitmap.bits.clone());
    }
  }

  /** A command on a bitmap that is there, and that no job has, has no reason to fail. */
  #mayRefuse(actions: readonly Action[]): boolean {
    const [action] = actions;
    if (actions.length !== 1 || action?.type.startsWith(BITMAP_COMMAND) !== true || action.type.endsWith("merge"))
      return true;
    const disk = this.#world.disks.find(({ flat }) => flat.name === action.data["node"]);
    const bitmap = disk?.flat.find(String(action.data["name"]));
    if (disk === undefined) return true;
    return action.type.endsWith("add") ? bitmap !== undefined : bitmap === undefined || bitmap.frozen !== undefined;
  }

  /** A job that ends closes what it was the last to use, before it says that it has. */
  #jobsEnd(): boolean {
    return [...this.#world.jobs].some((job) => job.ending);
  }

  /** What only commands change, and ends of jobs. */
  #stable(): string {
    const { graph, jobs } = this.#world;
    const nodes = [...graph.nodes].map(({ node }) => {
      const parents = [...node.parents].map((parent) => parent.parentName).sort();
      const { needs, shares } = node.combinedPermissions();
      const children = node.driver.children.map((child) => child.node.name);
      const others = [
        node.settings,
        node.beforeWrite.count - (node.writeThreshold.bytes > 0 ? 1 : 0),
        node.opBlockers.reason("resize"),
      ];
      return [node.name, node.driver.driverName, node.lengthBytes, parents, needs, shares, children, others];
    });
    const list = [...jobs].map(({ id, speed, userPaused, type }) => [id, type, speed, userPaused]);
    return JSON.stringify([nodes, list]);
  }
}

function actionsOf(name: string, args: JsonObject): Action[] {
  if (name === "transaction") return args["actions"] as unknown as Action[];
  return [{ type: name, data: args }];
}

/** Nodes that nobody stands on. */
function topNames(nodes: Iterable<{ node: BlockNode; ownedByMonitor: boolean }>): string[] {
  return [...nodes]
    .filter(({ node, ownedByMonitor }) => ownedByMonitor && node.parentCount === 0)
    .map(({ node }) => node.name);
}
