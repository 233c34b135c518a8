// Random programs about the block graph: nodes on nodes, added, deleted and reopened while jobs run on them and devices come and go.

import type { JsonObject } from "../../src/qmp/json/value.ts";
import { Random } from "../support/simulation.ts";
import type { Program, UserStep } from "./program.ts";

const BYTES = 4 * 65536;
const MEMORY = ["m0", "m1", "m2"];
const NODES = ["n0", "n1", "n2", "n3", "n4"];
const DEVICES = ["v0", "v1"];
const JOBS = ["j0", "j1", "j2"];
const DRIVERS = [
  "raw",
  "throttle",
  "blkdebug",
  "memory",
  "overlay",
  "copy-before-write",
  "snapshot-access",
  "null-co",
  "none",
];

/** The program of a seed. */
export function makeGraphProgram(seed: number): Program {
  const author = new Author(seed);
  const { random } = author;
  const guest = Array.from({ length: random.below(8) }, () => ({
    afterMs: random.below(20),
    disk: 0,
    kind: random.chance(0.8) ? ("write" as const) : ("flush" as const),
    at: random.below(1024),
    sectors: 1 + random.below(200),
    value: 1 + random.below(255),
  }));
  const user = Array.from({ length: 10 + random.below(30) }, () => author.step());
  return { seed, disks: 1, fleecing: random.chance(0.2), sizes: [BYTES, BYTES], delayed: [0.5, 0.5], guest, user };
}

class Author {
  readonly random: Random;
  /** What is there if all has gone well so far, with what it was added with. */
  readonly #nodes = new Map<string, JsonObject>();
  #jobs = 0;

  constructor(seed: number) {
    this.random = new Random(seed);
  }

  step(): UserStep {
    const afterMs = this.random.below(this.#pick([1, 10, 40]));
    const lot = this.random.below(100);
    const command = (execute: string, args: JsonObject): UserStep => ({ afterMs, execute, arguments: args });
    if (lot < 32) return command("blockdev-add", this.#added());
    if (lot < 44) return command("blockdev-del", { "node-name": this.#there() });
    if (lot < 58) return command("blockdev-reopen", { options: this.#reopened() });
    if (lot < 76) {
      const { type, data } = this.#backup();
      return command(type, data);
    }
    if (lot < 82)
      return { afterMs, attach: this.#pick(DEVICES), node: this.#there(), shareRw: this.random.chance(0.5) };
    if (lot < 86) return { afterMs, detach: this.#pick(DEVICES) };
    if (lot < 90)
      return command("block_resize", { "node-name": this.#there(), size: this.#pick([BYTES, BYTES, 65536]) });
    if (lot < 93) return command("query-named-block-nodes", {});
    if (lot < 94) return command("query-block", {});
    if (lot < 95)
      return command("blockdev-create", { "job-id": "c0", options: { driver: this.#pick(["raw", "memory"]) } });
    if (lot < 97) return command("transaction", { actions: [{ ...this.#backup() }, this.#second()] });
    const id = `j${Math.max(0, this.#jobs - 1)}`;
    return command(this.#pick(["job-pause", "job-resume", "job-cancel"]), {
      id: this.random.chance(0.8) ? id : this.#pick(JOBS),
    });
  }

  #pick<T>(list: readonly T[]): T {
    return list[this.random.below(list.length)]!;
  }

  #there(): string {
    return this.random.chance(0.9)
      ? this.#pick(["d0", ...MEMORY, ...this.#nodes.keys(), ...this.#nodes.keys()])
      : this.#pick(NODES);
  }

  #added(): JsonObject {
    const name = this.random.chance(0.9)
      ? (NODES.find((free) => !this.#nodes.has(free)) ?? this.#pick(NODES))
      : this.#there();
    const options = this.#node(name, 2);
    this.#nodes.set(name, options);
    return options;
  }

  #second(): JsonObject {
    if (this.random.chance(0.5)) return { type: "abort", data: {} };
    return { ...this.#backup() };
  }

  #backup(): { type: string; data: JsonObject } {
    const data = {
      "job-id": `j${this.#jobs++ % 10}`,
      device: this.#there(),
      target: this.#there(),
      ...(this.random.chance(0.15) ? { "discard-source": true } : {}),
      sync: this.#pick(["full", "top", "none"]),
      speed: this.#pick([0, 1, 1, 1_000_000]),
      "x-perf": { "max-chunk": 65536 },
      "on-target-error": this.#pick(["report", "stop"]),
      "auto-finalize": this.random.chance(0.8),
    };
    if (this.random.chance(0.75)) return { type: "blockdev-backup", data };
    const mode = this.#pick(["absolute-paths", "absolute-paths", "existing"]);
    return { type: "drive-backup", data: { ...data, target: this.#pick(["f0", "f1"]), format: "raw", mode } };
  }

  /** One or two nodes as they were, but for a child, being read-only, or nothing. */
  #reopened(): JsonObject[] {
    const known = [...this.#nodes.keys()];
    const count = this.random.chance(0.2) ? 2 : 1;
    return Array.from({ length: count }, () => {
      const name = known.length > 0 ? this.#pick(known) : "n0";
      const options = { ...(this.#nodes.get(name) ?? this.#node(name, 0)) };
      for (const role of ["file", "backing", "target", "image"])
        if (role in options && this.random.chance(0.5)) options[role] = this.#there();
      if (this.random.chance(0.3)) options["read-only"] = this.random.chance(0.7);
      if (this.random.chance(0.1)) return this.#node(name, 0);
      return options;
    });
  }

  /** A child by its name, or by options of its own, down to `depth`. */
  #child(depth: number): JsonObject | string {
    if (depth === 0 || this.random.chance(0.75)) return this.#there();
    const named = this.random.chance(0.2) ? this.#pick(NODES) : undefined;
    return this.#node(named, depth - 1);
  }

  #node(name: string | undefined, depth: number): JsonObject {
    const common = {
      ...(name === undefined ? {} : { "node-name": name }),
      discard: "unmap",
      ...(this.random.chance(0.15) ? { "read-only": true } : {}),
      ...(this.random.chance(0.1) ? { "auto-read-only": true } : {}),
      ...(this.random.chance(0.1) ? { "detect-zeroes": this.#pick(["on", "unmap"]) } : {}),
    };
    const driver = this.#pick(DRIVERS);
    switch (driver) {
      case "raw":
      case "snapshot-access":
        return { driver, ...common, file: this.#child(depth) };
      case "throttle":
        return {
          driver,
          ...common,
          file: this.#child(depth),
          "throttle-group": this.random.chance(0.9) ? "tg" : "none",
        };
      case "blkdebug":
        return { driver, ...common, image: this.#child(depth) };
      case "copy-before-write":
        return { driver, ...common, file: this.#child(depth), target: this.#child(depth) };
      case "overlay":
        return {
          driver: "memory",
          ...common,
          backing: this.#child(depth),
          "cluster-size": this.#pick([4096, 65536, 1000]),
        };
      case "memory":
      case "null-co":
        return { driver, ...common, size: this.random.chance(0.9) ? BYTES : 1000 };
      default:
        return { driver: "raw", ...common, file: "nowhere" };
    }
  }
}
