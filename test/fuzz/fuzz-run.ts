// Runs one program on one device, and looks after every step whether all that must hold holds.

import { ExpectedDisk } from "./expected-disk.ts";
import { FuzzGuest, MAX_QUEUES, RAM_BASE, RAM_BYTES } from "./fuzz-guest.ts";
import { FuzzMachine } from "./fuzz-machine.ts";
import { type FuzzProgram, type FuzzSetup, type FuzzStep, type RequestStep, zonesOf } from "./program.ts";

const RING_PACKED = 1n << 34n;
const ZONED = "0x20000";
const T_ZONE_APPEND = 15;
const ALIGN_BYTES = 4096;

/** What a run came across. */
export interface FuzzReport {
  readonly mistakes: Map<string, number>;
  changedBytes: number;
  /** Requests whose end was checked in full. */
  verified: number;
  /** Of them, those on queues but the first, and those to zones that ended with status 0. */
  onFurtherQueues: number;
  zoneRequests: number;
  /** The status byte of the last of them, and Status at the end of the steps. */
  lastStatus: number | undefined;
  deviceStatus: number;
  /** Those of all requests since the last bring-up of the program; 0xee where nobody wrote one. */
  statusBytes: number[];
}

/** Throws what was found. Whatever the program did, the device must then come up again and work. */
export async function runProgram(program: FuzzProgram): Promise<FuzzReport> {
  const run = new FuzzRun(program.setup);
  using _trace = run.trace();
  for (const [i, step] of program.steps.entries()) {
    try {
      await run.perform(step);
    } catch (error) {
      throw new Error(`step ${i}, ${step.do}: ${error instanceof Error ? error.message : error}`, { cause: error });
    }
  }
  await run.finish();
  return run.report;
}

class FuzzRun {
  readonly report: FuzzReport;
  readonly #setup: FuzzSetup;
  readonly #device: FuzzMachine;
  readonly #guest: FuzzGuest;
  readonly #expected: ExpectedDisk;
  /** What a read-only disk has: its content since the host last changed its size. */
  #initialDisk: Uint8Array;
  /** Nothing but what a good driver does has been done since the bring-up. */
  #clean = false;
  #bringUps = 0;

  constructor(setup: FuzzSetup) {
    this.#setup = setup;
    this.#device = new FuzzMachine(setup, (step) => this.#performNow(step));
    this.#guest = new FuzzGuest(this.#device.memory, setup.layout);
    this.#expected = new ExpectedDisk(setup.readOnly, zonesOf(setup));
    this.#initialDisk = Uint8Array.from(this.#device.disk.memory.bytes);
    const { mistakes } = this.#device;
    this.report = {
      mistakes,
      changedBytes: 0,
      verified: 0,
      onFurtherQueues: 0,
      zoneRequests: 0,
      lastStatus: undefined,
      deviceStatus: 0,
      statusBytes: [],
    };
  }

  trace(): Disposable {
    return this.#device.trace();
  }

  async perform(step: FuzzStep): Promise<void> {
    if (step.do === "time") await this.#letTimePass(step.ends, step.fails);
    else if (step.do === "resize") await this.#resize(step.sectors);
    else this.#performNow(step);
    // Which queue was served first the rings do not tell: looked at after each step, they need not.
    if (this.#queues > 1) this.#reap();
    this.#device.checkBank();
    this.#device.zoned?.check(this.#idle);
    if (this.#clean) this.#expected.check(this.#device.disk.memory.bytes, this.#guest.inFlight === 0);
  }

  /** Whatever was done: all that is under way ends, a reset is quiet, and the device comes up and works. */
  async finish(): Promise<void> {
    this.#device.disarm();
    if (this.#clean) {
      for (let queue = 0; queue < this.#queues; queue++) this.#device.write(0x050, queue);
      await this.#device.quiesce();
      this.#reap();
      if (this.#guest.inFlight > 0) throw new Error(`${this.#guest.inFlight} requests of a good driver never ended`);
    }
    this.report.deviceStatus = this.#device.read(0x070);
    this.report.statusBytes = this.#guest.statusBytes;
    this.#device.write(0x070, 0);
    const [status, interrupts] = [this.#device.read(0x070), this.#device.read(0x060)];
    if (status !== 0 || interrupts !== 0 || this.#device.machine.line.raised) {
      throw new Error(
        `after a reset Status reads ${status}, InterruptStatus ${interrupts}, the line is ${this.#device.machine.line.raised}`,
      );
    }
    await this.#device.quiesce();
    this.#device.shadow.check(true); // nothing of what was in flight may have touched RAM
    const { node, backend } = this.#device.machine;
    if (node.inFlight + backend.inFlight + (this.#device.zoned?.inFlight ?? 0) > 0)
      throw new Error("requests are in flight though the disk has ended all");
    this.#checkReadOnly();
    await this.#recover();
    this.report.changedBytes = this.#device.shadow.changedBytes;
  }

  #checkReadOnly(): void {
    if (!this.#setup.readOnly) return;
    if (Buffer.compare(this.#device.disk.memory.bytes, this.#initialDisk) !== 0) {
      throw new Error("the read-only disk has changed");
    }
  }

  async #recover(): Promise<void> {
    const zoned = zonesOf(this.#setup);
    // §5.2.5.2: without ZONED nobody can use a host-managed disk.
    const sound = {
      do: "init",
      features: zoned === undefined ? "0x0" : ZONED,
      extra: "0x0",
      size: 4,
      status: 0x0f,
      move: undefined,
    } as const;
    await this.perform(sound);
    const request = {
      do: "request",
      queue: 0,
      header: [16],
      status: 1,
      shape: "direct",
      notify: true,
      changes: [],
      ranges: [],
      sector: "0x3",
      data: [512],
    } as const;
    const requests: RequestStep[] = [
      // Where there are zones, whether a sector can be written hangs on all that was done.
      zoned === undefined
        ? { ...request, type: 1, writable: false }
        : { ...request, type: this.#device.legacy ? 4 : 16, writable: true, data: [64, 128] },
      { ...request, type: zoned === undefined ? 0 : 4, writable: true },
    ];
    const { lastStatus, deviceStatus, verified, zoneRequests } = this.report;
    for (const step of requests) {
      await this.perform(step);
      await this.perform({ do: "reap" });
      const fits =
        zoned !== undefined || (this.#device.disk.lengthBytes >= 4 * 512 && !(this.#setup.readOnly && step.type === 1));
      if (this.report.lastStatus !== (fits ? 0 : 1))
        throw new Error(`recovery: a request ended with ${this.report.lastStatus}`);
    }
    if (this.report.verified !== verified + 2) throw new Error("recovery: a request did not end");
    Object.assign(this.report, { lastStatus, deviceStatus, verified, zoneRequests });
    this.#device.write(0x070, 0);
    this.#device.shadow.check(true);
  }

  #performNow(step: FuzzStep): void {
    if (!KEEPS_CLEAN.has(step.do)) this.#clean = false;
    switch (step.do) {
      case "init":
        return this.#bringUp(step);
      case "request":
        return this.#request(step);
      case "write":
        return this.#device.write(step.offset, step.value, step.width);
      case "read":
        this.#device.settle();
        this.#device.machine.target.readRegister(step.offset, step.width);
        return;
      case "poke":
        return this.#device.asGuest(() => this.#poke(step.at, step.value, step.width));
      case "ring":
        return this.#device.asGuest(() => this.#changeRing(step));
      case "notify":
        return this.#device.write(0x050, (step.queue | (step.hint << 16)) >>> 0);
      case "acknowledge":
        return this.#device.write(0x064, this.#device.read(0x060));
      case "reap":
        return this.#reap();
      case "hold":
        this.#device.disk.holding = step.on;
        if (step.on) this.#expected.exact = false;
        return;
      case "arm":
        return this.#device.arm(step);
      default:
        throw new Error(`${step.do} takes time`);
    }
  }

  #bringUp({ features, extra, size, status, move }: FuzzStep & { do: "init" }): void {
    const { legacy } = this.#device;
    const bringUp = ++this.#bringUps;
    this.#device.write(0x070, 0);
    this.#device.write(0x070, status & 3);
    let accepted = (this.#offered() & BigInt(features)) | BigInt(extra);
    if (!legacy) accepted |= 1n << 32n;
    if (this.#setup.layout === "packed") accepted |= RING_PACKED;
    for (const word of [1, 0]) {
      this.#device.write(0x024, word);
      this.#device.write(0x020, Number((accepted >> BigInt(32 * word)) & 0xffff_ffffn));
    }
    if (!legacy) this.#device.write(0x070, status & 0x0b);
    if (legacy) this.#device.write(0x028, ALIGN_BYTES);
    const good = Math.min(size, this.#setup.queueSizeMax);
    const places = Array.from({ length: this.#queues }, (_, queue) => {
      const place = { ...this.#guest.placeOf(queue, good, ALIGN_BYTES) };
      if (move !== undefined && !legacy && queue === 0) place[move.area] = RAM_BASE + (move.to % (RAM_BYTES - 0x800));
      return place;
    });
    const has = (bit: number): boolean => ((accepted >> BigInt(bit)) & 1n) === 1n;
    this.#device.asGuest(() => this.#guest.begin(places, { eventIndex: has(29), indirect: has(28), inOrder: has(35) }));
    const sized = good > 0 && (this.#setup.layout === "packed" || (good & (good - 1)) === 0);
    this.#clean = sized && extra === "0x0" && move === undefined && (status & 0xcf) === 0x0f;
    for (const [queue, place] of places.entries()) this.#placeQueue(queue, place, legacy);
    this.#device.write(0x070, status);
    // What happens from here on while the device is at work may make it a bad driver after all.
    this.#clean &&= this.#bringUps === bringUp && this.#device.disk.held.length === 0;
    this.#clean &&= (this.#device.read(0x070) & 0xc4) === 4;
    if (this.#clean) this.#expected.begin(this.#device.disk.memory.bytes, !this.#device.disk.holding);
  }

  #placeQueue(
    queue: number,
    place: { size: number; descriptorArea: number; driverArea: number; deviceArea: number },
    legacy: boolean,
  ): void {
    this.#device.write(0x030, queue);
    this.#device.write(0x038, place.size);
    if (legacy) {
      this.#device.write(0x03c, ALIGN_BYTES);
      this.#device.write(0x040, place.descriptorArea / ALIGN_BYTES);
      return;
    }
    const areas = [place.descriptorArea, place.driverArea, place.deviceArea];
    for (const [i, area] of areas.entries()) {
      this.#device.write(0x080 + 16 * i, area);
      this.#device.write(0x084 + 16 * i, 0);
    }
    this.#device.write(0x044, 1);
  }

  #request(step: RequestStep): void {
    if (step.changes.length > 0 || step.status === 0 || (step.header.length === 0 && step.data.length === 0))
      this.#clean = false;
    let added = false;
    this.#device.asGuest(() => {
      added = this.#guest.request(step, this.#expected);
    });
    if (added && step.notify) this.#device.write(0x050, step.queue);
  }

  /** A guest that keeps the rules gets back what it must; another one looks where it cannot know what it finds. */
  #reap(): void {
    this.#device.memory.atRest(() => {
      if (!this.#clean) return;
      for (const { request, used, status, data } of this.#guest.takeUsed()) {
        this.report.verified++;
        if (request.step.queue > 0) this.report.onFurtherQueues++;
        if (request.step.type >= T_ZONE_APPEND && status === 0) this.report.zoneRequests++;
        this.report.lastStatus = status;
        const whole = request.step.type === 0 && status === 0 && request.step.status === 1;
        const lengthBytes = data.length + 1;
        if (whole && used.lengthBytes !== lengthBytes)
          throw new Error(`a read of ${data.length} bytes wrote ${used.lengthBytes}`);
        this.#expected.end(request, status, data, this.#device.disk.memory.bytes);
      }
    });
  }

  #changeRing({ queue, area, word, add }: FuzzStep & { do: "ring" }): void {
    const layout = this.#guest.layoutOf(queue);
    if (layout === undefined) return;
    const at = layout[area] + 2 * word - RAM_BASE;
    if (at < 0 || at + 2 > RAM_BYTES) return;
    const { view } = this.#device.memory;
    const little = !layout.bigEndian;
    view.setUint16(at, view.getUint16(at, little) + add, little);
  }

  #poke(at: number, value: number, width: 1 | 2 | 4): void {
    const { view } = this.#device.memory;
    const offset = at % (RAM_BYTES - 4);
    if (width === 1) view.setUint8(offset, value);
    else if (width === 2) view.setUint16(offset, value, true);
    else view.setUint32(offset, value, true);
  }

  async #letTimePass(ends: number, fails: boolean): Promise<void> {
    this.#device.settle();
    if (fails) this.#clean = false;
    await this.#device.turn(() => this.#device.disk.end(ends, fails ? "EIO" : undefined));
  }

  async #resize(sectors: number): Promise<void> {
    this.#clean = false;
    if (this.#device.disk.held.length > 0 || this.#device.zoned !== undefined) return; // it would wait for them; zones do not grow
    this.#device.settle();
    this.#checkReadOnly();
    const resized = this.#device.machine.node.resize(512 * sectors);
    await this.#device.turn(() => {});
    await resized;
    this.#initialDisk = Uint8Array.from(this.#device.disk.memory.bytes);
  }

  get #idle(): boolean {
    const { disk, machine, zoned } = this.#device;
    return disk.held.length + machine.node.inFlight + machine.backend.inFlight + (zoned?.inFlight ?? 0) === 0;
  }

  get #queues(): number {
    return Math.min(this.#setup.queues, MAX_QUEUES);
  }

  #offered(): bigint {
    let offered = 0n;
    for (const word of [1, 0]) {
      this.#device.write(0x014, word);
      offered = (offered << 32n) | BigInt(this.#device.read(0x010));
    }
    return offered;
  }
}

const KEEPS_CLEAN: ReadonlySet<string> = new Set([
  "init",
  "request",
  "read",
  "notify",
  "acknowledge",
  "reap",
  "hold",
  "arm",
]);
