// A device under the fuzzer: every access of the guest to it, and what must hold around each of them.

import { systemClock } from "../../src/base/clock.ts";
import { subscribeTrace } from "../../src/base/trace.ts";
import { makeMachine, type TestMachine } from "../devices/support/machine.ts";
import { FuzzDisk } from "./fuzz-disk.ts";
import { MAX_QUEUES, RAM_BASE, RAM_BYTES } from "./fuzz-guest.ts";
import { FuzzMemory } from "./fuzz-memory.ts";
import { ZonedFuzzDisk } from "./fuzz-zones.ts";
import { type ArmStep, type FuzzSetup, type FuzzStep, zonesOf } from "./program.ts";
import { QueuePlaces } from "./queue-places.ts";
import { ShadowRam } from "./shadow-ram.ts";

export const DISK_SECTORS: number = 64;
const MAX_TURNS = 200;
const RING_MISTAKES: ReadonlySet<string> = new Set(
  "AvailableIndexJump HeadOutOfRange NextOutOfRange DescriptorLoop DescriptorNotAvailable IndirectNotNegotiated IndirectWithNext IndirectNested IndirectLength IndirectOutsideRam TooManyInFlight NoStatusByte StatusOutsideRam".split(
    " ",
  ),
);

/** What a second thread of the guest can do while the device is at work: registers it cannot write then. */
const RAM_ALONE: ReadonlySet<string> = new Set(["poke", "ring"]);

export class FuzzMachine {
  readonly setup: FuzzSetup;
  readonly legacy: boolean;
  readonly memory: FuzzMemory = new FuzzMemory({ baseAddress: RAM_BASE, sizeBytes: RAM_BYTES });
  readonly disk: FuzzDisk;
  /** Over the disk, where it has zones. */
  readonly zoned: ZonedFuzzDisk | undefined;
  readonly machine: TestMachine;
  readonly shadow: ShadowRam;
  readonly mistakes: Map<string, number> = new Map();
  readonly #places: QueuePlaces;
  /** Does what was to be done while the device was at work. */
  readonly #perform: (step: FuzzStep) => void;
  /** A ring is, until the next reset: a legacy device does not show it. */
  #broken = false;
  /** The write that the device is at work on. */
  #write: readonly [offset: number, value: number, width: number] | undefined;
  /** Accesses within accesses. */
  #depth = 0;
  #armed: { step: ArmStep; left: number }[] = [];
  /** Something happened while the device was at work, since the last check of what it told. */
  #interleaved = false;
  #yields = 0;

  constructor(setup: FuzzSetup, perform: (step: FuzzStep) => void) {
    const { layout, readOnly } = setup;
    this.setup = setup;
    this.#perform = perform;
    this.legacy = layout.startsWith("legacy");
    const { memory } = this;
    memory.bytes.fill(0xee);
    this.disk = new FuzzDisk(DISK_SECTORS, readOnly);
    const zones = zonesOf(setup);
    this.zoned = zones === undefined ? undefined : new ZonedFuzzDisk(zones, this.disk);
    this.machine = makeMachine({
      driver: this.zoned?.driver ?? this.disk,
      memory,
      readOnly,
      discard: this.zoned === undefined ? "ignore" : "unmap",
      legacy: this.legacy,
      bigEndian: layout === "legacy big-endian",
      device: {
        queueSizeMax: setup.queueSizeMax,
        queues: setup.queues,
        offeredFeatures: { ...setup.offers, packed: layout === "packed" },
      },
      clock: { ...systemClock, nowMs: () => 0, yield: () => this.#yield() },
    });
    this.#places = new QueuePlaces(layout, MAX_QUEUES, setup.queueSizeMax, (offset) => this.read(offset));
    this.shadow = new ShadowRam(memory, layout === "packed", layout === "legacy big-endian");
    if (setup.watched) this.shadow.watch();
    this.machine.line.onChange((raised) => {
      if (raised) this.#happen("line");
    });
    this.disk.onRequest = () => this.#happen("disk");
  }

  /** Listens to the mistakes that the device finds, until it is disposed of. */
  trace(): Disposable {
    const end = subscribeTrace("virtio_guest_error", (_name, { mistake }) => {
      const name = String(mistake);
      this.mistakes.set(name, (this.mistakes.get(name) ?? 0) + 1);
      if (RING_MISTAKES.has(name)) this.#broken = true;
    });
    return { [Symbol.dispose]: end };
  }

  arm(step: ArmStep): void {
    this.#armed.push({ step, left: step.after });
    if (step.on === "memory") this.memory.onLook = () => this.#happen("memory");
  }

  disarm(): void {
    this.#armed = [];
    this.memory.onLook = undefined;
  }

  read(offset: number): number {
    return this.memory.atRest(() => this.machine.target.readRegister(offset, 4));
  }

  write(offset: number, value: number, width: 1 | 2 | 4 = 4): void {
    this.settle();
    this.#places.before(offset, value, width);
    if (width === 4 && offset === 0x070 && value === 0) this.#broken = false;
    if (width === 4 && offset === 0x070 && (value === 0 || (value & 0x80) !== 0)) this.shadow.forbid();
    const ends = width === 4 && offset === 0x070 && (value === 0 || (value & 0x80) !== 0);
    const mayGoLive = !ends && !this.#broken && (this.read(0x070) & 0xc0) === 0;
    const outer = this.#write;
    this.#write = [offset, value, width];
    this.#enter();
    try {
      this.machine.target.writeRegister(offset, value, width);
    } finally {
      this.#leave();
      this.#write = outer;
    }
    this.#places.after(offset, value, width);
    // A queue that went live with this write may have been used at once, and have broken over it.
    if (mayGoLive && (this.legacy || (this.read(0x070) & 4) !== 0)) this.shadow.allow(this.#places.ready);
    this.#conclude();
  }

  /** Before the device acts: what it did so far was allowed, and what it may do now is known. */
  settle(): void {
    this.#lookWithin();
    this.shadow.check(this.#depth === 0 && !this.#interleaved);
    if (this.#live) this.shadow.allow(this.#places.ready);
  }

  #conclude(): void {
    if (this.#live) this.shadow.allow(this.#places.ready);
    this.shadow.check(this.#depth === 0 && !this.#interleaved);
    if (this.#depth === 0) this.#interleaved = false;
    if (!this.#live) this.shadow.forbid();
  }

  get #live(): boolean {
    if (this.#broken || this.#places.ready.length === 0) return false;
    const status = this.read(0x070);
    return this.setup.layout.startsWith("legacy") ? (status & 0x80) === 0 : (status & 0xc4) === 4;
  }

  asGuest(work: () => void): void {
    this.#lookWithin();
    this.shadow.check(this.#depth === 0 && !this.#interleaved);
    this.memory.atRest(work);
    this.shadow.adopt();
    if (this.#live) this.shadow.allow(this.#places.ready);
  }

  /** In the middle of a write: what it has set up by now counts. */
  #lookWithin(): void {
    if (this.#write === undefined) return;
    this.#places.after(...this.#write);
    if (this.#live) this.shadow.allow(this.#places.ready);
  }

  #enter(): void {
    if (this.#depth++ === 0) this.memory.enter();
  }

  #leave(): void {
    if (--this.#depth === 0) this.memory.leave();
  }

  /** Does what was to be done at this point, each once. */
  #happen(on: ArmStep["on"]): void {
    const due = this.#armed.filter((armed) => armed.step.on === on && armed.left-- === 0);
    if (due.length === 0) return;
    this.#armed = this.#armed.filter((armed) => !due.includes(armed));
    this.#interleaved = true;
    for (const { step } of due) if (on === "line" || RAM_ALONE.has(step.what.do)) this.#perform(step.what);
    this.memory.onLook = this.#armed.some(({ step }) => step.on === "memory")
      ? () => this.#happen("memory")
      : undefined;
  }

  /** All that is under way comes to its end, within so many turns. */
  async quiesce(): Promise<void> {
    this.disk.holding = false;
    this.settle();
    for (let turn = 0; turn < 2 || this.#yields > 0 || this.disk.held.length > 0; turn++) {
      if (turn > MAX_TURNS) throw new Error(`the device is not done after ${turn} turns of the event loop`);
      await this.turn(() => this.disk.end(this.disk.held.length, undefined));
    }
  }

  async turn(begin: () => void): Promise<void> {
    this.#enter();
    try {
      begin();
      await new Promise((resolve) => setImmediate(resolve));
    } finally {
      this.#leave();
    }
    this.#conclude();
  }

  async #yield(): Promise<void> {
    this.#yields++;
    await new Promise((resolve) => setImmediate(resolve));
    this.#yields--;
  }

  checkBank(): void {
    const [magic, status, interrupts] = [this.read(0x000), this.read(0x070), this.read(0x060)];
    const { raised } = this.machine.line;
    if (magic !== 0x7472_6976) throw new Error(`MagicValue reads 0x${magic.toString(16)}`);
    if ((status & ~0xcf) !== 0) throw new Error(`Status reads 0x${status.toString(16)}`);
    if ((interrupts & ~3) !== 0) throw new Error(`InterruptStatus reads ${interrupts}`);
    if (raised !== (interrupts !== 0)) throw new Error(`the line is ${raised}, InterruptStatus ${interrupts}`);
  }
}
