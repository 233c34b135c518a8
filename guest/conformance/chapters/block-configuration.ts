// The configuration of the block device: VIRTIO 1.4 §5.2.3 to §5.2.5, without that of zoned disks and of discard and the like.

import {
  VIRTIO_BLK_CONFIG_ALIGNMENT_OFFSET,
  VIRTIO_BLK_CONFIG_BLK_SIZE,
  VIRTIO_BLK_CONFIG_CYLINDERS,
  VIRTIO_BLK_CONFIG_HEADS,
  VIRTIO_BLK_CONFIG_MIN_IO_SIZE,
  VIRTIO_BLK_CONFIG_NUM_QUEUES,
  VIRTIO_BLK_CONFIG_OPT_IO_SIZE,
  VIRTIO_BLK_CONFIG_PHYSICAL_BLOCK_EXP,
  VIRTIO_BLK_CONFIG_SECTORS,
  VIRTIO_BLK_CONFIG_SEG_MAX,
  VIRTIO_BLK_CONFIG_SIZE_MAX,
  VIRTIO_BLK_CONFIG_UNUSED0,
  VIRTIO_BLK_CONFIG_UNUSED1,
  VIRTIO_BLK_T_FLUSH,
  VIRTIO_BLK_T_GET_ID,
  VIRTIO_BLK_T_IN,
} from "../../constants/blk.ts";
import {
  hasFeature,
  VIRTIO_BLK_F_CONFIG_WCE,
  VIRTIO_BLK_F_FLUSH,
  VIRTIO_BLK_F_MQ,
  VIRTIO_BLK_F_WRITE_ZEROES,
} from "../../constants/features.ts";
import { VIRTIO_MMIO_INTERRUPT_CONFIG_CHANGE } from "../../constants/mmio.ts";
import { type ConformanceCase, conformanceCase } from "../case.ts";
import type { DeviceUnderTest } from "../device-under-test.ts";
import { checkPattern, checkZeroBytes, readCapacity, readSectors } from "../disk-io.ts";
import { writePattern } from "../patterns.ts";

/** No multiple of any block: the last sector stands alone. */
const ODD_CAPACITY_SECTORS = 8195;
const GEOMETRY = { cylinders: 0x0102, heads: 7, sectors: 33 };
const TOPOLOGY = { physicalBlockExp: 3, minIoBlocks: 0x18, optIoBlocks: 0x0208 };
/** The longest buffer that a case cares to make. */
const LONG_BUFFER_BYTES = 65536;

/** Takes the device to DRIVER_OK with a ring that has room for `descriptors`; ends the case as skipped when none has. */
async function initialiseWithRoom(device: DeviceUnderTest, descriptors: number) {
  device.registers.queueSel = 0;
  const size = 2 ** Math.ceil(Math.log2(descriptors));
  const { queueSizeMax } = device.registers;
  device.skipUnless(queueSizeMax >= size, `QueueSizeMax is ${queueSizeMax}, too few for ${descriptors} descriptors`);
  return device.initialise({ ring: { size } });
}

/** Gives the disk another size; the host has to be able to. */
async function grow(device: DeviceUnderTest, capacitySectors: number): Promise<void> {
  device.skipUnless(device.host.resize !== undefined, "the host cannot give the disk another size");
  await device.host.resize!(capacitySectors);
}

export const blockConfigurationCases: readonly ConformanceCase[] = [
  conformanceCase("BLK-DEV-001", "offers FLUSH", (device) => {
    device.check(hasFeature(device.readOffered(), VIRTIO_BLK_F_FLUSH), "VIRTIO_BLK_F_FLUSH is not offered");
  }),

  conformanceCase("BLK-DEV-002", "offers CONFIG_WCE with FLUSH alone", (device) => {
    const offered = device.readOffered();
    const whole = !hasFeature(offered, VIRTIO_BLK_F_CONFIG_WCE) || hasFeature(offered, VIRTIO_BLK_F_FLUSH);
    device.check(whole, "VIRTIO_BLK_F_CONFIG_WCE is offered without VIRTIO_BLK_F_FLUSH");
  }),

  conformanceCase(
    "BLK-DEV-004",
    "has 0 in the padding",
    async (device) => {
      const ring = await device.initialise({
        features: [VIRTIO_BLK_F_FLUSH, VIRTIO_BLK_F_CONFIG_WCE, VIRTIO_BLK_F_MQ, VIRTIO_BLK_F_WRITE_ZEROES],
      });
      const has = (feature: number): boolean => hasFeature(ring.features, feature);
      if (has(VIRTIO_BLK_F_CONFIG_WCE) || has(VIRTIO_BLK_F_MQ)) {
        checkZeroBytes(device, VIRTIO_BLK_CONFIG_UNUSED0, 1, "unused0");
      }
      if (!has(VIRTIO_BLK_F_WRITE_ZEROES)) return;
      const unused1 = [0, 1, 2].map((i) => device.registers.readConfig(VIRTIO_BLK_CONFIG_UNUSED1 + i, 1));
      // Nothing needs the padding behind the last field that a device has: it may end there.
      if (unused1.every((byte) => byte === 0xff)) device.remark("the configuration ends before unused1");
      else checkZeroBytes(device, VIRTIO_BLK_CONFIG_UNUSED1, 3, "unused1");
    },
    { queues: 2 },
  ),

  conformanceCase(
    "BLK-DEV-019",
    "tells its capacity in sectors of 512 bytes",
    async (device) => {
      const ring = await device.initialise();
      device.equal(readCapacity(device), BigInt(ODD_CAPACITY_SECTORS), "capacity");
      await readSectors(device, ring, ODD_CAPACITY_SECTORS - 1, 1);
    },
    { capacitySectors: ODD_CAPACITY_SECTORS },
  ),

  conformanceCase("BLK-DEV-020", "takes data segments as long as size_max allows", async (device) => {
    const ring = await device.initialise();
    const sizeMax = device.registers.readConfig(VIRTIO_BLK_CONFIG_SIZE_MAX, 4);
    const inBytes = Math.min(sizeMax, LONG_BUFFER_BYTES) & ~511;
    device.skipUnless(inBytes > 0, `size_max is ${sizeMax}, less than a sector`);
    const writablePieces = [inBytes, inBytes, 1];
    const { status } = await device.execute(ring, { type: VIRTIO_BLK_T_IN, inBytes: 2 * inBytes, writablePieces });
    device.equal(status, 0, `the status byte of a read into two segments of ${inBytes} bytes`);
  }),

  conformanceCase("BLK-DEV-021", "takes as many data segments as seg_max allows", async (device) => {
    await device.initialise();
    const segMax = device.registers.readConfig(VIRTIO_BLK_CONFIG_SEG_MAX, 4);
    device.check(segMax > 0, "seg_max is 0, so that no request could carry data");
    const ring = await initialiseWithRoom(device, segMax + 2);
    const writablePieces = [...Array.from({ length: segMax }, () => 512), 1];
    const { status } = await device.execute(ring, { type: VIRTIO_BLK_T_IN, inBytes: 512 * segMax, writablePieces });
    device.equal(status, 0, `the status byte of a read into ${segMax} segments`);
  }),

  conformanceCase(
    "BLK-DEV-022",
    "tells its geometry",
    async (device) => {
      await device.initialise();
      device.equal(device.registers.readConfig(VIRTIO_BLK_CONFIG_CYLINDERS, 2), GEOMETRY.cylinders, "cylinders");
      device.equal(device.registers.readConfig(VIRTIO_BLK_CONFIG_HEADS, 1), GEOMETRY.heads, "heads");
      device.equal(device.registers.readConfig(VIRTIO_BLK_CONFIG_SECTORS, 1), GEOMETRY.sectors, "sectors");
    },
    { geometry: GEOMETRY, capacitySectors: GEOMETRY.cylinders * GEOMETRY.heads * GEOMETRY.sectors },
  ),

  conformanceCase(
    "BLK-DEV-023",
    "counts in sectors of 512 bytes whatever blk_size is",
    async (device) => {
      const ring = await device.initialise();
      const blockBytes = device.registers.readConfig(VIRTIO_BLK_CONFIG_BLK_SIZE, 4);
      device.equal(blockBytes, 4096, "blk_size of a disk of 4096-byte blocks");
      await writePattern(device, ring, 0, 8);
      await checkPattern(device, ring, 0, 8);
      await checkPattern(device, ring, 1, 1);
    },
    { blockSizeBytes: 4096 },
  ),

  conformanceCase(
    "BLK-DEV-024",
    "tells its topology",
    async (device) => {
      await device.initialise();
      const { registers } = device;
      const exp = registers.readConfig(VIRTIO_BLK_CONFIG_PHYSICAL_BLOCK_EXP, 1);
      device.equal(exp, TOPOLOGY.physicalBlockExp, "physical_block_exp");
      device.equal(registers.readConfig(VIRTIO_BLK_CONFIG_ALIGNMENT_OFFSET, 1), 0, "alignment_offset");
      const minIo = registers.readConfig(VIRTIO_BLK_CONFIG_MIN_IO_SIZE, 2);
      device.equal(minIo, TOPOLOGY.minIoBlocks, "min_io_size");
      device.equal(registers.readConfig(VIRTIO_BLK_CONFIG_OPT_IO_SIZE, 4), TOPOLOGY.optIoBlocks, "opt_io_size");
    },
    { topology: TOPOLOGY },
  ),

  conformanceCase(
    "BLK-DEV-026",
    "has the queues that num_queues counts",
    async (device) => {
      const ring = await device.initialise({ driverOk: false });
      const queues = device.registers.readConfig(VIRTIO_BLK_CONFIG_NUM_QUEUES, 2);
      device.equal(queues, 3, "num_queues of a device made with three queues");
      const rings = [ring];
      for (let index = 1; index < queues; index++) rings.push(device.setUpRing({ index, size: 8 }, ring.features));
      device.registers.queueSel = queues;
      device.equal(device.registers.queueSizeMax, 0, `QueueSizeMax of queue ${queues}`);
      device.go();
      for (const each of rings.reverse()) await readSectors(device, each, 0, 1);
    },
    { queues: 3 },
  ),

  conformanceCase(
    "BLK-DEV-027",
    "has one request queue for all that is to be done when MQ is not accepted",
    async (device) => {
      const ring = await device.initialise({ features: [VIRTIO_BLK_F_FLUSH] });
      await writePattern(device, ring, 3, 1);
      await checkPattern(device, ring, 3, 1);
      const id = await device.execute(ring, { type: VIRTIO_BLK_T_GET_ID, inBytes: 20 });
      device.equal(id.status, 0, "the status byte of GET_ID");
      if (!hasFeature(ring.features, VIRTIO_BLK_F_FLUSH)) return;
      const flush = await device.execute(ring, { type: VIRTIO_BLK_T_FLUSH });
      device.equal(flush.status, 0, "the status byte of a flush");
    },
    { queues: 2 },
  ),

  conformanceCase("BLK-DEV-035", "has the sectors that it tells of when its capacity changes", async (device) => {
    const ring = await device.initialise();
    await writePattern(device, ring, 8191, 1);
    await grow(device, 16384);
    await device.settle();
    const capacity = readCapacity(device);
    device.skipUnless(capacity !== 8192n, "capacity does not change with the disk");
    device.equal(capacity, 16384n, "capacity after the disk grew to 16384 sectors");
    await writePattern(device, ring, 16383, 1);
    await checkPattern(device, ring, 16383, 1);
    await checkPattern(device, ring, 8191, 1);
  }),

  conformanceCase("BLK-DEV-036", "tells of a change of its capacity", async (device) => {
    await device.initialise();
    await grow(device, 16384);
    await device.settle();
    device.skipUnless(readCapacity(device) !== 8192n, "capacity does not change with the disk");
    await device.until(
      () => (device.registers.interruptStatus & VIRTIO_MMIO_INTERRUPT_CONFIG_CHANGE) !== 0,
      "bit 1 of InterruptStatus is set after capacity changed",
    );
    device.equal(readCapacity(device), 16384n, "capacity");
  }),
];
