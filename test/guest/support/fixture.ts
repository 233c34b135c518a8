// A guest on a fake device, with a clock that stands still.

import { Guest, type GuestOptions, InProcessTarget } from "../../../guest/index.ts";
import { FakeDevice } from "./fake-device.ts";
import { ManualClock } from "./manual-clock.ts";

export interface FakeMachine {
  readonly device: FakeDevice;
  readonly clock: ManualClock;
  readonly target: InProcessTarget;
  readonly guest: Guest;
}

export function fakeMachine(
  options: { ramBytes?: number; ramBase?: number; diskBytes?: number; guest?: GuestOptions } = {},
): FakeMachine {
  const device = new FakeDevice(options);
  const clock = new ManualClock();
  const target = new InProcessTarget({ memory: device.memory, region: device, line: device.line, clock });
  return { device, clock, target, guest: new Guest(target, options.guest) };
}
