// Random programs on qcow2 images, as data that can be printed and shortened: options of images, and what is done to one of them.

import { Random } from "../../support/simulation.ts";

/** How an image is made. */
export interface Shape {
  readonly version: 2 | 3;
  readonly clusterBits: number;
  readonly refcountBits: number;
  readonly extended: boolean;
  readonly lazy: boolean;
  /** Only of one that stands on nothing. */
  readonly preallocation: "off" | "metadata" | "full";
}

/** Places are parts of the disk, in 1/1024, and lengths are in sectors or clusters: they mean something on a disk of any length. */
export interface Place {
  readonly at: number;
  readonly length: number;
  readonly unit: "sector" | "cluster";
}

/** A request of a guest. What is written follows from `value`, and from `fill` whether it can be compressed. */
export interface GuestStep extends Place {
  readonly op: "write" | "zero" | "zero-unmap" | "discard" | "compressed";
  readonly value: number;
  readonly fill: "runs" | "noise" | "zeroes";
}

/** A backup to another image. What guests do meanwhile is sent one after another. */
export interface BackupStep {
  readonly op: "backup";
  readonly sync: "full" | "top" | "none" | "incremental" | "bitmap";
  readonly mode: "on-success" | "always" | "never";
  readonly bitmap: string;
  /** drive-backup makes its target itself. */
  readonly drive: boolean;
  readonly compress: boolean;
  /** Only when all is copied: the target is what it would be, and the bitmap what it was. */
  readonly cancel: boolean;
  readonly chunkClusters: number;
  readonly target: Shape;
  readonly during: readonly GuestStep[];
}

/** Options of a qcow2 node, by QMP's names, that change nothing of what its disk shows. */
export type NodeOptions = { readonly [option: string]: boolean | number | string };

export type BitmapVerb = "remove" | "clear" | "enable" | "disable";

export type Step =
  | GuestStep
  | BackupStep
  /** Requests side by side, all at once: the place is divided among them. */
  | { readonly op: "burst"; readonly place: Place; readonly requests: readonly GuestStep[] }
  | { readonly op: "read"; readonly place: Place }
  | { readonly op: "resize"; readonly sectors: number }
  | {
      readonly op: "add";
      readonly name: string;
      readonly granularity: number | undefined;
      readonly persistent: boolean;
      readonly disabled: boolean;
    }
  /** Other options for the node, while it goes on. */
  | { readonly op: "options"; readonly options: NodeOptions }
  | { readonly op: BitmapVerb; readonly name: string }
  | { readonly op: "merge"; readonly name: string; readonly sources: readonly string[] }
  | { readonly op: "flush" | "close" | "inactivate" | "read-only" | "read-write" | "crash" }
  /** Of the real tools: a program that has none leaves it out. */
  | { readonly op: "qemu-io"; readonly place: Place; readonly value: number };

export interface Program {
  readonly seed: number;
  readonly shape: Shape;
  readonly sectors: number;
  /** What it stands on; `qcow2` may stand on a raw one itself. */
  readonly backing: "none" | "raw" | "qcow2" | "both";
  readonly backingSectors: number;
  readonly middle: Shape;
  readonly middleSteps: readonly GuestStep[];
  /** One of the images with snapshots that qemu-img has made, in place of a new one. */
  readonly start: number | undefined;
  readonly delayed: number;
  readonly options: NodeOptions;
  readonly steps: readonly Step[];
}

export interface ProgramOptions {
  /** The real tools are there: to begin with images of theirs, and to write between. */
  readonly tools: boolean;
}

/** The program of a seed. */
export function makeProgram(seed: number, options: ProgramOptions): Program {
  return new Author(seed, options).program();
}

/** As text that a reader can follow, and run again. */
export function printProgram({ steps, ...head }: Program): string {
  return `${JSON.stringify(head)}\n${steps.map((step) => `    ${JSON.stringify(step)}`).join("\n")}`;
}

const CLUSTER_BITS = [9, 9, 9, 10, 10, 11, 12, 12, 13, 13, 14, 14, 14, 15, 15, 16, 16, 17];
/** Each table of such an image takes long to read. */
const LARGE_CLUSTER_BITS = [18, 19, 20, 21];
const OPTIONS: readonly NodeOptions[] = [
  {},
  { "cache-size": 4096 },
  { "l2-cache-entry-size": 512, "l2-cache-size": 2048 },
  { "l2-cache-entry-size": 512, "refcount-cache-size": 1024 },
  { "lazy-refcounts": true },
  { "lazy-refcounts": false },
  { "discard-no-unref": true },
  { "pass-discard-request": false, "pass-discard-snapshot": false },
  { "pass-discard-other": true },
  { "overlap-check": "all", "pass-discard-other": true },
  { "overlap-check": "none" },
];
const NAMES = ["a", "b", "c"];
const GRANULARITIES = [undefined, 512, 512, 4096, 65536, 1 << 20];

class Author {
  readonly #seed: number;
  readonly #options: ProgramOptions;
  readonly #random: Random;
  /** Bitmaps that are there if all has gone well so far: most steps are about those. */
  #bitmaps: string[] = [];

  constructor(seed: number, options: ProgramOptions) {
    this.#seed = seed;
    this.#options = options;
    this.#random = new Random(seed);
  }

  program(): Program {
    const random = this.#random;
    const backing = this.#pick(["none", "none", "raw", "qcow2", "both"] as const);
    const shape = this.#shape(backing === "none");
    const sectors = this.#sectors(shape);
    return {
      seed: this.#seed,
      shape,
      sectors,
      backing,
      backingSectors: this.#pick([sectors, Math.ceil(sectors / 2), Math.ceil(sectors * 1.5)]),
      middle: this.#shape(backing === "qcow2"),
      middleSteps: this.#many(random.below(5), () => this.#guest()),
      start: this.#options.tools && random.chance(0.35) ? random.below(1024) : undefined,
      delayed: this.#pick([0, 0, 0.2, 0.6]),
      options: random.chance(0.5) ? {} : this.#pick(OPTIONS),
      steps: [...this.#opening(), ...this.#many(3 + random.below(18), () => this.#step())],
    };
  }

  #pick<T>(list: readonly T[]): T {
    return list[this.#random.below(list.length)]!;
  }

  #many<T>(count: number, make: () => T): T[] {
    return Array.from({ length: count }, make);
  }

  #shape(alone: boolean): Shape {
    const random = this.#random;
    const clusterBits = this.#pick(random.chance(0.05) ? LARGE_CLUSTER_BITS : CLUSTER_BITS);
    const version = random.chance(0.15) ? 2 : 3;
    return {
      version,
      clusterBits,
      refcountBits: version === 2 ? 16 : 2 ** random.below(7),
      extended: version === 3 && clusterBits >= 14 && random.chance(0.5),
      lazy: version === 3 && random.chance(0.3),
      preallocation: alone && random.chance(0.2) ? this.#pick(["metadata", "full"]) : "off",
    };
  }

  /** Enough clusters to be of interest, not so many bytes that comparing them takes time. */
  #sectors({ clusterBits }: Shape): number {
    const most = Math.max(2048, (2 ** clusterBits / 512) * 2);
    return 1 + this.#random.below(this.#pick([most, most, Math.ceil(most / 8)]));
  }

  #place(): Place {
    const unit = this.#random.chance(0.5) ? "cluster" : "sector";
    const most = unit === "cluster" ? this.#pick([1, 1, 3, 40]) : this.#pick([1, 8, 300]);
    return { at: this.#random.below(1024), length: 1 + this.#random.below(most), unit };
  }

  #guest(): GuestStep {
    const op = this.#pick(["write", "write", "write", "zero", "zero-unmap", "discard", "compressed"] as const);
    const fill = this.#pick(["runs", "runs", "noise", "zeroes"] as const);
    return { op, ...this.#place(), value: 1 + this.#random.below(255), fill };
  }

  /** Bitmaps, and often the full backup that a chain of incremental ones begins with. */
  #opening(): Step[] {
    const random = this.#random;
    const steps: Step[] = this.#many(random.below(3), () => this.#add());
    if (random.chance(0.7)) steps.push(this.#guest());
    const [name] = this.#bitmaps;
    if (name === undefined || random.chance(0.4)) return steps;
    const full = { sync: "full", mode: this.#pick(["on-success", "always"] as const), cancel: false } as const;
    return [...steps, { ...this.#backup(name), ...full }];
  }

  #add(): Step {
    const free = NAMES.filter((name) => !this.#bitmaps.includes(name));
    const name = this.#pick(free.length > 0 && this.#random.chance(0.9) ? free : NAMES);
    this.#bitmaps.push(name);
    const granularity = this.#pick(GRANULARITIES);
    const [persistent, disabled] = [this.#random.chance(0.8), this.#random.chance(0.15)];
    return { op: "add", name, granularity, persistent, disabled };
  }

  #known(): string {
    return this.#pick(this.#bitmaps.length > 0 && this.#random.chance(0.9) ? this.#bitmaps : NAMES);
  }

  #onBitmap(): Step {
    const name = this.#known();
    const op = this.#pick(["remove", "clear", "enable", "disable"] as const);
    if (op === "remove") this.#bitmaps = this.#bitmaps.filter((other) => other !== name);
    return { op, name };
  }

  #step(): Step {
    const lot = this.#random.below(100);
    if (lot < 38) return this.#guest();
    if (lot < 44) {
      const count = 2 + this.#random.below(5);
      return { op: "burst", place: this.#place(), requests: this.#many(count, () => this.#guest()) };
    }
    if (lot < 46) return { op: "read", place: this.#place() };
    if (lot < 50) return { op: "flush" };
    if (lot < 54) return { op: "resize", sectors: 1 + this.#random.below(4096) };
    if (lot < 60) return this.#add();
    if (lot < 66) return this.#onBitmap();
    if (lot < 70)
      return { op: "merge", name: this.#known(), sources: this.#many(1 + this.#random.below(2), () => this.#known()) };
    if (lot < 85) return this.#backup(this.#known());
    if (lot < 87) return { op: "options", options: this.#pick(OPTIONS) };
    if (lot < 90 && this.#options.tools) return { op: "qemu-io", place: this.#place(), value: this.#random.below(256) };
    return {
      op: this.#pick(["close", "close", "inactivate", "inactivate", "read-only", "read-write", "read-write", "crash"]),
    };
  }

  #backup(bitmap: string): BackupStep {
    const random = this.#random;
    return {
      op: "backup",
      sync: this.#pick(["full", "top", "none", "incremental", "incremental", "incremental", "bitmap"]),
      mode: this.#pick(["on-success", "always", "never"]),
      bitmap,
      drive: random.chance(0.2),
      compress: random.chance(0.3),
      cancel: random.chance(0.15),
      chunkClusters: random.below(3),
      target: this.#shape(false),
      during: this.#many(random.below(6), () => this.#guest()),
    };
  }
}
