// The packed virtqueue, but for its notifications: VIRTIO 1.4 §2.8.

import { VIRTIO_BLK_T_FLUSH, VIRTIO_BLK_T_GET_ID, VIRTIO_BLK_T_IN, VIRTIO_BLK_T_OUT } from "../../constants/blk.ts";
import { VIRTIO_BLK_F_FLUSH } from "../../constants/features.ts";
import {
  VIRTQ_DESC_BYTES,
  VIRTQ_DESC_F_INDIRECT,
  VIRTQ_DESC_F_NEXT,
  VIRTQ_DESC_F_WRITE,
} from "../../constants/ring.ts";
import { VIRTIO_STATUS_DEVICE_NEEDS_RESET } from "../../constants/status.ts";
import { type ConformanceCase, conformanceCase } from "../case.ts";
import type { DeviceUnderTest, InitialiseOptions } from "../device-under-test.ts";
import { readSector } from "../disk-io.ts";
import { availFlags, PACKED_DESC_F_AVAIL, PACKED_DESC_F_USED, PackedRing, usedFlags } from "../packed-ring.ts";
import { pattern, writePattern } from "../patterns.ts";
import { RamWatch } from "../ram-watch.ts";
import { checkUsedLength } from "../used-length.ts";

const BOTH = PACKED_DESC_F_AVAIL | PACKED_DESC_F_USED;

async function initialisePacked(device: DeviceUnderTest, options: InitialiseOptions = {}): Promise<PackedRing> {
  const ring = await device.initialise(options);
  if (!(ring instanceof PackedRing)) throw new Error("a case about packed rings has another ring");
  return ring;
}

/** Waits until the slot is used in the lap of `wrap`. */
async function untilUsed(device: DeviceUnderTest, ring: PackedRing, slot: number, wrap: 0 | 1): Promise<void> {
  const used = (): boolean => (ring.readSlot(slot).flags & BOTH) === usedFlags(wrap);
  await device.until(used, `slot ${slot} is used`);
}

/** A read of sector 5, which holds its pattern: header, data and status, each by itself. */
async function placeRead(
  device: DeviceUnderTest,
  ring: PackedRing,
): Promise<{ header: number; data: number; status: number }> {
  await writePattern(device, ring, 5, 1);
  const { allocator, target } = device;
  const parts = { header: allocator.allocate(16), data: allocator.allocate(512), status: allocator.allocate(16) };
  target.writeRam32(parts.header, VIRTIO_BLK_T_IN);
  target.writeRam32(parts.header + 4, 0);
  target.writeRam64(parts.header + 8, 5n);
  target.fillRam(parts.data, 0xee, 512);
  target.writeRam8(parts.status, 0xee);
  return parts;
}

function checkRead(device: DeviceUnderTest, parts: { readonly data: number; readonly status: number }): void {
  device.equal(device.target.readRam8(parts.status), 0, "the status byte");
  const data = new Uint8Array(512);
  device.target.readRam(parts.data, data);
  device.check(
    pattern(5, 1).every((byte, i) => byte === data[i]),
    "the data are not what was written to the sector",
  );
}

/** A read through an indirect table, whose entries and ring descriptor have flags besides those that they need. */
async function checkIndirectRead(
  device: DeviceUnderTest,
  extra: { readonly entryFlags: number; readonly entryId: number; readonly ringFlags: number },
): Promise<void> {
  const ring = await initialisePacked(device, { ring: { size: 16 } });
  const parts = await placeRead(device, ring);
  const table = device.allocator.allocate(3 * VIRTQ_DESC_BYTES);
  const entries = [
    { address: parts.header, lengthBytes: 16, flags: 0 },
    { address: parts.data, lengthBytes: 512, flags: VIRTQ_DESC_F_WRITE },
    { address: parts.status, lengthBytes: 1, flags: VIRTQ_DESC_F_WRITE },
  ];
  for (const [i, entry] of entries.entries()) {
    const at = table + VIRTQ_DESC_BYTES * i;
    device.target.writeRam64(at, BigInt(entry.address));
    device.target.writeRam32(at + 8, entry.lengthBytes);
    device.target.writeRam16(at + 12, extra.entryId);
    device.target.writeRam16(at + 14, entry.flags | extra.entryFlags);
  }
  const { nextSlot: slot, availWrap: wrap } = ring;
  const flags = VIRTQ_DESC_F_INDIRECT | extra.ringFlags | availFlags(wrap);
  ring.writeSlot(slot, { address: BigInt(table), lengthBytes: 3 * VIRTQ_DESC_BYTES, id: 0x1234, flags });
  ring.notify();
  await untilUsed(device, ring, slot, wrap);
  device.equal(ring.readSlot(slot).id, 0x1234, "the id of the used descriptor");
  checkRead(device, parts);
}

export const packedRingCases: readonly ConformanceCase[] = [
  conformanceCase("PACK-DEV-001", "skips no list of the ring", async (device) => {
    const ring = await initialisePacked(device, { ring: { size: 16 } });
    const placed = [1, 2, 3].map((sector) => device.place(ring, { type: VIRTIO_BLK_T_IN, sector, inBytes: 512 }));
    ring.notify();
    const ids = new Set(placed.map(({ id }) => id));
    for (const _ of placed) ids.delete((await device.nextUsed(ring)).id);
    device.equal(ids.size, 0, "the number of lists that were made available and not used");
  }),

  conformanceCase("PACK-DEV-002", "uses descriptors as requests complete", async (device) => {
    const ring = await initialisePacked(device, { ring: { size: 64 } });
    const placed = [65536, 512, 4096].map((inBytes) => device.place(ring, { type: VIRTIO_BLK_T_IN, inBytes }));
    const waiting = new Set(placed.map(({ id }) => id));
    ring.notify();
    for (const _ of placed) {
      const { id } = await device.nextUsed(ring);
      device.check(waiting.delete(id), `the list ${id} was used twice`);
    }
  }),

  conformanceCase("PACK-DEV-004", "does not write into what it is to read", async (device) => {
    const ring = await initialisePacked(device);
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

  conformanceCase("PACK-DEV-006", "uses no descriptor that was not made available", async (device) => {
    const ring = await initialisePacked(device);
    const empty = new RamWatch(device.target, ring.descriptorArea, VIRTQ_DESC_BYTES * ring.size);
    ring.notify();
    await device.settle();
    device.check(empty.firstChange() === undefined, "a slot of an empty ring changed after a notification");
    for (let i = 0; i < 5; i++) await readSector(device, ring); // beyond the end: slots hold what was used in lap 1
    const stale = new RamWatch(device.target, ring.descriptorArea, VIRTQ_DESC_BYTES * ring.size);
    ring.notify();
    await device.settle();
    device.check(stale.firstChange() === undefined, "a slot that was used in the lap before was used again");
  }),

  conformanceCase("PACK-DEV-007", "leaves a descriptor alone that it has used", async (device) => {
    const ring = await initialisePacked(device, { ring: { size: 16 } });
    await readSector(device, ring);
    const first = new RamWatch(device.target, ring.descriptorArea, VIRTQ_DESC_BYTES);
    for (let i = 0; i < 4; i++) await readSector(device, ring);
    device.check(first.firstChange() === undefined, "slot 0 changed after it had been used");
  }),

  conformanceCase("PACK-DEV-008", "takes the descriptors of a list in their order", async (device) => {
    const ring = await initialisePacked(device, { ring: { size: 16 } });
    await writePattern(device, ring, 9, 2);
    const writablePieces = [100, 600, 324, 1];
    const read = await device.execute(ring, { type: VIRTIO_BLK_T_IN, sector: 9, inBytes: 1024, writablePieces });
    device.equal(read.status, 0, "the status byte of a read into three buffers");
    const same = pattern(9, 2).every((byte, i) => byte === read.data[i]);
    device.check(same, "the data of a read into three buffers are not what was written");
  }),

  conformanceCase("PACK-DEV-009", "takes a list as long as the ring, or refuses it without harm", async (device) => {
    const ring = await initialisePacked(device, { ring: { size: 16 } });
    const writablePieces = [...Array.from({ length: 13 }, () => 512), 512 * 2 + 1];
    const placed = device.place(ring, { type: VIRTIO_BLK_T_IN, inBytes: 15 * 512, writablePieces });
    ring.notify();
    await device.settle();
    if ((device.registers.status & VIRTIO_STATUS_DEVICE_NEEDS_RESET) !== 0) {
      device.remark("a list as long as the ring breaks it");
      return await readSector(device, await initialisePacked(device));
    }
    const { status } = await device.finish(ring, placed);
    if (status !== 0) device.remark(`a list as long as the ring ends with status ${status}`);
    await readSector(device, ring);
  }),

  conformanceCase("PACK-DEV-010", "toggles its wrap counter after the last slot", async (device) => {
    const ring = await initialisePacked(device, { ring: { size: 5 }, features: [VIRTIO_BLK_F_FLUSH] });
    for (let i = 0; i < 12; i++) {
      const { usedSlot: slot, usedWrap: wrap } = ring;
      const placed = device.place(ring, { type: VIRTIO_BLK_T_FLUSH });
      ring.notify();
      await device.finish(ring, placed);
      const expected = wrap === 1 ? BOTH : 0;
      device.equal(
        ring.readSlot(slot).flags & BOTH,
        expected,
        `AVAIL and USED of slot ${slot}, used as number ${i + 1},`,
      );
    }
  }),

  conformanceCase("PACK-DEV-011", "has AVAIL and USED alike in what it has used", async (device) => {
    const ring = await initialisePacked(device);
    for (let i = 0; i < 9; i++) {
      const { usedSlot: slot, usedWrap: wrap } = ring;
      const placed = device.place(ring, { type: VIRTIO_BLK_T_IN, inBytes: 512 });
      ring.notify();
      await device.finish(ring, placed);
      device.equal(ring.readSlot(slot).flags & BOTH, usedFlags(wrap), `AVAIL and USED of slot ${slot}`);
    }
  }),

  conformanceCase("PACK-DEV-012", "works with a ring whose size is no power of two", async (device) => {
    for (const size of [5, 7, 100]) {
      const ring = await initialisePacked(device, { ring: { size } });
      for (let i = 0; i < size + 4; i++) await readSector(device, ring);
    }
  }),

  conformanceCase("PACK-DEV-013", "writes one used descriptor for a list, and skips the rest of it", async (device) => {
    const ring = await initialisePacked(device, { ring: { size: 16 } });
    const lists = [0, 1, 2].map(() => {
      const slot = ring.nextSlot;
      const placed = device.place(ring, { type: VIRTIO_BLK_T_IN, inBytes: 512 });

      return { slot, placed };
    });
    ring.notify();
    for (const { slot, placed } of lists) {
      await untilUsed(device, ring, slot, 1);
      await device.finish(ring, placed); // which looks at the slot behind the list that was used before
    }
  }),

  conformanceCase("PACK-DEV-014", "names the id of the last descriptor of a list", async (device) => {
    const ring = await initialisePacked(device, { ring: { size: 16 } });
    const parts = await placeRead(device, ring);
    const { nextSlot: slot, availWrap: wrap } = ring;
    const own = availFlags(wrap);
    const write = VIRTQ_DESC_F_WRITE | own;
    ring.writeSlot(slot + 2, { address: BigInt(parts.status), lengthBytes: 1, id: 9, flags: write });
    const data = { address: BigInt(parts.data), lengthBytes: 512, id: 8, flags: write | VIRTQ_DESC_F_NEXT };
    ring.writeSlot(slot + 1, data);
    ring.writeSlot(slot, { address: BigInt(parts.header), lengthBytes: 16, id: 7, flags: own | VIRTQ_DESC_F_NEXT });
    ring.notify();
    await untilUsed(device, ring, slot, wrap);
    device.equal(ring.readSlot(slot).id, 9, "the id of a used list whose descriptors have the ids 7, 8 and 9");
  }),

  conformanceCase("PACK-DEV-015", "says by WRITE that it has written", async (device) => {
    const ring = await initialisePacked(device);
    const { length } = await device.execute(ring, { type: VIRTIO_BLK_T_OUT, sector: 1, out: pattern(1, 1) });
    device.check(length !== undefined, "WRITE is not set in the used descriptor of a request whose status was written");
    if (length !== undefined)
      device.check(length <= 1, `the used length of a write is ${length}: one byte was writable`);
  }),

  conformanceCase("PACK-DEV-016", "heeds nothing but WRITE in an indirect table", async (device) => {
    const entryFlags = VIRTQ_DESC_F_NEXT | VIRTQ_DESC_F_INDIRECT | BOTH;
    await checkIndirectRead(device, { entryFlags, entryId: 0xffff, ringFlags: 0 });
  }),

  conformanceCase("PACK-DEV-017", "ignores WRITE on what points to an indirect table", async (device) => {
    await checkIndirectRead(device, { entryFlags: 0, entryId: 0, ringFlags: VIRTQ_DESC_F_WRITE });
  }),

  conformanceCase("PACK-DEV-018", "reports lists that were used in order one by one or by the last", async (device) => {
    const ring = await initialisePacked(device, { ring: { size: 16 } });
    for (let round = 0; round < 6; round++) {
      const placed = [0, 1, 2, 3].map(() => device.place(ring, { type: VIRTIO_BLK_T_IN, inBytes: 512 }));
      ring.notify();
      for (const request of placed) await device.finish(ring, request);
    }
  }),

  conformanceCase("PACK-DEV-026", "has written at least as many bytes as it says", async (device) => {
    const ring = await initialisePacked(device);
    await writePattern(device, ring, 1, 1);
    await checkUsedLength(device, ring, { type: VIRTIO_BLK_T_IN, sector: 1, inBytes: 512 });
    await checkUsedLength(device, ring, { type: VIRTIO_BLK_T_IN, sector: 8192, inBytes: 512 });
    await checkUsedLength(device, ring, { type: VIRTIO_BLK_T_GET_ID, inBytes: 20 });
    await checkUsedLength(device, ring, { type: VIRTIO_BLK_T_GET_ID, inBytes: 64 });
    await checkUsedLength(device, ring, { type: VIRTIO_BLK_T_OUT, sector: 1, out: pattern(1, 1) });
  }),
];
