// A guest on the device model, over any block driver.

import { VirtioBlk, VirtioMmio } from "../../../devices/index.ts";
import { Guest, type GuestOptions, InProcessTarget } from "../../../guest/index.ts";
import { type Clock, systemClock } from "../../../src/base/clock.ts";
import { BlockBackend } from "../../../src/block/backend.ts";
import type { BlockDriver } from "../../../src/block/driver.ts";
import { BlockNode } from "../../../src/block/node.ts";
import { GuestMemory } from "../../../src/memory/guest-memory.ts";
import { InterruptLine } from "../../../src/memory/interrupt-line.ts";

export interface DeviceMachine {
  readonly memory: GuestMemory;
  readonly region: VirtioMmio;
  readonly line: InterruptLine;
  readonly node: BlockNode;
  readonly backend: BlockBackend;
  readonly target: InProcessTarget;
  readonly guest: Guest;
}

export function deviceMachine(
  driver: BlockDriver,
  options: { ramBytes?: number; clock?: Clock; readOnly?: boolean; queueSizeMax?: number; guest?: GuestOptions } = {},
): DeviceMachine {
  const { ramBytes = 1 << 22, clock = systemClock, readOnly = false, queueSizeMax = 256 } = options;
  const memory = new GuestMemory({ baseAddress: 0x4000_0000, sizeBytes: ramBytes });
  const line = new InterruptLine();
  const node = new BlockNode({ name: "node0", driver });
  const backend = new BlockBackend({ name: "drive0", node, readOnly });
  const device = new VirtioBlk({ backend, serial: "serial-of-20-letters", queueSizeMax, clock });
  const region = new VirtioMmio({ device, memory, line });
  const target = new InProcessTarget({ memory, region, line, clock });
  return { memory, region, line, node, backend, target, guest: new Guest(target, options.guest) };
}
