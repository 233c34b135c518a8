// The write cache: VIRTIO 1.4 §5.2.5, §5.2.5.2, §5.2.5.3 and §5.2.6.

import { VIRTIO_BLK_CONFIG_WRITEBACK, VIRTIO_BLK_S_OK, VIRTIO_BLK_T_FLUSH } from "../../constants/blk.ts";
import { featureSet, VIRTIO_BLK_F_CONFIG_WCE, VIRTIO_BLK_F_FLUSH } from "../../constants/features.ts";
import { VIRTIO_STATUS_ACKNOWLEDGE, VIRTIO_STATUS_DRIVER, VIRTIO_STATUS_DRIVER_OK } from "../../constants/status.ts";
import { type ConformanceCase, conformanceCase } from "../case.ts";
import type { DeviceUnderTest } from "../device-under-test.ts";
import { checkPattern, skipUnlessOffered } from "../disk-io.ts";
import { writePattern } from "../patterns.ts";

function readWriteback(device: DeviceUnderTest): number {
  return device.registers.readConfig(VIRTIO_BLK_CONFIG_WRITEBACK, 1);
}

/** Resets a legacy device and sets its cache mode, as a legacy driver may before anything else. */
async function chooseMode(device: DeviceUnderTest, mode: number): Promise<void> {
  await device.reset();
  device.registers.writeConfig(VIRTIO_BLK_CONFIG_WRITEBACK, mode, 1);
  device.equal(readWriteback(device), mode, `writeback after ${mode} was written`);
}

export const cacheCases: readonly ConformanceCase[] = [
  conformanceCase("BLK-DEV-003", "begins without a cache that nobody could flush", async (device) => {
    device.skipUnless(!device.legacy, "a legacy device keeps its cache mode whatever features are accepted (§5.2.5.3)");
    await device.begin();
    device.acceptFeatures(device.chooseFeatures());
    device.skipUnless(device.settleFeatures(), "the device refuses CONFIG_WCE without FLUSH");
    device.equal(readWriteback(device), 0, "writeback after CONFIG_WCE was accepted without FLUSH");
  }),

  conformanceCase("BLK-DEV-025", "lets writeback be read and written", async (device) => {
    const ring = await device.initialise({ features: [VIRTIO_BLK_F_FLUSH] });
    for (const mode of [0, 1, 0]) {
      device.registers.writeConfig(VIRTIO_BLK_CONFIG_WRITEBACK, mode, 1);
      device.equal(readWriteback(device), mode, `writeback after ${mode} was written`);
      await writePattern(device, ring, 8 * mode, 4);
      await checkPattern(device, ring, 8 * mode, 4);
    }
  }),

  conformanceCase("BLK-DEV-033", "keeps its cache mode when a legacy driver sets Status", async (device) => {
    skipUnlessOffered(device, VIRTIO_BLK_F_CONFIG_WCE);
    for (const mode of [1, 0]) {
      await chooseMode(device, mode);
      const driver = VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER;
      device.registers.status = VIRTIO_STATUS_ACKNOWLEDGE;
      device.equal(readWriteback(device), mode, "writeback after ACKNOWLEDGE");
      device.registers.status = driver;
      device.equal(readWriteback(device), mode, "writeback after DRIVER");
      device.acceptFeatures(featureSet(VIRTIO_BLK_F_CONFIG_WCE, VIRTIO_BLK_F_FLUSH));
      device.registers.status = driver | VIRTIO_STATUS_DRIVER_OK;
      device.equal(readWriteback(device), mode, "writeback after DRIVER_OK with CONFIG_WCE accepted");
    }
  }),

  conformanceCase("BLK-DEV-034", "keeps its cache mode when a legacy driver accepts features", async (device) => {
    skipUnlessOffered(device, VIRTIO_BLK_F_CONFIG_WCE);
    for (const mode of [1, 0]) {
      await chooseMode(device, mode);
      device.registers.status = VIRTIO_STATUS_ACKNOWLEDGE;
      device.registers.status = VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER;
      for (const features of [featureSet(VIRTIO_BLK_F_CONFIG_WCE), featureSet(VIRTIO_BLK_F_FLUSH), 0n]) {
        device.acceptFeatures(features);
        device.equal(readWriteback(device), mode, `writeback after features 0x${features.toString(16)} were accepted`);
      }
    }
  }),

  conformanceCase("BLK-DEV-085", "tells a cache mode after a reset and negotiation", async (device) => {
    for (let round = 0; round < 2; round++) {
      await device.initialise({ features: [VIRTIO_BLK_F_FLUSH] });
      const mode = readWriteback(device);
      device.check(mode <= 1, `writeback is ${mode}`);
      device.remark(`writeback is ${mode} after ${round === 0 ? "power-on" : "a reset"}`);
      device.registers.writeConfig(VIRTIO_BLK_CONFIG_WRITEBACK, 1 - mode, 1);
    }
  }),

  conformanceCase("BLK-DEV-087", "flushes", async (device) => {
    const ring = await device.initialise();
    for (const sector of [0, 5]) {
      await writePattern(device, ring, sector, 1);
      const { status, length } = await device.execute(ring, { type: VIRTIO_BLK_T_FLUSH });
      device.equal(status, VIRTIO_BLK_S_OK, "the status byte of a flush");
      device.check(length === undefined || length <= 1, `the used length of a flush is ${length}, of 1 byte`);
      await checkPattern(device, ring, sector, 1);
    }
  }),
];
