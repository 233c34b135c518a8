// A block device, the RAM and the line around it, and the guest that looks at them, all within a test's reach.

import type { VirtioBlkOptions } from "../../../devices/index.ts";
import { VirtioBlk, VirtioMmio } from "../../../devices/index.ts";
import { Guest, InProcessTarget, type VirtioMmioRegisters } from "../../../guest/index.ts";
import { type Clock, systemClock } from "../../../src/base/clock.ts";
import { BlockBackend } from "../../../src/block/backend.ts";
import type { BlockDriver } from "../../../src/block/driver.ts";
import { MemoryDriver } from "../../../src/block/drivers/memory.ts";
import { BlockNode } from "../../../src/block/node.ts";
import { GuestMemory } from "../../../src/memory/guest-memory.ts";
import { InterruptLine } from "../../../src/memory/interrupt-line.ts";

export interface MachineOptions {
  /** In memory, with `diskPattern` on it, by default. */
  readonly driver?: BlockDriver;
  /** Of the disk that is made by default. */
  readonly sectors?: number;
  readonly readOnly?: boolean;
  readonly writeCache?: boolean;
  /** Whether discards reach the driver; "ignore" by default. */
  readonly discard?: "unmap" | "ignore";
  readonly device?: Omit<VirtioBlkOptions, "backend" | "clock">;
  /** Version 1. */
  readonly legacy?: boolean;
  readonly bigEndian?: boolean;
  readonly ramBase?: number;
  readonly ramBytes?: number;
  /** RAM of the test's own, instead of `ramBytes` at `ramBase`. */
  readonly memory?: GuestMemory;
  readonly clock?: Clock;
}

export interface TestMachine {
  readonly memory: GuestMemory;
  readonly line: InterruptLine;
  readonly driver: BlockDriver;
  readonly node: BlockNode;
  readonly backend: BlockBackend;
  readonly bank: VirtioMmio;
  readonly target: InProcessTarget;
  readonly guest: Guest;
  readonly registers: VirtioMmioRegisters;
}

/** Time stands still, so that a device finishes at once what it can, however busy the machine that runs the test. */
const STILL_CLOCK: Clock = { ...systemClock, nowMs: () => 0 };

export const RAM_BASE = 0x4000_0000;

/** What stands on the disk at first: no two sectors are alike. */
export function diskPattern(lengthBytes: number, seed = 1): Uint8Array {
  const bytes = new Uint8Array(lengthBytes);
  for (let i = 0; i < lengthBytes; i++) bytes[i] = (Math.imul(i + seed, 0x9e37_79b1) >>> 24) ^ (i >>> 9);
  return bytes;
}

export function makeMachine(options: MachineOptions = {}): TestMachine {
  const { sectors = 128, readOnly = false, ramBase = RAM_BASE, ramBytes = 1 << 20, clock = STILL_CLOCK } = options;
  const driver = options.driver ?? new MemoryDriver({ bytes: diskPattern(512 * sectors) });
  const memory = options.memory ?? new GuestMemory({ baseAddress: ramBase, sizeBytes: ramBytes });
  const line = new InterruptLine();
  const node = new BlockNode({ name: "disk", driver, discard: options.discard ?? "ignore" });
  const backend = new BlockBackend({ name: "drive0", node, readOnly, writeCache: options.writeCache ?? true });
  const device = new VirtioBlk({ backend, ...options.device, clock });
  const bank = new VirtioMmio({
    device,
    memory,
    line,
    legacy: options.legacy ?? false,
    bigEndian: options.bigEndian ?? false,
  });
  const target = new InProcessTarget({ memory, region: bank, line, clock });
  const guest = new Guest(target);
  return { memory, line, driver, node, backend, bank, target, guest, registers: guest.registers };
}

/** Every register and all of the configuration, as they read now. */
export function snapshot({ registers }: TestMachine): number[] {
  return Array.from({ length: 0x80 }, (_, i) => registers.read(4 * i));
}
