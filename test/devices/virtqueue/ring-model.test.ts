// Both layouts against a naive driver: whatever is made available, used and asked for, in whatever order. VIRTIO 1.4 §2.7, §2.8.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createVirtqueue } from "../../../devices/virtqueue/create-virtqueue.ts";
import { DescriptorChain } from "../../../devices/virtqueue/descriptor-chain.ts";
import type { Virtqueue, VirtqueueLayout } from "../../../devices/virtqueue/virtqueue.ts";
import { PackedDriver } from "../support/packed-driver.ts";
import {
  MAX_PARTS,
  type Part,
  placeRing,
  type RingDriver,
  type RingPlace,
  type Shape,
} from "../support/ring-driver.ts";
import { SplitDriver } from "../support/split-driver.ts";

interface Buffer {
  readonly id: number;
  readonly units: number;
  readonly parts: readonly Part[];
}

/** A buffer that the device has: what it was made of, and how it came. */
interface Taken {
  readonly buffer: Buffer;
  readonly chain: DescriptorChain;
  writtenBytes: number;
  done: boolean;
}

type Step =
  | { readonly do: "add"; readonly lengths: readonly number[]; readonly readable: number; readonly shape: Shape }
  | { readonly do: "pop"; readonly count: number }
  | { readonly do: "push"; readonly which: number; readonly writtenBytes: number }
  | { readonly do: "publish" }
  | { readonly do: "rearm" }
  | { readonly do: "take" }
  | { readonly do: "ask"; readonly interrupts: "never" | "always" | "at"; readonly ahead: number };

/** One ring, its driver and what must be true of them. Every step checks all that it can see. */
class Rig {
  readonly place: RingPlace;
  readonly driver: RingDriver;
  readonly queue: Virtqueue;
  /** Made available and not yet taken, oldest first. */
  readonly available: Buffer[] = [];
  /** With the device, oldest first. */
  readonly taken: Taken[] = [];
  /** Pushed in a batch that nobody has seen, and seen in RAM but not yet by the driver. */
  unpublished: Taken[] = [];
  published: Taken[] = [];
  availableUnits = 0;
  usedUnits = 0;
  #data: number;

  constructor(features: Partial<VirtqueueLayout> & { readonly size: number }, ids: () => number) {
    this.place = placeRing(features);
    this.#data = this.place.data;
    const queue = createVirtqueue(this.place.memory, this.place.layout);
    if (typeof queue === "string") throw new Error(queue);
    this.queue = queue;
    this.driver = features.packed === true ? new PackedDriver(this.place, freeName(ids)) : new SplitDriver(this.place);
  }

  run(step: Step): void {
    switch (step.do) {
      case "add":
        return this.#add(step.lengths, step.readable, step.shape);
      case "pop":
        for (let i = 0; i < step.count; i++) this.#pop();
        return;
      case "push":
        return this.#push(step.which, step.writtenBytes);
      case "publish":
        return this.#publish();
      case "rearm":
        return this.#rearm();
      case "take":
        return this.#take();
      case "ask":
        if (step.interrupts !== "at") this.driver.askFor(step.interrupts);
        else if (this.place.layout.eventIndex) this.driver.askFor(this.usedUnits + step.ahead);
    }
  }

  #add(lengths: readonly number[], readable: number, wanted: Shape): void {
    const parts = lengths.map((lengthBytes, i) => ({ address: this.#data++, lengthBytes, writable: i >= readable }));
    if (this.#data > this.place.data + 1024) this.#data = this.place.data;
    const { indirect, packed } = this.place.layout;
    const shape = !indirect ? "direct" : packed && wanted === "mixed" ? "indirect" : wanted;
    const made = this.driver.add(parts, shape);
    if (made !== undefined) this.available.push({ ...made, parts });
  }

  #pop(): void {
    const chain = new DescriptorChain(this.place.memory);
    const before = this.place.memory.bytes.slice();
    const result = this.queue.pop(chain);
    expect(Buffer.compare(before, this.place.memory.bytes)).toBe(0);
    const buffer = this.available.shift();
    expect(result).toBe(buffer === undefined ? "empty" : "chain");
    if (buffer === undefined) return;
    this.availableUnits += buffer.units;
    const offsetOf = (part: Part): number[] => [part.address - this.place.memory.baseAddress, part.lengthBytes];
    const parts = buffer.parts.filter((part) => part.lengthBytes > 0);
    expect(segmentsOf(chain.readable)).toEqual(parts.filter((part) => !part.writable).map(offsetOf));
    expect(segmentsOf(chain.writable)).toEqual(parts.filter((part) => part.writable).map(offsetOf));
    expect([chain.head, chain.descriptors, chain.mistake, chain.outsideRam]).toEqual([
      buffer.id,
      buffer.parts.length,
      undefined,
      false,
    ]);
    this.taken.push({ buffer, chain, writtenBytes: 0, done: false });
  }

  #push(which: number, writtenBytes: number): void {
    const open = this.taken.filter((taken) => !taken.done);
    const taken = open[which % Math.max(1, open.length)];
    if (taken === undefined) return;
    taken.done = true;
    taken.writtenBytes = writtenBytes;
    this.queue.push(taken.chain, writtenBytes);
    taken.chain.clear(this.place.memory); // the device may use the chain for the next buffer at once
    if (!this.place.layout.inOrder) {
      this.taken.splice(this.taken.indexOf(taken), 1);
      this.unpublished.push(taken);
      return;
    }
    while (this.taken[0]?.done === true) this.unpublished.push(this.taken.shift()!);
  }

  #publish(): void {
    this.#take(); // nothing of the batch may be visible yet
    const units = this.unpublished.reduce((sum, { buffer }) => sum + buffer.units, 0);
    const due = this.driver.isDue(this.usedUnits, this.usedUnits + units);
    expect(this.queue.publish()).toBe(due);
    this.usedUnits += units;
    this.published.push(...this.unpublished);
    this.unpublished = [];
  }

  #rearm(): void {
    expect(this.queue.rearm()).toBe(this.available.length > 0);
    expect(this.driver.isAskedAt(this.availableUnits)).toBe(true);
  }

  #take(): void {
    const expected = this.published.map(({ buffer, writtenBytes }) => {
      const used = { id: buffer.id, lengthBytes: writtenBytes };
      const hasWritable = buffer.parts.some((part) => part.writable && part.lengthBytes > 0);
      return this.place.layout.packed ? { ...used, wrote: hasWritable } : used;
    });
    this.published = [];
    expect(this.driver.takeUsed()).toEqual(expected);
  }
}

function segmentsOf(vector: DescriptorChain["readable"]): number[][] {
  const segments: number[][] = [];
  for (let i = vector.first; i < vector.end; i++) segments.push([vector.offsets[i]!, vector.lengths[i]!]);
  return segments;
}

/** Ids as they come, and the next one that is free. */
function freeName(ids: () => number): (free: (id: number) => boolean) => number {
  return (free) => {
    let id = ids();
    while (!free(id)) id = (id + 1) & 0xffff;
    return id;
  };
}

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant("add" as const),
      lengths: fc.array(fc.nat({ max: 40 }), { minLength: 1, maxLength: MAX_PARTS }),
      readable: fc.nat({ max: MAX_PARTS }),
      shape: fc.constantFrom<Shape>("direct", "direct", "indirect", "mixed"),
    }),
  },
  { weight: 4, arbitrary: fc.record({ do: fc.constant("pop" as const), count: fc.integer({ min: 1, max: 4 }) }) },
  {
    weight: 4,
    arbitrary: fc.record({ do: fc.constant("push" as const), which: fc.nat({ max: 7 }), writtenBytes: fc.nat() }),
  },
  { weight: 2, arbitrary: fc.constant<Step>({ do: "publish" }) },
  { weight: 1, arbitrary: fc.constant<Step>({ do: "rearm" }) },
  { weight: 1, arbitrary: fc.constant<Step>({ do: "take" }) },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant("ask" as const),
      interrupts: fc.constantFrom("never" as const, "always" as const, "at" as const, "at" as const),
      ahead: fc.nat({ max: 12 }),
    }),
  },
);

const features = { eventIndex: fc.boolean(), indirect: fc.boolean(), inOrder: fc.boolean() };
const packed = fc.record({
  ...features,
  packed: fc.constant(true),
  size: fc.oneof(fc.integer({ min: 1, max: 9 }), fc.constantFrom(31, 100, 257)),
});
const split = fc.record({
  ...features,
  packed: fc.constant(false),
  bigEndian: fc.boolean(),
  size: fc.constantFrom(1, 2, 4, 8, 64, 256),
});

const numRuns = process.env["VBLK_SOAK"] === undefined ? 300 : 8000;

for (const [name, layout] of [
  ["a packed ring", packed],
  ["a split ring", split],
] as const) {
  describe(`${name} of any size and features`, () => {
    it("gives out what the driver made available, shows it what was used, and asks and notifies as either wants", () => {
      const steps = fc.array(step, { minLength: 1, maxLength: 400, size: "max" });
      const ids = fc.infiniteStream(fc.nat({ max: 0xffff }));
      let completed = 0;
      fc.assert(
        fc.property(layout, steps, ids, (chosen, program, names) => {
          const rig = new Rig(chosen, () => names.next().value);
          for (const one of program) rig.run(one);
          // However it went, what is in flight can be ended.
          for (let guard = 0; rig.available.length + rig.taken.length > 0; guard++) {
            if (guard > 2 * chosen.size + 2) throw new Error("the ring does not drain");
            rig.run({ do: "pop", count: 1 });
            rig.run({ do: "push", which: guard, writtenBytes: guard });
          }
          rig.run({ do: "publish" });
          rig.run({ do: "take" });
          rig.run({ do: "rearm" });
          expect(rig.queue.mistake).toBeUndefined();
          completed += rig.usedUnits;
        }),
        { numRuns },
      );
      expect(completed).toBeGreaterThan(numRuns * 10);
    });
  });
}
