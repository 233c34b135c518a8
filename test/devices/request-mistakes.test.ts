// Wrong requests on a sound ring: docs/reference/virtio-errors.md §2 and §4. Each is answered, and the queue goes on.
import { afterEach, describe, expect, it } from "vitest";
import { subscribeTrace } from "../../src/base/trace.ts";
import { diskPattern, makeMachine, RAM_BASE } from "./support/machine.ts";
import { headerBytes, RawDisk, type Segment } from "./support/raw-disk.ts";
import { expectRecovery } from "./support/recovery.ts";

const RAM_END = RAM_BASE + (1 << 20);

interface Wrong {
  readonly title: string;
  readonly segments: (disk: RawDisk) => readonly Segment[];
  readonly status: number;
  readonly length: number;
  readonly traced: string;
}

function header(length: number): (disk: RawDisk) => readonly Segment[] {
  return (disk) => [disk.readable(headerBytes(0, 0).subarray(0, length)), disk.writable(512), disk.writable(1)];
}

function segmentAt(address: number | bigint, lengthBytes: number, writable = false): Segment {
  return { address, lengthBytes, writable };
}

const OUTSIDE: readonly (readonly [string, bigint])[] = [
  ["at the end of RAM", BigInt(RAM_END)],
  ["reaching over the end of RAM", BigInt(RAM_END - 511)],
  ["reaching into RAM from below", BigInt(RAM_BASE - 1)],
  ["at 0", 0n],
  ["at 2^32 above RAM", (1n << 32n) + BigInt(RAM_BASE)],
  ["at 2^53", 1n << 53n],
  ["at 2^63", 1n << 63n],
  ["that wraps at 2^64", 0xffff_ffff_ffff_f000n],
];

const WRONG: readonly Wrong[] = [
  ...[0, 1, 8, 15].map((length) => ({
    title: `a header of ${length} bytes`,
    segments: header(length),
    status: 1,
    length: 0,
    traced: "HeaderTooShort",
  })),
  {
    title: "no readable buffer at all",
    segments: (disk) => [disk.writable(1)],
    status: 1,
    length: 1,
    traced: "HeaderTooShort",
  },
  {
    title: "a writable buffer before a readable one",
    segments: (disk) => [disk.writable(512), disk.header(0, 0), disk.writable(1)],
    status: 1,
    length: 0,
    traced: "WritableBeforeReadable",
  },
  {
    title: "a readable buffer between data and status",
    segments: (disk) => [disk.header(0, 0), disk.writable(512), disk.readable(new Uint8Array(4)), disk.writable(1)],
    status: 1,
    length: 0,
    traced: "WritableBeforeReadable",
  },
  ...OUTSIDE.flatMap(([where, address]): Wrong[] => [
    {
      title: `IN with data ${where}`,
      segments: (disk) => [disk.header(0, 0), segmentAt(address, 512, true), disk.writable(1)],
      status: 1,
      length: 0,
      traced: "DataOutsideRam",
    },
    {
      title: `OUT with data ${where}`,
      segments: (disk) => [disk.header(1, 0), segmentAt(address, 512), disk.writable(1)],
      status: 1,
      length: 1,
      traced: "DataOutsideRam",
    },
    {
      title: `GET_ID with a buffer ${where}`,
      segments: (disk) => [disk.header(8, 0), segmentAt(address, 512, true), disk.writable(1)],
      status: 1,
      length: 0,
      traced: "DataOutsideRam",
    },
    {
      title: `a header ${where}`,
      segments: (disk) => [segmentAt(address, 512), disk.writable(512), disk.writable(1)],
      status: 1,
      length: 0,
      traced: "HeaderOutsideRam",
    },
    {
      title: `a second half of the header ${where}`,
      segments: (disk) => [disk.readable(headerBytes(0, 0).subarray(0, 8)), segmentAt(address, 512), disk.writable(1)],
      status: 1,
      length: 1,
      traced: "HeaderOutsideRam",
    },
    {
      title: `one of three data buffers ${where}`,
      segments: (disk) => [
        disk.header(0, 0),
        disk.writable(512),
        segmentAt(address, 512, true),
        disk.writable(512),
        disk.writable(1),
      ],
      status: 1,
      length: 0,
      traced: "DataOutsideRam",
    },
  ]),
  {
    title: "OUT with a writable buffer",
    segments: (disk) => [disk.header(1, 0), disk.readable(new Uint8Array(512)), disk.writable(512), disk.writable(1)],
    status: 1,
    length: 0,
    traced: "DataInWrongDirection",
  },
  {
    title: "OUT with its data in a writable buffer",
    segments: (disk) => [disk.header(1, 0), disk.writable(512), disk.writable(1)],
    status: 1,
    length: 0,
    traced: "DataInWrongDirection",
  },
  {
    title: "IN with readable data",
    segments: (disk) => [disk.header(0, 0), disk.readable(new Uint8Array(512)), disk.writable(512), disk.writable(1)],
    status: 1,
    length: 0,
    traced: "DataInWrongDirection",
  },
  {
    title: "more than 2^32 bytes in all",
    segments: (disk) => [disk.header(0, 0), ...new Array<Segment>(9).fill(huge), disk.writable(1)],
    status: 1,
    length: 0,
    traced: "DataOutsideRam",
  },
  {
    title: "a type that is not there",
    segments: (disk) => [disk.header(0x77, 0), disk.writable(1)],
    status: 2,
    length: 1,
    traced: "UnsupportedType",
  },
  {
    title: "a sector beyond the end",
    segments: (disk) => disk.readRequest((1n << 64n) - 1n, 512),
    status: 1,
    length: 0,
    traced: "BeyondCapacity",
  },
  {
    title: "511 bytes",
    segments: (disk) => disk.readRequest(0, 511),
    status: 1,
    length: 0,
    traced: "DataNotWholeSectors",
  },
];

const huge = segmentAt(RAM_BASE, 0xffff_fe00, true);

describe("a wrong request", () => {
  const traced: unknown[] = [];
  let endTrace = (): void => {};
  afterEach(() => {
    endTrace();
    traced.length = 0;
  });

  for (const { title, segments, status, length, traced: name } of WRONG) {
    it(`with ${title} gets status ${status}, traced as ${name}, and no other byte`, () => {
      const machine = makeMachine();
      const disk = RawDisk.start(machine, { queueSize: 32 });
      const request = segments(disk);
      const statusAddress = Number(request.at(-1)!.address);
      const head = disk.chain(request);
      disk.queue.publish(head);
      const ram = new Uint8Array(machine.memory.bytes);
      endTrace = subscribeTrace("virtio_guest_error", (_name, fields) => traced.push(fields["mistake"]));
      disk.notify();
      expect(traced).toEqual([name]);
      expect(disk.takeUsed()).toEqual([{ id: head, length }]);

      // Of all RAM, the status byte and the used ring alone have changed.
      ram[statusAddress - RAM_BASE] = status;
      const { usedRing } = disk.queue.layout;
      const ringBytes = 4 + 8 * 32;
      ram.set(machine.memory.viewOf(usedRing, ringBytes), usedRing - RAM_BASE);
      expect(Buffer.compare(machine.memory.bytes, ram)).toBe(0);
      expect([machine.registers.status, machine.registers.interruptStatus]).toEqual([0x0f, 1]);

      expect(disk.read(2), "the next request").toMatchObject({ status: 0, length: 513 });
      expectRecovery(machine);
      const { bytes } = machine.driver as unknown as { bytes: Uint8Array };
      expect(Buffer.compare(bytes, diskPattern(512 * 128)), "the disk").toBe(0);
    });
  }

  it("of more data than seg_max · size_max gets IOERR, however often its buffers lie on each other", () => {
    const machine = makeMachine({ ramBytes: 8 << 20 });
    const disk = RawDisk.start(machine, { features: [28, 32] });
    const inRam = segmentAt(RAM_BASE + (1 << 20), 4 << 20, true);
    const request = [disk.header(0, 0), ...new Array<Segment>(1000).fill(inRam), disk.writable(1)];
    const ram = new Uint8Array(machine.memory.bytes.subarray(1 << 20));
    disk.submit(disk.indirectChain(request));
    expect(disk.takeUsed()).toEqual([{ id: 0, length: 0 }]);
    expect(Buffer.compare(machine.memory.bytes.subarray(1 << 20), ram)).toBe(0);
    expect(disk.read(1).status).toBe(0);
  });
});
