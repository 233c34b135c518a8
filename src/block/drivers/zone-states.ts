// The zones of a disk, their states and write pointers: VIRTIO 1.4 §5.2.6, docs/reference/virtio-registers.md §5 and §7.

import { assert } from "../../base/assert.ts";
import type { BlockZones, ZoneChange, ZoneDescriptor, ZoneLayout, ZoneReset, ZoneState, ZoneType } from "../zones.ts";
import { ZoneError } from "../zones.ts";

/** Each zone costs a few words, and a reset of all looks at each. */
const MAX_ZONES = 1 << 20;

export interface ZoneStatesOptions {
  readonly layout: ZoneLayout;
  readonly lengthBytes: number;
  /** Of each sequential zone, if it is less than the zone. */
  readonly zoneCapacityBytes: number;
  /** The first zones; all others are sequential. */
  readonly conventionalZones: number;
  /** Sequential zones are full at first, of what stands there, instead of empty. */
  readonly written: boolean;
  readonly readOnlyZones: readonly number[];
  readonly offlineZones: readonly number[];
}

/** What a request made of one zone. */
interface ZoneStep {
  readonly zone: number;
  readonly state: ZoneState;
  readonly pointer: number;
  readonly newState: ZoneState;
  readonly newPointer: number;
}

/**
 * See `ZoneState` for the states. A write or an append to a zone that is not open opens it implicitly, and where no more may be
 * open, closes the zone that has been open implicitly for longest. FINISH is taken in every state that a write would be taken
 * in, as ZBC and ZNS have it.
 *
 * A request that fails afterwards takes its change back, unless the zone has gone on meanwhile.
 */
export class ZoneStates implements BlockZones {
  readonly layout: ZoneLayout;
  readonly #lengthBytes: number;
  readonly #capacityBytes: number;
  readonly #conventional: number;
  readonly #states: ZoneState[];
  /** Where the data of each zone end, also of a full one. */
  readonly #pointers: Float64Array;
  /** Oldest first. */
  readonly #implicitlyOpen = new Set<number>();
  #open = 0;
  #active = 0;

  constructor(options: ZoneStatesOptions) {
    const { layout, conventionalZones } = options;
    assert(layout.zones >= 1 && layout.zones <= MAX_ZONES, "zones: more than 2^20");
    assert(layout.zones === Math.ceil(options.lengthBytes / layout.zoneBytes), "zones: do not cover the disk");
    assert(conventionalZones <= layout.zones, "zones: more conventional ones than there are");
    this.layout = layout;
    this.#lengthBytes = options.lengthBytes;
    this.#capacityBytes = options.zoneCapacityBytes;
    this.#conventional = conventionalZones;
    const sequential = options.written ? "full" : "empty";
    this.#states = Array.from({ length: layout.zones }, (_, zone) =>
      zone < conventionalZones ? "not-write-pointer" : sequential,
    );
    this.#pointers = Float64Array.from({ length: layout.zones }, (_, zone) =>
      options.written ? this.#start(zone) + this.#capacity(zone) : this.#start(zone),
    );
    for (const zone of options.readOnlyZones) this.#states[zone] = "read-only";
    for (const zone of options.offlineZones) this.#states[zone] = "offline";
  }

  zone(index: number): ZoneDescriptor {
    const state = this.#states[index]!;
    const startBytes = this.#start(index);
    const capacityBytes = this.#capacity(index);
    const pointed = state !== "not-write-pointer" && state !== "full";
    const writePointerBytes = pointed ? this.#pointers[index]! : startBytes + this.#size(index);
    return { type: this.#type(index), state, startBytes, capacityBytes, writePointerBytes };
  }

  // @virtio BLK-DEV-068 BLK-DEV-072 BLK-DEV-074
  checkRead(offsetBytes: number, lengthBytes: number): void {
    if (lengthBytes === 0) return;
    const last = this.#at(offsetBytes + lengthBytes - 1);
    for (let zone = this.#at(offsetBytes); zone <= last; zone++) {
      if (this.#states[zone] === "offline") throw new ZoneError("invalid-command");
      const bound = this.#type(zone) === "sequential-required";
      if (bound && this.#at(offsetBytes) !== last) throw new ZoneError("invalid-command");
    }
  }

  checkDiscard(offsetBytes: number, lengthBytes: number): void {
    this.#checkWritable(offsetBytes, lengthBytes);
  }

  // @virtio BLK-DEV-062 BLK-DEV-064 BLK-DEV-068 BLK-DEV-069 BLK-DEV-071 BLK-DEV-072 BLK-DEV-098 BLK-DEV-106
  admitWrite(offsetBytes: number, lengthBytes: number): ZoneChange {
    this.#checkWritable(offsetBytes, lengthBytes);
    const endBytes = offsetBytes + lengthBytes;
    const first = this.#at(offsetBytes);
    const last = this.#at(endBytes - 1);
    for (let zone = first; zone <= last; zone++) {
      if (this.#type(zone) !== "sequential-required") continue;
      if (first !== last) throw new ZoneError("invalid-command");
      this.#checkSequential(zone, offsetBytes, lengthBytes);
    }
    const steps: ZoneStep[] = [];
    try {
      for (let zone = first; zone <= last; zone++) {
        if (zone < this.#conventional) continue;
        steps.push(this.#advance(zone, Math.min(endBytes, this.#start(zone) + this.#size(zone))));
      }
    } catch (error) {
      this.#takeBack(steps);
      throw error;
    }
    return { undo: () => this.#takeBack(steps) };
  }

  // @virtio BLK-DEV-056 BLK-DEV-062 BLK-DEV-063 BLK-DEV-064
  admitAppend(zoneOffsetBytes: number, lengthBytes: number): ZoneChange & { readonly offsetBytes: number } {
    const zone = this.#commanded(zoneOffsetBytes);
    if (this.#type(zone) !== "sequential-required") throw new ZoneError("invalid-command");
    const offsetBytes = this.#pointers[zone]!;
    this.#checkSequential(zone, offsetBytes, lengthBytes);
    const steps = [this.#advance(zone, offsetBytes + lengthBytes)];
    return { offsetBytes, undo: () => this.#takeBack(steps) };
  }

  // @virtio BLK-DEV-077
  admitErase(offsetBytes: number, lengthBytes: number): ZoneChange {
    this.#checkWritable(offsetBytes, lengthBytes);
    const endBytes = offsetBytes + lengthBytes;
    const first = this.#at(offsetBytes);
    const last = this.#at(endBytes - 1);
    for (let zone = Math.max(first, this.#conventional); zone <= last; zone++) {
      const whole = this.#start(zone) >= offsetBytes && this.#start(zone) + this.#size(zone) <= endBytes;
      if (!whole) throw new ZoneError("invalid-command");
    }
    const steps: ZoneStep[] = [];
    for (let zone = Math.max(first, this.#conventional); zone <= last; zone++) steps.push(this.#empty(zone));
    return { undo: () => this.#takeBack(steps) };
  }

  // @virtio BLK-DEV-055 BLK-DEV-057 BLK-DEV-058 BLK-DEV-095 BLK-DEV-097
  open(zoneOffsetBytes: number): void {
    const zone = this.#commanded(zoneOffsetBytes);
    const state = this.#states[zone]!;
    if (state === "explicitly-open") return;
    if (state === "full") throw new ZoneError("invalid-command");
    if (state !== "implicitly-open") this.#claim(zone);
    this.#set(zone, "explicitly-open");
  }

  // @virtio BLK-DEV-055 BLK-DEV-059 BLK-DEV-094 BLK-DEV-095
  close(zoneOffsetBytes: number): void {
    const zone = this.#commanded(zoneOffsetBytes);
    const state = this.#states[zone]!;
    if (state === "closed") return;
    if (!isOpen(state)) throw new ZoneError("invalid-command");
    this.#close(zone);
  }

  // @virtio BLK-DEV-055 BLK-DEV-060 BLK-DEV-094 BLK-DEV-095
  finish(zoneOffsetBytes: number): void {
    this.#set(this.#commanded(zoneOffsetBytes), "full");
  }

  // @virtio BLK-DEV-055 BLK-DEV-061 BLK-DEV-094 BLK-DEV-095
  reset(zoneOffsetBytes: number): ZoneReset | undefined {
    const zone = this.#commanded(zoneOffsetBytes);
    const lengthBytes = this.#pointers[zone]! - zoneOffsetBytes;
    const steps = [this.#empty(zone)];
    if (lengthBytes === 0) return undefined;
    return { offsetBytes: zoneOffsetBytes, lengthBytes, undo: () => this.#takeBack(steps) };
  }

  #at(offsetBytes: number): number {
    return Math.floor(offsetBytes / this.layout.zoneBytes);
  }

  #start(zone: number): number {
    return zone * this.layout.zoneBytes;
  }

  #size(zone: number): number {
    return Math.min(this.layout.zoneBytes, this.#lengthBytes - this.#start(zone));
  }

  // @virtio BLK-DEV-011 BLK-DEV-093
  #capacity(zone: number): number {
    const size = this.#size(zone);
    if (zone < this.#conventional) return size;
    const capacity = Math.min(size, this.#capacityBytes);
    return capacity - (capacity % this.layout.writeGranularityBytes);
  }

  #type(zone: number): ZoneType {
    if (zone < this.#conventional) return "conventional";
    return this.layout.model === "host-managed" ? "sequential-required" : "sequential-preferred";
  }

  /** The zone of a command, which has a write pointer and can move it. */
  #commanded(zoneOffsetBytes: number): number {
    const zone = this.#at(zoneOffsetBytes);
    const able = zone < this.layout.zones && this.#start(zone) === zoneOffsetBytes && zone >= this.#conventional;
    if (!able || isDead(this.#states[zone]!)) throw new ZoneError("invalid-command");
    return zone;
  }

  #checkWritable(offsetBytes: number, lengthBytes: number): void {
    const last = this.#at(offsetBytes + lengthBytes - 1);
    for (let zone = this.#at(offsetBytes); zone <= last; zone++) {
      if (isDead(this.#states[zone]!)) throw new ZoneError("invalid-command");
    }
  }

  /** A full zone has no write pointer to be at: that is looked at before alignment. */
  #checkSequential(zone: number, offsetBytes: number, lengthBytes: number): void {
    const granularity = this.layout.writeGranularityBytes;
    if (this.#states[zone] === "full") throw new ZoneError("invalid-command");
    if (offsetBytes !== this.#pointers[zone]!) throw new ZoneError("unaligned-write-pointer");
    if (lengthBytes % granularity !== 0) throw new ZoneError("unaligned-write-pointer");
    if (offsetBytes + lengthBytes > this.#start(zone) + this.#capacity(zone)) throw new ZoneError("invalid-command");
  }

  /** Data up to `endBytes`, in a zone that lets them in but for want of resources. A preferred zone's pointer never goes back. */
  #advance(zone: number, endBytes: number): ZoneStep {
    const limit = this.#start(zone) + this.#capacity(zone);
    if (endBytes > limit) throw new ZoneError("invalid-command");
    const state = this.#states[zone]!;
    const pointer = this.#pointers[zone]!;
    if (state !== "full") {
      if (!isOpen(state)) {
        this.#claim(zone);
        this.#set(zone, "implicitly-open");
      }
      this.#pointers[zone] = Math.max(pointer, endBytes);
      if (this.#pointers[zone] === limit) this.#set(zone, "full");
    }
    return { zone, state, pointer, newState: this.#states[zone]!, newPointer: this.#pointers[zone]! };
  }

  #empty(zone: number): ZoneStep {
    const state = this.#states[zone]!;
    const pointer = this.#pointers[zone]!;
    const newPointer = this.#start(zone);
    this.#pointers[zone] = newPointer;
    this.#set(zone, "empty");
    return { zone, state, pointer, newState: "empty", newPointer };
  }

  // @virtio BLK-DEV-012 BLK-DEV-013 BLK-DEV-058 BLK-DEV-062 BLK-DEV-070 BLK-DEV-097
  /** Makes room for one more open zone, an active one if it was not. Being short of active zones is told first. */
  #claim(zone: number): void {
    const { maxOpenZones, maxActiveZones } = this.layout;
    const activates = this.#states[zone] !== "closed";
    if (activates && maxActiveZones > 0 && this.#active >= maxActiveZones) throw new ZoneError("active-resource");
    if (maxOpenZones === 0 || this.#open < maxOpenZones) return;
    const [oldest] = this.#implicitlyOpen;
    if (oldest === undefined) throw new ZoneError("open-resource");
    this.#close(oldest);
  }

  #close(zone: number): void {
    this.#set(zone, this.#pointers[zone] === this.#start(zone) ? "empty" : "closed");
  }

  #set(zone: number, state: ZoneState): void {
    const before = this.#states[zone]!;
    if (state === before) return;
    this.#states[zone] = state;
    this.#open += Number(isOpen(state)) - Number(isOpen(before));
    this.#active += Number(isActive(state)) - Number(isActive(before));
    if (before === "implicitly-open") this.#implicitlyOpen.delete(zone);
    if (state === "implicitly-open") this.#implicitlyOpen.add(zone);
  }

  /** A zone that something else has happened to since stays as it is; one that was active may have to be full instead. */
  #takeBack(steps: readonly ZoneStep[]): void {
    for (const { zone, state, pointer, newState, newPointer } of steps) {
      if (this.#states[zone] !== newState || this.#pointers[zone] !== newPointer) continue;
      this.#pointers[zone] = pointer;
      if (!isActive(state)) {
        this.#set(zone, state);
      } else if (!isActive(newState)) {
        const { maxActiveZones } = this.layout;
        this.#set(zone, maxActiveZones === 0 || this.#active < maxActiveZones ? "closed" : "full");
      }
    }
  }
}

function isOpen(state: ZoneState): boolean {
  return state === "implicitly-open" || state === "explicitly-open";
}

function isActive(state: ZoneState): boolean {
  return isOpen(state) || state === "closed";
}

/** Nothing can be written, nor changed. */
function isDead(state: ZoneState): boolean {
  return state === "read-only" || state === "offline";
}
