// The two register banks once more, as plainly as the tables of docs/reference/virtio-registers.md §1 say them: a naive twin.

const DRIVER_BITS = 0x8f;
const NEEDS_RESET = 0x40;
const FAILED = 0x80;
const FEATURES_OK = 8;
const DRIVER_OK = 4;

interface QueueModel {
  size: number;
  align: number;
  pfn: number;
  /** Desc, Driver, Device: low and high halves, by register offset. */
  address: Map<number, number>;
  ready: boolean;
  /** Where the queue was when it was placed: a legacy queue waits there for the first use. */
  areas: Areas | undefined;
}

interface Areas {
  readonly size: number;
  readonly desc: number;
  readonly driver: number;
  readonly device: number;
}

export interface ModelOptions {
  readonly legacy: boolean;
  readonly offered: bigint;
  readonly refused: bigint;
  readonly sizesMax: readonly number[];
  readonly ramBase: number;
  readonly ramBytes: number;
}

export class RegisterModel {
  readonly #o: ModelOptions;
  status = 0;
  interruptStatus = 0;
  generation = 0;
  /** What the device should have been told. */
  features: bigint | undefined = undefined;
  live = false;
  notified: number[] = [];
  #broken = false;
  #pageSize = 0;
  #deviceSel = 0;
  #driverSel = 0;
  #words: [number, number] = [0, 0];
  #queueSel = 0;
  #queues: QueueModel[] = [];
  readonly config: Uint8Array = new Uint8Array(16);

  constructor(options: ModelOptions) {
    this.#o = options;
    this.#clear();
  }

  /** The queues that the device may use, with their sizes. */
  get inUse(): [number, number][] {
    const all = this.#queues.flatMap((queue, i): [number, number][] =>
      queue.ready && queue.areas !== undefined ? [[i, queue.areas.size]] : [],
    );
    return this.#stopped ? [] : all;
  }

  get #stopped(): boolean {
    return this.#broken || (this.status & FAILED) !== 0;
  }

  get #accepted(): bigint {
    const words = BigInt(this.#words[0]) + (BigInt(this.#words[1]) << 32n);
    return this.#o.legacy ? words & 0xffff_ffffn : words;
  }

  /** What registers read, by offset; those that are not listed, 0. */
  get registers(): Record<number, number> {
    const { legacy, offered, sizesMax } = this.#o;
    const queue = this.#queues[this.#queueSel];
    const both = {
      0: 0x7472_6976,
      4: legacy ? 1 : 2,
      8: 0x7f,
      12: 0x554d_4551,
      16: this.#deviceSel < 2 ? Number(BigInt.asUintN(32, offered >> (32n * BigInt(this.#deviceSel)))) : 0,
      52: sizesMax[this.#queueSel] ?? 0,
      96: this.interruptStatus,
      112: this.status,
    };
    if (legacy) return { ...both, 64: queue?.pfn ?? 0 };
    return {
      ...both,
      68: queue?.ready === true ? 1 : 0,
      176: 0xffff_ffff,
      180: 0xffff_ffff,
      184: 0xffff_ffff,
      188: 0xffff_ffff,
      252: this.generation,
    };
  }

  write(offset: number, value: number): void {
    if (offset === 0x014) this.#deviceSel = value;
    else if (offset === 0x024) this.#driverSel = value;
    else if (offset === 0x030) this.#queueSel = value;
    else if (offset === 0x064) this.interruptStatus &= ~value;
    else if (offset === 0x020) this.#writeFeatures(value);
    else if (offset === 0x070) this.#writeStatus(value);
    else if (offset === 0x050) this.#notify(value);
    else if (this.#o.legacy) this.#writeLegacy(offset, value);
    else this.#writeModern(offset, value);
  }

  writeConfig(offset: number, width: number, value: number): void {
    const allowed = this.#o.legacy || (this.status & FEATURES_OK) !== 0;
    if (!allowed || this.#stopped || offset + width > 16) return;
    for (let i = 0; i < width; i++) this.config[offset + i] = value / 256 ** i;
  }

  usedBuffers(): void {
    this.interruptStatus |= 1;
  }

  configChange(): void {
    this.generation++;
    if ((this.status & DRIVER_OK) !== 0) this.interruptStatus |= 2;
  }

  breakRing(usedBuffers: boolean): void {
    this.#broken = true;
    if (usedBuffers) this.interruptStatus |= 1;
    if (this.#o.legacy) return;
    this.status |= NEEDS_RESET;
    if ((this.status & DRIVER_OK) !== 0) this.interruptStatus |= 2;
  }

  powerOn(): void {
    this.#pageSize = 0;
    this.#clear();
  }

  #clear(): void {
    this.status = 0;
    this.interruptStatus = 0;
    this.features = undefined;
    this.live = false;
    this.notified = [];
    this.#broken = false;
    this.#deviceSel = 0;
    this.#driverSel = 0;
    this.#words = [0, 0];
    this.#queueSel = 0;
    this.#queues = this.#o.sizesMax.map((size) => ({
      size: this.#o.legacy ? size : 0,
      align: 4096,
      pfn: 0,
      address: new Map(),
      ready: false,
      areas: undefined,
    }));
  }

  #writeFeatures(value: number): void {
    const open = this.#o.legacy ? this.features === undefined : (this.status & 0x0a) === 2;
    if (open && this.#driverSel < 2) this.#words[this.#driverSel as 0 | 1] = value;
  }

  #writeStatus(value: number): void {
    if (value === 0) return this.#clear();
    const { legacy, offered, refused } = this.#o;
    const had = this.status;
    this.status |= value & 0x83;
    const features = this.#accepted;
    if (legacy) {
      this.status |= value & DRIVER_BITS;
      if ((this.status & ~had & DRIVER_OK) !== 0) this.#firstUse();
      return;
    }
    if ((value & FEATURES_OK) !== 0 && (had & FEATURES_OK) === 0) {
      if ((features & ~offered) === 0n && (features & refused) === 0n) {
        this.status |= FEATURES_OK;
        this.features = features;
      }
    }
    if ((value & DRIVER_OK) !== 0 && (this.status & FEATURES_OK) !== 0 && (had & DRIVER_OK) === 0) {
      this.status |= DRIVER_OK;
      if (!this.#stopped) this.live = true;
    }
  }

  /** Of a legacy device: the features count now, and the queues that have a place are enabled. */
  #firstUse(): void {
    if (this.features !== undefined) return;
    this.features = this.#accepted & this.#o.offered;
    if (this.#stopped) return;
    this.live = true;
    for (const queue of this.#queues) queue.ready = queue.areas !== undefined;
  }

  #notify(value: number): void {
    const withData = !this.#o.legacy && ((this.features ?? 0n) & (1n << 38n)) !== 0n;
    const index = withData ? value % 0x1_0000 : value;
    const queue = this.#queues[index];
    if (queue === undefined || this.#stopped) return;
    if (this.#o.legacy && this.features === undefined) {
      if (queue.areas !== undefined) this.#firstUse(); // which looks at every queue: no notification
    } else if (this.live && queue.ready) {
      this.notified.push(index);
    }
  }

  #writeLegacy(offset: number, value: number): void {
    const queue = this.#queues[this.#queueSel];
    const power = [...Array(32).keys()].some((bit) => 2 ** bit === value);
    if (offset === 0x028 && power) this.#pageSize = value;
    if (queue === undefined || ![0x038, 0x03c, 0x040].includes(offset)) return;
    if (offset === 0x040 && value === 0) {
      queue.pfn = 0;
      queue.areas = undefined;
      queue.ready = false;
    } else if (queue.pfn === 0) {
      if (offset === 0x038 && power && value <= this.#o.sizesMax[this.#queueSel]!) queue.size = value;
      if (offset === 0x03c && power) queue.align = value;
      if (offset === 0x040) this.#place(queue, value);
    }
  }

  #place(queue: QueueModel, pfn: number): void {
    const { size, align } = queue;
    const desc = pfn * this.#pageSize;
    const driver = desc + 16 * size;
    let device = driver + 6 + 2 * size;
    device += (align - (device % align)) % align;
    const areas = { size, desc, driver, device };
    if (this.#stopped || this.#pageSize === 0 || !this.#fits(areas, false, true)) return;
    queue.pfn = pfn;
    queue.areas = areas;
    queue.ready = this.features !== undefined;
  }

  #writeModern(offset: number, value: number): void {
    const queue = this.#queues[this.#queueSel];
    if (queue === undefined) return;
    const negotiated = this.features ?? 0n;
    const packed = (negotiated & (1n << 34n)) !== 0n;
    if (offset === 0x0c0 && value === 1 && (negotiated & (1n << 40n)) !== 0n) queue.ready = false;
    if (offset === 0x044) this.#writeReady(queue, value);
    if (queue.ready) return;
    const power = [...Array(16).keys()].some((bit) => 2 ** bit === value);
    const size = value > 0 && value <= this.#o.sizesMax[this.#queueSel]! && (packed || power);
    if (offset === 0x038 && size) queue.size = value;
    if ([0x080, 0x084, 0x090, 0x094, 0x0a0, 0x0a4].includes(offset)) queue.address.set(offset, value);
  }

  #writeReady(queue: QueueModel, value: number): void {
    if (value === 0) {
      queue.ready = false;
    } else if (!queue.ready && !this.#stopped) {
      const at = (offset: number): number =>
        (queue.address.get(offset) ?? 0) + 2 ** 32 * (queue.address.get(offset + 4) ?? 0);
      const areas = { size: queue.size, desc: at(0x080), driver: at(0x090), device: at(0x0a0) };
      const features = this.#accepted & this.#o.offered;
      const packed = (features & (1n << 34n)) !== 0n;
      if (!this.#fits(areas, packed, (features & (1n << 29n)) !== 0n)) return;
      queue.ready = true;
      queue.areas = areas;
    }
  }

  #fits({ size, desc, driver, device }: Areas, packed: boolean, events: boolean): boolean {
    const end = this.#o.ramBase + this.#o.ramBytes;
    const inRam = (at: number, bytes: number): boolean => at >= this.#o.ramBase && at + bytes <= end;
    if (size === 0) return false;
    if (packed) {
      const aligned = desc % 16 === 0 && driver % 4 === 0 && device % 4 === 0;
      return aligned && inRam(desc, 16 * size) && inRam(driver, 4) && inRam(device, 4);
    }
    const tail = events ? 6 : 4;
    const aligned = desc % 16 === 0 && driver % 2 === 0 && device % 4 === 0;
    return aligned && inRam(desc, 16 * size) && inRam(driver, tail + 2 * size) && inRam(device, tail + 8 * size);
  }
}
