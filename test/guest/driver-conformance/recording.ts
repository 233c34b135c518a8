// What a driver did to a device, as the device's side saw it: registers accessed, lists made available, rings at each moment.
// Written from VIRTIO 1.4 with literal numbers, and with none of the guest's constants.

import type { AccessWidth, MmioRegion } from "../../../src/memory/bus.ts";
import type { GuestMemory } from "../../../src/memory/guest-memory.ts";

export interface Access {
  readonly kind: "R" | "W";
  readonly offset: number;
  readonly width: number;
  readonly value: number;
  /** What the last write to QueueSel chose. */
  readonly queueSel: number;
  /** Where the driver stood in that queue: avail.idx, or the slot with the wrap counter in bit 15. */
  readonly position: number;
  /** Status as last written. */
  readonly status: number;
}

export interface Descriptor {
  readonly slot: number;
  readonly address: number;
  readonly length: number;
  readonly flags: number;
  /** `next` of a split ring, the id of a packed one. */
  readonly extra: number;
}

/** A list of buffers that was made available. */
export interface List {
  readonly queue: number;
  readonly packed: boolean;
  readonly queueSize: number;
  readonly accepted: bigint;
  readonly legacy: boolean;
  readonly ring: readonly Descriptor[];
  readonly table: readonly Descriptor[] | undefined;
  /** The table's entries where there is one. */
  readonly buffers: readonly Descriptor[];
  /** All bytes for the device to read. */
  readonly out: Buffer;
  /** Bytes that the device may write. */
  readonly room: number;
  readonly status: number;
}

export interface QueueSetUp {
  readonly packed: boolean;
  readonly size: number;
  readonly desc: number;
  readonly driver: number;
  readonly device: number;
  /** All three areas, as they were then. */
  readonly zeroed: boolean;
}

/** A list that the device has. `watched`: its descriptors that the driver must leave alone, and what stood there. */
interface InFlight {
  readonly list: List;
  watched: readonly Descriptor[];
  bytes: Buffer;
}

interface LiveQueue extends QueueSetUp {
  next: number;
  wrap: boolean;
  used: number;
  usedWrap: boolean;
  /** By head or id. */
  readonly inFlight: Map<number, InFlight>;
}

/** Stands before the register bank of a device; what the driver reads can be changed on its way. */
export class Recording implements MmioRegion {
  readonly size = 0x200;
  readonly name: string;
  readonly log: Access[] = [];
  readonly lists: List[] = [];
  readonly setUps: QueueSetUp[] = [];
  /** What was seen to be wrong at one moment, by the requirement's id. */
  readonly wrong: string[] = [];
  offered = 0n;
  accepted = 0n;
  legacy = false;
  /** Changes what a read returns. */
  onRead: (offset: number, value: number) => number = (_offset, value) => value;
  readonly #inner: MmioRegion;
  readonly #memory: GuestMemory;
  readonly #queues = new Map<number, LiveQueue>();
  readonly #registers = new Map<string, number>();
  #queueSel = 0;
  #featuresSel = 0;
  #offeredSel = 0;
  #status = 0;

  constructor(name: string, inner: MmioRegion, memory: GuestMemory) {
    this.name = name;
    this.#inner = inner;
    this.#memory = memory;
    memory.onDeviceWrite((address, lengthBytes) => {
      this.#forgive(address, lengthBytes);
      this.#observe();
    });
  }

  read(offset: number, width: AccessWidth): number {
    this.#observe();
    const value = this.onRead(offset, this.#inner.read(offset, width));
    this.#note("R", offset, width, value);
    if (offset === 0x004) this.legacy = value === 1;
    if (offset === 0x010) this.offered |= BigInt(value) << BigInt(32 * this.#offeredSel);
    return value;
  }

  write(offset: number, width: AccessWidth, value: number): void {
    this.#observe();
    if (offset === 0x014) this.#offeredSel = value;
    if (offset === 0x024) this.#featuresSel = value;
    if (offset === 0x030) this.#queueSel = value;
    if (offset === 0x070) this.#writeStatus(value);
    if (offset === 0x020) this.accepted |= BigInt(value) << BigInt(32 * this.#featuresSel);
    this.#note("W", offset, width, value);
    this.#registers.set(`${offset}`, value);
    if (offset === 0x0c0) this.#queues.delete(this.#queueSel);
    if (offset === 0x044 || offset === 0x040) {
      if (value === 0) this.#queues.delete(this.#queueSel);
      else this.#start();
    }
    this.#inner.write(offset, width, value);
  }

  get packed(): boolean {
    return !this.legacy && (this.accepted & (1n << 34n)) !== 0n;
  }

  has(feature: number): boolean {
    return (this.accepted & (1n << BigInt(feature))) !== 0n;
  }

  #writeStatus(value: number): void {
    this.#status = value;
    if (value !== 0) return;
    this.#queues.clear();
    this.accepted = 0n;
  }

  #note(kind: "R" | "W", offset: number, width: number, value: number): void {
    const queueSel = offset === 0x050 ? value & 0xffff : this.#queueSel;
    const queue = this.#queues.get(queueSel);
    const position = queue === undefined ? 0 : queue.packed ? queue.next | (queue.wrap ? 0x8000 : 0) : queue.next;
    this.log.push({ kind, offset, width, value, queueSel, position, status: this.#status });
  }

  #start(): void {
    const value = (offset: number): number => this.#registers.get(`${offset}`) ?? 0;
    const size = value(0x038);
    let [desc, driver, device] = [value(0x080), value(0x090), value(0x0a0)];
    const { packed } = this;
    if (this.legacy) {
      desc = value(0x040) * value(0x028);
      driver = desc + 16 * size;
      device = Math.ceil((desc + 16 * size + 2 * (3 + size)) / value(0x03c)) * value(0x03c);
    }
    const lengths = packed ? [16 * size, 4, 4] : [16 * size, 6 + 2 * size, 6 + 8 * size];
    const areas = [desc, driver, device].map((at, i) => this.#memory.viewOf(at, lengths[i]!));
    const setUp = { packed, size, desc, driver, device, zeroed: areas.every((area) => area.every((b) => b === 0)) };
    this.setUps.push(setUp);
    this.#queues.set(this.#queueSel, {
      ...setUp,
      next: 0,
      wrap: true,
      used: 0,
      usedWrap: true,
      inFlight: new Map(),
    });
  }

  /** The device may write its used descriptors over slots of a packed ring whose lists are still in flight. */
  #forgive(address: number, lengthBytes: number): void {
    for (const queue of this.#queues.values()) {
      if (!queue.packed) continue;
      this.#unwatch(queue, (slot) => {
        const at = queue.desc + 16 * slot;
        return at < address + lengthBytes && address < at + 16;
      });
    }
  }

  #unwatch(queue: LiveQueue, passed: (slot: number) => boolean): void {
    for (const entry of queue.inFlight.values()) {
      const watched = entry.watched.filter(({ slot }) => !passed(slot));
      if (watched.length === entry.watched.length) continue;
      entry.watched = watched;
      entry.bytes = this.#bytesOf(queue, entry);
    }
  }

  /** Looks at every ring: what is used leaves, what is available comes, and what is in between must not have changed. */
  #observe(): void {
    for (const [index, queue] of this.#queues) {
      if (queue.packed) this.#takeUsedPacked(queue);
      else this.#takeUsedSplit(queue);
      for (const entry of queue.inFlight.values()) {
        if (!this.#bytesOf(queue, entry).equals(entry.bytes))
          this.wrong.push("INIT-DRV-010 a descriptor in flight has changed");
      }
      if (queue.packed) this.#takeAvailablePacked(index, queue);
      else this.#takeAvailableSplit(index, queue);
    }
  }

  #takeUsedSplit(queue: LiveQueue): void {
    const idx = this.#memory.readU16(queue.device + 2);
    for (; queue.used !== idx; queue.used = (queue.used + 1) & 0xffff) {
      queue.inFlight.delete(this.#memory.readU32(queue.device + 4 + 8 * (queue.used % queue.size)));
    }
    const flags = this.#memory.readU16(queue.driver);
    if (flags > 1) this.wrong.push(`SPLIT-DRV-018 avail.flags is ${flags}`);
    if (this.has(29) && flags !== 0) this.wrong.push(`SPLIT-DRV-020 avail.flags is ${flags}`);
  }

  #takeUsedPacked(queue: LiveQueue): void {
    for (;;) {
      const at = queue.desc + 16 * queue.used;
      const flags = this.#memory.readU16(at + 14) & 0x8080;
      const taken = queue.inFlight.get(this.#memory.readU16(at + 12));
      if (flags !== (queue.usedWrap ? 0x8080 : 0) || taken === undefined) return;
      queue.inFlight.delete(this.#memory.readU16(at + 12));
      const slots = taken.list.ring.length;
      // Passed slots are the driver's again, whichever list had them.
      this.#unwatch(queue, (slot) => (slot - queue.used + queue.size) % queue.size < slots);
      queue.used += slots;
      if (queue.used < queue.size) continue;
      queue.used -= queue.size;
      queue.usedWrap = !queue.usedWrap;
    }
  }

  #takeAvailableSplit(index: number, queue: LiveQueue): void {
    const idx = this.#memory.readU16(queue.driver + 2);
    if (((idx - queue.next) & 0xffff) > queue.size) this.wrong.push(`SPLIT-DRV-017 avail.idx goes to ${idx}`);
    for (; queue.next !== idx; queue.next = (queue.next + 1) & 0xffff) {
      const head = this.#memory.readU16(queue.driver + 4 + 2 * (queue.next % queue.size));
      const ring: Descriptor[] = [];
      for (let slot = head; ; slot = ring.at(-1)!.extra) {
        ring.push(this.#descriptor(queue.desc, slot, false));
        if ((ring.at(-1)!.flags & 1) === 0 || ring.length > queue.size) break;
      }
      this.#add(index, queue, head, ring);
    }
  }

  #takeAvailablePacked(index: number, queue: LiveQueue): void {
    for (;;) {
      const ring: Descriptor[] = [];
      let { next, wrap } = queue;
      do {
        const descriptor = this.#descriptor(queue.desc, next, true);
        if ((descriptor.flags & 0x8080) !== (wrap ? 0x80 : 0x8000)) {
          if (ring.length > 0) this.wrong.push("PACK-DRV-018 a list of which only the beginning is available");
          return;
        }
        ring.push(descriptor);
        if (++next === queue.size) {
          next = 0;
          wrap = !wrap;
        }
      } while ((ring.at(-1)!.flags & 1) !== 0 && ring.length <= queue.size);
      if (queue.inFlight.has(ring.at(-1)!.extra)) return; // of the lap before, and not used yet
      queue.next = next;
      queue.wrap = wrap;
      this.#add(index, queue, ring.at(-1)!.extra, ring);
    }
  }

  #descriptor(table: number, slot: number, packed: boolean): Descriptor {
    const at = table + 16 * slot;
    const [third, fourth] = [this.#memory.readU16(at + 12), this.#memory.readU16(at + 14)];
    const address = Number(this.#memory.readU64(at));
    const length = this.#memory.readU32(at + 8);
    return { slot, address, length, flags: packed ? fourth : third, extra: packed ? third : fourth };
  }

  #add(index: number, queue: LiveQueue, key: number, ring: readonly Descriptor[]): void {
    const [first] = ring;
    let table: Descriptor[] | undefined;
    if (first !== undefined && (first.flags & 4) !== 0) {
      table = Array.from({ length: first.length / 16 }, (_, i) => this.#descriptor(first.address, i, queue.packed));
    }
    const buffers = table ?? ring;
    const readable = buffers.filter(({ flags }) => (flags & 2) === 0);
    const list: List = {
      queue: index,
      packed: queue.packed,
      queueSize: queue.size,
      accepted: this.accepted,
      legacy: this.legacy,
      ring,
      table,
      buffers,
      out: Buffer.concat(readable.map(({ address, length }) => this.#memory.viewOf(address, length))),
      room: buffers.reduce((sum, { length, flags }) => sum + ((flags & 2) !== 0 ? length : 0), 0),
      status: this.#status,
    };
    this.lists.push(list);
    const entry = { list, watched: ring };
    queue.inFlight.set(key, { ...entry, bytes: this.#bytesOf(queue, entry) });
  }

  #bytesOf(queue: LiveQueue, { list, watched }: Pick<InFlight, "list" | "watched">): Buffer {
    const bytes = watched.map(({ slot }) => this.#memory.viewOf(queue.desc + 16 * slot, 16));
    if (list.table !== undefined) bytes.push(this.#memory.viewOf(list.ring[0]!.address, 16 * list.table.length));
    return Buffer.concat(bytes);
  }
}
