// The least that every device must withstand: docs/reference/virtio-errors.md §4, by its numbers. Each case runs in every layout
// that has it, under all that the fuzzer watches, and ends with Status=0, a bring-up, and one good write and read.
import { describe, expect, it } from "vitest";
import { runProgram } from "./fuzz-run.ts";
import {
  type DescriptorChange,
  FUZZ_LAYOUTS,
  type FuzzLayout,
  type FuzzRange,
  type FuzzSetup,
  type FuzzStep,
  type RequestStep,
} from "./program.ts";

const IN = 0;
const OUT = 1;
const DISCARD = 11;
const CAPACITY = 64;
const SPLIT: readonly FuzzLayout[] = ["split", "legacy", "legacy big-endian"];
const MODERN: readonly FuzzLayout[] = ["split", "packed"];

/** What must come of a case: a mistake that breaks the ring, one that does not, the status bytes of its requests. */
interface Outcome {
  readonly broken?: string;
  readonly traced?: string;
  readonly statuses?: readonly number[];
}

interface Case extends Outcome {
  readonly title: string;
  readonly steps: readonly FuzzStep[];
  readonly layouts?: readonly FuzzLayout[];
  readonly readOnly?: boolean;
}

function init(features = "0x10000000", size = 4, status = 0x0f): FuzzStep {
  return { do: "init", features, extra: "0x0", size, status, move: undefined };
}

function request(given: Partial<RequestStep> = {}): RequestStep {
  const { type = IN } = given;
  const read = {
    queue: 0,
    type,
    sector: "0x3",
    header: [16],
    data: [512],
    writable: type === IN,
    ranges: [],
    status: 1,
  };
  return { do: "request", ...read, shape: "direct", notify: true, changes: [], ...given };
}

function set(entry: number, field: DescriptorChange["field"], value: string, flip = false): DescriptorChange {
  return { entry, field, value, flip };
}

function write(offset: number, value: number, width: 1 | 2 | 4 = 4): FuzzStep {
  return { do: "write", offset, value, width };
}

/** A good driver's bring-up, and one request with these descriptors changed. */
function changed(changes: readonly DescriptorChange[], given: Partial<RequestStep> = {}): readonly FuzzStep[] {
  return [init(), request({ ...given, changes })];
}

/** A request whose ring is then changed, before the device is told. */
function ringChanged(word: number, add: number): readonly FuzzStep[] {
  const change: FuzzStep = { do: "ring", queue: 0, area: "driverArea", word, add };
  return [init(), request({ notify: false }), change, { do: "notify", queue: 0, hint: 0 }];
}

function discard(ranges: readonly FuzzRange[], lengthBytes = 16 * ranges.length): readonly FuzzStep[] {
  return [init("0x2000"), request({ type: DISCARD, data: lengthBytes === 0 ? [] : [lengthBytes], ranges })];
}

function range(flags: number): FuzzRange {
  return { sector: "0x1", sectors: 2, flags };
}

/** Such a size is written to the queue while it is stopped; it then works with the size that it had. */
function queueSize(value: number): readonly Case[] {
  const title = `20 QueueSize 0x${value.toString(16)}`;
  const modern = [write(0x044, 0), write(0x038, value), write(0x044, 1)];
  const legacy = [write(0x040, 0), write(0x038, value), write(0x040, 0x4_0000)];
  const outcome = { traced: "QueueSizeInvalid", statuses: [0] };
  return [
    { title, steps: [init(), ...modern, request()], layouts: value === 3 ? ["split"] : MODERN, ...outcome },
    { title, steps: [init(), ...legacy, request()], layouts: ["legacy", "legacy big-endian"], ...outcome },
  ];
}

const INDIRECT_LENGTHS = [
  ["0x0", "IndirectLength"],
  ["0x8", "IndirectLength"],
  ["0x11", "IndirectLength"],
  ["0xfffffff0", "IndirectOutsideRam"],
] as const;
const SECTORS: readonly (readonly [sector: bigint, lengthBytes: number])[] = [
  [(1n << 64n) - 1n, 512],
  [1n << 55n, 512],
  [BigInt(CAPACITY), 512],
  [BigInt(CAPACITY - 1), 1024],
];
const held: FuzzStep = { do: "hold", on: true };
const notify: FuzzStep = { do: "notify", queue: 0, hint: 0 };

const CASES: readonly Case[] = [
  {
    title: "1 a loop of two descriptors",
    steps: changed([set(1, "next or id", "0x0")]),
    layouts: SPLIT,
    broken: "DescriptorLoop",
  },
  { title: "2 a head equal to the queue size", steps: ringChanged(2, 4), layouts: SPLIT, broken: "HeadOutOfRange" },
  { title: "3 an available index that jumps", steps: ringChanged(1, 5), layouts: SPLIT, broken: "AvailableIndexJump" },
  {
    title: "4 next equal to the queue size",
    steps: changed([set(0, "next or id", "0x4")]),
    layouts: SPLIT,
    broken: "NextOutOfRange",
  },
  {
    title: "5 INDIRECT within a table",
    steps: changed([set(1, "flags", "0x4")], { shape: "indirect" }),
    layouts: SPLIT,
    broken: "IndirectNested",
  },
  {
    title: "5 INDIRECT within a table, which means nothing",
    steps: changed([set(1, "flags", "0x4")], { shape: "indirect" }),
    layouts: ["packed"],
    statuses: [0],
  },
  {
    title: "6 INDIRECT and NEXT",
    steps: changed([set(0, "flags", "0x1", true)], { shape: "indirect" }),
    broken: "IndirectWithNext",
  },
  ...INDIRECT_LENGTHS.map(
    ([length, broken]): Case => ({
      title: `7 an indirect length of ${length}`,
      steps: changed([set(0, "length", length)], { shape: "indirect" }),
      broken,
    }),
  ),
  {
    title: "8 data that wrap at 2^64",
    steps: changed([set(1, "address", "0xfffffffffffff000"), set(1, "length", "0x2000")]),
    statuses: [1],
  },
  { title: "9 a status outside RAM", steps: changed([set(2, "address", "0x0")]), broken: "StatusOutsideRam" },
  {
    title: "10 a writable buffer before a readable one",
    steps: changed([set(0, "flags", "0x2", true)], { type: OUT }),
    statuses: [1],
  },
  { title: "10 a readable buffer at the end", steps: changed([set(2, "flags", "0x2", true)]), broken: "NoStatusByte" },
  { title: "11 a header of 15 bytes", steps: [init(), request({ header: [15] })], statuses: [1] },
  { title: "12 a header of 1 and 15 bytes", steps: [init(), request({ header: [1, 15] })], statuses: [0] },
  { title: "12 a header of 8 and 8 bytes", steps: [init(), request({ header: [8, 8] })], statuses: [0] },
  { title: "13 nothing writable", steps: [init(), request({ type: OUT, status: 0 })], broken: "NoStatusByte" },
  { title: "14 a data descriptor of length 0", steps: [init(), request({ data: [512, 0] })], statuses: [0] },
  ...SECTORS.map(
    ([sector, length]): Case => ({
      title: `15 sector ${sector}, ${length} bytes`,
      steps: [init(), request({ sector: `0x${sector.toString(16)}`, data: [length] })],
      statuses: [1],
    }),
  ),
  ...[1, 511, 513].map(
    (length): Case => ({ title: `16 ${length} bytes`, steps: [init(), request({ data: [length] })], statuses: [1] }),
  ),
  { title: "17 type 0x77", steps: [init(), request({ type: 0x77 })], statuses: [2] },
  {
    title: "18 a write to a read-only disk, accepted",
    steps: [init("0x20"), request({ type: OUT })],
    readOnly: true,
    statuses: [1],
  },
  {
    title: "18 a write to a read-only disk, not accepted",
    steps: [init("0x0"), request({ type: OUT })],
    readOnly: true,
    statuses: [1],
  },
  { title: "19 a discard with flag 1", steps: discard([range(1)]), statuses: [2] },
  { title: "19 a discard with flag 2", steps: discard([range(2)]), statuses: [2] },
  { title: "19 a discard of 17 segments", steps: discard(Array.from({ length: 17 }, () => range(0))), statuses: [1] },
  { title: "19 a discard of no segment", steps: discard([]), statuses: [1] },
  { title: "19 a discard of 17 bytes", steps: discard([range(0)], 17), statuses: [1] },
  ...[0, 3, 128, 0x1_0008].flatMap(queueSize),
  {
    title: "21 QueueReady without addresses",
    steps: [
      write(0x070, 0),
      write(0x070, 3),
      write(0x024, 1),
      write(0x020, 1),
      write(0x070, 0x0b),
      write(0x038, 4),
      write(0x044, 1),
    ],
    layouts: ["split"],
    traced: "QueueAddressInvalid",
  },
  {
    title: "22 a notification before the queue is ready",
    steps: [init("0x0", 4, 0x0b), write(0x044, 0), notify],
    layouts: MODERN,
    traced: "NotifyIgnored",
  },
  {
    title: "22 a notification of queue 0xffff",
    steps: [init(), write(0x050, 0xffff), request()],
    traced: "NotifyIgnored",
    statuses: [0],
  },
  {
    title: "22 a notification before DRIVER_OK, then DRIVER_OK",
    steps: [init("0x0", 4, 0x0b), request(), write(0x070, 0x0f)],
    layouts: MODERN,
    traced: "NotifyIgnored",
    statuses: [0],
  },
  ...([1, 2] as const).map(
    (width): Case => ({
      title: `23 Status read and written ${8 * width} bits wide`,
      steps: [init(), { do: "read", offset: 0x070, width }, write(0x070, 0, width), request()],
      traced: "RegisterWidth",
      statuses: [0],
    }),
  ),
  {
    title: "23 a write at 0x071",
    steps: [init(), write(0x071, 0), request()],
    traced: "RegisterUnknown",
    statuses: [0],
  },
  {
    title: "24 25 a reset with 8 requests in flight",
    steps: [
      init("0x0", 64),
      held,
      ...Array.from({ length: 8 }, () => request()),
      write(0x070, 0),
      { do: "time", ends: 8, fails: false },
    ],
    statuses: Array(8).fill(0xee),
  },
  {
    title: "26 a list that is half exposed",
    steps: changed([set(1, "flags", "0x8080", true)]),
    layouts: ["packed"],
    broken: "DescriptorNotAvailable",
  },
  {
    title: "26 wrong wrap bits",
    steps: changed([set(0, "flags", "0x8080", true)]),
    layouts: ["packed"],
    statuses: [0xee],
  },
  {
    title: "26 one id twice",
    steps: [
      init("0x0", 8),
      held,
      ...[1, 2].map(() => request({ changes: [set(2, "next or id", "0x7")] })),
      { do: "time", ends: 2, fails: false },
    ],
    layouts: ["packed"],
    statuses: [0, 0],
  },
  {
    title: "26 a ring of 5 over three laps",
    steps: [init("0x0", 5), ...Array.from({ length: 10 }, () => [request(), { do: "reap" } as const]).flat()],
    layouts: ["packed"],
    statuses: Array(10).fill(0),
  },
  ...[2, 0xffff_ffff].map(
    (select): Case => ({
      title: `27 FeaturesSel 0x${select.toString(16)}`,
      steps: [
        write(0x014, select),
        { do: "read", offset: 0x010, width: 4 },
        write(0x070, 3),
        write(0x024, select),
        write(0x020, 0xffff_ffff),
        init(),
        request(),
      ],
      statuses: [0],
    }),
  ),
];

describe.each(FUZZ_LAYOUTS)("a %s device after the least that it must withstand", (layout) => {
  const setup: FuzzSetup = { layout, queueSizeMax: 64, queues: 1, offers: {}, readOnly: false, watched: true };

  it.each(CASES.filter(({ layouts = FUZZ_LAYOUTS }) => layouts.includes(layout)))("$title", async (wrong) => {
    const { steps, readOnly = false, broken, traced, statuses } = wrong;
    const report = await runProgram({ setup: { ...setup, readOnly }, steps });
    const named = broken ?? traced;
    if (named !== undefined) expect([...report.mistakes.keys()]).toContain(named);
    // Legacy drivers know no DEVICE_NEEDS_RESET.
    const needsReset = (report.deviceStatus & 0x40) !== 0;
    expect(needsReset).toBe(broken !== undefined && !layout.startsWith("legacy"));
    if (statuses !== undefined) expect(report.statusBytes).toEqual(statuses);
    if (broken !== undefined) expect(report.statusBytes.filter((status) => status !== 0xee)).toEqual([]);
  });

  it("28 lengths that change while they are read", async () => {
    const seen = new Set<number>();
    for (let after = 0; after < 40; after++) {
      const flip: FuzzStep = { do: "poke", at: 16 + 8, value: 0xffff_ffff, width: 4 };
      const steps: FuzzStep[] = [init(), { do: "arm", on: "memory", after, what: flip }, request()];
      const { statusBytes } = await runProgram({ setup: { ...setup, watched: false }, steps });
      for (const status of statusBytes) seen.add(status);
    }
    expect([...seen].sort()).toEqual([0, 1]); // too early to be right, or too late to matter
  });
});
