// The split virtqueue, but for its notifications: VIRTIO 1.4 §2.7.

import { VIRTIO_BLK_T_GET_ID, VIRTIO_BLK_T_IN, VIRTIO_BLK_T_OUT } from "../../constants/blk.ts";
import { VIRTIO_F_EVENT_IDX, VIRTIO_F_IN_ORDER } from "../../constants/features.ts";
import {
  VIRTQ_DESC_BYTES,
  VIRTQ_DESC_F_INDIRECT,
  VIRTQ_DESC_F_NEXT,
  VIRTQ_DESC_F_WRITE,
} from "../../constants/ring.ts";
import { VIRTIO_STATUS_DEVICE_NEEDS_RESET } from "../../constants/status.ts";
import { passesEvent } from "../../event-index.ts";
import type { PlacedRequest } from "../block-requests.ts";
import { type ConformanceCase, conformanceCase } from "../case.ts";
import type { DeviceUnderTest } from "../device-under-test.ts";
import { readSector } from "../disk-io.ts";
import { pattern, writePattern } from "../patterns.ts";
import { RamWatch } from "../ram-watch.ts";
import type { Ring } from "../ring.ts";
import { SplitRing } from "../split-ring.ts";
import { checkUsedLength } from "../used-length.ts";

/** Requests of two descriptors that fill the ring of a case that chooses no size. */
const FULL_RING = 4;

/** The ring of a case whose requirement is about split rings. */
function split(ring: Ring): SplitRing {
  if (!(ring instanceof SplitRing)) throw new Error("a case about split rings has another ring");
  return ring;
}

/** The parts of a read of one sector, placed in RAM by hand: header, data and status, apart from each other. */
interface ReadParts {
  readonly header: number;
  readonly data: number;
  readonly status: number;
}

function placeParts(device: DeviceUnderTest, sector: number): ReadParts {
  const { allocator, target } = device;
  const parts = { header: allocator.allocate(16), data: allocator.allocate(512), status: allocator.allocate(16) };
  target.writeRam32(parts.header, VIRTIO_BLK_T_IN);
  target.writeRam32(parts.header + 4, 0);
  target.writeRam64(parts.header + 8, BigInt(sector));
  target.fillRam(parts.data, 0xee, 512);
  target.writeRam8(parts.status, 0xee);
  return parts;
}

/** Makes `head` available and waits until the ring says that something was used; the id it names. */
async function runHead(device: DeviceUnderTest, ring: SplitRing, head: number): Promise<number> {
  const before = ring.raw.usedIdx;
  ring.raw.publish(head);
  ring.notify();
  await device.until(() => ring.raw.usedIdx !== before, "the device uses the chain");
  return ring.raw.readUsed(before % ring.size).id;
}

function checkRead(device: DeviceUnderTest, parts: ReadParts, sector: number): void {
  device.equal(device.target.readRam8(parts.status), 0, "the status byte");
  const data = new Uint8Array(512);
  device.target.readRam(parts.data, data);
  const wrong = data.findIndex((byte, i) => byte !== pattern(sector, 1)[i]);
  device.check(wrong < 0, `byte ${wrong} of the data is not what was written to the sector`);
}

/** Where the chains of `checkIndirectRead` begin: the ring of 16 has been used for one request, at its start. */
const HEAD = 8;

/** A read of sector 5 whose descriptors `build` lays out; the device has to carry it out. */
async function checkIndirectRead(
  device: DeviceUnderTest,
  build: (ring: SplitRing, parts: ReadParts) => void,
): Promise<void> {
  const ring = split(await device.initialise({ ring: { size: 16 } }));
  await writePattern(device, ring, 5, 1);
  const parts = placeParts(device, 5);
  build(ring, parts);
  await runHead(device, ring, HEAD);
  checkRead(device, parts, 5);
}

function writeTable(ring: SplitRing, table: number, parts: ReadParts): void {
  const { raw } = ring;
  raw.writeIndirect(table, 0, { address: parts.header, lengthBytes: 16, flags: VIRTQ_DESC_F_NEXT, next: 1 });
  const data = VIRTQ_DESC_F_NEXT | VIRTQ_DESC_F_WRITE;
  raw.writeIndirect(table, 1, { address: parts.data, lengthBytes: 512, flags: data, next: 2 });
  raw.writeIndirect(table, 2, { address: parts.status, lengthBytes: 1, flags: VIRTQ_DESC_F_WRITE });
}

export const splitRingCases: readonly ConformanceCase[] = [
  conformanceCase("SPLIT-DEV-001", "takes ring slots modulo the size of the queue", async (device) => {
    const ring = split(await device.initialise({ ring: { size: 8 } }));
    for (let i = 0; i < 20; i++) {
      await readSector(device, ring);
      device.equal(ring.raw.usedIdx, i + 1, "used.idx");
    }
  }),

  conformanceCase("SPLIT-DEV-002", "lets indices wrap at 65536", async (device) => {
    const ring = split(await device.initialise({ ring: { size: 256 } }));
    const address = device.allocator.allocate(16 + 20 + 1);
    device.target.fillRam(address, 0, 37);
    device.target.writeRam32(address, VIRTIO_BLK_T_GET_ID);
    const chain = (i: number): void => {
      ring.raw.writeDescriptor(2 * i, { address, lengthBytes: 16, flags: VIRTQ_DESC_F_NEXT, next: 2 * i + 1 });
      ring.raw.writeDescriptor(2 * i + 1, { address: address + 16, lengthBytes: 21, flags: VIRTQ_DESC_F_WRITE });
    };
    for (let i = 0; i < 128; i++) chain(i);
    // The available ring names the same 128 chains for ever: only idx has to move.
    for (let slot = 0; slot < ring.size; slot++) ring.raw.writeAvailable(slot, 2 * (slot % 128));
    for (let done = 0; done < 65536 + 128; done += 128) {
      ring.raw.availIdx = done + 128;
      ring.notify();
      await device.until(
        () => ring.raw.usedIdx === ((done + 128) & 0xffff),
        `used.idx follows avail.idx ${done + 128}`,
      );
    }
    device.equal(ring.raw.usedIdx, 128, "used.idx after 65536 and 128 more requests");
  }),

  conformanceCase("SPLIT-DEV-003", "names the head of the chain that it has used", async (device) => {
    const ring = split(await device.initialise());
    const parts = placeParts(device, 0);
    ring.raw.writeDescriptor(5, { address: parts.header, lengthBytes: 16, flags: VIRTQ_DESC_F_NEXT, next: 2 });
    const data = VIRTQ_DESC_F_NEXT | VIRTQ_DESC_F_WRITE;
    ring.raw.writeDescriptor(2, { address: parts.data, lengthBytes: 512, flags: data, next: 7 });
    ring.raw.writeDescriptor(7, { address: parts.status, lengthBytes: 1, flags: VIRTQ_DESC_F_WRITE });
    device.equal(await runHead(device, ring, 5), 5, "used.ring[0].id");
  }),

  conformanceCase("SPLIT-DEV-004", "finds the parts of a legacy ring from one page number", async (device) => {
    await readSector(device, await device.initialise({ ring: { size: 8 } }));
    await readSector(device, await device.initialise({ ring: { size: 256 } }));
  }),

  conformanceCase(
    "SPLIT-DEV-005",
    "has fields in the byte order of a legacy guest",
    async (device) => {
      const ring = await device.initialise();
      for (let i = 0; i < 10; i++) await readSector(device, ring);
    },
    { bigEndian: true },
  ),

  conformanceCase("SPLIT-DEV-006", "carries a request out however it is cut into descriptors", async (device) => {
    const ring = await device.initialise({ ring: { size: 16 } });
    await writePattern(device, ring, 7, 1);
    const cuts = [
      { readablePieces: [16], writablePieces: [512, 1] },
      { readablePieces: [1, 15], writablePieces: [512, 1] },
      { readablePieces: [8, 8], writablePieces: [100, 300, 112, 1] },
      { readablePieces: [16], writablePieces: [513] },
    ];
    for (const cut of cuts) {
      const read = await device.execute(ring, { type: VIRTIO_BLK_T_IN, sector: 7, inBytes: 512, ...cut });
      const what = `a read cut into R${cut.readablePieces.join(" R")} W${cut.writablePieces.join(" W")}`;
      device.equal(read.status, 0, `the status byte of ${what}`);
      const same = pattern(7, 1).every((byte, i) => byte === read.data[i]);
      device.check(same, `the data of ${what} are not what was written`);
    }
  }),

  conformanceCase("SPLIT-DEV-007", "takes a chain as long as the queue, or refuses it without harm", async (device) => {
    const ring = await device.initialise({ ring: { size: 16 } });
    const writablePieces = [...Array.from({ length: 13 }, () => 512), 512 * 2 + 1];
    const placed = device.place(ring, { type: VIRTIO_BLK_T_IN, inBytes: 15 * 512, writablePieces });
    ring.notify();
    await device.settle();
    if ((device.registers.status & VIRTIO_STATUS_DEVICE_NEEDS_RESET) !== 0) {
      device.remark("a chain as long as the queue breaks it");
      return await readSector(device, await device.initialise());
    }
    const { status } = await device.finish(ring, placed);
    if (status !== 0) device.remark(`a chain as long as the queue ends with status ${status}`);
    await readSector(device, ring);
  }),

  conformanceCase("SPLIT-DEV-008", "does not write into what it is to read", async (device) => {
    const ring = await device.initialise();
    const placed = device.place(ring, { type: VIRTIO_BLK_T_OUT, sector: 3, out: pattern(3, 1) });
    const watch = new RamWatch(device.target, placed.address, placed.readableBytes);
    ring.notify();
    await device.nextUsed(ring);
    const changed = watch.firstChange();
    device.check(
      changed === undefined,
      `byte ${(changed ?? 0) - placed.address} of header and data changed in a write`,
    );
  }),

  conformanceCase("SPLIT-DEV-011", "does not write into the descriptor table", async (device) => {
    const ring = await device.initialise();
    for (let i = 0; i < 3; i++) {
      const placed = device.place(ring, { type: VIRTIO_BLK_T_IN, inBytes: 512 });
      const watch = new RamWatch(device.target, ring.descriptorArea, VIRTQ_DESC_BYTES * ring.size);
      ring.notify();
      const used = await device.nextUsed(ring);
      device.check(watch.firstChange() === undefined, "the descriptor table changed in a read");
      device.collect(placed, used.length);
    }
  }),

  conformanceCase("SPLIT-DEV-012", "ignores WRITE on what points to an indirect table", async (device) => {
    await checkIndirectRead(device, (ring, parts) => {
      const table = device.allocator.allocate(3 * VIRTQ_DESC_BYTES);
      writeTable(ring, table, parts);
      const flags = VIRTQ_DESC_F_INDIRECT | VIRTQ_DESC_F_WRITE;
      ring.raw.writeDescriptor(HEAD, { address: table, lengthBytes: 3 * VIRTQ_DESC_BYTES, flags });
    });
  }),

  conformanceCase("SPLIT-DEV-013", "follows direct descriptors and then an indirect table", async (device) => {
    await checkIndirectRead(device, (ring, parts) => {
      const table = device.allocator.allocate(2 * VIRTQ_DESC_BYTES);
      const data = VIRTQ_DESC_F_NEXT | VIRTQ_DESC_F_WRITE;
      ring.raw.writeIndirect(table, 0, { address: parts.data, lengthBytes: 512, flags: data, next: 1 });
      ring.raw.writeIndirect(table, 1, { address: parts.status, lengthBytes: 1, flags: VIRTQ_DESC_F_WRITE });
      const next = HEAD + 1;
      ring.raw.writeDescriptor(HEAD, { address: parts.header, lengthBytes: 16, flags: VIRTQ_DESC_F_NEXT, next });
      const last = { address: table, lengthBytes: 2 * VIRTQ_DESC_BYTES, flags: VIRTQ_DESC_F_INDIRECT };
      ring.raw.writeDescriptor(next, last);
    });
  }),

  conformanceCase("SPLIT-DEV-014", "follows the chain within an indirect table, entry by entry", async (device) => {
    await checkIndirectRead(device, (ring, parts) => {
      const table = device.allocator.allocate(4 * VIRTQ_DESC_BYTES);
      const { raw } = ring;
      raw.writeIndirect(table, 0, { address: parts.header, lengthBytes: 16, flags: VIRTQ_DESC_F_NEXT, next: 2 });
      // Entry 1 belongs to no chain: whoever uses it writes to where nothing is to be written.
      raw.writeIndirect(table, 1, { address: parts.header, lengthBytes: 16, flags: VIRTQ_DESC_F_WRITE });
      const data = VIRTQ_DESC_F_NEXT | VIRTQ_DESC_F_WRITE;
      raw.writeIndirect(table, 2, { address: parts.data, lengthBytes: 512, flags: data, next: 3 });
      raw.writeIndirect(table, 3, { address: parts.status, lengthBytes: 1, flags: VIRTQ_DESC_F_WRITE });
      const whole = { address: table, lengthBytes: 4 * VIRTQ_DESC_BYTES, flags: VIRTQ_DESC_F_INDIRECT };
      raw.writeDescriptor(HEAD, whole);
    });
  }),

  conformanceCase("SPLIT-DEV-015", "takes an indirect table from anywhere in memory", async (device) => {
    await checkIndirectRead(device, (ring, parts) => {
      const table = device.allocator.allocate(4 * VIRTQ_DESC_BYTES) + 8;
      writeTable(ring, table, parts);
      const whole = { address: table, lengthBytes: 3 * VIRTQ_DESC_BYTES, flags: VIRTQ_DESC_F_INDIRECT };
      ring.raw.writeDescriptor(HEAD, whole);
    });
  }),

  conformanceCase("SPLIT-DEV-023", "has written at least as many bytes as it says", async (device) => {
    const ring = await device.initialise();
    await writePattern(device, ring, 1, 1);
    await checkUsedLength(device, ring, { type: VIRTIO_BLK_T_IN, sector: 1, inBytes: 512 });
    await checkUsedLength(device, ring, { type: VIRTIO_BLK_T_IN, sector: 8192, inBytes: 512 });
    await checkUsedLength(device, ring, { type: VIRTIO_BLK_T_GET_ID, inBytes: 20 });
    await checkUsedLength(device, ring, { type: VIRTIO_BLK_T_GET_ID, inBytes: 64 });
    await checkUsedLength(device, ring, { type: VIRTIO_BLK_T_OUT, sector: 1, out: pattern(1, 1) });
  }),

  conformanceCase(
    "SPLIT-DEV-025",
    "reports buffers that were used in order one by one or by the last",
    async (device) => {
      const ring = split(await device.initialise({ features: [VIRTIO_F_IN_ORDER] }));
      const placed = [0, 1, 2].map(() =>
        device.place(ring, { type: VIRTIO_BLK_T_IN, inBytes: 512, indirect: false, writablePieces: [513] }),
      );
      ring.notify();
      for (const request of placed) await device.finish(ring, request);
    },
  ),

  conformanceCase("SPLIT-DEV-026", "goes on behind a batch that was used in order", async (device) => {
    const ring = split(await device.initialise({ ring: { size: 16 }, features: [VIRTIO_F_IN_ORDER] }));
    for (let round = 0; round < 12; round++) {
      const placed = [0, 1, 2].map(() => device.place(ring, { type: VIRTIO_BLK_T_IN, inBytes: 512 }));
      ring.notify();
      for (const request of placed) await device.finish(ring, request);
      device.equal(ring.raw.usedIdx, (3 * (round + 1)) & 0xffff, "used.idx after a batch of three");
    }
  }),

  conformanceCase("SPLIT-DEV-027", "has 0 or 1 in used.flags", async (device) => {
    const ring = split(await device.initialise());
    for (let i = 0; i < 20; i++) {
      await readSector(device, ring);
      device.check(ring.raw.usedFlags <= 1, `used.flags is ${ring.raw.usedFlags}`);
    }
  }),

  conformanceCase("SPLIT-DEV-029", "has 0 in used.flags when EVENT_IDX was negotiated", async (device) => {
    const ring = split(await device.initialise({ ring: { size: 64 }, features: [VIRTIO_F_EVENT_IDX] }));
    for (let i = 0; i < 8; i++) {
      const placed = [0, 1, 2, 3].map(() => device.place(ring, { type: VIRTIO_BLK_T_IN, inBytes: 4096 }));
      ring.notify();
      for (const _ of placed) {
        await device.nextUsed(ring);
        device.equal(ring.raw.usedFlags, 0, "used.flags during I/O");
      }
    }
  }),

  conformanceCase("SPLIT-DEV-030", "finds buffers that it did not want to be notified of", async (device) => {
    const ring = split(await device.initialise({ features: [VIRTIO_F_EVENT_IDX] }));
    for (let round = 0; round < 6; round++) {
      // A device may wait until the entry is filled that avail_event names; but not for one that a full ring has no room for.
      const before = ring.raw.availIdx;
      const placed: PlacedRequest[] = [];
      while (placed.length < FULL_RING) {
        placed.push(device.place(ring, { type: VIRTIO_BLK_T_IN, inBytes: 512, writablePieces: [513] }));
        if (!passesEvent(ring.raw.availEvent, ring.raw.availIdx, before)) continue;
        ring.notify(); // §2.7.10: the entry that avail_event names is filled
        break;
      }
      for (const request of placed) {
        const { status } = await device.finish(ring, request);
        device.equal(status, 0, "the status byte of a read");
      }
    }
  }),

  conformanceCase("SPLIT-DEV-031", "bears notifications without a buffer", async (device) => {
    const ring = await device.initialise();
    for (let i = 0; i < 100; i++) ring.notify();
    await device.settle();
    device.check(ring.takeUsed() === undefined, "a buffer was used though none was made available");
    const needsReset = device.registers.status & VIRTIO_STATUS_DEVICE_NEEDS_RESET;
    if (!device.legacy) device.equal(needsReset, 0, "DEVICE_NEEDS_RESET after notifications without a buffer");
    await readSector(device, ring);
  }),
];
