// A virtio-mmio block device for tests of the guest's side: plain where nothing is asked of it, and as wicked as a test wants.
// Written from VIRTIO 1.4 with literal numbers, and with none of the guest's constants or the device model's code.

import type { AccessWidth, MmioRegion } from "../../../src/memory/bus.ts";
import { GuestMemory } from "../../../src/memory/guest-memory.ts";
import { InterruptLine } from "../../../src/memory/interrupt-line.ts";

export interface FakeBuffer {
  readonly address: number;
  readonly length: number;
  readonly writable: boolean;
}

export interface FakeChain {
  readonly head: number;
  readonly indirect: boolean;
  readonly buffers: readonly FakeBuffer[];
}

export interface RegisterAccess {
  readonly kind: "R" | "W";
  readonly offset: number;
  readonly width: number;
  readonly value: number;
}

export const VERSION_1: bigint = 1n << 32n;
export const EVENT_IDX: bigint = 1n << 29n;
export const INDIRECT: bigint = 1n << 28n;
export const FLUSH: bigint = 1n << 9n;
export const SEG_MAX: bigint = 1n << 2n;

/** Register bank, one split virtqueue and a disk in an array. Fields are there for tests to change at any time. */
export class FakeDevice implements MmioRegion {
  readonly size = 0x200;
  readonly memory: GuestMemory;
  readonly line: InterruptLine = new InterruptLine();
  readonly disk: Uint8Array;
  readonly config: Uint8Array = new Uint8Array(0x100);
  readonly log: RegisterAccess[] = [];

  magic = 0x74726976;
  version = 2;
  deviceId = 2;
  queueSizeMax = 256;
  offered: bigint = VERSION_1 | EVENT_IDX | INDIRECT | FLUSH | SEG_MAX;
  /** What Status reads as, besides what was written. */
  extraStatus = 0;
  /** Bits of Status that the device does not take. */
  refusedStatus = 0;
  /** Reads of Status that still give the old value after a reset. */
  slowResetReads = 0;
  refuseQueueReady = false;
  /** Bits of InterruptStatus that no acknowledgement clears. */
  stuckInterrupt = 0;
  readyAfterReset = 0;
  /** Called on QueueNotify; serves every available chain by default. */
  onNotify: () => void = () => this.serveAll();
  /** Called before each access, with the offset. */
  onAccess: (kind: "R" | "W", offset: number) => void = () => undefined;

  status = 0;
  interruptStatus = 0;
  generation = 0;
  accepted = 0n;
  queue: { size: number; ready: number; desc: number; driver: number; device: number } = emptyQueue();
  lastAvail = 0;
  usedIdx = 0;
  notifies = 0;
  interrupts = 0;
  #deviceSel = 0;
  #driverSel = 0;
  #queueSel = 0;
  #oldStatus = 0;

  constructor(options: { ramBytes?: number; ramBase?: number; diskBytes?: number } = {}) {
    const { ramBytes = 1 << 20, ramBase = 0x4000_0000, diskBytes = 1 << 20 } = options;
    this.memory = new GuestMemory({ baseAddress: ramBase, sizeBytes: ramBytes });
    this.disk = new Uint8Array(diskBytes);
    const view = new DataView(this.config.buffer);
    view.setBigUint64(0, BigInt(Math.ceil(diskBytes / 512)), true);
    view.setUint32(0x0c, 126, true);
  }

  get configView(): DataView {
    return new DataView(this.config.buffer);
  }

  read(offset: number, width: AccessWidth): number {
    this.onAccess("R", offset);
    const value = this.#read(offset, width);
    this.log.push({ kind: "R", offset, width, value });
    return value;
  }

  write(offset: number, width: AccessWidth, value: number): void {
    this.onAccess("W", offset);
    this.log.push({ kind: "W", offset, width, value });
    this.#write(offset, value);
  }

  /** The register conversation as text, one access a line: `W 070=3`. */
  get conversation(): string[] {
    return this.log.map(({ kind, offset, width, value }) => {
      const bits = width === 4 ? "" : String(width * 8);
      return `${kind}${bits} ${offset.toString(16).padStart(3, "0")}=${value.toString(16)}`;
    });
  }

  get eventIndex(): boolean {
    return (this.accepted & EVENT_IDX) !== 0n;
  }

  get availIdx(): number {
    return this.memory.readU16(this.queue.driver + 2);
  }

  /** The next available chain, or undefined. */
  takeChain(): FakeChain | undefined {
    if (this.availIdx === this.lastAvail) return undefined;
    const head = this.memory.readU16(this.queue.driver + 4 + 2 * (this.lastAvail % this.queue.size));
    this.lastAvail = (this.lastAvail + 1) & 0xffff;
    if (this.eventIndex) this.memory.writeU16(this.queue.device + 4 + 8 * this.queue.size, this.lastAvail);
    return this.readChain(head);
  }

  readChain(head: number): FakeChain {
    const buffers: FakeBuffer[] = [];
    let table = this.queue.desc;
    let indirect = false;
    for (let slot = head, steps = 0; ; steps++) {
      if (steps > 40_000) throw new Error("fake device: descriptor loop");
      const at = table + 16 * slot;
      const address = Number(this.memory.readU64(at));
      const length = this.memory.readU32(at + 8);
      const flags = this.memory.readU16(at + 12);
      const next = this.memory.readU16(at + 14);
      if ((flags & 4) !== 0) {
        table = address;
        slot = 0;
        indirect = true;
        continue;
      }
      buffers.push({ address, length, writable: (flags & 2) !== 0 });
      if ((flags & 1) === 0) return { head, indirect, buffers };
      slot = next;
    }
  }

  /** Carries a block request out and returns its status and used length. */
  execute(chain: FakeChain): { status: number; length: number } {
    const readable = this.#gather(chain.buffers.filter((buffer) => !buffer.writable));
    const writable = chain.buffers.filter((buffer) => buffer.writable);
    const room = writable.reduce((sum, buffer) => sum + buffer.length, 0) - 1;
    const header = new DataView(readable.buffer);
    const type = header.getUint32(0, true);
    const at = Number(header.getBigUint64(8, true)) * 512;
    let status = 0;
    let data = new Uint8Array(0);
    if (type === 0 && at + room <= this.disk.length) data = this.disk.slice(at, at + room);
    else if (type === 1 && at + readable.length - 16 <= this.disk.length) this.disk.set(readable.subarray(16), at);
    else if (type === 8) data = new TextEncoder().encode("fake-disk".padEnd(20, "\0"));
    else if (type === 0 || type === 1) status = 1;
    else if (type !== 4) status = 2;
    this.#scatter(writable, data);
    this.writeStatus(chain, status);
    return { status, length: data.length + 1 };
  }

  writeStatus(chain: FakeChain, status: number): void {
    const last = chain.buffers[chain.buffers.length - 1]!;
    this.memory.writeU8(last.address + last.length - 1, status);
  }

  /** Pushes a used element, whatever it says. */
  use(id: number, length: number): void {
    const at = this.queue.device + 4 + 8 * (this.usedIdx % this.queue.size);
    this.memory.writeU32(at, id);
    this.memory.writeU32(at + 4, length);
    this.setUsedIdx((this.usedIdx + 1) & 0xffff);
  }

  setUsedIdx(idx: number): void {
    this.usedIdx = idx;
    this.memory.writeU16(this.queue.device + 2, idx);
  }

  /** Sets bits of InterruptStatus and the line with them. */
  interrupt(bits: number): void {
    this.interrupts++;
    this.interruptStatus |= bits;
    this.line.set(this.interruptStatus !== 0);
  }

  serve(chain: FakeChain): void {
    this.use(chain.head, this.execute(chain).length);
  }

  /** Serves all that is available, and interrupts as the driver asked for it. */
  serveAll(): void {
    const before = this.usedIdx;
    for (let chain = this.takeChain(); chain !== undefined; chain = this.takeChain()) this.serve(chain);
    this.interruptIfWanted(before);
  }

  interruptIfWanted(usedBefore: number): void {
    if (usedBefore === this.usedIdx) return;
    if (this.eventIndex) {
      const usedEvent = this.memory.readU16(this.queue.driver + 4 + 2 * this.queue.size);
      for (let idx = usedBefore; idx !== this.usedIdx; idx = (idx + 1) & 0xffff) {
        if (idx === usedEvent) return this.interrupt(1);
      }
    } else if ((this.memory.readU16(this.queue.driver) & 1) === 0) {
      this.interrupt(1);
    }
  }

  #gather(buffers: readonly FakeBuffer[]): Uint8Array {
    const bytes = new Uint8Array(buffers.reduce((sum, buffer) => sum + buffer.length, 0));
    let at = 0;
    for (const { address, length } of buffers) {
      bytes.set(this.memory.viewOf(address, length), at);
      at += length;
    }
    return bytes;
  }

  #scatter(buffers: readonly FakeBuffer[], data: Uint8Array): void {
    let from = 0;
    for (const { address, length } of buffers) {
      const part = data.subarray(from, from + length);
      this.memory.viewOf(address, part.length).set(part);
      from += part.length;
    }
  }

  #read(offset: number, width: number): number {
    if (offset >= 0x100) {
      const view = this.configView;
      const at = offset - 0x100;
      if (width === 4) return view.getUint32(at, true);
      return width === 2 ? view.getUint16(at, true) : view.getUint8(at);
    }
    switch (offset) {
      case 0x000:
        return this.magic;
      case 0x004:
        return this.version;
      case 0x008:
        return this.deviceId;
      case 0x00c:
        return 0x1234;
      case 0x010:
        return Number((this.offered >> BigInt(32 * this.#deviceSel)) & 0xffff_ffffn);
      case 0x034:
        return this.#queueSel === 0 ? this.queueSizeMax : 0;
      case 0x044:
        return this.#queueSel === 0 ? this.queue.ready : 0;
      case 0x060:
        return this.interruptStatus;
      case 0x070:
        if (this.slowResetReads > 0) {
          this.slowResetReads--;
          return this.#oldStatus;
        }
        return this.status | this.extraStatus;
      case 0x0fc:
        return this.generation;
      default:
        throw new Error(`fake device: read of 0x${offset.toString(16)}`);
    }
  }

  #write(offset: number, value: number): void {
    if (offset === 0x120) {
      this.config[0x20] = value;
      return;
    }
    switch (offset) {
      case 0x014:
        this.#deviceSel = value;
        return;
      case 0x020: {
        const shift = BigInt(32 * this.#driverSel);
        this.accepted = (this.accepted & ~(0xffff_ffffn << shift)) | (BigInt(value) << shift);
        return;
      }
      case 0x024:
        this.#driverSel = value;
        return;
      case 0x030:
        this.#queueSel = value;
        return;
      case 0x038:
        this.queue.size = value;
        return;
      case 0x044:
        this.queue.ready = this.refuseQueueReady ? 0 : value;
        return;
      case 0x050:
        this.notifies++;
        this.onNotify();
        return;
      case 0x064:
        this.interruptStatus = (this.interruptStatus & ~value) | this.stuckInterrupt;
        this.line.set(this.interruptStatus !== 0);
        return;
      case 0x070:
        if (value === 0) this.#reset();
        else this.status = value & ~this.refusedStatus;
        return;
      case 0x080:
        this.queue.desc = value;
        return;
      case 0x090:
        this.queue.driver = value;
        return;
      case 0x0a0:
        this.queue.device = value;
        return;
      case 0x084:
      case 0x094:
      case 0x0a4:
        if (value !== 0) throw new Error("fake device: address above 4 GiB");
        return;
      default:
        throw new Error(`fake device: write of 0x${offset.toString(16)}`);
    }
  }

  #reset(): void {
    this.#oldStatus = this.status;
    this.status = 0;
    this.interruptStatus = 0;
    this.line.set(false);
    this.queue = { ...emptyQueue(), ready: this.readyAfterReset };
    this.accepted = 0n;
    this.lastAvail = 0;
    this.usedIdx = 0;
  }
}

function emptyQueue(): FakeDevice["queue"] {
  return { size: 0, ready: 0, desc: 0, driver: 0, device: 0 };
}
