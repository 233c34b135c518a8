// What a request comes to that the disk cannot carry out: VIRTIO 1.4 §5.2.6.

import {
  VIRTIO_BLK_S_IOERR,
  VIRTIO_BLK_S_OK,
  VIRTIO_BLK_T_IN,
  VIRTIO_BLK_T_WRITE_ZEROES,
} from "../../constants/blk.ts";
import { hasFeature, VIRTIO_BLK_F_WRITE_ZEROES } from "../../constants/features.ts";
import { type ConformanceCase, conformanceCase } from "../case.ts";
import { segments } from "../segments.ts";

export const diskErrorCases: readonly ConformanceCase[] = [
  conformanceCase("BLK-DEV-079", "answers IOERR where the disk fails, and goes on", async (device) => {
    device.skipUnless(device.host.failNextRead !== undefined, "the host cannot make a request fail");
    const ring = await device.initialise();
    await device.host.failNextRead!();
    const failed = await device.execute(ring, { type: VIRTIO_BLK_T_IN, inBytes: 512 });
    device.equal(failed.status, VIRTIO_BLK_S_IOERR, "the status byte of a read that failed");
    const next = await device.execute(ring, { type: VIRTIO_BLK_T_IN, inBytes: 512 });
    device.equal(next.status, VIRTIO_BLK_S_OK, "the status byte of the next read");
  }),

  conformanceCase("BLK-DEV-082", "refuses a segment that reaches beyond the capacity", async (device) => {
    const ring = await device.initialise({ features: [VIRTIO_BLK_F_WRITE_ZEROES] });
    device.skipUnless(hasFeature(ring.features, VIRTIO_BLK_F_WRITE_ZEROES), "VIRTIO_BLK_F_WRITE_ZEROES is not offered");
    device.skipUnless(!device.legacy, "segments of a legacy device are in the order of its guest");
    for (const segment of [
      { sector: 8192 - 8, sectors: 16 },
      { sector: 2n ** 63n, sectors: 8 },
    ]) {
      const { status } = await device.execute(ring, { type: VIRTIO_BLK_T_WRITE_ZEROES, out: segments(segment) });
      device.equal(status, VIRTIO_BLK_S_IOERR, `the status byte of write zeroes from sector ${segment.sector} on`);
    }
  }),
];
