// A disk behind rings of either layout, used in any order or in order: VIRTIO 1.4 §2.7 to §2.8, §5.2.6.
import { describe, expect, it } from "vitest";
import { Random } from "../support/simulation.ts";
import { HeldDriver } from "./support/held-driver.ts";
import { diskPattern, makeMachine, type TestMachine } from "./support/machine.ts";
import { PackedDriver } from "./support/packed-driver.ts";
import { acceptFeatures, headerBytes } from "./support/raw-disk.ts";
import { type Part, placeRing, type RingDriver, type RingPlace, type Shape } from "./support/ring-driver.ts";
import { SplitDriver } from "./support/split-driver.ts";

const SECTORS = 128;
/** Requests that the driver has room for. */
const SLOTS = 24;
const SLOT_BYTES = 2048;
const POISON = 0xee;

interface Variant {
  readonly packed: boolean;
  readonly inOrder: boolean;
  readonly eventIndex: boolean;
  readonly size: number;
}

interface Request {
  readonly slot: number;
  readonly write: boolean;
  readonly sector: number;
  readonly units: number;
  readonly id: number;
}

/** A driver that looks at its ring when it is interrupted, and never otherwise. */
class InterruptDrivenDisk {
  readonly driver: HeldDriver = new HeldDriver(SECTORS);
  readonly machine: TestMachine;
  readonly ring: RingDriver;
  readonly place: RingPlace;
  readonly inFlight: Request[] = [];
  readonly #variant: Variant;
  readonly #random: Random;
  readonly #free: number[] = Array.from({ length: SLOTS }, (_, i) => i);
  readonly #twin = diskPattern(512 * SECTORS);
  #usedUnits = 0;
  completed = 0;
  /** Completions that came before one that was asked for earlier. */
  overtaken = 0;

  constructor(variant: Variant, seed: number) {
    this.#variant = variant;
    this.#random = new Random(seed);
    const offeredFeatures = { packed: variant.packed, inOrder: variant.inOrder };
    this.machine = makeMachine({ driver: this.driver, device: { offeredFeatures } });
    this.place = placeRing({ ...variant, indirect: true }, this.machine.memory);
    let id = 0;
    const name = (free: (id: number) => boolean): number => {
      do id = (id * 7 + 13) & 0xffff;
      while (!free(id));
      return id;
    };
    this.ring = variant.packed ? new PackedDriver(this.place, name) : new SplitDriver(this.place);
    this.#bringUp();
  }

  /** As many requests as there is room for. */
  submit(): void {
    const random = this.#random;
    while (this.#free.length > 0) {
      const slot = this.#free[0]!;
      const write = random.chance(0.5);
      // No two requests in flight share a sector: what is read does not hang on their order.
      const sector = slot + SLOTS * random.below(5);
      const shape = random.chance(0.5) ? "direct" : random.chance(0.5) ? "indirect" : "mixed";
      const made = this.ring.add(
        this.#prepare(slot, write, sector),
        this.#variant.packed && shape === "mixed" ? "direct" : (shape as Shape),
      );
      if (made === undefined) break;
      this.#free.shift();
      this.inFlight.push({ ...made, slot, write, sector });
    }
    this.machine.registers.queueNotify = 0;
  }

  /** Some of what the disk works at comes to its end, in any order; or all of it. */
  async end(all: boolean): Promise<void> {
    const { held } = this.driver;
    const count = all ? held.length : this.#random.below(held.length + 1);
    for (let i = 0; i < count; i++) held[this.#random.below(held.length)]!.end();
    await new Promise((resolve) => setImmediate(resolve));
  }

  handleInterrupt(): void {
    const { registers, line } = this.machine;
    if (!line.raised) return;
    expect(registers.interruptStatus).toBe(1);
    registers.interruptAck = 1;
    this.#take();
    if (!this.#variant.eventIndex) return;
    // The next interrupt is wanted when some of those in flight are used, the last one at the latest.
    const units = this.inFlight.reduce((sum, request) => sum + request.units, 0);
    this.ring.askFor(this.#usedUnits + this.#random.below(Math.max(1, units)));
    this.#take(); // what was used while it asked would not be told of
    if (this.inFlight.length === 0) this.ring.askFor(this.#usedUnits);
  }

  #take(): void {
    for (const { id, lengthBytes } of this.ring.takeUsed()) {
      const at = this.inFlight.findIndex((request) => request.id === id);
      if (at > 0) this.overtaken++;
      const [request] = this.inFlight.splice(at, 1);
      const { slot, write, sector, units } = request!;
      this.#usedUnits += units;
      this.completed++;
      this.#free.push(slot);
      const from = this.#slotAt(slot);
      const bytes = this.machine.memory.viewOf(from, SLOT_BYTES);
      expect([bytes[1024], lengthBytes], "status and length").toEqual([0, write ? 1 : 513]);
      const expected = this.#twin.subarray(512 * sector, 512 * sector + 512);
      if (write) expected.set(bytes.subarray(512, 1024));
      else if (Buffer.compare(bytes.subarray(512, 1024), expected) !== 0) throw new Error(`sector ${sector} is wrong`);
    }
  }

  #prepare(slot: number, write: boolean, sector: number): Part[] {
    const { target } = this.machine;
    const at = this.#slotAt(slot);
    target.writeRam(at, headerBytes(write ? 1 : 0, sector));
    target.fillRam(at + 512, write ? this.#random.below(256) : POISON, 512);
    target.fillRam(at + 1024, POISON, 1);
    return [
      { address: at, lengthBytes: 16, writable: false },
      { address: at + 512, lengthBytes: 512, writable: !write },
      { address: at + 1024, lengthBytes: 1, writable: true },
    ];
  }

  #slotAt(slot: number): number {
    return this.place.data + slot * SLOT_BYTES;
  }

  #bringUp(): void {
    const { registers } = this.machine;
    const { packed, inOrder, eventIndex, size } = this.#variant;
    registers.status = 0;
    registers.status = 3;
    acceptFeatures(registers, [
      ...[28, 32, 40],
      ...(eventIndex ? [29] : []),
      ...(packed ? [34] : []),
      ...(inOrder ? [35] : []),
    ]);
    registers.status = 0x0b;
    expect(registers.status).toBe(0x0b);
    registers.queueSize = size;
    registers.queueDesc = this.place.layout.descriptorArea;
    registers.queueDriver = this.place.layout.driverArea;
    registers.queueDevice = this.place.layout.deviceArea;
    registers.queueReady = 1;
    expect(registers.queueReady).toBe(1);
    registers.status = 0x0f;
  }
}

for (const packed of [false, true]) {
  for (const inOrder of [false, true]) {
    const title = `a disk behind a ${packed ? "packed" : "split"} ring${inOrder ? ", used in order" : ""}`;
    describe(title, () => {
      for (const eventIndex of [false, true]) {
        it(`${inOrder ? "RSVD-DEV-005 " : ""}loses no completion, ${eventIndex ? "with" : "without"} event index`, async () => {
          let completed = 0;
          let overtaken = 0;
          for (const size of packed ? [3, 7, 16, 33] : [4, 16, 64]) {
            const disk = new InterruptDrivenDisk({ packed, inOrder, eventIndex, size }, size);
            for (let i = 0; i < 300; i++) {
              if (i % 3 !== 2) disk.submit();
              await disk.end(i % 20 === 19);
              disk.handleInterrupt();
            }
            while (disk.inFlight.length > 0) {
              const before = disk.completed;
              await disk.end(true);
              disk.handleInterrupt();
              if (disk.completed === before) throw new Error(`size ${size}: ${disk.inFlight.length} requests are lost`);
            }
            completed += disk.completed;
            expect(disk.machine.registers.status).toBe(0x0f);
            overtaken += disk.overtaken;
          }
          expect(completed).toBeGreaterThan(1000);
          if (inOrder) expect(overtaken).toBe(0);
          else expect(overtaken, "VQ-DEV-002 PACK-DEV-002").toBeGreaterThan(20);
        });
      }

      for (const stop of ["QueueReady", "QueueReset", "Status"] as const) {
        it(`STAT-DEV-010 MMIO-DEV-008 is left alone once it is stopped by ${stop} with requests in flight`, async () => {
          const disk = new InterruptDrivenDisk({ packed, inOrder, eventIndex: true, size: packed ? 23 : 16 }, 1);
          disk.submit();
          const { registers, memory, line } = disk.machine;
          expect(disk.driver.held.length).toBeGreaterThan(4);
          disk.driver.held[1]!.end(); // with IN_ORDER it waits for its turn
          await new Promise((resolve) => setImmediate(resolve));
          if (stop === "QueueReady") registers.queueReady = 0;
          if (stop === "QueueReset") registers.write(0x0c0, 1);
          if (stop === "Status") registers.status = 0;
          registers.interruptAck = 3;
          const before = memory.bytes.slice();
          await disk.end(true);
          registers.queueNotify = 0;
          expect(Buffer.compare(before, memory.bytes)).toBe(0);
          expect(line.raised).toBe(false);
        });
      }
    });
  }
}
