// What every device must still do after whatever a guest has done to it: reset, come up, and read.

import { expect } from "vitest";
import type { MemoryDriver } from "../../../src/block/drivers/memory.ts";
import type { TestMachine } from "./machine.ts";
import { RawDisk } from "./raw-disk.ts";

/** Status=0, INIT and one good read, each step with what it must show. Returns the disk that came up. */
export function expectRecovery(machine: TestMachine, sector = 3): RawDisk {
  const { registers, line } = machine;
  registers.status = 0;
  expect(registers.status, "Status after a reset").toBe(0);
  expect(registers.interruptStatus, "InterruptStatus after a reset").toBe(0);
  expect(line.raised, "the line after a reset").toBe(false);
  const disk = RawDisk.start(machine, { queueSize: Math.min(8, registers.queueSizeMax) });
  const legacy = registers.version === 1;
  if (legacy) expect(registers.read(0x040), "QueuePFN").not.toBe(0);
  else expect(registers.queueReady, "QueueReady").toBe(1);
  const { status, length, data } = disk.read(sector);
  expect({ status, length }, "a read after recovery").toEqual({ status: 0, length: 513 });
  const driver = machine.driver as Partial<MemoryDriver>;
  if (driver.bytes !== undefined) {
    expect([...data]).toEqual([...driver.bytes.subarray(512 * sector, 512 * (sector + 1))]);
  }
  expect(registers.status, "Status after a read").toBe(legacy ? 7 : 0x0f);
  expect(registers.interruptStatus, "InterruptStatus after a read").toBe(1);
  return disk;
}
