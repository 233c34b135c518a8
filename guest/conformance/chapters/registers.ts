// The registers of a virtio-mmio device, those of both versions and the modern ones: VIRTIO 1.4 §4.2.2.

import { VIRTIO_BLK_CONFIG_NUM_QUEUES, VIRTIO_BLK_CONFIG_WRITEBACK, VIRTIO_BLK_T_IN } from "../../constants/blk.ts";
import {
  hasFeature,
  VIRTIO_BLK_F_CONFIG_WCE,
  VIRTIO_BLK_F_MQ,
  VIRTIO_F_ADMIN_VQ,
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_VERSION_1,
} from "../../constants/features.ts";
import {
  VIRTIO_ID_BLOCK,
  VIRTIO_MMIO_INTERRUPT_CONFIG_CHANGE,
  VIRTIO_MMIO_INTERRUPT_USED_BUFFER,
  VIRTIO_MMIO_MAGIC,
  VIRTIO_MMIO_QUEUE_DESC_HIGH,
  VIRTIO_MMIO_QUEUE_DESC_LOW,
  VIRTIO_MMIO_QUEUE_DEVICE_HIGH,
  VIRTIO_MMIO_QUEUE_DEVICE_LOW,
  VIRTIO_MMIO_QUEUE_DRIVER_HIGH,
  VIRTIO_MMIO_QUEUE_DRIVER_LOW,
  VIRTIO_MMIO_SHM_BASE_HIGH,
  VIRTIO_MMIO_SHM_BASE_LOW,
  VIRTIO_MMIO_SHM_LEN_HIGH,
  VIRTIO_MMIO_SHM_LEN_LOW,
  VIRTIO_MMIO_SHM_SEL,
  VIRTIO_MMIO_VERSION_MODERN,
} from "../../constants/mmio.ts";
import { type ConformanceCase, conformanceCase } from "../case.ts";
import type { DeviceUnderTest } from "../device-under-test.ts";
import { readSector } from "../disk-io.ts";
import { holdOneRead } from "../held-request.ts";
import { breakRing } from "../provocations.ts";
import { RamWatch } from "../ram-watch.ts";

const ALL_ONES = 0xffff_ffff;

async function untilInterruptStatus(device: DeviceUnderTest, bit: number): Promise<void> {
  await device.until(() => (device.registers.interruptStatus & bit) !== 0, `bit ${bit} of InterruptStatus is set`);
}

/** Makes the host give the disk another size and waits for the notification. Ends the case as skipped where it cannot. */
async function resize(device: DeviceUnderTest, capacitySectors: number): Promise<void> {
  device.skipUnless(device.host.resize !== undefined, "the host cannot give the disk another size");
  await device.host.resize!(capacitySectors);
  await untilInterruptStatus(device, VIRTIO_MMIO_INTERRUPT_CONFIG_CHANGE);
}

/** The line is up exactly while InterruptStatus is not 0. */
function checkLine(device: DeviceUnderTest, when: string): void {
  const status = device.registers.interruptStatus;
  const raised = device.target.interruptRaised;
  device.check(
    raised === (status !== 0),
    `the line is ${raised ? "raised" : "low"} ${when}, with InterruptStatus ${status}`,
  );
}

export const registerCases: readonly ConformanceCase[] = [
  conformanceCase("MMIO-DEV-001", "has its magic value in every state", async (device) => {
    device.equal(device.registers.magicValue, VIRTIO_MMIO_MAGIC, "MagicValue after power-on");
    await device.initialise();
    device.equal(device.registers.magicValue, VIRTIO_MMIO_MAGIC, "MagicValue after DRIVER_OK");
  }),

  conformanceCase("MMIO-DEV-002", "is of version 2", (device) => {
    device.equal(device.registers.version, VIRTIO_MMIO_VERSION_MODERN, "Version");
  }),

  conformanceCase("MMIO-DEV-003", "holds a bit of InterruptStatus until it is acknowledged", async (device) => {
    const ring = await device.initialise();
    await readSector(device, ring);
    await untilInterruptStatus(device, VIRTIO_MMIO_INTERRUPT_USED_BUFFER);
    for (let i = 0; i < 4; i++)
      device.equal(device.registers.interruptStatus & 1, 1, "bit 0 of InterruptStatus, read again");
    device.registers.interruptAck = VIRTIO_MMIO_INTERRUPT_CONFIG_CHANGE;
    device.equal(device.registers.interruptStatus & 1, 1, "bit 0 of InterruptStatus after bit 1 was acknowledged");
    device.registers.interruptAck = VIRTIO_MMIO_INTERRUPT_USED_BUFFER;
    device.equal(device.registers.interruptStatus & 1, 0, "bit 0 of InterruptStatus after it was acknowledged");
  }),

  conformanceCase("MMIO-DEV-004", "sets no bit for an event that did not happen", async (device) => {
    await device.initialise();
    device.equal(device.registers.interruptStatus, 0, "InterruptStatus before anything happened");
    await resize(device, 16384);
    const { interruptStatus } = device.registers;
    device.equal(
      interruptStatus,
      VIRTIO_MMIO_INTERRUPT_CONFIG_CHANGE,
      "InterruptStatus after a change of capacity alone",
    );
  }),

  conformanceCase("MMIO-DEV-005", "clears InterruptStatus when it is reset", async (device) => {
    const ring = await device.initialise();
    await readSector(device, ring);
    await untilInterruptStatus(device, VIRTIO_MMIO_INTERRUPT_USED_BUFFER);
    await device.reset();
    device.equal(device.registers.interruptStatus, 0, "InterruptStatus after a reset");
    device.check(!device.target.interruptRaised, "the interrupt line is raised after a reset");
  }),

  conformanceCase("MMIO-DEV-006", "has no queue ready after a reset", async (device) => {
    await device.initialise();
    await device.reset();
    for (let index = 0; index < 4; index++) {
      device.registers.queueSel = index;
      device.equal(device.registers.queueReady, 0, `QueueReady of queue ${index} after a reset`);
    }
  }),

  conformanceCase("MMIO-DEV-007", "gives the configuration another generation when it changes", async (device) => {
    device.skipUnless(device.host.resize !== undefined, "the host cannot give the disk another size");
    await device.initialise();
    await changesGeneration(device, 2 ** 32 + 0x203, "at DRIVER_OK");
    await device.begin();
    await changesGeneration(device, 0x1000, "before FEATURES_OK");
  }),

  conformanceCase("MMIO-DEV-008", "leaves a queue alone that is not ready", async (device) => {
    const ring = await device.initialise();
    await readSector(device, ring);
    device.registers.queueSel = 0;
    device.registers.queueReady = 0;
    await device.until(() => device.registers.queueReady === 0, "QueueReady reads 0 after 0 was written");
    const placed = device.place(ring, { type: VIRTIO_BLK_T_IN, inBytes: 512 });
    const buffers = new RamWatch(device.target, placed.writableAddress, placed.writableBytes);
    ring.notify();
    await device.settle();
    device.check(ring.takeUsed() === undefined, "a buffer was used of a queue that is not ready");
    device.check(buffers.firstChange() === undefined, "the data or status bytes changed though the queue is not ready");
  }),

  conformanceCase(
    "MMIO-DEV-008",
    "uses nothing any more of a queue that was made unready meanwhile",
    async (device) => {
      const ring = await device.initialise();
      const { release } = await holdOneRead(device, ring);
      device.registers.queueSel = 0;
      device.registers.queueReady = 0;
      // A device may wait for the request before QueueReady reads 0; once it does, nothing must happen to the ring.
      const ready = device.registers.queueReady;
      device.skipUnless(ready === 0, "QueueReady reads 1 as long as a request is in flight, which the device may do");
      await release();
      await device.settle();
      device.check(ring.takeUsed() === undefined, "a buffer was used after QueueReady read 0");
    },
  ),

  conformanceCase("MMIO-DEV-014", "has little-endian registers of 32 bits", (device) => {
    device.equal(device.registers.magicValue, 0x74726976, "MagicValue, read at once");
  }),

  conformanceCase("MMIO-DEV-015", "is a block device", (device) => {
    device.equal(device.registers.deviceId, VIRTIO_ID_BLOCK, "DeviceID");
  }),

  conformanceCase("MMIO-DEV-016", "shows the word of features that was selected", (device) => {
    const words = [0, 1, 0, 1].map((word) => {
      device.registers.deviceFeaturesSel = word;
      return device.registers.deviceFeatures;
    });
    device.equal(words[2]!, words[0]!, "word 0 of DeviceFeatures, selected again,");
    device.equal(words[3]!, words[1]!, "word 1 of DeviceFeatures, selected again,");
    device.equal(words[1]! & 1, 1, "bit 0 of word 1 of DeviceFeatures (VERSION_1)");
    device.registers.deviceFeaturesSel = 2;
    device.equal(device.registers.deviceFeatures, 0, "word 2 of DeviceFeatures, where no feature is,");
  }),

  conformanceCase("MMIO-DEV-017", "keeps both words of the driver's features", async (device) => {
    await device.begin();
    const features = device.chooseFeatures({ features: [VIRTIO_F_EVENT_IDX] });
    device.skipUnless(hasFeature(features, VIRTIO_F_EVENT_IDX), "VIRTIO_F_EVENT_IDX is not offered");
    device.acceptFeatures(features); // word 1, then word 0
    device.check(device.settleFeatures(), "FEATURES_OK does not stick: VERSION_1 was written first, and lost");
    const ring = device.setUpRing({ index: 0, size: 8 }, features);
    device.go();
    // EVENT_IDX in word 0: the device heeds events, so that a far one keeps it silent. Of the first it may notify all the same.
    await readSector(device, ring);
    await device.settle();
    device.registers.interruptAck = VIRTIO_MMIO_INTERRUPT_USED_BUFFER;
    ring.setInterrupts(false);
    await readSector(device, ring);
    await device.settle();
    device.equal(device.registers.interruptStatus & 1, 0, "bit 0 of InterruptStatus, as EVENT_IDX asks for silence");
    device.check(hasFeature(features, VIRTIO_F_VERSION_1), "VIRTIO_F_VERSION_1 is not offered");
  }),

  conformanceCase(
    "MMIO-DEV-018",
    "keeps the registers of each queue apart",
    async (device) => {
      await device.begin();
      const features = device.chooseFeatures();
      device.acceptFeatures(features);
      device.check(device.settleFeatures(), "FEATURES_OK does not stick");
      device.registers.queueSel = 1;
      device.skipUnless(device.registers.queueSizeMax > 0, "the device has one queue");
      const second = device.setUpRing({ index: 1, size: 4 }, features);
      if (!device.legacy) {
        device.registers.queueSel = 0;
        device.equal(device.registers.queueReady, 0, "QueueReady of queue 0 after queue 1 was made ready");
      }
      const first = device.setUpRing({ index: 0, size: 8 }, features);
      device.go();
      for (let i = 0; i < 9; i++) {
        await readSector(device, first);
        await readSector(device, second);
      }
    },
    { queues: 2 },
  ),

  conformanceCase("MMIO-DEV-019", "has a greatest size for queues that exist, and 0 for others", async (device) => {
    await device.begin();
    const queues = hasFeature(device.readOffered(), VIRTIO_BLK_F_MQ)
      ? device.registers.readConfig(VIRTIO_BLK_CONFIG_NUM_QUEUES, 2)
      : 1;
    device.registers.queueSel = 0;
    device.check(device.registers.queueSizeMax > 0, "QueueSizeMax of queue 0 is 0");
    for (const index of [queues, 0xffff]) {
      device.registers.queueSel = 0;
      device.registers.queueSel = index;
      device.equal(device.registers.queueSizeMax, 0, `QueueSizeMax of queue ${index}, which there is not,`);
    }
  }),

  conformanceCase("MMIO-DEV-020", "shows in QueueReady what was written last", async (device) => {
    const ring = await device.initialise({ driverOk: false }); // which has seen it read 1
    device.registers.queueSel = ring.index;
    device.registers.queueReady = 0;
    await device.until(() => device.registers.queueReady === 0, "QueueReady reads 0 after 0 was written");
  }),

  conformanceCase("MMIO-DEV-021", "looks at the queue that it is notified of", async (device) => {
    await readSector(device, await device.initialise());
  }),

  conformanceCase(
    "MMIO-DEV-022",
    "clears the bits that are acknowledged, and lowers the line with the last",
    async (device) => {
      const ring = await device.initialise();
      await readSector(device, ring);
      await untilInterruptStatus(device, VIRTIO_MMIO_INTERRUPT_USED_BUFFER);
      await resize(device, 16384);
      device.registers.interruptAck = VIRTIO_MMIO_INTERRUPT_USED_BUFFER;
      device.equal(device.registers.interruptStatus, 2, "InterruptStatus after bit 0 of two was acknowledged");
      device.check(device.target.interruptRaised, "the interrupt line is low with bit 1 of InterruptStatus set");
      device.registers.interruptAck = VIRTIO_MMIO_INTERRUPT_CONFIG_CHANGE;
      device.equal(device.registers.interruptStatus, 0, "InterruptStatus after both bits were acknowledged");
      device.check(!device.target.interruptRaised, "the interrupt line is raised with InterruptStatus 0");
    },
  ),

  conformanceCase("MMIO-DEV-024", "takes the halves of a queue's addresses in any order", async (device) => {
    const ring = await device.initialise();
    await device.begin();
    device.acceptFeatures(ring.features);
    device.check(device.settleFeatures(), "FEATURES_OK does not stick");
    device.registers.queueSel = 0;
    device.registers.queueSize = ring.size;
    const halves: readonly (readonly [number, number, number])[] = [
      [VIRTIO_MMIO_QUEUE_DEVICE_HIGH, VIRTIO_MMIO_QUEUE_DEVICE_LOW, ring.deviceArea],
      [VIRTIO_MMIO_QUEUE_DRIVER_HIGH, VIRTIO_MMIO_QUEUE_DRIVER_LOW, ring.driverArea],
      [VIRTIO_MMIO_QUEUE_DESC_HIGH, VIRTIO_MMIO_QUEUE_DESC_LOW, ring.descriptorArea],
    ];
    for (const [high, low, address] of halves) {
      device.registers.write(high, Math.floor(address / 2 ** 32));
      device.registers.write(low, address % 2 ** 32);
    }
    device.registers.queueReady = 1;
    device.equal(device.registers.queueReady, 1, "QueueReady after 1 was written");
    device.go();
    await readSector(device, ring); // which is as it was when it was made: nothing has been used of it
  }),

  conformanceCase("MMIO-DEV-025", "has no shared memory regions", (device) => {
    device.registers.write(VIRTIO_MMIO_SHM_SEL, 0);
    device.equal(device.registers.read(VIRTIO_MMIO_SHM_LEN_LOW), ALL_ONES, "SHMLenLow of a region that there is not");
    device.equal(device.registers.read(VIRTIO_MMIO_SHM_LEN_HIGH), ALL_ONES, "SHMLenHigh of a region that there is not");
    device.equal(device.registers.read(VIRTIO_MMIO_SHM_BASE_LOW), ALL_ONES, "SHMBaseLow of a region that there is not");
    device.equal(
      device.registers.read(VIRTIO_MMIO_SHM_BASE_HIGH),
      ALL_ONES,
      "SHMBaseHigh of a region that there is not",
    );
  }),

  conformanceCase("MMIO-DEV-026", "has its configuration at 0x100, by bytes", async (device) => {
    await device.initialise({ features: [VIRTIO_BLK_F_CONFIG_WCE] });
    device.equal(device.registers.readConfig(0, 4), 8192, "the lower half of capacity");
    device.equal(device.registers.readConfig(4, 4), 0, "the upper half of capacity");
    if (!hasFeature(device.readOffered(), VIRTIO_BLK_F_CONFIG_WCE)) return;
    const writeback = device.registers.readConfig(VIRTIO_BLK_CONFIG_WRITEBACK, 1);
    device.check(writeback <= 1, `writeback is ${writeback}, neither 0 nor 1`);
  }),

  conformanceCase("MMIO-DEV-027", "keeps the generation of a configuration that does not change", async (device) => {
    await device.initialise();
    const before = device.registers.configGeneration;
    await device.settle();
    device.equal(device.registers.configGeneration, before, "ConfigGeneration, with nothing changed,");
  }),

  conformanceCase("MMIO-DEV-028", "raises the line exactly while InterruptStatus has a bit", async (device) => {
    const ring = await device.initialise();
    checkLine(device, "before anything happened");
    await readSector(device, ring);
    await untilInterruptStatus(device, VIRTIO_MMIO_INTERRUPT_USED_BUFFER);
    checkLine(device, "after a request");
    device.registers.interruptAck = VIRTIO_MMIO_INTERRUPT_USED_BUFFER;
    checkLine(device, "after the acknowledgement");
    if (device.legacy) return;
    await breakRing(device, ring);
    checkLine(device, "after the ring was broken");
    device.registers.interruptAck = 3;
    checkLine(device, "after the acknowledgement of a broken ring");
  }),

  conformanceCase("MMIO-DEV-030", "does not offer ADMIN_VQ", (device) => {
    device.skipUnless(!device.legacy, "a legacy device has 32 features");
    device.check(!hasFeature(device.readOffered(), VIRTIO_F_ADMIN_VQ), "VIRTIO_F_ADMIN_VQ is offered");
  }),
];

/** Gives the disk another size; the capacity that a driver reads is another then, and so must be its generation. */
async function changesGeneration(device: DeviceUnderTest, capacitySectors: number, when: string): Promise<void> {
  const { registers, host } = device;
  const before = {
    generation: registers.configGeneration,
    low: registers.readConfig(0, 4),
    high: registers.readConfig(4, 4),
  };
  await host.resize!(capacitySectors);
  await device.settle();
  const changed = registers.readConfig(0, 4) !== before.low || registers.readConfig(4, 4) !== before.high;
  if (!changed) return device.remark(`the capacity does not change ${when}`);
  device.check(
    registers.configGeneration !== before.generation,
    `ConfigGeneration is the same after a change of capacity ${when}`,
  );
}
