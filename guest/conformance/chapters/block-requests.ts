// Requests of the block device: VIRTIO 1.4 §5.2.6. What discard, zones and the like add is examined by chapters of their own.

import {
  VIRTIO_BLK_S_IOERR,
  VIRTIO_BLK_S_OK,
  VIRTIO_BLK_S_UNSUPP,
  VIRTIO_BLK_T_DISCARD,
  VIRTIO_BLK_T_GET_ID,
  VIRTIO_BLK_T_GET_LIFETIME,
  VIRTIO_BLK_T_IN,
  VIRTIO_BLK_T_OUT,
  VIRTIO_BLK_T_SECURE_ERASE,
  VIRTIO_BLK_T_WRITE_ZEROES,
} from "../../constants/blk.ts";
import { VIRTIO_BLK_F_RO } from "../../constants/features.ts";
import { POISON, type RequestFields } from "../block-requests.ts";
import { type ConformanceCase, conformanceCase } from "../case.ts";
import type { DeviceUnderTest } from "../device-under-test.ts";
import { checkPattern, checkZeroes, skipUnlessOffered } from "../disk-io.ts";
import { pattern, writePattern } from "../patterns.ts";
import { RamWatch } from "../ram-watch.ts";
import type { Ring } from "../ring.ts";
import { segments } from "../segments.ts";

const CAPACITY = 8192;
/** What is on neither list of types, of the standard or of an older one, however it is cut: 0x10001 has 1 in its lower half. */
const UNKNOWN_TYPES: readonly number[] = [0x77, 0x0001_0001, 0x7fff_fff0];

/** A write to a disk that cannot be written, by a driver that has accepted `features`. */
async function refusedWrite(device: DeviceUnderTest, features: readonly number[]): Promise<Ring> {
  skipUnlessOffered(device, VIRTIO_BLK_F_RO);
  const ring = await device.initialise({ features });
  const { status } = await device.execute(ring, { type: VIRTIO_BLK_T_OUT, sector: 0, out: pattern(0, 1) });
  device.equal(status, VIRTIO_BLK_S_IOERR, "the status byte of a write to a read-only device");
  return ring;
}

/** A request outside of what there is: IOERR, and nothing of the buffer's neighbours changes. */
async function checkRefused(device: DeviceUnderTest, ring: Ring, fields: RequestFields, what: string): Promise<void> {
  const { target, allocator } = device;
  const before = allocator.allocate(64);
  target.fillRam(before, 0x5a, 64);
  const placed = device.place(ring, fields);
  const after = allocator.allocate(64);
  target.fillRam(after, 0x5a, 64);
  const watches = [
    new RamWatch(target, before, 64),
    new RamWatch(target, placed.address, placed.readableBytes),
    new RamWatch(target, after, 64),
  ];
  ring.notify();
  const { status } = await device.finish(ring, placed);
  device.equal(status, VIRTIO_BLK_S_IOERR, `the status byte of ${what}`);
  const changed = watches.find((watch) => watch.firstChange() !== undefined);
  device.check(changed === undefined, `${what} changed memory that was not for the device to write`);
}

export const blockRequestCases: readonly ConformanceCase[] = [
  conformanceCase(
    "BLK-DEV-037",
    "fails writes when it offers RO, accepted or not",
    async (device) => {
      await refusedWrite(device, []);
      await refusedWrite(device, [VIRTIO_BLK_F_RO]);
    },
    { readOnly: true },
  ),

  conformanceCase(
    "BLK-DEV-038",
    "writes nothing when it offers RO",
    async (device) => {
      for (const features of [[], [VIRTIO_BLK_F_RO]])
        await checkZeroes(device, await refusedWrite(device, features), 0, 8);
    },
    { readOnly: true },
  ),

  conformanceCase(
    "BLK-DEV-078",
    "takes a header of 16 bytes, the data, and a status byte at the end",
    async (device) => {
      const ring = await device.initialise();
      await writePattern(device, ring, 9, 1);
      const fields = { type: VIRTIO_BLK_T_IN, reserved: 0x0203_0405, sector: 9, inBytes: 512 };
      const placed = device.place(ring, { ...fields, readablePieces: [16], writablePieces: [512, 1] });
      device.equal(placed.readableBytes, 16, "the length of the header");
      ring.notify();
      const { status, data } = await device.finish(ring, placed);
      device.equal(status, VIRTIO_BLK_S_OK, "the status byte of a read");
      const expected = pattern(9, 1);
      const same = data.every((byte, i) => byte === expected[i]);
      device.check(same, "the data of a read are not what was written to the sector");
    },
  ),

  conformanceCase(
    "BLK-DEV-078",
    "takes all 64 bits of the sector",
    async (device) => {
      const ring = await device.initialise();
      const beyond = 2 ** 32 + 7;
      await writePattern(device, ring, beyond, 1);
      await checkPattern(device, ring, beyond, 1);
      await checkZeroes(device, ring, 7, 1);
    },
    { capacitySectors: 2 ** 32 + 64 },
  ),

  conformanceCase("BLK-DEV-079", "writes the status to the last writable byte", async (device) => {
    const ring = await device.initialise();
    for (const writablePieces of [[513], [511, 2], [512, 1]]) {
      const what = `a request whose writable buffers are of ${writablePieces.join(" and ")} bytes`;
      const read = await device.execute(ring, { type: VIRTIO_BLK_T_IN, inBytes: 512, writablePieces });
      device.equal(read.status, VIRTIO_BLK_S_OK, `the last byte of ${what}`);
      for (const fields of [{ type: VIRTIO_BLK_T_IN, sector: CAPACITY }, { type: UNKNOWN_TYPES[0]! }]) {
        const { status } = await device.execute(ring, { ...fields, inBytes: 512, writablePieces });
        device.check(status !== POISON, `the last byte of ${what} is not written where the request fails`);
      }
    }
  }),

  conformanceCase("BLK-DEV-080", "reads what it wrote, where it wrote it", async (device) => {
    const ring = await device.initialise();
    await writePattern(device, ring, 7, 1);
    await writePattern(device, ring, 20, 9);
    await checkPattern(device, ring, 7, 1);
    await checkPattern(device, ring, 20, 9);
    await checkPattern(device, ring, 28, 1);
    for (const untouched of [6, 8, 19, 29]) await checkZeroes(device, ring, untouched, 1);
  }),

  conformanceCase("BLK-DEV-081", "answers an unknown type with UNSUPP, and does nothing", async (device) => {
    const ring = await device.initialise();
    for (const type of UNKNOWN_TYPES) {
      const what = `a request of type 0x${type.toString(16)}`;
      const { status, length } = await device.execute(ring, { type });
      device.equal(status, VIRTIO_BLK_S_UNSUPP, `the status byte of ${what}`);
      device.check(length === undefined || length <= 1, `the used length of ${what} is ${length}, of 1 byte`);
      const withData = await device.execute(ring, { type, sector: 2, out: pattern(2, 1) });
      device.equal(withData.status, VIRTIO_BLK_S_UNSUPP, `the status byte of ${what} with data`);
      await checkZeroes(device, ring, 2, 1);
    }
    // Nobody forbids a device requests of its own; but these are rather a sloppy look at the type.
    const { status } = await device.execute(ring, { type: VIRTIO_BLK_T_GET_ID + 1, inBytes: 20 });
    if (status !== VIRTIO_BLK_S_UNSUPP) device.remark(`type 9, which the standard has not, ends with status ${status}`);
  }),

  conformanceCase("BLK-DEV-082", "fails reads outside of the disk or of odd lengths", async (device) => {
    const ring = await device.initialise();
    const read = { type: VIRTIO_BLK_T_IN, inBytes: 512 };
    await checkRefused(device, ring, { ...read, sector: CAPACITY }, "a read at the capacity");
    const across = { ...read, sector: CAPACITY - 1, inBytes: 1024 };
    await checkRefused(device, ring, across, "a read that goes beyond the capacity");
    await checkRefused(device, ring, { ...read, sector: 2n ** 64n - 1n }, "a read at sector 2^64 - 1");
    await checkRefused(device, ring, { ...read, sector: 2n ** 55n }, "a read at sector 2^55, which is byte 2^64");
    await checkRefused(device, ring, { ...read, inBytes: 511 }, "a read of 511 bytes");
    await checkRefused(device, ring, { ...read, inBytes: 513 }, "a read of 513 bytes");
  }),

  conformanceCase("BLK-DEV-082", "fails writes outside of the disk or of odd lengths", async (device) => {
    const ring = await device.initialise();
    const write = { type: VIRTIO_BLK_T_OUT, out: pattern(0, 1) };
    await checkRefused(device, ring, { ...write, sector: CAPACITY }, "a write at the capacity");
    const across = { ...write, sector: CAPACITY - 1, out: pattern(0, 2) };
    await checkRefused(device, ring, across, "a write that goes beyond the capacity");
    await checkZeroes(device, ring, CAPACITY - 1, 1);
    await checkRefused(device, ring, { ...write, sector: 2n ** 64n - 1n }, "a write at sector 2^64 - 1");
    await checkRefused(device, ring, { ...write, sector: 2n ** 55n }, "a write at sector 2^55, which is byte 2^64");
    await checkRefused(device, ring, { ...write, out: pattern(0, 1).subarray(1) }, "a write of 511 bytes");
    await checkZeroes(device, ring, 0, 1);
  }),

  conformanceCase("BLK-DEV-083", "fills 20 bytes with its name and NUL", async (device) => {
    const ring = await device.initialise();
    const { status, data } = await device.execute(ring, { type: VIRTIO_BLK_T_GET_ID, inBytes: 20, fill: 0xff });
    device.equal(status, VIRTIO_BLK_S_OK, "the status byte of GET_ID");
    const end = data.includes(0) ? data.indexOf(0) : data.length;
    const odd = data.findIndex((byte, i) => (i < end ? byte > 0x7f : byte !== 0));
    const where = odd < end ? "which is no ASCII character" : "behind the end of the name";
    device.check(odd < 0, `byte ${odd} of the name is 0x${data[odd]?.toString(16)}, ${where}`);
  }),

  conformanceCase("BLK-DEV-088", "takes requests of features that were not accepted for unknown", async (device) => {
    const ring = await device.initialise();
    const out = segments({ sector: 64, sectors: 8 });
    const requests: readonly RequestFields[] = [
      { type: VIRTIO_BLK_T_DISCARD, out },
      { type: VIRTIO_BLK_T_WRITE_ZEROES, out },
      { type: VIRTIO_BLK_T_SECURE_ERASE, out },
      { type: VIRTIO_BLK_T_GET_LIFETIME, inBytes: 6 },
    ];
    for (const fields of requests) {
      const { status } = await device.execute(ring, fields);
      const what = `type ${fields.type}, whose feature was not accepted,`;
      if (status === VIRTIO_BLK_S_OK) device.remark(`${what} is carried out`);
      else device.equal(status, VIRTIO_BLK_S_UNSUPP, `the status byte of ${what}`);
    }
  }),
];
