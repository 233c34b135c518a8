// Programs by chance: mostly what a good driver does, with mutations put into it.

import type { Random } from "../support/simulation.ts";
import { MAX_QUEUES, MAX_RING, RAM_BASE, RAM_BYTES } from "./fuzz-guest.ts";
import { DISK_SECTORS } from "./fuzz-machine.ts";
import {
  type DescriptorChange,
  FUZZ_LAYOUTS,
  type FuzzProgram,
  type FuzzSetup,
  type FuzzStep,
  type FuzzZones,
  type Hex,
  type RequestStep,
} from "./program.ts";

const REGISTERS = [
  0x000, 0x004, 0x008, 0x00c, 0x010, 0x014, 0x020, 0x024, 0x028, 0x030, 0x034, 0x038, 0x03c, 0x040, 0x044, 0x050, 0x060,
  0x064, 0x070, 0x080, 0x084, 0x090, 0x094, 0x0a0, 0x0a4, 0x0ac, 0x0b0, 0x0b4, 0x0b8, 0x0bc, 0x0c0, 0x0fc, 0x100, 0x104,
  0x120, 0x121, 0x122, 0x15c, 0x160, 0x1fc,
];
const NUMBERS = [
  0,
  1,
  2,
  3,
  4,
  7,
  8,
  9,
  15,
  16,
  17,
  31,
  32,
  33,
  48,
  63,
  64,
  65,
  255,
  256,
  257,
  511,
  512,
  513,
  1024,
  4096,
  0x7fff,
  0x8000,
  0xffff,
  0x1_0000,
  0x1_0008,
  0x7fff_ffff,
  0x8000_0000,
  0xffff_fff0,
  0xffff_fffe,
  0xffff_ffff,
  RAM_BASE,
  RAM_BASE + RAM_BYTES,
  RAM_BASE + RAM_BYTES - 1,
];
const ADDRESSES = [
  0n,
  1n,
  BigInt(RAM_BASE - 1),
  BigInt(RAM_BASE),
  BigInt(RAM_BASE + 0x4000),
  BigInt(RAM_BASE + 0x8000),
  BigInt(RAM_BASE + RAM_BYTES - 16),
  BigInt(RAM_BASE + RAM_BYTES - 1),
  BigInt(RAM_BASE + RAM_BYTES),
  (1n << 32n) + BigInt(RAM_BASE),
  (1n << 53n) - 1n,
  1n << 53n,
  1n << 63n,
  (1n << 64n) - 0x1000n,
  (1n << 64n) - 1n,
];
const TYPES = [0, 0, 0, 0, 1, 1, 1, 1, 4, 8, 11, 13, 14, 10, 15, 16, 18, 20, 22, 24, 26];
const ODD_TYPES = [2, 3, 5, 6, 7, 9, 12, 17, 19, 27, 0x77, 0x100, 0x1_0000, 0x8000_0000, 0x8000_0001, 0xffff_ffff];
/** On a disk with zones. */
const ZONED_TYPES = [0, 0, 1, 1, 1, 4, 11, 13, 14, 15, 15, 15, 15, 16, 16, 18, 18, 20, 20, 22, 24, 24, 26];
const SECTORS = [
  0n,
  1n,
  60n,
  63n,
  64n,
  65n,
  1n << 32n,
  1n << 53n,
  1n << 55n,
  (1n << 55n) + 1n,
  (1n << 63n) - 1n,
  (1n << 64n) - 1n,
];
const ALL_FEATURES = "0xffffffffffffffff";
const FEATURE_MASKS = [
  "0x0",
  "0x200",
  "0xa00",
  "0x10000000",
  "0x20000000",
  "0x30000000",
  "0x800000000",
  ALL_FEATURES,
  ALL_FEATURES,
  ALL_FEATURES,
];
const DESCRIPTOR_FLAGS = [0, 1, 2, 3, 4, 5, 6, 7, 0x80, 0x81, 0x8000, 0x8080, 0x8082, 0x84, 0x8004, 0xff7f, 0xffff];

export class ProgramGenerator {
  readonly #random: Random;

  constructor(random: Random) {
    this.#random = random;
  }

  /** A device and `steps` steps on it; a good driver's to begin with. */
  program(steps: number): FuzzProgram {
    const setup = this.setup();
    const tame = this.#random.below(Math.ceil(steps / 2));
    const each = (_: unknown, i: number): FuzzStep => (i < tame ? this.#tameStep(setup) : this.step(setup));
    return { setup, steps: [this.init(setup, this.#chance(0.85)), ...Array.from({ length: steps }, each)] };
  }

  setup(): FuzzSetup {
    const offer = (probability: number): boolean => this.#chance(probability);
    const layout = this.#pick(FUZZ_LAYOUTS);
    const zoned = !layout.startsWith("legacy") && offer(0.3);
    return {
      layout,
      queueSizeMax: this.#pick([4, 8, 16, MAX_RING]),
      queues: this.#pick([1, MAX_QUEUES]),
      offers: {
        indirect: offer(0.8),
        eventIndex: offer(0.7),
        ringReset: offer(0.8),
        inOrder: offer(0.3),
        notificationData: offer(0.3),
      },
      readOnly: this.#chance(0.08),
      watched: this.#chance(0.3),
      ...(zoned ? { zoned: this.#zones() } : {}),
    };
  }

  #zones(): FuzzZones {
    const zoneSectors = this.#pick([4, 8, 12, 16]);
    const granularitySectors = this.#pick([1, 1, 2, 4]);
    const whole = Math.ceil(DISK_SECTORS / zoneSectors);
    const one = (): number[] => (this.#chance(0.3) ? [this.#random.below(whole)] : []);
    const maxActive = this.#pick([0, 0, 1, 2, 3]);
    const conventional = this.#pick([0, 1, 2]);
    const readOnly = one().filter((zone) => zone >= conventional);
    return {
      model: this.#pick(["host-managed", "host-managed", "host-aware"]),
      zoneSectors,
      capacitySectors: this.#chance(0.5) ? zoneSectors : granularitySectors,
      conventional,
      maxOpen: maxActive === 0 ? this.#pick([0, 1, 2]) : this.#random.below(maxActive + 1),
      maxActive,
      maxAppendSectors: this.#pick([0, 1, 4, zoneSectors]),
      granularitySectors,
      written: this.#chance(0.2),
      readOnly,
      offline: one().filter((zone) => zone >= conventional && !readOnly.includes(zone)),
    };
  }

  /** One step; what follows on it is left to chance as well. */
  step(setup: FuzzSetup): FuzzStep {
    const dice = this.#random.below(1000);
    if (dice < 420) return this.request(setup, this.#chance(0.75));
    if (dice < 520)
      return { do: "notify", queue: this.#queue(), hint: this.#chance(0.8) ? 0 : this.#random.below(0x10000) };
    if (dice < 620) return { do: "reap" };
    if (dice < 670) return { do: "acknowledge" };
    if (dice < 730) return { do: "time", ends: this.#random.below(6), fails: this.#chance(0.2) };
    if (dice < 755) return { do: "hold", on: this.#chance(0.6) };
    if (dice < 800) return this.init(setup, this.#chance(0.8));
    if (dice < 840) return this.#ring();
    if (dice < 880) return this.#poke();
    if (dice < 930) return this.#register();
    if (dice < 945)
      return {
        do: "write",
        offset: 0x070,
        value: this.#pick([0, 0, 1, 3, 0x0b, 0x0f, 0x4f, 0x8f, 0x20, 0xffff_ffff]),
        width: 4,
      };
    if (dice < 960)
      return { do: "write", offset: this.#pick([0x044, 0x0c0, 0x040]), value: this.#random.below(2), width: 4 };
    if (dice < 968) return { do: "resize", sectors: this.#pick([0, 1, 4, 32, DISK_SECTORS, DISK_SECTORS, 128]) };
    return this.#arm(setup);
  }

  #tameStep(setup: FuzzSetup): FuzzStep {
    const dice = this.#random.below(100);
    if (dice < 50) return this.request(setup, true);
    if (dice < 58) return { do: "notify", queue: this.#queue(), hint: 0 };
    if (dice < 85) return { do: "reap" };
    if (dice < 90) return { do: "acknowledge" };
    if (dice < 97) return { do: "time", ends: this.#random.below(6), fails: false };
    return { do: "hold", on: this.#chance(0.3) };
  }

  init(setup: FuzzSetup, good: boolean): FuzzStep {
    const packed = setup.layout === "packed";
    const exponent = this.#random.below(Math.log2(setup.queueSizeMax) + 1);
    const size = packed && this.#chance(0.5) ? 1 + this.#random.below(setup.queueSizeMax) : 2 ** exponent;
    const features = setup.zoned !== undefined && this.#chance(0.8) ? ALL_FEATURES : this.#pick(FEATURE_MASKS);
    const sound = {
      do: "init",
      features,
      extra: "0x0",
      size: Math.max(size, this.#chance(0.8) ? 4 : 1),
      status: 0x0f,
      move: undefined,
    } as const;
    if (good) return sound;
    const move = {
      area: this.#pick(["descriptorArea", "driverArea", "deviceArea"] as const),
      to: this.#random.below(RAM_BYTES / 16) * 16 + (this.#chance(0.1) ? this.#random.below(16) : 0),
    };
    switch (this.#random.below(4)) {
      case 0:
        return { ...sound, extra: hex(1n << BigInt(this.#random.below(64))) };
      case 1:
        return { ...sound, status: this.#pick([0, 1, 3, 7, 0x0b, 0x8f, 0x4f, 0xff]) };
      case 2:
        return { ...sound, size: this.#pick(NUMBERS.slice(0, 20)) };
      default:
        return { ...sound, move };
    }
  }

  request({ zoned }: FuzzSetup, good: boolean): RequestStep {
    const odd = (probability: number): boolean => !good && this.#chance(probability);
    const type = this.#chance(0.04) ? this.#pick(ODD_TYPES) : this.#pick(zoned === undefined ? TYPES : ZONED_TYPES);
    const ranged = [11, 13, 14].includes(type);
    const atZone = zoned !== undefined && type !== 0 && this.#chance(0.8);
    const anywhere = this.#chance(0.93) ? BigInt(this.#random.below(DISK_SECTORS)) : this.#pick(SECTORS);
    const sector = atZone ? this.#zoneStart(zoned) : anywhere;
    // An append reads its data; what it writes, the sector, stands before its status.
    const appends = zoned !== undefined && type === 15;
    const reads = [0, 8, 10, 16].includes(type) || (type === 15 && !appends);
    const ranges = ranged
      ? Array.from({ length: this.#chance(0.8) ? 1 : this.#random.below(4) }, () => this.#range(zoned))
      : [];
    const whole = Array.from({ length: this.#random.below(4) }, () => 512 * (1 + this.#random.below(3)));
    const sound =
      type === 8
        ? [20]
        : type === 16
          ? [64, 128]
          : type === 15
            ? [512 * (1 + (appends ? this.#random.below(4) : 0))]
            : ranged
              ? [16 * ranges.length]
              : whole;
    const data = this.#chance(0.93)
      ? sound
      : this.#pick([[], [0], [1], [511], [513], [8, 504], [512, 0, 512], [17], [7], [4096]]);
    return {
      do: "request",
      queue: this.#queue(),
      type,
      sector: hex(sector),
      header: this.#chance(0.85) ? [16] : this.#pick([[8, 8], [1, 15], [4, 12], [15], [0, 16], [17], [24], []]),
      data,
      writable: odd(0.1) ? !reads : reads,
      ranges,
      status: odd(0.1) ? this.#pick([0, 2, 3]) : appends ? 9 : 1,
      shape: this.#pick(["direct", "direct", "indirect", "mixed"]),
      notify: this.#chance(0.7),
      changes: good ? [] : Array.from({ length: this.#random.below(3) }, () => this.#change()),
    };
  }

  #change(): DescriptorChange {
    const field = this.#pick(["address", "length", "flags", "next or id"] as const);
    const flip = this.#chance(0.4);
    const bit = 1n << BigInt(this.#random.below(field === "address" ? 64 : field === "length" ? 32 : 16));
    const inRam = BigInt(RAM_BASE + this.#random.below(RAM_BYTES));
    const value =
      field === "address"
        ? this.#chance(0.5)
          ? inRam
          : this.#pick(ADDRESSES)
        : field === "flags"
          ? BigInt(this.#pick(DESCRIPTOR_FLAGS))
          : BigInt(this.#pick(NUMBERS));
    return { entry: this.#random.below(7), field, value: hex(flip ? bit : value), flip };
  }

  #zoneStart({ zoneSectors, conventional }: FuzzZones): bigint {
    // Mostly one of a few zones, so that requests meet.
    const zones = Math.ceil(DISK_SECTORS / zoneSectors);
    const zone = this.#chance(0.7)
      ? Math.min(conventional + this.#random.below(2), zones - 1)
      : this.#random.below(zones);
    return BigInt(zone * zoneSectors);
  }

  #range(zoned: FuzzZones | undefined): { sector: Hex; sectors: number; flags: number } {
    if (zoned !== undefined && this.#chance(0.5)) {
      const sectors = this.#chance(0.6) ? zoned.zoneSectors : this.#random.below(6);
      return { sector: hex(this.#zoneStart(zoned)), sectors, flags: this.#random.below(2) };
    }
    const sector = this.#chance(0.9) ? BigInt(this.#random.below(DISK_SECTORS)) : this.#pick(SECTORS);
    const sectors = this.#chance(0.9) ? this.#random.below(6) : this.#pick(NUMBERS);
    return { sector: hex(sector), sectors, flags: this.#chance(0.8) ? this.#random.below(2) : this.#pick(NUMBERS) };
  }

  #ring(): FuzzStep & { do: "ring" } {
    const add = this.#chance(0.5) ? this.#random.below(5) - 2 : this.#pick(NUMBERS) & 0xffff;
    return {
      do: "ring",
      queue: this.#queue(),
      area: this.#pick(["driverArea", "driverArea", "deviceArea"]),
      word: this.#chance(0.7) ? this.#random.below(4) : this.#random.below(80),
      add,
    };
  }

  #poke(): FuzzStep & { do: "poke" } {
    const at = this.#chance(0.6)
      ? this.#random.below(0x420)
      : this.#chance(0.5)
        ? 0x4000 + this.#random.below(0x800)
        : this.#random.below(RAM_BYTES);
    return {
      do: "poke",
      at,
      value: this.#chance(0.5) ? this.#pick(NUMBERS) : this.#random.below(2 ** 32),
      width: this.#pick([1, 2, 4]),
    };
  }

  #register(): FuzzStep {
    const width = this.#chance(0.75) ? 4 : this.#pick([1, 2] as const);
    const offset = Math.min(0x200 - width, this.#chance(0.85) ? this.#pick(REGISTERS) : this.#random.below(0x200));
    if (this.#chance(0.35)) return { do: "read", offset, width };
    return { do: "write", offset, value: this.#chance(0.7) ? this.#pick(NUMBERS) : this.#random.below(2 ** 32), width };
  }

  /** While the device is at work: another thread's writes to RAM; in an interrupt handler, anything that takes no time. */
  #arm(setup: FuzzSetup): FuzzStep {
    const on = this.#pick(["memory", "memory", "disk", "line", "line"] as const);
    if (on !== "line")
      return {
        do: "arm",
        on,
        after: this.#random.below(on === "memory" ? 40 : 3),
        what: this.#chance(0.6) ? this.#poke() : this.#ring(),
      };
    for (;;) {
      const what = this.step(setup);
      if (what.do !== "time" && what.do !== "resize" && what.do !== "arm")
        return { do: "arm", on, after: this.#random.below(2), what };
    }
  }

  #queue(): number {
    return this.#chance(0.6) ? 0 : this.#random.below(MAX_QUEUES);
  }

  #chance(probability: number): boolean {
    return this.#random.chance(probability);
  }

  #pick<Value>(values: readonly Value[]): Value {
    return values[this.#random.below(values.length)]!;
  }
}

function hex(value: bigint): Hex {
  return `0x${value.toString(16)}`;
}
