// Zones under the fuzzer: a zoned driver over the fuzzed disk, and what must hold of its zones whatever the guest did. VIRTIO 1.4 §5.2.6.

import { ZonedDriver } from "../../src/block/drivers/zoned.ts";
import { BlockNode } from "../../src/block/node.ts";
import type { ZoneDescriptor, ZoneState } from "../../src/block/zones.ts";
import type { FuzzDisk } from "./fuzz-disk.ts";
import type { FuzzZones } from "./program.ts";

const SECTOR_BYTES = 512;
const OPEN: readonly ZoneState[] = ["implicitly-open", "explicitly-open"];
const ACTIVE: readonly ZoneState[] = [...OPEN, "closed"];

export class ZonedFuzzDisk {
  readonly driver: ZonedDriver;
  readonly #zones: FuzzZones;
  readonly #file: BlockNode;
  readonly #disk: FuzzDisk;

  constructor(zones: FuzzZones, disk: FuzzDisk) {
    this.#zones = zones;
    this.#disk = disk;
    if (!zones.written) disk.memory.bytes.fill(0);
    this.#file = new BlockNode({ name: "data", driver: disk, discard: "ignore" });
    this.driver = new ZonedDriver({
      file: this.#file,
      model: zones.model,
      zoneBytes: SECTOR_BYTES * zones.zoneSectors,
      zoneCapacityBytes: SECTOR_BYTES * zones.capacitySectors,
      conventionalZones: zones.conventional,
      maxOpenZones: zones.maxOpen,
      maxActiveZones: zones.maxActive,
      maxAppendBytes: SECTOR_BYTES * zones.maxAppendSectors,
      writeGranularityBytes: SECTOR_BYTES * zones.granularitySectors,
      content: zones.written ? "written" : "blank",
      readOnlyZones: zones.readOnly,
      offlineZones: zones.offline,
    });
  }

  /** Requests under way below the zones. */
  get inFlight(): number {
    return this.#file.inFlight;
  }

  /** Throws where the zones contradict themselves, their limits, or, while nothing is under way, what is on the disk. */
  check(idle: boolean): void {
    const { layout } = this.driver.zones;
    const zones = Array.from({ length: layout.zones }, (_, index) => this.driver.zones.zone(index));
    for (const zone of zones) this.#checkZone(zone, idle);
    const count = (states: readonly ZoneState[]): number => zones.filter(({ state }) => states.includes(state)).length;
    const { maxOpen, maxActive } = this.#zones;
    if (maxOpen > 0 && count(OPEN) > maxOpen) throw new Error(`${count(OPEN)} zones are open, of at most ${maxOpen}`);
    if (maxActive > 0 && count(ACTIVE) > maxActive) {
      throw new Error(`${count(ACTIVE)} zones are active, of at most ${maxActive}`);
    }
  }

  #checkZone({ type, state, startBytes, capacityBytes, writePointerBytes }: ZoneDescriptor, idle: boolean): void {
    const zone = `the zone at ${startBytes}, ${type} and ${state}`;
    if (type === "conventional") {
      if (state !== "not-write-pointer") throw new Error(zone);
      return;
    }
    if (state === "read-only" || state === "offline") return;
    const end = startBytes + capacityBytes;
    const written = writePointerBytes - startBytes;
    if (state === "not-write-pointer" || written < 0 || (state !== "full" && writePointerBytes > end)) {
      throw new Error(`${zone}, has its write pointer at ${writePointerBytes}`);
    }
    if ((state === "empty") !== (written === 0) && state !== "explicitly-open") {
      throw new Error(`${zone}, has ${written} bytes`);
    }
    if (!idle || state === "full" || type !== "sequential-required") return;
    const stored = this.#disk.memory.bytes.subarray(writePointerBytes, end);
    if (stored.some((byte) => byte !== 0)) throw new Error(`${zone}, holds data beyond its write pointer`);
  }
}
