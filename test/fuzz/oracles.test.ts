// What the fuzzer looks at finds what it is there to find.
import { describe, expect, it } from "vitest";
import { FuzzDisk } from "./fuzz-disk.ts";
import { FuzzMemory } from "./fuzz-memory.ts";
import { ZonedFuzzDisk } from "./fuzz-zones.ts";
import { minimise } from "./minimise.ts";
import type { FuzzProgram, FuzzStep } from "./program.ts";
import { ShadowRam } from "./shadow-ram.ts";

const BASE = 0x4000_0000;
const PLACE = { size: 2, descriptorArea: BASE, driverArea: BASE + 0x40, deviceArea: BASE + 0x80 };

function shadowed(): { memory: FuzzMemory; shadow: ShadowRam } {
  const memory = new FuzzMemory({ baseAddress: BASE, sizeBytes: 0x400 });
  memory.writeU64(BASE, BigInt(BASE + 0x200));
  memory.writeU32(BASE + 8, 16);
  memory.writeU16(BASE + 12, 2);
  return { memory, shadow: new ShadowRam(memory, false, false) };
}

describe("ShadowRam", () => {
  it("allows the used ring and writable descriptors of a queue in use, and no byte beside them", () => {
    for (const [offset, allowed] of [
      [0x80, true],
      [0x20f, true],
      [0x200, true],
      [0x210, false],
      [0x1ff, false],
      [0x40, false],
      [0, false],
    ] as const) {
      const { memory, shadow } = shadowed();
      shadow.allow([PLACE]);
      memory.writeU8(BASE + offset, 0x77);
      if (allowed) shadow.check(true);
      else expect(() => shadow.check(true)).toThrow("changed from");
    }
  });

  it("allows nothing once all is stopped", () => {
    const { memory, shadow } = shadowed();
    shadow.allow([PLACE]);
    shadow.forbid();
    memory.writeU8(BASE + 0x200, 1);
    expect(() => shadow.check(true)).toThrow("RAM + 0x200 changed from 0x0 to 0x1");
  });

  it("wants to hear of each write where somebody listens", () => {
    const { memory, shadow } = shadowed();
    shadow.watch();
    shadow.allow([PLACE]);
    memory.writeU8(BASE + 0x200, 1);
    memory.noteDeviceWrite(0x200, 1);
    shadow.check(true);
    memory.writeU8(BASE + 0x201, 1);
    expect(() => shadow.check(true)).toThrow("no listener heard of");
  });
});

describe("ZonedFuzzDisk", () => {
  const ZONES = {
    model: "host-managed",
    zoneSectors: 8,
    capacitySectors: 6,
    conventional: 1,
    maxOpen: 1,
    maxActive: 2,
    maxAppendSectors: 4,
    granularitySectors: 1,
    written: false,
    readOnly: [],
    offline: [],
  } as const;
  const zoned = (): { disk: FuzzDisk; zones: ZonedFuzzDisk } => {
    const disk = new FuzzDisk(64, false);
    return { disk, zones: new ZonedFuzzDisk(ZONES, disk) };
  };

  it("allows data before write pointers and in conventional zones, and none beyond them", () => {
    for (const [offset, allowed] of [
      [0, true], // conventional
      [8 * 512, true],
      [9 * 512 - 1, true],
      [9 * 512, false],
      [16 * 512, false],
    ] as const) {
      const { disk, zones } = zoned();
      zones.driver.zones.admitWrite(8 * 512, 512);
      disk.memory.bytes[offset] = 1;
      zones.check(false);
      if (allowed) zones.check(true);
      else expect(() => zones.check(true)).toThrow("holds data beyond its write pointer");
    }
  });

  it("finds zones that contradict their limits or themselves", () => {
    for (const [zone, message] of [
      [{ state: "explicitly-open" }, "zones are open, of at most 1"],
      [{ state: "closed" }, "zones are active, of at most 2"],
      [{ state: "empty" }, "has 512 bytes"],
      [{ state: "closed", writePointerBytes: -512 }, "has its write pointer at"],
      [{ state: "not-write-pointer" }, "has its write pointer at"],
    ] as const) {
      const { zones } = zoned();
      const { zone: real } = zones.driver.zones;
      zones.driver.zones.zone = (index) => {
        const { startBytes, ...rest } = real.call(zones.driver.zones, index);
        const changed = index === 0 ? {} : { writePointerBytes: startBytes + 512, ...zone };
        return { ...rest, startBytes, ...changed };
      };
      expect(() => zones.check(false)).toThrow(message);
    }
  });
});

describe("FuzzMemory", () => {
  it("ends a device that looks at RAM for ever", () => {
    const memory = new FuzzMemory({ baseAddress: BASE, sizeBytes: 0x400 });
    memory.enter();
    expect(() => {
      for (;;) memory.u16.at(0);
    }).toThrow("looks at RAM");
    memory.leave();
  });
});

describe("minimise", () => {
  it("keeps the steps that a failure needs, in their order, and no other", async () => {
    const step = (offset: number): FuzzStep => ({ do: "read", offset, width: 4 });
    const setup = { layout: "split", queueSizeMax: 4, queues: 1, offers: {}, readOnly: false, watched: false } as const;
    const program: FuzzProgram = { setup, steps: Array.from({ length: 40 }, (_, i) => step(4 * i)) };
    const fails = async ({ steps }: FuzzProgram): Promise<string | undefined> => {
      const offsets = steps.map((each) => (each.do === "read" ? each.offset : 0));
      return offsets.includes(12) && offsets.includes(100) ? "both" : undefined;
    };
    expect((await minimise(program, fails)).steps).toEqual([step(12), step(100)]);
  });
});
