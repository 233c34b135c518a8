// The zone state machine against a naive twin that keeps each zone as a plain record. VIRTIO 1.4 §5.2.6.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { IoVector } from "../../../src/base/io-vector.ts";
import { MemoryDriver } from "../../../src/block/drivers/memory.ts";
import { ZonedDriver } from "../../../src/block/drivers/zoned.ts";
import { BlockNode } from "../../../src/block/node.ts";
import { appendToZone, commandZone, resetAllZones } from "../../../src/block/zone-admission.ts";
import { ZoneError, type ZoneModel } from "../../../src/block/zones.ts";

const ZONE = 4096;
const CAPACITY = 3072;
const ZONES = 6;

interface Limits {
  readonly model: ZoneModel;
  readonly maxOpen: number;
  readonly maxActive: number;
}

interface Zone {
  state: string;
  pointer: number;
  openedAt: number;
}

/** Zone 0 is conventional, zone 4 read-only, zone 5 offline. What a step gives is "ok", an offset, or a mistake's name. */
class Twin {
  readonly zones: Zone[];
  readonly bytes: number[] = new Array<number>(ZONES * ZONE).fill(0);
  readonly #limits: Limits;
  #time = 0;

  constructor(limits: Limits) {
    this.#limits = limits;
    const states = ["not-write-pointer", "empty", "empty", "empty", "read-only", "offline"];
    this.zones = states.map((state, i) => ({ state, pointer: i * ZONE, openedAt: 0 }));
  }

  get #required(): boolean {
    return this.#limits.model === "host-managed";
  }

  count(...states: string[]): number {
    return this.zones.filter((zone) => states.includes(zone.state)).length;
  }

  #claim(zone: Zone): string | undefined {
    const { maxOpen, maxActive } = this.#limits;
    const active = this.count("implicitly-open", "explicitly-open", "closed");
    if (zone.state !== "closed" && maxActive > 0 && active >= maxActive) return "active-resource";
    if (maxOpen === 0 || this.count("implicitly-open", "explicitly-open") < maxOpen) return undefined;
    const candidates = this.zones.filter((other) => other.state === "implicitly-open");
    candidates.sort((a, b) => a.openedAt - b.openedAt);
    if (candidates[0] === undefined) return "open-resource";
    candidates[0].state = "closed";
    return undefined;
  }

  write(at: number, length: number, fill: number): string {
    const index = Math.floor(at / ZONE);
    const last = Math.floor((at + length - 1) / ZONE);
    if (at + length > ZONES * ZONE) return "EIO";
    for (let i = index; i <= last; i++) if (i >= 4) return "invalid-command";
    if (this.#required && index !== last && last > 0) return "invalid-command";
    const before = structuredClone(this.zones);
    for (let i = Math.max(index, 1); i <= last; i++) {
      const mistake = this.#writeZone(
        this.zones[i]!,
        i,
        i === index ? at : i * ZONE,
        Math.min(at + length, (i + 1) * ZONE),
      );
      if (mistake === undefined) continue;
      for (let j = 1; j < i && j >= index; j++) this.zones[j] = before[j]!;
      return mistake;
    }
    this.bytes.fill(fill, at, at + length);
    return "ok";
  }

  #writeZone(zone: Zone, index: number, at: number, end: number): string | undefined {
    const limit = index * ZONE + CAPACITY;
    if (this.#required && zone.state === "full") return "invalid-command";
    if (this.#required && at !== zone.pointer) return "unaligned-write-pointer";
    if (end > limit) return "invalid-command";
    if (zone.state === "full") return undefined;
    if (zone.state === "empty" || zone.state === "closed") {
      const mistake = this.#claim(zone);
      if (mistake !== undefined) return mistake;
      zone.state = "implicitly-open";
      zone.openedAt = ++this.#time;
    }
    zone.pointer = Math.max(zone.pointer, end);
    if (zone.pointer === limit) zone.state = "full";
    return undefined;
  }

  append(index: number, length: number, fill: number): string | number {
    const zone = this.zones[index]!;
    if (!this.#required || index === 0 || index >= 4) return "invalid-command";
    const at = zone.pointer;
    const outcome = zone.state === "full" ? "invalid-command" : this.#inZone(index, at, length, fill);
    return outcome === "ok" ? at : outcome;
  }

  #inZone(index: number, at: number, length: number, fill: number): string {
    return at + length > index * ZONE + CAPACITY ? "invalid-command" : this.write(at, length, fill);
  }

  command(command: string, index: number): string {
    const zone = this.zones[index]!;
    if (index === 0 || index >= 4) return "invalid-command";
    const open = zone.state === "implicitly-open" || zone.state === "explicitly-open";
    switch (command) {
      case "open": {
        if (zone.state === "full") return "invalid-command";
        const mistake = open ? undefined : this.#claim(zone);
        if (mistake === undefined) zone.state = "explicitly-open";
        return mistake ?? "ok";
      }
      case "close":
        if (zone.state === "closed") return "ok";
        if (!open) return "invalid-command";
        zone.state = zone.pointer === index * ZONE ? "empty" : "closed";
        return "ok";
      case "finish":
        zone.state = "full";
        return "ok";
      default:
        this.bytes.fill(0, index * ZONE, zone.pointer);
        zone.state = "empty";
        zone.pointer = index * ZONE;
        return "ok";
    }
  }
}

type Step =
  | { kind: "write"; zone: number; at: number | "pointer"; sectors: number }
  | { kind: "append"; zone: number; sectors: number }
  | { kind: "command"; command: "open" | "close" | "finish" | "reset"; zone: number }
  | { kind: "reset-all" };

const zone = fc.oneof(
  { weight: 6, arbitrary: fc.integer({ min: 1, max: 3 }) },
  { weight: 1, arbitrary: fc.integer({ min: 0, max: 5 }) },
);
const sectors = fc.oneof(
  { weight: 8, arbitrary: fc.integer({ min: 1, max: 4 }) },
  { weight: 1, arbitrary: fc.integer({ min: 5, max: 20 }) },
);
const at = fc.oneof(
  { weight: 3, arbitrary: fc.constant("pointer" as const) },
  { weight: 1, arbitrary: fc.integer({ min: 0, max: 7 }) },
);
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 5, arbitrary: fc.record({ kind: fc.constant("write" as const), zone, at, sectors }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("append" as const), zone, sectors }) },
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant("command" as const),
      command: fc.constantFrom("open" as const, "close" as const, "finish" as const, "reset" as const),
      zone,
    }),
  },
  { weight: 1, arbitrary: fc.constant({ kind: "reset-all" as const }) },
);

/** What a request gives that ends at once. */
function outcomeOf(request: () => unknown): string | number {
  try {
    const result = request();
    if (result instanceof Promise) throw new Error("went on");
    return (result as number | undefined) ?? "ok";
  } catch (error) {
    if (error instanceof ZoneError) return error.mistake;
    if (error instanceof Error && "errno" in error) return String(error.errno);
    throw error;
  }
}

function perform(node: BlockNode, twin: Twin, taken: Step, fill: number): [string | number, string | number] {
  const data = (count: number): IoVector => IoVector.of(new Uint8Array(512 * count).fill(fill));
  switch (taken.kind) {
    case "write": {
      const pointer = taken.at === "pointer" ? twin.zones[taken.zone]!.pointer : taken.zone * ZONE + 512 * taken.at;
      const expected = twin.write(pointer, 512 * taken.sectors, fill);
      return [outcomeOf(() => node.write(pointer, data(taken.sectors))), expected];
    }
    case "append": {
      const expected = twin.append(taken.zone, 512 * taken.sectors, fill);
      return [outcomeOf(() => appendToZone(node, taken.zone * ZONE, data(taken.sectors))), expected];
    }
    case "command": {
      const expected = twin.command(taken.command, taken.zone);
      return [outcomeOf(() => commandZone(node, taken.command, taken.zone * ZONE)), expected];
    }
    case "reset-all":
      for (const index of [1, 2, 3]) twin.command("reset", index);
      return [outcomeOf(() => resetAllZones(node)), "ok"];
  }
}

function makeNode({ model, maxOpen, maxActive }: Limits): { node: BlockNode; memory: MemoryDriver } {
  const memory = new MemoryDriver({ lengthBytes: ZONES * ZONE });
  const file = new BlockNode({ name: "data", driver: memory });
  const driver = new ZonedDriver({
    file,
    model,
    zoneBytes: ZONE,
    zoneCapacityBytes: CAPACITY,
    conventionalZones: 1,
    maxOpenZones: maxOpen,
    maxActiveZones: maxActive,
    readOnlyZones: [4],
    offlineZones: [5],
  });
  return { node: new BlockNode({ name: "zoned", driver, discard: "unmap" }), memory };
}

describe("a zoned disk", () => {
  it("BLK-DEV-094 BLK-DEV-095 goes the way of a naive twin: states, pointers, data and refusals", () => {
    const limits = fc.record({
      model: fc.constantFrom<ZoneModel>("host-managed", "host-aware"),
      maxOpen: fc.integer({ min: 0, max: 2 }),
      maxActive: fc.integer({ min: 0, max: 3 }),
    });
    const property = fc.property(limits, fc.array(step, { maxLength: 40 }), (given, steps) => {
      const { node, memory } = makeNode(given);
      const twin = new Twin(given);
      for (const [i, taken] of steps.entries()) {
        const [outcome, expected] = perform(node, twin, taken, i + 1);
        expect(outcome).toBe(expected);
        const { zones } = node.driver;
        const states = twin.zones.map((_, index) => zones!.zone(index).state);
        expect(states).toEqual(twin.zones.map(({ state }) => state));
        for (const [index, { state, pointer }] of twin.zones.entries()) {
          const pointed = state !== "full" && state !== "not-write-pointer";
          expect(zones!.zone(index).writePointerBytes).toBe(pointed ? pointer : (index + 1) * ZONE);
        }
        expect(Buffer.compare(memory.bytes, Uint8Array.from(twin.bytes))).toBe(0);
      }
    });
    fc.assert(property, { numRuns: process.env["VBLK_SOAK"] === undefined ? 300 : 20_000 });
  });
});

describe("a zone whose write failed", () => {
  it("has its write pointer where it was, so that the write can be sent again", () => {
    const { node, memory } = makeNode({ model: "host-managed", maxOpen: 0, maxActive: 0 });
    const write = memory.write.bind(memory);
    memory.write = () => {
      throw new Error("the disk is broken");
    };
    const data = IoVector.of(new Uint8Array(3072).fill(9));
    expect(() => node.write(ZONE, data)).toThrow("the disk is broken");
    expect(node.driver.zones!.zone(1)).toMatchObject({ state: "empty", writePointerBytes: ZONE });
    memory.write = write;
    void node.write(ZONE, data);
    expect(node.driver.zones!.zone(1).state).toBe("full");
  });
});

describe("a backup of a zoned disk", () => {
  it("sees what a reset is about to wipe, and every append, and bitmaps record both", async () => {
    const { node } = makeNode({ model: "host-managed", maxOpen: 0, maxActive: 0 });
    const bitmap = node.bitmaps.create({ name: "b", granularityBytes: 512 });
    const seen: string[] = [];
    node.beforeWrite.add({
      async beforeWrite({ kind, offsetBytes, lengthBytes }) {
        const old = new Uint8Array(lengthBytes);
        await node.read(offsetBytes, IoVector.of(old), { fromNotifier: true });
        seen.push(`${kind} ${offsetBytes}+${lengthBytes} of ${old[0]}`);
        return undefined;
      },
    });
    const [first, second] = [3, 4].map((fill) => appendToZone(node, ZONE, IoVector.of(new Uint8Array(512).fill(fill))));
    expect([await first, await second]).toEqual([ZONE, ZONE + 512]);
    expect(bitmap.countBytes).toBe(1024);
    const reset = commandZone(node, "reset", ZONE);
    const overtaking = node.write(ZONE, IoVector.of(new Uint8Array(512).fill(5)));
    await reset;
    await overtaking;
    expect(seen).toEqual([
      `write ${ZONE}+512 of 0`,
      `write ${ZONE + 512}+512 of 0`,
      `write-zeroes ${ZONE}+1024 of 3`,
      `write ${ZONE}+512 of 0`,
    ]);
    const now = new Uint8Array(1024);
    void node.read(ZONE, IoVector.of(now));
    expect([now[0], now[512]]).toEqual([5, 0]);
  });
});
