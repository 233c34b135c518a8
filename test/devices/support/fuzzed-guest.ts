// A guest that does anything: random register accesses, descriptors, rings and RAM, mostly almost right. One seed, one run.

import { RawSplitQueue, splitRingLayout } from "../../../guest/index.ts";
import type { AccessWidth } from "../../../src/memory/bus.ts";
import { Random } from "../../support/simulation.ts";
import { HeldDriver } from "./held-driver.ts";
import { makeMachine, RAM_BASE, type TestMachine } from "./machine.ts";
import { headerBytes } from "./raw-disk.ts";
import { WriteWatch } from "./write-watch.ts";

const RAM_BYTES = 32 << 10;
const SECTORS = 64;
// Where the parts lie when they are where they should be.
const RINGS = RAM_BASE;
const TABLES = RAM_BASE + 0x1000;
const HEADERS = RAM_BASE + 0x2000;
const DATA = RAM_BASE + 0x3000;
const DATA_BYTES = RAM_BYTES - 0x3000;

const NEXT = 1;
const WRITE = 2;
const INDIRECT = 4;

const REGISTERS = [
  0x000, 0x004, 0x008, 0x010, 0x014, 0x020, 0x024, 0x028, 0x030, 0x034, 0x038, 0x03c, 0x040, 0x044, 0x050, 0x060, 0x064,
  0x070, 0x080, 0x084, 0x090, 0x094, 0x0a0, 0x0a4, 0x0ac, 0x0b0, 0x0c0, 0x0fc, 0x100, 0x104, 0x120, 0x15c, 0x160, 0x1fc,
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
  0x7fff,
  0x8000,
  0xffff,
  0x1_0000,
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
  BigInt(RAM_BASE + RAM_BYTES - 1),
  BigInt(RAM_BASE + RAM_BYTES),
  (1n << 32n) + BigInt(RAM_BASE),
  (1n << 53n) - 1n,
  1n << 53n,
  1n << 63n,
  (1n << 64n) - 0x1000n,
  (1n << 64n) - 1n,
];
const TYPES = [0, 0, 0, 1, 1, 1, 4, 8, 5, 11, 13, 0x77, 0x8000_0000, 0xffff_ffff];
const SECTOR_NUMBERS = [0n, 1n, 60n, 63n, 64n, 65n, 1n << 32n, 1n << 53n, 1n << 55n, (1n << 64n) - 1n];
const FEATURE_SETS = [0, 0x200, 0x1000_0000, 0x2000_0000, 0x3000_0000, 0x3000_6e46, 0x0000_0a00, 0xffff_ffff];

/** What the run came across, to see that it came across something. */
export interface FuzzTally {
  actions: number;
  used: number;
  needsReset: number;
  changedBytes: number;
}

export class FuzzedGuest {
  readonly machine: TestMachine;
  readonly driver: HeldDriver;
  readonly tally: FuzzTally = { actions: 0, used: 0, needsReset: 0, changedBytes: 0 };
  readonly #random: Random;
  readonly #watch: WriteWatch;
  #queue: RawSplitQueue;

  constructor(seed: number) {
    this.#random = new Random(seed);
    this.driver = new HeldDriver(SECTORS);
    this.driver.holding = this.#random.chance(0.5);
    const readOnly = this.#random.chance(0.1);
    const queueSizeMax = this.#pick([4, 64, 64, 256]);
    this.machine = makeMachine({ driver: this.driver, ramBytes: RAM_BYTES, readOnly, device: { queueSizeMax } });
    this.machine.memory.bytes.fill(0xee);
    this.#watch = new WriteWatch(this.machine);
    this.#queue = new RawSplitQueue(this.machine.target, splitRingLayout(RINGS, 8));
  }

  /** `count` actions, each checked. Throws what went wrong. */
  async run(count: number): Promise<void> {
    this.#bringUp();
    for (let i = 0; i < count; i++) {
      this.tally.actions++;
      await this.#act();
      this.#checkBank();
    }
  }

  /** What an action leaves behind must make sense whatever it was. */
  #checkBank(): void {
    const { registers, line } = this.machine;
    const { status, interruptStatus } = registers;
    if ((status & ~0xcf) !== 0) throw new Error(`Status reads 0x${status.toString(16)}`);
    if ((interruptStatus & ~3) !== 0) throw new Error(`InterruptStatus reads ${interruptStatus}`);
    if (line.raised !== (interruptStatus !== 0)) throw new Error(`the line is ${line.raised}, not ${interruptStatus}`);
    if (registers.magicValue !== 0x7472_6976) throw new Error("MagicValue has changed");
  }

  async #act(): Promise<void> {
    const dead = (this.machine.registers.status & 0xc4) !== 4;
    if (dead && this.#random.chance(0.5)) return this.#bringUp();
    const dice = this.#random.below(100);
    if (dice < 45) return this.#request();
    if (dice < 65) return this.#write(0x050, 0);
    if (dice < 71) return this.#poke();
    if (dice < 78) return this.#anyRegister();
    if (dice < 81) return this.#bringUp();
    if (dice < 83) return this.#changeRing();
    if (dice < 86) return this.#write(0x064, this.#pick([1, 2, 3, 0xffff_ffff]));
    if (dice < 88) return this.#write(0x070, this.#pick([0, 0, 1, 3, 0x0b, 0x0f, 0x4f, 0x8f, 0xffff_ffff]));
    if (dice < 90) return this.#write(this.#pick([0x044, 0x0c0]), this.#random.below(2));
    return this.#letTimePass();
  }

  /** The device gets to do what it does later. */
  async #letTimePass(): Promise<void> {
    this.#watch.begin();
    for (const call of [...this.driver.held]) {
      if (this.#random.chance(0.6)) call.end(this.#random.chance(0.2) ? "EIO" : undefined);
    }
    await new Promise((resolve) => setImmediate(resolve));
    this.#note();
  }

  #write(offset: number, value: number, width: AccessWidth = 4): void {
    this.#watch.begin();
    this.#watch.noteRegisterWrite(offset, value, width);
    this.machine.target.writeRegister(offset, value, width);
    this.#note();
  }

  #note(): void {
    const changed = this.#watch.end();
    this.tally.changedBytes += changed;
    if (changed > 0) this.tally.used++;
    if ((this.machine.registers.status & 0x40) !== 0) this.tally.needsReset++;
  }

  #bringUp(): void {
    const random = this.#random;
    this.#write(0x070, 0);
    this.#write(0x070, 3);
    this.#write(0x024, 1);
    this.#write(0x020, this.#pick([0, 0x001, 0x101, 0x101]));
    this.#write(0x024, 0);
    this.#write(0x020, random.chance(0.9) ? this.#pick(FEATURE_SETS.slice(0, 7)) : this.#pick(FEATURE_SETS));
    this.#write(0x070, 0x0b);
    const size = 2 ** random.below(7);
    const layout = { ...splitRingLayout(RINGS, size) };
    if (random.chance(0.1)) layout.usedRing = RAM_BASE + 4 * random.below(RAM_BYTES / 4);
    if (random.chance(0.1)) layout.availableRing = RAM_BASE + 2 * random.below(RAM_BYTES / 2);
    if (random.chance(0.1)) layout.descriptorTable = RAM_BASE + 16 * random.below(RAM_BYTES / 16);
    if (random.chance(0.8)) this.machine.target.fillRam(RINGS, 0, 0x1000);
    this.#queue = new RawSplitQueue(this.machine.target, layout);
    this.#write(0x030, random.chance(0.97) ? 0 : this.#pick(NUMBERS));
    this.#write(0x038, size);
    for (const [offset, address] of [
      [0x080, layout.descriptorTable],
      [0x090, layout.availableRing],
      [0x0a0, layout.usedRing],
    ] as const) {
      this.#write(offset, address);
      this.#write(offset + 4, random.chance(0.99) ? 0 : this.#pick(NUMBERS));
    }
    this.#write(0x044, 1);
    this.#write(0x070, 0x0f);
  }

  /** A request that is mostly right, made available. */
  #request(): void {
    const random = this.#random;
    const { target } = this.machine;
    const type = this.#pick(TYPES);
    const sector = random.chance(0.8) ? BigInt(random.below(SECTORS)) : this.#pick(SECTOR_NUMBERS);
    const header = HEADERS + random.below(0xf0) * 16;
    target.writeRam(header, headerBytes(type, sector));
    const buffers: { address: bigint; lengthBytes: number; flags: number }[] = [
      { address: BigInt(header), lengthBytes: this.#mostly(16, 16), flags: 0 },
    ];
    for (let i = random.below(4); i > 0; i--) {
      const writable = random.chance(0.9) === (type !== 1);
      buffers.push({ ...this.#buffer(512 * (1 + random.below(4))), flags: writable ? WRITE : 0 });
    }
    buffers.push({ ...this.#buffer(1), flags: random.chance(0.97) ? WRITE : 0 });
    if (random.chance(0.05)) buffers.reverse();

    const indirectFrom = random.chance(0.3) ? random.below(buffers.length) : buffers.length;
    const size = this.#queueSize();
    const first = random.below(size);
    const slot = (i: number): number => (first + i) % size;
    const table = TABLES + random.below(0x100) * 16 + (random.chance(0.1) ? random.below(16) : 0);
    for (const [i, buffer] of buffers.entries()) {
      const inTable = i >= indirectFrom;
      const next = random.chance(0.98) ? (inTable ? i - indirectFrom + 1 : slot(i + 1)) : random.below(0x10000);
      const flags = buffer.flags | (i < buffers.length - 1 || random.chance(0.01) ? NEXT : 0);
      const descriptor = { ...buffer, flags: random.chance(0.99) ? flags : random.below(0x10000), next };
      if (inTable) this.#poked(() => this.#queue.writeIndirect(table, i - indirectFrom, descriptor));
      else this.#poked(() => this.#queue.writeDescriptor(slot(i), descriptor));
    }
    if (indirectFrom < buffers.length) {
      const lengthBytes = this.#mostly(16 * (buffers.length - indirectFrom), 16);
      const flags = INDIRECT | (random.chance(0.05) ? NEXT | WRITE : 0);
      const address = random.chance(0.98) ? BigInt(table) : this.#pick(ADDRESSES);
      this.#poked(() => this.#queue.writeDescriptor(slot(indirectFrom), { address, lengthBytes, flags }));
    }
    this.#poked(() => this.#queue.publish(random.chance(0.98) ? first : random.below(0x10000)));
    if (random.chance(0.6)) this.#write(0x050, 0);
  }

  /** Somewhere to read or write: mostly where data lie, sometimes over the rings, sometimes nowhere. */
  #buffer(lengthBytes: number): { address: bigint; lengthBytes: number } {
    const random = this.#random;
    const length = this.#mostly(lengthBytes, 0x1_0000);
    if (random.chance(0.03)) return { address: this.#pick(ADDRESSES), lengthBytes: length };
    const anywhere = random.chance(0.05);
    const address = anywhere ? RAM_BASE + random.below(RAM_BYTES) : DATA + random.below(DATA_BYTES - 4096);
    return { address: BigInt(address), lengthBytes: length };
  }

  #mostly(value: number, limit: number): number {
    const random = this.#random;
    if (random.chance(0.96)) return value;
    return random.chance(0.5) ? this.#pick(NUMBERS) : random.below(limit);
  }

  /** Somewhere in RAM, something else. */
  #poke(): void {
    const { target } = this.machine;
    const address = this.#random.chance(0.7)
      ? RINGS + this.#random.below(0x3000)
      : RAM_BASE + this.#random.below(RAM_BYTES - 4);
    const value = this.#pick(NUMBERS);
    this.#poked(() => {
      if (this.#random.chance(0.5)) target.writeRam16(address, value & 0xffff);
      else target.writeRam32(address, value);
    });
  }

  #changeRing(): void {
    const queue = this.#queue;
    const value = this.#random.chance(0.5) ? this.#pick(NUMBERS) & 0xffff : queue.availIdx + this.#random.below(4);
    this.#poked(() => {
      switch (this.#random.below(4)) {
        case 0:
          queue.availIdx = value;
          break;
        case 1:
          queue.availFlags = value;
          break;
        case 2:
          queue.usedEvent = value;
          break;
        default:
          queue.usedIdx = value;
      }
    });
  }

  #anyRegister(): void {
    const random = this.#random;
    const width = random.chance(0.8) ? 4 : this.#pick([1, 2, 4] as const);
    const offset = Math.min(0x200 - width, random.chance(0.8) ? this.#pick(REGISTERS) : random.below(0x200));
    if (random.chance(0.4)) this.machine.target.readRegister(offset, width);
    else this.#write(offset, random.chance(0.7) ? this.#pick(NUMBERS) : random.below(2 ** 32), width);
  }

  /** The guest writes its own RAM; where its rings do not lie in RAM, it does not. */
  #poked(write: () => void): void {
    const { descriptorTable, availableRing, usedRing, size } = this.#queue.layout;
    const end = RAM_BASE + RAM_BYTES;
    if (descriptorTable + 16 * size > end || availableRing + 6 + 2 * size > end || usedRing + 6 + 8 * size > end)
      return;
    write();
  }

  #queueSize(): number {
    return this.#queue.size;
  }

  #pick<Value>(values: readonly Value[]): Value {
    return values[this.#random.below(values.length)]!;
  }
}
