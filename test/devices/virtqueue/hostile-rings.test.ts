// Rings full of what no driver writes: the queue answers, stays within bounds and comes to an end. docs/reference/virtio-errors.md §1.
import { describe, expect, it } from "vitest";
import { createVirtqueue } from "../../../devices/virtqueue/create-virtqueue.ts";
import { DescriptorChain, OUTSIDE_RAM } from "../../../devices/virtqueue/descriptor-chain.ts";
import type { Virtqueue, VirtqueueLayout } from "../../../devices/virtqueue/virtqueue.ts";
import { Random } from "../../support/simulation.ts";
import { placeRing, RAM_BASE, type RingPlace } from "../support/ring-driver.ts";

const ROUNDS = process.env["VBLK_SOAK"] === undefined ? 1500 : 20_000;

/** What there is to come across: every way in which a ring breaks before its request is looked at. */
const EVERY_MISTAKE = [
  "DescriptorLoop",
  "IndirectLength",
  "IndirectNotNegotiated",
  "IndirectOutsideRam",
  "IndirectWithNext",
  "NoStatusByte",
  "TooManyInFlight",
];
const OF_PACKED = ["DescriptorNotAvailable"];
const OF_SPLIT = ["AvailableIndexJump", "HeadOutOfRange", "IndirectNested", "NextOutOfRange"];
const FLAGS = [1, 4, 5, 0xffff];

/** A ring that anything is written into, and a device that takes, uses and publishes what it finds. */
class HostileRing {
  readonly tally = { chains: 0, refused: 0, broken: 0, pushed: 0 };
  readonly mistakes: Set<string> = new Set();
  readonly #random: Random;
  readonly #place: RingPlace;
  readonly #layout: VirtqueueLayout;
  /** 1 where the device may write, whatever the ring says: buffers are not touched by a queue. */
  readonly #writable: Uint8Array;
  #queue: Virtqueue;
  #taken: DescriptorChain[] = [];
  /** Slots of a packed ring that were taken, from the start. */
  #next = 0;

  constructor(random: Random, features: Partial<VirtqueueLayout> & { readonly size: number }) {
    this.#random = random;
    this.#place = placeRing(features);
    this.#layout = this.#place.layout;
    this.#writable = new Uint8Array(this.#place.memory.sizeBytes);
    const { packed, size, descriptorArea, deviceArea, eventIndex } = this.#layout;
    this.#allow(deviceArea, packed ? 4 : 4 + 8 * size + (eventIndex ? 2 : 0));
    for (let slot = 0; packed && slot < size; slot++) this.#allow(descriptorArea + 16 * slot + 8, 8);
    this.#queue = this.#newQueue();
  }

  round(): void {
    this.#scribble();
    const { memory, layout } = this.#place;
    const before = memory.bytes.slice();
    for (let pops = 0; ; pops++) {
      if (pops > layout.size) throw new Error("more buffers than the ring can hold");
      const chain = new DescriptorChain(memory);
      const result = this.#queue.pop(chain);
      if (result === "chain") this.#check(chain);
      if (result === "broken") this.tally.broken++;
      if (result !== "chain") break;
    }
    while (this.#taken.length > 0 && this.#random.chance(0.7)) {
      const [chain] = this.#taken.splice(this.#random.below(this.#taken.length), 1);
      this.#queue.push(chain!, this.#random.below(2 ** 32));
      this.tally.pushed++;
    }
    if (this.#random.chance(0.7)) this.#queue.publish();
    if (this.#random.chance(0.5)) this.#queue.rearm();
    this.#compare(before);
    if (this.#queue.mistake === undefined) return;
    this.mistakes.add(this.#queue.mistake);
    this.#queue = this.#newQueue();
  }

  #newQueue(): Virtqueue {
    this.#taken = [];
    this.#next = 0;
    const queue = createVirtqueue(this.#place.memory, this.#layout);
    if (typeof queue === "string") throw new Error(queue);
    // A queue starts on a zeroed ring, more often than not.
    if (this.#random.chance(0.8)) this.#place.memory.bytes.fill(0);
    return queue;
  }

  #check(chain: DescriptorChain): void {
    this.tally.chains++;
    if (chain.mistake !== undefined) this.tally.refused++;
    this.#taken.push(chain);
    this.#next += chain.slots;
    expect(chain.slots).toBeLessThanOrEqual(this.#layout.size);
    for (const vector of [chain.readable, chain.writable]) {
      for (let i = vector.first; i < vector.end; i++) {
        const [offset, length] = [vector.offsets[i]!, vector.lengths[i]!];
        if (offset === OUTSIDE_RAM) expect(chain.outsideRam).toBe(true);
        else if (offset < 0 || length < 1 || offset + length > this.#place.memory.sizeBytes) {
          throw new Error(`a segment at ${offset}, of ${length} bytes`);
        }
      }
    }
  }

  /** A list that may be right, and now and then something else, somewhere. */
  #scribble(): void {
    const random = this.#random;
    const { driverArea, size, packed } = this.#layout;
    for (let i = 0; i < 5; i++) this.#descriptor(this.#tableEntry(), random.chance(0.8) ? 1 : 0, random.below(0x10000));
    if (random.chance(0.8)) this.#list();
    if (random.chance(0.7)) return;
    const dice = random.below(3);
    if (dice === 0) this.#descriptor(this.#layout.descriptorArea + 16 * random.below(size), random.below(2), 0);
    else if (dice === 1) this.#place.memory.writeU8(RAM_BASE + random.below(1024), random.below(256));
    else if (packed) this.#place.memory.writeU32(driverArea, random.below(2 ** 32));
    else this.#write16(driverArea + 2 * random.below(size + 3), random.below(0x10000));
  }

  /** Descriptors one after another from where the device looks next, or from anywhere in a split ring, and the announcement. */
  #list(): void {
    const random = this.#random;
    const { descriptorArea, driverArea, packed, size } = this.#layout;
    const count = 1 + random.below(4);
    const first = packed ? this.#next : random.below(size);
    for (let i = count - 1; i >= 0; i--) {
      const next = (first + i + 1) % size;
      const wrap = Math.floor((first + i) / size) % 2 === 0 ? 0x80 : 0x8000;
      const bits = random.chance(0.98) ? wrap : [0, 0x80, 0x8000, 0x8080][random.below(4)]!;
      const link = random.chance(0.97) ? next : random.below(0x10000);
      this.#descriptor(descriptorArea + 16 * ((first + i) % size), (i < count - 1 ? 1 : 0) | bits, link);
    }
    if (packed) return;
    const index = this.#read16(driverArea + 2);
    this.#write16(driverArea + 4 + 2 * (index % size), random.chance(0.98) ? first : random.below(0x10000));
    this.#write16(driverArea + 2, random.chance(0.99) ? index + 1 : random.below(0x10000));
  }

  #tableEntry(): number {
    return this.#place.tableAt(this.#random.below(Math.min(2, this.#layout.size))) + 16 * this.#random.below(5);
  }

  /** A descriptor with at least `flags`; `next` is an id in a packed ring. */
  #descriptor(at: number, flags: number, next: number): void {
    const random = this.#random;
    const { packed, size, bigEndian } = this.#layout;
    const { memory } = this.#place;
    const indirect = random.chance(0.15);
    const address = indirect
      ? this.#place.tableAt(random.below(Math.min(2, size)))
      : random.chance(0.9)
        ? RAM_BASE + random.below(memory.sizeBytes)
        : random.below(2 ** 32);
    const length =
      indirect && random.chance(0.9) ? 16 * random.below(6) : random.below(random.chance(0.9) ? 64 : 2 ** 32);
    const more =
      (indirect ? 4 : 0) | (random.chance(0.6) ? 2 : 0) | (random.chance(0.03) ? FLAGS[random.below(4)]! : 0);
    const offset = at - RAM_BASE;
    const high = random.chance(0.97) ? 0 : random.below(2 ** 32);
    memory.view.setBigUint64(offset, (BigInt(high) << 32n) | BigInt(address), !bigEndian);
    memory.view.setUint32(offset + 8, length, !bigEndian);
    this.#write16(at + (packed ? 14 : 12), flags | more);
    this.#write16(at + (packed ? 12 : 14), next);
  }

  #compare(before: Uint8Array): void {
    const { bytes } = this.#place.memory;
    for (let i = 0; i < bytes.length; i++) {
      if (bytes[i] !== before[i] && this.#writable[i] === 0) throw new Error(`byte ${i} of RAM has changed`);
    }
  }

  #allow(address: number, lengthBytes: number): void {
    this.#writable.fill(1, address - RAM_BASE, address - RAM_BASE + lengthBytes);
  }

  #read16(at: number): number {
    return this.#place.memory.view.getUint16(at - RAM_BASE, !this.#layout.bigEndian);
  }

  #write16(at: number, value: number): void {
    this.#place.memory.view.setUint16(at - RAM_BASE, value, !this.#layout.bigEndian);
  }
}

describe("a ring that anything is written into", () => {
  for (const packed of [false, true]) {
    for (const inOrder of [false, true]) {
      const name = `${packed ? "packed" : "split"}${inOrder ? ", used in order" : ""}`;
      it(`breaks or goes on, and costs no more than its size: ${name}`, () => {
        const total = { chains: 0, refused: 0, broken: 0, pushed: 0 };
        const mistakes = new Set<string>();
        for (let seed = 1; seed <= 12; seed++) {
          const random = new Random(seed);
          const features = { packed, inOrder, eventIndex: random.chance(0.5), indirect: random.chance(0.8) };
          const size = packed ? 1 + random.below(13) : 2 ** random.below(5);
          const bigEndian = !packed && random.chance(0.3);
          const ring = new HostileRing(random, { ...features, size, bigEndian });
          try {
            for (let i = 0; i < ROUNDS; i++) ring.round();
          } catch (error) {
            throw new Error(`seed ${seed}`, { cause: error });
          }
          for (const key of ["chains", "refused", "broken", "pushed"] as const) total[key] += ring.tally[key];
          for (const mistake of ring.mistakes) mistakes.add(mistake);
        }
        for (const count of Object.values(total)) expect(count, JSON.stringify(total)).toBeGreaterThan(ROUNDS / 20);
        expect([...mistakes].sort()).toEqual([...EVERY_MISTAKE, ...(packed ? OF_PACKED : OF_SPLIT)].sort());
      });
    }
  }
});
