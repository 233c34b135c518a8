// The configuration space and initialisation: VIRTIO 1.4 §2.5 and §3.1.

import {
  VIRTIO_BLK_CONFIG_BLK_SIZE,
  VIRTIO_BLK_CONFIG_CAPACITY,
  VIRTIO_BLK_CONFIG_NUM_QUEUES,
  VIRTIO_BLK_CONFIG_WRITEBACK,
  VIRTIO_BLK_T_IN,
} from "../../constants/blk.ts";
import {
  hasFeature,
  VIRTIO_BLK_F_BLK_SIZE,
  VIRTIO_BLK_F_CONFIG_WCE,
  VIRTIO_BLK_F_MQ,
} from "../../constants/features.ts";
import { VIRTIO_MMIO_INTERRUPT_CONFIG_CHANGE } from "../../constants/mmio.ts";
import { type ConformanceCase, conformanceCase } from "../case.ts";
import type { DeviceUnderTest } from "../device-under-test.ts";
import { readCapacity } from "../disk-io.ts";
import { RamWatch } from "../ram-watch.ts";

/** 0x1_0000_0203 sectors: the two halves of the capacity differ, and so do the bytes of the lower one. */
const LARGE_CAPACITY_SECTORS = 2 ** 32 + 0x203;

/** The fields that a driver may want before it chooses features. */
function readFields(device: DeviceUnderTest): readonly (readonly [string, bigint])[] {
  const offered = device.readOffered();
  const fields: (readonly [string, bigint])[] = [["capacity", readCapacity(device)]];
  if (hasFeature(offered, VIRTIO_BLK_F_BLK_SIZE)) {
    fields.push(["blk_size", BigInt(device.registers.readConfig(VIRTIO_BLK_CONFIG_BLK_SIZE, 4))]);
  }
  if (hasFeature(offered, VIRTIO_BLK_F_MQ)) {
    fields.push(["num_queues", BigInt(device.registers.readConfig(VIRTIO_BLK_CONFIG_NUM_QUEUES, 2))]);
  }
  return fields;
}

export const configurationCases: readonly ConformanceCase[] = [
  conformanceCase("CFG-DEV-001", "lets the configuration be read before FEATURES_OK", async (device) => {
    await device.begin();
    const before = readFields(device);
    await device.initialise({ features: [VIRTIO_BLK_F_BLK_SIZE, VIRTIO_BLK_F_MQ] });
    const after = readFields(device);
    for (const [i, [name, value]] of before.entries()) {
      device.equal(value, after[i]![1], `${name} before FEATURES_OK, and not as after DRIVER_OK, which`);
    }
  }),

  conformanceCase(
    "CFG-DEV-002",
    "has little-endian fields",
    async (device) => {
      await device.initialise({ features: [VIRTIO_BLK_F_MQ] });
      device.equal(device.registers.readConfig(VIRTIO_BLK_CONFIG_CAPACITY, 4), 0x203, "the lower half of capacity");
      device.equal(device.registers.readConfig(VIRTIO_BLK_CONFIG_CAPACITY + 4, 4), 1, "the upper half of capacity");
      if (!hasFeature(device.readOffered(), VIRTIO_BLK_F_MQ)) return;
      const queues = device.registers.readConfig(VIRTIO_BLK_CONFIG_NUM_QUEUES, 2);
      device.check(queues >= 1 && queues < 0x100, `num_queues is ${queues} on a device of a few queues`);
    },
    { capacitySectors: LARGE_CAPACITY_SECTORS },
  ),

  conformanceCase(
    "INIT-DEV-001",
    "lets a legacy driver write the configuration before it reads features",
    async (device) => {
      await device.reset();
      device.registers.status = 1;
      device.skipUnless(
        hasFeature(device.readOffered(), VIRTIO_BLK_F_CONFIG_WCE),
        "VIRTIO_BLK_F_CONFIG_WCE is not offered",
      );
      await device.reset();
      device.registers.status = 1;
      device.registers.writeConfig(VIRTIO_BLK_CONFIG_WRITEBACK, 0, 1);
      device.equal(device.registers.readConfig(VIRTIO_BLK_CONFIG_WRITEBACK, 1), 0, "writeback after 0 was written");
    },
  ),

  conformanceCase("INIT-DEV-002", "lets a legacy driver use it before DRIVER_OK", async (device) => {
    const ring = await device.initialise({ driverOk: false });
    const { status } = await device.execute(ring, { type: VIRTIO_BLK_T_IN, inBytes: 512 });
    device.equal(status, 0, "the status byte of a read before DRIVER_OK");
  }),

  conformanceCase("INIT-DEV-003", "notifies of a configuration change that it made itself", async (device) => {
    device.skipUnless(device.host.resize !== undefined, "the host cannot give the disk another size");
    await device.initialise();
    await device.host.resize!(16384);
    await device.until(
      () => (device.registers.interruptStatus & VIRTIO_MMIO_INTERRUPT_CONFIG_CHANGE) !== 0,
      "bit 1 of InterruptStatus is set after the disk was given another size",
    );
  }),

  conformanceCase("INIT-DEV-004", "has no live queue after a reset", async (device) => {
    const ring = await device.initialise();
    await device.execute(ring, { type: VIRTIO_BLK_T_IN, inBytes: 512 });
    await device.reset();
    const placed = device.place(ring, { type: VIRTIO_BLK_T_IN, inBytes: 512 });
    const buffers = new RamWatch(device.target, placed.writableAddress, placed.writableBytes);
    ring.notify();
    await device.settle();
    device.check(ring.takeUsed() === undefined, "a buffer was used after the reset");
    device.check(buffers.firstChange() === undefined, "the data or status bytes changed after the reset");
  }),
];
