// A request may be split over buffers in any way: VIRTIO 1.4 §2.7.4. Random ways, against a disk that is a byte array.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { diskPattern, makeMachine } from "../support/machine.ts";
import { headerBytes, RawDisk, type Segment } from "../support/raw-disk.ts";

const SECTORS = 64;
const SERIAL = "layout";

interface Shape {
  readonly kind: "read" | "write" | "flush" | "get-id";
  readonly sector: number;
  readonly sectors: number;
  /** Where the readable and the writable bytes are cut, as parts of their length; two equal cuts leave a segment of length 0. */
  readonly readableCuts: readonly number[];
  readonly writableCuts: readonly number[];
  /** By how much each segment misses its alignment of 16. */
  readonly misalignments: readonly number[];
  /** Direct descriptors before the table; none at all for "direct". */
  readonly framing: "direct" | number;
}

const cuts = fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 6 });
const shape: fc.Arbitrary<Shape> = fc.record({
  kind: fc.constantFrom("read", "write", "read", "write", "flush", "get-id"),
  sector: fc.nat(SECTORS - 4),
  sectors: fc.nat(4),
  readableCuts: cuts,
  writableCuts: cuts,
  misalignments: fc.array(fc.nat(15), { minLength: 14, maxLength: 14 }),
  framing: fc.oneof(fc.constant("direct" as const), fc.nat(14)),
});

/** Lengths of the pieces of `total` bytes. */
function pieces(total: number, parts: readonly number[]): number[] {
  const ends = [...parts.map((part) => Math.round(part * total)).sort((a, b) => a - b), total];
  return ends.map((end, i) => end - (ends[i - 1] ?? 0));
}

/** The bytes as readable segments with room between them. */
function place(disk: RawDisk, bytes: Uint8Array, shape: Shape, writable: boolean): Segment[] {
  const parts = writable ? shape.writableCuts : shape.readableCuts;
  let done = 0;
  return pieces(bytes.length, parts).map((lengthBytes, i) => {
    const { allocator } = disk.machine.guest;
    const address = allocator.allocate(lengthBytes + 32) + (shape.misalignments[writable ? i + 7 : i] ?? 0);
    disk.machine.target.fillRam(address, 0xee, lengthBytes + 1);
    disk.machine.target.writeRam(address, bytes.subarray(done, done + lengthBytes));
    done += lengthBytes;
    return { address, lengthBytes, writable };
  });
}

const TYPES = { read: 0, write: 1, flush: 4, "get-id": 8 } as const;

describe("a request in any layout", () => {
  it("SPLIT-DEV-006 BLK-DEV-079 does the same: status, length, data, and no byte beside them", () => {
    const machine = makeMachine({ sectors: SECTORS, device: { serial: SERIAL } });
    const model = diskPattern(512 * SECTORS);
    const disk = RawDisk.start(machine, { features: [9, 28, 32], queueSize: 32 });
    const idle = machine.guest.allocator;
    let runs = 0;
    fc.assert(
      fc.property(shape, (shape) => {
        runs++;
        const { kind, sector, sectors, framing } = shape;
        const bytes = 512 * sectors;
        const out = diskPattern(kind === "write" ? bytes : 0, runs);
        const inLength = kind === "read" ? bytes : kind === "get-id" ? 20 : 0;
        const readable = place(disk, Buffer.concat([headerBytes(TYPES[kind], sector), out]), shape, false);
        const writable = place(disk, new Uint8Array(inLength + 1).fill(0xee), shape, true);
        const request = [...readable, ...writable];
        const head =
          framing === "direct" || framing >= request.length
            ? disk.chain(request)
            : disk.indirectChain(request, framing);
        const { status, length, data } = disk.perform(request, head);

        const expected =
          kind === "read" ? model.subarray(512 * sector, 512 * sector + bytes) : Buffer.from(SERIAL.padEnd(20, "\0"));
        if (kind === "write") model.set(out, 512 * sector);
        expect([status, length]).toEqual([0, inLength + 1]);
        expect(Buffer.compare(data, expected.subarray(0, inLength))).toBe(0);
        for (const segment of request) {
          const end = Number(segment.address) + segment.lengthBytes;
          expect(machine.target.readRam8(end), "the byte behind a segment").toBe(0xee);
        }
        for (const { address } of [...readable, ...writable]) idle.free(Math.floor(Number(address) / 16) * 16);
      }),
      { numRuns: 1500 },
    );
    const whole = disk.read(0, 512 * SECTORS).data;
    expect(Buffer.compare(whole, model)).toBe(0);
  });
});
