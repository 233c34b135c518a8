// Random programs for the model test: what a guest and a user do to a small machine, as data that can be printed and shortened.

import type { JsonObject, JsonValue } from "../../src/qmp/json/value.ts";
import { Random } from "../support/simulation.ts";

const CLUSTER = 65536;
const SECTOR = 512;

/** A request of the guest, `afterMs` after the one before was sent. Where it begins is a part of the disk, in 1/1024. */
export interface GuestStep {
  readonly afterMs: number;
  readonly disk: number;
  readonly kind: "write" | "write-zeroes" | "discard" | "read" | "flush";
  readonly at: number;
  readonly sectors: number;
  readonly value: number;
}

/** A command, or a change of how often requests to a node fail; `afterMs` after the one before was done. */
export type UserStep =
  | { readonly afterMs: number; readonly execute: string; readonly arguments: JsonObject }
  | {
      readonly afterMs: number;
      readonly fault: string;
      /** Of a hundred calls, so many fail. */
      readonly percent: number;
      readonly errno: "EIO" | "ENOSPC";
      readonly kinds: readonly string[];
    }
  /** A device comes to a node, or goes. */
  | { readonly afterMs: number; readonly attach: string; readonly node: string; readonly shareRw: boolean }
  | { readonly afterMs: number; readonly detach: string };

export interface Program {
  readonly seed: number;
  readonly disks: number;
  readonly fleecing: boolean;
  readonly sizes: readonly [number, number];
  /** The part of calls that complete later: of disks, of targets. */
  readonly delayed: readonly [number, number];
  readonly guest: readonly GuestStep[];
  readonly user: readonly UserStep[];
}

/** The program of a seed. */
export function makeProgram(seed: number): Program {
  return new Author(seed).program();
}

/** As text that a reader can follow, and run again. */
export function printProgram(program: Program): string {
  const { guest, user, ...head } = program;
  const lines = (steps: readonly object[]): string => steps.map((step) => `    ${JSON.stringify(step)}`).join("\n");
  return `${JSON.stringify(head)}\n  guest:\n${lines(guest)}\n  user:\n${lines(user)}`;
}

const BITMAPS = ["b0", "b1", "b2"];
const TARGETS = ["m0", "m1", "m2", "x0", "x1", "d0", "nowhere"];
const FILES = ["f0", "f1"];
const JOBS = ["j0", "j1", "j2", "j3"];
const GRANULARITIES = [512, 4096, 32768, 65536, 65536, 131072];
const SPEEDS = [0, 1, 65536, 1_000_000, 4_000_000];
const POLICIES = ["report", "ignore", "stop", "enospc", "auto"];
const JOB_VERBS = ["job-pause", "job-resume", "job-cancel", "job-finalize", "job-dismiss", "job-complete"];
const BLOCK_JOB_VERBS = ["block-job-pause", "block-job-resume", "block-job-complete"];
const QUERIES = ["query-block", "query-named-block-nodes", "query-jobs", "query-block-jobs", "query-blockstats"];

class Author {
  readonly #seed: number;
  readonly #random: Random;
  readonly #disks: number;
  readonly #sizes: readonly [number, number];
  readonly #fleecing: boolean;
  /** What is there if all has gone well so far: most commands are about that, the others about anything. */
  readonly #bitmaps = new Map<string, string[]>();
  readonly #nodes: string[] = [];
  readonly #options = new Map<string, JsonObject>();
  readonly #jobs: string[] = [];

  constructor(seed: number) {
    this.#seed = seed;
    this.#random = new Random(seed);
    this.#disks = 1 + this.#random.below(2);
    this.#fleecing = this.#random.chance(0.2);
    const size = (): number => (1 + this.#random.below(9)) * CLUSTER - this.#random.below(2) * 7 * SECTOR;
    this.#sizes = [size(), size()];
  }

  program(): Program {
    const parts = [0, 0.5, 1] as const;
    return {
      seed: this.#seed,
      disks: this.#disks,
      fleecing: this.#fleecing,
      sizes: this.#sizes,
      delayed: [this.#pick(parts), this.#pick(parts)],
      guest: this.#many(4 + this.#random.below(24), () => this.#guestStep()),
      user: [...this.#opening(), ...this.#many(2 + this.#random.below(14), () => this.#userStep())],
    };
  }

  /** One of what is there, mostly; else one of what might be. */
  #known(there: readonly string[], all: readonly string[]): string {
    return this.#pick(there.length > 0 && this.#random.chance(0.85) ? there : all);
  }

  #bitmapOf(node: string): string {
    return this.#known(this.#bitmaps.get(node) ?? [], BITMAPS);
  }

  /** The latest are the likeliest to be there still. */
  #job(): string {
    return this.#known(this.#jobs.slice(-2), JOBS);
  }

  #newJob(): string {
    const fresh = JOBS.filter((id) => !this.#jobs.slice(-2).includes(id));
    const id = this.#random.chance(0.95) ? fresh[0]! : this.#pick(JOBS);
    this.#jobs.push(id);
    return id;
  }

  #target(): string {
    return this.#known(["m0", "m1", "m2", ...this.#nodes], TARGETS);
  }

  #pick<T>(list: readonly T[]): T {
    return list[this.#random.below(list.length)]!;
  }

  #many<T>(count: number, make: () => T): T[] {
    return Array.from({ length: count }, make);
  }

  #guestStep(): GuestStep {
    const kind = this.#pick(["write", "write", "write", "write", "write-zeroes", "discard", "read", "flush"] as const);
    const disk = this.#random.below(this.#disks + (this.#fleecing ? 1 : 0));
    const sectors = 1 + this.#random.below(this.#pick([8, 300]));
    const afterMs = this.#random.below(this.#pick([3, 12]));
    return { afterMs, disk, kind, at: this.#random.below(1024), sectors, value: 1 + this.#random.below(255) };
  }

  #disk(): string {
    return `d${this.#random.below(this.#disks)}`;
  }

  /** What most programs need to get anywhere: bitmaps, and often the full backup that a chain of incrementals begins with. */
  #opening(): UserStep[] {
    const steps: UserStep[] = [];
    const command = (execute: string, args: JsonObject): void => {
      steps.push({ afterMs: this.#random.below(4), execute, arguments: args });
    };
    for (let i = 0; i < this.#disks; i++) {
      if (this.#random.chance(0.9)) command("block-dirty-bitmap-add", this.#addBitmap(`d${i}`));
      if (this.#random.chance(0.5)) command("block-dirty-bitmap-add", this.#addBitmap(`d${i}`));
    }
    if (this.#random.chance(0.3)) steps.push({ afterMs: 0, ...this.#fault() });
    if (this.#random.chance(0.5)) {
      const mode = this.#pick(["on-success", "always"]);
      command("blockdev-backup", { ...this.#backup("full", "d0", mode), "auto-dismiss": true });
    }
    return steps;
  }

  #userStep(): UserStep {
    const afterMs = this.#random.below(this.#pick([2, 12, 60]));
    if (this.#random.chance(0.15)) return { afterMs, ...this.#fault() };
    const [execute, args] = this.#command();
    return { afterMs, execute, arguments: args };
  }

  #fault(): { fault: string; percent: number; errno: "EIO" | "ENOSPC"; kinds: string[] } {
    const kinds = ["read", "write", "write-zeroes", "discard", "flush", "status", "resize"];
    return {
      fault: this.#pick(["d0", "d0", "m0", "m1", "m2", ...FILES, this.#disk()]),
      percent: this.#pick([0, 4, 15, 40]),
      errno: this.#pick(["EIO", "ENOSPC"]),
      kinds: this.#random.chance(0.5) ? kinds : [this.#pick(kinds)],
    };
  }

  #command(): [string, JsonObject] {
    const lot = this.#random.below(100);
    if (lot < 32) {
      const { type, data } = this.#backupAction();
      return [type, data];
    }
    if (lot < 42) return this.#bitmapCommand();
    if (lot < 58) return ["transaction", this.#transaction()];
    if (lot < 84) return this.#jobCommand();
    if (lot < 87) return this.#resize();
    if (lot < 97) return this.#graphCommand();
    return [this.#pick(QUERIES), {}];
  }

  #bitmapCommand(): [string, JsonObject] {
    const action = this.#bitmapAction();
    return [action.type, action.data];
  }

  #bitmapAction(): { type: string; data: JsonObject } {
    const node = this.#disk();
    const verb = this.#pick(["add", "remove", "clear", "enable", "disable", "merge", "merge"]);
    const type = `block-dirty-bitmap-${verb}`;
    if (verb === "add") return { type, data: this.#addBitmap(node) };
    const name = this.#bitmapOf(node);
    if (verb === "remove")
      this.#bitmaps.set(
        node,
        (this.#bitmaps.get(node) ?? []).filter((other) => other !== name),
      );
    if (verb !== "merge") return { type, data: { node, name } };
    const source = (): JsonValue => {
      const other = this.#disk();
      return this.#random.chance(0.5) ? this.#bitmapOf(node) : { node: other, name: this.#bitmapOf(other) };
    };
    return { type, data: { node, target: name, bitmaps: this.#many(1 + this.#random.below(2), source) } };
  }

  #addBitmap(node: string): JsonObject {
    const there = this.#bitmaps.get(node) ?? [];
    const name = this.#known(
      BITMAPS.filter((other) => !there.includes(other)),
      BITMAPS,
    );
    this.#bitmaps.set(node, [...new Set([...there, name])]);
    const disabled = this.#random.chance(0.15) ? { disabled: true } : {};
    return { node, name, granularity: this.#pick(GRANULARITIES), ...disabled };
  }

  #backupAction(): { type: string; data: JsonObject } {
    const data = this.#anyBackup();
    if (this.#random.chance(0.75)) return { type: "blockdev-backup", data };
    const format = this.#pick([{}, { format: "raw" }, { format: "raw" }, { format: "raw" }, { format: "file" }]);
    const mode = this.#pick([{}, {}, { mode: "existing" }]);
    return { type: "drive-backup", data: { ...data, target: this.#pick(FILES), ...format, ...mode } };
  }

  #anyBackup(): JsonObject {
    const sync = this.#pick(["full", "full", "top", "none", "incremental", "bitmap", "bitmap"]);
    const disk = this.#disk();
    const named = sync === "incremental" || sync === "bitmap" || (sync !== "none" && this.#random.chance(0.5));
    const drive = disk.replace("d", "drive");
    const ofDisk = disk === "d0" ? [disk, disk, drive] : [disk];
    const sources = [...this.#nodes, "m0", drive, ...(this.#fleecing ? ["s2", "s2", "drive2"] : [])];
    const device = named || this.#random.chance(0.7) ? this.#pick(ofDisk) : this.#pick(sources);
    const modes = sync === "bitmap" ? ["on-success", "always", "never"] : ["on-success", "always"];
    return this.#backup(sync, device, named && sync !== "incremental" ? this.#pick(modes) : undefined);
  }

  #backup(sync: string, device: string, mode: string | undefined): JsonObject {
    const named = mode !== undefined || sync === "incremental";
    const withBitmap = named ? { bitmap: this.#bitmapOf(device.replace("drive", "d")) } : {};
    const withMode = mode === undefined ? {} : { "bitmap-mode": mode };
    const odd = <T extends JsonObject>(chance: number, member: T): T | object =>
      this.#random.chance(chance) ? member : {};
    return {
      "job-id": this.#newJob(),
      device,
      target: this.#target(),
      sync,
      ...withBitmap,
      ...withMode,
      ...odd(0.3, { speed: this.#pick(SPEEDS) }),
      ...odd(0.6, { "on-source-error": this.#pick(POLICIES) }),
      ...odd(0.6, { "on-target-error": this.#pick(POLICIES) }),
      ...odd(0.1, { "on-cbw-error": "break-snapshot" }),
      ...odd(0.2, { "auto-finalize": false }),
      ...odd(0.2, { "auto-dismiss": false }),
      ...odd(0.1, { "filter-node-name": this.#pick(["fn0", "fn1", "m0"]) }),
      ...odd(device === "s2" ? 0.5 : 0.1, { "discard-source": true }),
      ...odd(0.7, { "x-perf": this.#perf() }),
    };
  }

  #perf(): JsonObject {
    return {
      "max-workers": this.#pick([1, 1, 8]),
      "max-chunk": this.#pick([0, 65536, 65536, 65537, 262144]),
      ...(this.#random.chance(0.2) ? { "max-chunk": 0, "min-cluster-size": this.#pick([4096, 131072]) } : {}),
    };
  }

  #transaction(): JsonObject {
    const action = (): JsonObject => {
      if (this.#random.chance(0.05)) return { type: "abort", data: {} };
      if (this.#random.chance(0.5)) return this.#backupAction();
      const { type, data } = this.#bitmapAction();
      return { type, data };
    };
    const grouped = this.#random.chance(0.5);
    const count = this.#pick([0, 1, 2, 2, 2, 3, 3]);
    if (!grouped) return { actions: this.#many(count, action) };
    // In a group of jobs there is room for nothing else.
    const member = (): JsonObject => (this.#random.chance(0.05) ? { type: "abort", data: {} } : this.#backupAction());
    return { actions: this.#many(count, member), properties: { "completion-mode": "grouped" } };
  }

  #jobCommand(): [string, JsonObject] {
    const id = this.#job();
    const lot = this.#random.below(10);
    if (lot < 5) return [this.#pick(JOB_VERBS), { id }];
    if (lot < 7) return ["block-job-cancel", { device: id, force: this.#random.chance(0.5) }];
    if (lot < 9) return ["block-job-set-speed", { device: id, speed: this.#pick(SPEEDS) }];
    return [this.#pick(BLOCK_JOB_VERBS), { device: id }];
  }

  #resize(): [string, JsonObject] {
    const node = this.#pick([this.#disk(), "m0", "m1", "m2", "x0"]);
    return ["block_resize", { "node-name": node, size: this.#pick(this.#sizes) }];
  }

  #graphCommand(): [string, JsonObject] {
    const name = this.#known(this.#nodes, ["x0", "x1"]);
    const lot = this.#random.below(10);
    if (lot < 5) return ["blockdev-add", this.#added()];
    if (lot < 7)
      return ["blockdev-del", { "node-name": this.#random.chance(0.7) ? name : this.#pick(["m2", "d0", "s2"]) }];
    if (lot < 9) return ["blockdev-reopen", { options: [this.#reopened(name)] }];
    const threshold = this.#random.below(this.#sizes[0]);
    return ["block-set-write-threshold", { "node-name": this.#disk(), "write-threshold": threshold }];
  }

  #added(): JsonObject {
    const name = this.#pick(["x0", "x1"]);
    this.#nodes.push(name);
    const options = this.#node(name);
    this.#options.set(name, options);
    return options;
  }

  /** As it was but for one thing; or as anything. */
  #reopened(name: string): JsonObject {
    const options = this.#options.get(name);
    if (options === undefined || this.#random.chance(0.2)) return this.#node(name);
    if ("file" in options && this.#random.chance(0.5)) return { ...options, file: this.#pick(["m0", "m1", "m2"]) };
    return { ...options, "read-only": this.#random.chance(0.4) };
  }

  #node(name: string): JsonObject {
    const below = this.#pick(["m0", "m1", "m2"]);
    const common = { "node-name": name, discard: "unmap", ...(this.#random.chance(0.1) ? { "read-only": true } : {}) };
    switch (this.#random.below(5)) {
      case 0:
        return { driver: "throttle", ...common, file: below, "throttle-group": "tg" };
      case 1:
        return { driver: "raw", ...common, file: below };
      case 2:
        return { driver: "blkdebug", ...common, image: below, "inject-error": [this.#injection()] };
      case 3:
        return { driver: "memory", ...common, backing: this.#disk(), "cluster-size": this.#pick([4096, 65536]) };
      default:
        return {
          driver: "copy-before-write",
          ...common,
          file: below,
          target: { driver: "memory", size: this.#sizes[0] },
        };
    }
  }

  #injection(): JsonObject {
    return {
      event: this.#pick(["none", "write_aio", "pwritev"]),
      iotype: this.#pick(["read", "write"]),
      once: true,
      errno: 28,
    };
  }
}
