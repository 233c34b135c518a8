// The write cache: who may switch it, and what is on stable storage when. VIRTIO 1.4 §5.2.5.2, §5.2.6.2.
import { describe, expect, it } from "vitest";
import { HeldDriver } from "../support/held-driver.ts";
import { makeMachine } from "../support/machine.ts";
import { RawDisk } from "../support/raw-disk.ts";

const FLUSH = 9;
const CONFIG_WCE = 11;
const VERSION_1 = 32;

function start(
  features: readonly number[],
  options: { writeCache?: boolean } = {},
): { disk: RawDisk; driver: HeldDriver } {
  const driver = new HeldDriver();
  driver.holding = false;
  const disk = RawDisk.start(makeMachine({ driver, ...options }), { features: [...features, VERSION_1] });
  return { disk, driver };
}

/** What the driver is asked for one write and one read. */
function logOfOneWrite({ disk, driver }: ReturnType<typeof start>): string[] {
  driver.log.length = 0;
  expect(disk.write(1, new Uint8Array(512)).status).toBe(0);
  expect(disk.read(1).status).toBe(0);
  return driver.log;
}

const CACHED = ["write 512+512", "read 512+512"];
const COMMITTED = ["write 512+512", "flush", "read 512+512"];

describe("the cache mode after negotiation", () => {
  const cases = [
    { title: "BLK-DEV-085 is write-back with CONFIG_WCE and FLUSH", features: [FLUSH, CONFIG_WCE], writeback: 1 },
    { title: "BLK-DEV-003 is write-through with CONFIG_WCE but without FLUSH", features: [CONFIG_WCE], writeback: 0 },
    { title: "is write-back with FLUSH alone", features: [FLUSH], writeback: 1 },
    { title: "BLK-DEV-048 is write-through with neither", features: [], writeback: 0 },
    {
      title: "stays write-through with both where the drive is configured so",
      features: [FLUSH, CONFIG_WCE],
      writeCache: false,
      writeback: 0,
    },
  ];
  for (const { title, features, writeback, writeCache = true } of cases) {
    it(title, () => {
      const machine = start(features, { writeCache });
      expect(machine.disk.registers.readConfig(0x20, 1)).toBe(writeback);
      expect(logOfOneWrite(machine)).toEqual(writeback === 1 ? CACHED : COMMITTED);
    });
  }

  it("is another one after a reset and another negotiation, whatever was switched before", () => {
    const { disk, driver } = start([FLUSH, CONFIG_WCE]);
    disk.registers.writeConfig(0x20, 0, 1);
    const { machine } = disk;
    for (const features of [[FLUSH, CONFIG_WCE], [], [FLUSH], []]) {
      const again = RawDisk.start(machine, { features: [...features, VERSION_1] });
      expect(logOfOneWrite({ disk: again, driver }), features.join()).toEqual(features.length > 0 ? CACHED : COMMITTED);
    }
  });
});

describe("writeback", () => {
  it("BLK-DEV-025 BLK-DEV-049 is the driver's to switch with CONFIG_WCE, at any time", () => {
    const machine = start([FLUSH, CONFIG_WCE]);
    const { registers } = machine.disk;
    for (const [written, read, log] of [
      [0, 0, COMMITTED],
      [1, 1, CACHED],
      [0x100, 0, COMMITTED], // one byte counts
      [0x80, 1, CACHED],
    ] as const) {
      registers.writeConfig(0x20, written, 1);
      expect(registers.readConfig(0x20, 1), `after ${written}`).toBe(read);
      expect(logOfOneWrite(machine), `after ${written}`).toEqual(log);
    }
  });

  it("cannot be switched without CONFIG_WCE, before FEATURES_OK, or once the device has failed", () => {
    const { disk } = start([FLUSH]);
    const { registers } = disk;
    registers.writeConfig(0x20, 0, 1);
    expect(registers.readConfig(0x20, 1)).toBe(1);

    registers.status = 0;
    registers.status = 3;
    registers.driverFeatures = 0xa00;
    registers.writeConfig(0x20, 0, 1);
    expect(registers.readConfig(0x20, 1)).toBe(1);
    registers.status = 0x0b;
    registers.writeConfig(0x20, 0, 1);
    expect(registers.readConfig(0x20, 1)).toBe(0);
    registers.status = 0x8b;
    registers.writeConfig(0x20, 1, 1);
    expect(registers.readConfig(0x20, 1)).toBe(0);
  });

  it("changes with the one byte at its offset alone: not in part of a wider write", () => {
    const { disk } = start([FLUSH, CONFIG_WCE]);
    disk.registers.writeConfig(0x20, 0, 2);
    disk.registers.writeConfig(0x20, 0, 4);
    disk.registers.writeConfig(0x1e, 0, 4);
    expect(disk.registers.readConfig(0x20, 1)).toBe(1);
  });
});

describe("a write without the cache", () => {
  it("BLK-DEV-048 BLK-DEV-049 completes when the flush after it has, and fails when that fails", async () => {
    for (const errno of [undefined, "EIO"] as const) {
      const { disk, driver } = start([]);
      driver.holding = true;
      const request = disk.writeRequest(2, new Uint8Array(512));
      disk.submit(disk.chain(request));
      expect(driver.log).toEqual(["write 1024+512"]);
      driver.endAll();
      await new Promise(setImmediate);
      expect(driver.log).toEqual(["write 1024+512", "flush"]);
      expect(disk.takeUsed()).toEqual([]);
      expect(disk.registers.interruptStatus).toBe(0);
      driver.held[0]!.end(errno);
      await new Promise(setImmediate);
      expect(disk.takeUsed()).toEqual([{ id: 0, length: 1 }]);
      expect(disk.outcome(request, 1).status).toBe(errno === undefined ? 0 : 1);
    }
  });
});

describe("FLUSH", () => {
  it("BLK-DEV-047 asks the driver after every write that completed before it", async () => {
    const { disk, driver } = start([FLUSH]);
    driver.holding = true;
    disk.submit(disk.chain(disk.writeRequest(1, new Uint8Array(512))));
    driver.endAll();
    await new Promise(setImmediate);
    expect(disk.takeUsed().length).toBe(1);
    disk.submit(disk.chain([disk.header(4), disk.writable(1)]));
    expect(driver.log).toEqual(["write 512+512", "flush"]);
    await new Promise(setImmediate);
    expect(disk.takeUsed()).toEqual([]);
    driver.endAll();
    await new Promise(setImmediate);
    expect(disk.takeUsed()).toEqual([{ id: 3, length: 1 }]);
  });
});
