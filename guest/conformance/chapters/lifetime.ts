// The wear of the storage: VIRTIO 1.4 §5.2.6, GET_LIFETIME.

import { VIRTIO_BLK_S_OK, VIRTIO_BLK_T_GET_LIFETIME } from "../../constants/blk.ts";
import { hasFeature, VIRTIO_BLK_F_LIFETIME } from "../../constants/features.ts";
import { type ConformanceCase, conformanceCase } from "../case.ts";
import type { DeviceUnderTest } from "../device-under-test.ts";
import type { DiskLifetime } from "../subject.ts";

const LIFETIME_BYTES = 6;
const WORN: DiskLifetime = { preEolInfo: 1, estimateA: 2, estimateB: 3 };
/** Every field at the greatest value that is not reserved. */
const WORN_OUT: DiskLifetime = { preEolInfo: 3, estimateA: 11, estimateB: 11 };

async function getLifetime(device: DeviceUnderTest): Promise<DiskLifetime> {
  const ring = await device.initialise();
  const what = "GET_LIFETIME";
  const { status, length, data } = await device.execute(ring, {
    type: VIRTIO_BLK_T_GET_LIFETIME,
    inBytes: LIFETIME_BYTES,
  });
  device.equal(status, VIRTIO_BLK_S_OK, `the status byte of ${what}`);
  const atMost = LIFETIME_BYTES + 1;
  device.check(length === undefined || length <= atMost, `the used length of ${what} is ${length}, of ${atMost} bytes`);
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const [preEolInfo, estimateA, estimateB] = [0, 2, 4].map((offset) => view.getUint16(offset, true)) as [
    number,
    number,
    number,
  ];
  return { preEolInfo, estimateA, estimateB };
}

export const lifetimeCases: readonly ConformanceCase[] = [
  conformanceCase(
    "BLK-DEV-051",
    "offers LIFETIME on storage that knows its wear",
    (device) => {
      device.check(hasFeature(device.readOffered(), VIRTIO_BLK_F_LIFETIME), "VIRTIO_BLK_F_LIFETIME is not offered");
    },
    { lifetime: WORN },
  ),

  conformanceCase("BLK-DEV-052", "does not offer LIFETIME on storage that knows nothing of its wear", (device) => {
    device.check(!hasFeature(device.readOffered(), VIRTIO_BLK_F_LIFETIME), "VIRTIO_BLK_F_LIFETIME is offered");
  }),

  conformanceCase(
    "BLK-DEV-053",
    "answers GET_LIFETIME with values that have a meaning",
    async (device) => {
      const { preEolInfo, estimateA, estimateB } = await getLifetime(device);
      device.check(preEolInfo <= 3, `pre_eol_info is ${preEolInfo}, which is reserved`);
      device.check(estimateA <= 11, `device_lifetime_est_typ_a is ${estimateA}, which is reserved`);
      device.check(estimateB <= 11, `device_lifetime_est_typ_b is ${estimateB}, which is reserved`);
    },
    { lifetime: WORN_OUT },
  ),

  conformanceCase(
    "BLK-DEV-084",
    "answers GET_LIFETIME with three values",
    async (device) => {
      const { preEolInfo, estimateA, estimateB } = await getLifetime(device);
      device.equal(preEolInfo, WORN.preEolInfo, "pre_eol_info");
      device.equal(estimateA, WORN.estimateA, "device_lifetime_est_typ_a");
      device.equal(estimateB, WORN.estimateB, "device_lifetime_est_typ_b");
    },
    { lifetime: WORN },
  ),
];
