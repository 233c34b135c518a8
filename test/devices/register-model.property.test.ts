// Random programs of register accesses, hostile values among them, on both banks beside a naive twin of each.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { VirtioMmio } from "../../devices/index.ts";
import type { AccessWidth } from "../../src/memory/bus.ts";
import { GuestMemory } from "../../src/memory/guest-memory.ts";
import { InterruptLine } from "../../src/memory/interrupt-line.ts";
import { RecordingDevice } from "./support/recording-device.ts";
import { RegisterModel } from "./support/register-model.ts";

const RUNS = process.env["VBLK_SOAK"] === undefined ? 300 : 20_000;
const RAM_BASE = 0x4000_0000;
const RAM_BYTES = 1 << 16;
const SIZES_MAX = [8, 256, 1];
/** INDIRECT_DESC, EVENT_IDX, VERSION_1, RING_PACKED, IN_ORDER, NOTIFICATION_DATA, RING_RESET, and three of a device type. */
const OFFERED = [0, 5, 9, 28, 29, 32, 34, 35, 38, 40];
/** One that the device offers, and then does not want. */
const REFUSED = 5;
/** What version 1 makes of them: word 0, NOTIFY_ON_EMPTY and ANY_LAYOUT. */
const OFFERED_LEGACY = [0, 5, 9, 24, 27, 28, 29];

type DeviceEvent = "used" | "config" | "break" | "break after use" | "power";
type Step =
  | { readonly kind: "write"; readonly offset: number; readonly value: number }
  | { readonly kind: "access"; readonly offset: number; readonly width: AccessWidth; readonly value: number }
  | { readonly kind: "device"; readonly what: DeviceEvent };

const bits = (numbers: readonly number[]): bigint => numbers.reduce((set, bit) => set | (1n << BigInt(bit)), 0n);

function write(offset: number, value: fc.Arbitrary<number>): fc.Arbitrary<Step> {
  return value.map((chosen): Step => ({ kind: "write", offset, value: chosen }));
}

const anyWord = fc.oneof(
  fc.constantFrom(0, 1, 2, 3, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 0x1_0000, 0x1_0008, RAM_BASE),
  fc.integer({ min: 0, max: 0xffff_ffff }),
);
const inRam = fc.integer({ min: 0, max: RAM_BYTES / 16 + 1 }).map((i) => RAM_BASE + 16 * i);
const lowFeatures = fc.constantFrom(0, 1, 0x2000_0000, 0x3000_0200, 0x3900_0000, 0x20, 0x8000_0000);
const highFeatures = fc.constantFrom(0, 1, 5, 9, 0x41, 0x101, 0x14d, 2);
const mostly = <T>(usual: fc.Arbitrary<T>, other: fc.Arbitrary<T>): fc.Arbitrary<T> =>
  fc.oneof({ weight: 9, arbitrary: usual }, { weight: 1, arbitrary: other });

const size = mostly(fc.constantFrom(1, 2, 4, 8), fc.constantFrom(0, 3, 9, 16, 256, 257, 0x1_0008));

const anyAccess = fc.record({
  kind: fc.constant("access" as const),
  offset: fc.oneof(fc.integer({ min: 0, max: 0x110 }), fc.constantFrom(-4, 0.5, 0x200, 2 ** 32)),
  width: fc.constantFrom<AccessWidth[]>(1, 2, 4),
  value: anyWord,
});
const deviceStep = fc.record({
  kind: fc.constant("device" as const),
  what: fc.oneof(
    fc.constantFrom<DeviceEvent[]>("used", "config"),
    fc.constantFrom<DeviceEvent[]>("break", "break after use", "power"),
  ),
});
const shared: fc.Arbitrary<Step>[] = [
  write(0x014, mostly(fc.constantFrom(0, 1), anyWord)),
  write(0x024, mostly(fc.constantFrom(0, 1), anyWord)),
  write(0x020, fc.oneof(lowFeatures, highFeatures, anyWord)),
  write(0x030, mostly(fc.nat(2), anyWord)),
  write(0x038, size),
  write(0x050, mostly(fc.nat(2), anyWord)),
  write(0x064, mostly(fc.nat(3), anyWord)),
  write(0x070, mostly(fc.constantFrom(0, 1, 3, 7, 0x0b, 0x0f, 0x0f), anyWord)),
  anyAccess,
  deviceStep,
];

/** A queue set up as it should be, most times. */
const modernQueue = fc.tuple(fc.nat(2), size, inRam, inRam, inRam).map(([queue, queueSize, desc, driver, device]) =>
  [
    [0x030, queue],
    [0x038, queueSize],
    [0x080, desc],
    [0x090, driver],
    [0x0a0, device],
    [0x044, 1],
  ].map(([offset, value]): Step => ({ kind: "write", offset: offset!, value: value! })),
);
const legacyQueue = fc
  .tuple(fc.nat(2), size, fc.constantFrom(4, 16, 4096, 3), fc.constantFrom(16, 4096), fc.nat(15))
  .map(([queue, queueSize, align, pageSize, page]) =>
    [
      [0x028, pageSize],
      [0x030, queue],
      [0x038, queueSize],
      [0x03c, align],
      [0x040, (RAM_BASE + 4096 * page) / pageSize],
    ].map(([offset, value]): Step => ({ kind: "write", offset: offset!, value: value! })),
  );
const negotiation = fc.tuple(lowFeatures, highFeatures, fc.constantFrom(0x0b, 0x0f, 7)).map(([low, high, status]) =>
  [
    [0x070, 0],
    [0x070, 3],
    [0x024, 1],
    [0x020, high],
    [0x024, 0],
    [0x020, low],
    [0x070, status],
  ].map(([offset, value]): Step => ({ kind: "write", offset: offset!, value: value! })),
);

const modernStep = fc.oneof(
  ...shared,
  write(0x044, fc.constantFrom(0, 1, 1, 2)),
  write(0x0c0, fc.constantFrom(0, 1, 1, 2)),
  write(0x080, inRam),
  write(0x094, fc.constantFrom(0, 1)),
);
const legacyStep = fc.oneof(
  ...shared,
  write(0x028, fc.constantFrom(0, 16, 4096, 4097)),
  write(0x03c, fc.constantFrom(0, 4, 64, 4096, 3)),
  write(
    0x040,
    fc.oneof(
      fc.constantFrom(0, 0, 1),
      fc.nat(15).map((page) => RAM_BASE / 4096 + page),
    ),
  ),
);

const single = (step: fc.Arbitrary<Step>): fc.Arbitrary<readonly Step[]> => step.map((one) => [one]);
/** Up to a device that is live, most times, with one queue that was notified. */
const bringUp = (queue: fc.Arbitrary<readonly Step[]>, live: number): fc.Arbitrary<readonly Step[]> =>
  fc
    .tuple(negotiation, queue, fc.nat(2))
    .map(([first, second, index]) => [
      ...first,
      ...second,
      { kind: "write", offset: 0x070, value: live },
      { kind: "write", offset: 0x050, value: index },
    ]);
const program = (
  step: fc.Arbitrary<Step>,
  queue: fc.Arbitrary<readonly Step[]>,
  live: number,
): fc.Arbitrary<readonly Step[]> =>
  fc
    .array(
      fc.oneof(
        { weight: 6, arbitrary: single(step) },
        { weight: 2, arbitrary: queue },
        { weight: 2, arbitrary: bringUp(queue, live) },
      ),
      { maxLength: 40, size: "max" },
    )
    .map((groups) => groups.flat());

/** The bank and its twin; `reached` counts what the programs came to, so that they are known to come to something. */
function run(legacy: boolean, steps: readonly Step[], reached: Map<string, number>): void {
  const memory = new GuestMemory({ baseAddress: RAM_BASE, sizeBytes: RAM_BYTES });
  const line = new InterruptLine();
  const refused = legacy ? 0n : bits([REFUSED]);
  const device = new RecordingDevice({ offeredFeatures: bits(OFFERED), queueSizesMax: SIZES_MAX, refused });
  const bank = new VirtioMmio({ device, memory, line, legacy });
  const offered = bits(legacy ? OFFERED_LEGACY : OFFERED);
  const model = new RegisterModel({
    legacy,
    offered,
    refused,
    sizesMax: SIZES_MAX,
    ramBase: RAM_BASE,
    ramBytes: RAM_BYTES,
  });
  for (const step of steps) {
    if (step.kind === "write") {
      bank.write(step.offset, 4, step.value);
      model.write(step.offset, step.value);
    } else if (step.kind === "access") {
      access(bank, model, step);
    } else if (step.what === "used") {
      device.transport.notifyUsedBuffers();
      model.usedBuffers();
    } else if (step.what === "config") {
      device.transport.notifyConfigChange();
      model.configChange();
    } else if (step.what === "power") {
      bank.reset();
      model.powerOn();
    } else {
      device.transport.requireReset("HeadOutOfRange", step.what === "break after use");
      model.breakRing(step.what === "break after use");
    }
    compare(bank, device, model);
    expect(line.raised).toBe(model.interruptStatus !== 0);
    note(reached, model);
  }
}

/** Every register, and everything that the device was told. `expect` only where something is wrong: it is slow. */
function compare(bank: VirtioMmio, device: RecordingDevice, model: RegisterModel): void {
  const { registers } = model;
  for (let offset = 0; offset < 0x100; offset += 4) {
    const value = bank.read(offset, 4);
    if (value !== (registers[offset] ?? 0)) expect(value, offset.toString(16)).toBe(registers[offset] ?? 0);
  }
  const inUse = [...device.queues].map(([index, queue]): [number, number] => [index, queue.size]);
  inUse.sort(([a], [b]) => a - b);
  const is = [String(device.features), device.live, device.notified, inUse, [...device.config]];
  const wanted = [String(model.features), model.live, model.notified, model.inUse, [...model.config]];
  if (JSON.stringify(is) !== JSON.stringify(wanted)) expect(is).toEqual(wanted);
}

/** Counts what was come to. */
function note(reached: Map<string, number>, model: RegisterModel): void {
  const seen = [
    ["live", model.live],
    ["two queues in use", model.inUse.length > 1],
    ["notified", model.notified.length > 0],
    ["broken while live", model.live && (model.status & 0x40) !== 0],
  ] as const;
  for (const [what, is] of seen) if (is) reached.set(what, (reached.get(what) ?? 0) + 1);
}

/** An access of any width at any offset: nothing but the configuration answers but in 32 bits at a multiple of 4. */
function access(bank: VirtioMmio, model: RegisterModel, step: Step & { kind: "access" }): void {
  const { offset, width, value } = step;
  if (offset >= 0x100) {
    bank.write(offset, width, value);
    if (Number.isInteger(offset)) model.writeConfig(offset - 0x100, width, value % 256 ** width);
    return;
  }
  if (width !== 4) expect(bank.read(offset, width)).toBe(0);
  bank.write(offset, width, value);
  if (width === 4) model.write(offset, value);
}

describe("the register banks", () => {
  for (const [name, legacy, steps] of [
    ["modern", false, program(modernStep, modernQueue, 0x0f)],
    ["legacy", true, program(legacyStep, legacyQueue, 7)],
  ] as const) {
    it(`do what their tables say, whatever a driver writes and a device reports (${name})`, () => {
      const reached = new Map<string, number>();
      fc.assert(
        fc.property(steps, (written) => run(legacy, written, reached)),
        { numRuns: RUNS },
      );
      for (const what of ["live", "two queues in use", "notified", ...(legacy ? [] : ["broken while live"])])
        expect(reached.get(what) ?? 0, `steps: ${what}`).toBeGreaterThan(RUNS / 10);
    });
  }
});
