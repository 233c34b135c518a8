// Feature bits: VIRTIO 1.4 §2.2.

import { VIRTIO_BLK_T_IN } from "../../constants/blk.ts";
import {
  featureSet,
  hasFeature,
  VIRTIO_BLK_F_CONFIG_WCE,
  VIRTIO_BLK_F_FLUSH,
  VIRTIO_BLK_F_ZONED,
  VIRTIO_F_ACCESS_PLATFORM,
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_ORDER_PLATFORM,
  VIRTIO_F_RING_PACKED,
  VIRTIO_F_RING_RESET,
  VIRTIO_F_VERSION_1,
} from "../../constants/features.ts";
import { VIRTIO_MMIO_QUEUE_RESET } from "../../constants/mmio.ts";
import { type ConformanceCase, conformanceCase } from "../case.ts";
import type { DeviceUnderTest } from "../device-under-test.ts";
import { featureName } from "../feature-names.ts";

/** Bits that no virtio-mmio block device may offer: of other transports, reserved, or of no meaning. */
const IMPOSSIBLE_FEATURES: readonly number[] = [
  ...[3, 8],
  ...range(18, 23),
  ...[30, 37, 39, 41, 42],
  ...range(44, 127),
];

/** Bits that stand for more than a choice of the driver: without them the device may refuse to work (§6.1). */
const NOT_OPTIONAL: readonly number[] = [
  VIRTIO_F_VERSION_1,
  VIRTIO_F_ACCESS_PLATFORM,
  VIRTIO_F_ORDER_PLATFORM,
  VIRTIO_BLK_F_ZONED,
];

function range(from: number, to: number): readonly number[] {
  return Array.from({ length: to - from + 1 }, (_, i) => from + i);
}

/** Negotiates exactly `features`; whether FEATURES_OK stuck. */
async function negotiate(device: DeviceUnderTest, features: bigint): Promise<boolean> {
  await device.begin();
  device.acceptFeatures(features);
  return device.settleFeatures();
}

/** What is offered, without the bits that no such device may offer and those that it may refuse for other reasons. */
function negotiable(device: DeviceUnderTest): bigint {
  return device.readOffered() & ~featureSet(...IMPOSSIBLE_FEATURES);
}

export const featureCases: readonly ConformanceCase[] = [
  conformanceCase("FEAT-DEV-001", "offers no feature without the one that it requires", (device) => {
    const offered = device.readOffered();
    const whole = !hasFeature(offered, VIRTIO_BLK_F_CONFIG_WCE) || hasFeature(offered, VIRTIO_BLK_F_FLUSH);
    device.check(whole, "VIRTIO_BLK_F_CONFIG_WCE is offered without VIRTIO_BLK_F_FLUSH");
  }),

  conformanceCase("FEAT-DEV-002", "accepts any feature that is offered being left out", async (device) => {
    const offered = negotiable(device);
    for (let feature = 0; feature < 64; feature++) {
      if (!hasFeature(offered, feature) || NOT_OPTIONAL.includes(feature)) continue;
      // Without FLUSH, CONFIG_WCE would be accepted without what it requires.
      const left = feature === VIRTIO_BLK_F_FLUSH ? featureSet(feature, VIRTIO_BLK_F_CONFIG_WCE) : featureSet(feature);
      const kept = await negotiate(device, offered & ~left);
      device.check(kept, `FEATURES_OK does not stick when all but ${featureName(feature)} is accepted`);
    }
  }),

  conformanceCase("FEAT-DEV-003", "leaves FEATURES_OK clear for a subset that it cannot work with", async (device) => {
    const offered = negotiable(device);
    for (const feature of NOT_OPTIONAL) {
      if (!hasFeature(offered, feature)) continue;
      if (!(await negotiate(device, offered & ~featureSet(feature)))) {
        device.remark(`refuses to work without ${featureName(feature)}`);
        continue;
      }
      // It took the subset, so it has to work with it.
      const features = offered & ~featureSet(feature) & featureSet(VIRTIO_F_VERSION_1, VIRTIO_F_RING_PACKED);
      if (hasFeature(features, VIRTIO_F_RING_PACKED) !== device.variant.packed) continue;
      if (feature === VIRTIO_F_VERSION_1 || feature === VIRTIO_BLK_F_ZONED) continue; // other rules of the ring or disk
      await negotiate(device, features);
      const ring = device.setUpRing({ index: 0, size: 8 }, features);
      device.go();
      const { status } = await device.execute(ring, { type: VIRTIO_BLK_T_IN, inBytes: 512 });
      device.equal(status, 0, `the status byte of a read without ${featureName(feature)}`);
    }
  }),

  conformanceCase("FEAT-DEV-004", "offers no feature that it cannot honour", (device) => {
    const words = [0, 1, 2, 3, 4].map((word) => {
      device.registers.deviceFeaturesSel = word;
      return device.registers.deviceFeatures;
    });
    // A device that shows word 1 for the words behind it offers nothing there: how it selects words is another requirement's.
    const shown = words.map((bits, word) => (word > 1 && bits === words[1] ? 0 : bits));
    const offered = shown.reduce((all, bits, word) => all | (BigInt(bits) << BigInt(32 * word)), 0n);
    for (const feature of [...IMPOSSIBLE_FEATURES, ...range(128, 159)]) {
      device.check(
        !hasFeature(offered, feature),
        `${featureName(feature)} is offered, which this device cannot honour`,
      );
    }
  }),

  conformanceCase("FEAT-DEV-004", "has the register of the queue reset that it offers", async (device) => {
    const offers = hasFeature(device.readOffered(), VIRTIO_F_RING_RESET);
    device.skipUnless(offers, "VIRTIO_F_RING_RESET is not offered");
    const ring = await device.initialise({ features: [VIRTIO_F_RING_RESET] });
    device.registers.queueSel = ring.index;
    device.registers.write(VIRTIO_MMIO_QUEUE_RESET, 1);
    await device.until(
      () => device.registers.read(VIRTIO_MMIO_QUEUE_RESET) === 0,
      "QueueReset reads 0 after 1 was written",
    );
    const { queueReady } = device.registers;
    device.equal(queueReady, 0, "QueueReady after QueueReset, as VIRTIO_F_RING_RESET is offered,");
  }),

  conformanceCase("FEAT-DEV-005", "accepts after a reset what it accepted before", async (device) => {
    const features = device.chooseFeatures({ features: [VIRTIO_F_EVENT_IDX] });
    for (let round = 1; round <= 4; round++) {
      const kept = await negotiate(device, features);
      device.check(kept, `FEATURES_OK does not stick at negotiation ${round} of the same features`);
    }
  }),

  conformanceCase("FEAT-DEV-007", "keeps to what was negotiated until it is reset", async (device) => {
    const ring = await device.initialise({ driverOk: false });
    device.registers.driverFeaturesSel = 0;
    device.registers.driverFeatures = Number(featureSet(VIRTIO_F_EVENT_IDX));
    device.go();
    // With EVENT_IDX the device would ignore the wish for silence (§2.7.7), or take it for an event that never comes.
    ring.setInterrupts(true);
    const { status } = await device.execute(ring, { type: VIRTIO_BLK_T_IN, inBytes: 512 });
    device.equal(status, 0, "the status byte of a read");
    device.equal(device.registers.interruptStatus & 1, 1, "bit 0 of InterruptStatus after the read");
    device.registers.interruptAck = 1;
    ring.setInterrupts(false);
    await device.execute(ring, { type: VIRTIO_BLK_T_IN, inBytes: 512 });
    await device.settle();
    device.equal(device.registers.interruptStatus & 1, 0, "bit 0 of InterruptStatus, as interrupts are not wanted");
  }),

  conformanceCase(
    "FEAT-DEV-007",
    "lays queues out by what was negotiated, whatever is written later",
    async (device) => {
      await device.begin();
      const features = device.chooseFeatures();
      device.acceptFeatures(features);
      device.check(device.settleFeatures(), "FEATURES_OK does not stick");
      device.acceptFeatures(features ^ featureSet(VIRTIO_F_RING_PACKED, VIRTIO_F_EVENT_IDX));
      const ring = device.setUpRing({ index: 0, size: 8 }, features);
      device.go();
      for (let i = 0; i < 9; i++) {
        const { status } = await device.execute(ring, { type: VIRTIO_BLK_T_IN, inBytes: 512 });
        device.equal(status, 0, "the status byte of a read");
      }
    },
  ),

  conformanceCase("FEAT-DEV-009", "works through the legacy interface", async (device) => {
    const ring = await device.initialise();
    const { status } = await device.execute(ring, { type: VIRTIO_BLK_T_IN, inBytes: 512 });
    device.equal(status, 0, "the status byte of a read");
  }),

  conformanceCase(
    "FEAT-DEV-010",
    "keeps FEATURES_OK clear when a feature was accepted that is not offered",
    async (device) => {
      const offered = device.readOffered();
      const foreign = range(0, 23).find((feature) => !hasFeature(offered, feature))!;
      await device.begin();
      device.acceptFeatures(device.chooseFeatures() | featureSet(foreign));
      const kept = device.settleFeatures();
      if (kept) device.remark(`keeps FEATURES_OK though ${featureName(foreign)} is not offered`);
    },
  ),
];
