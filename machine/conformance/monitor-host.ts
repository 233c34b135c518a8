// What a QMP monitor can do for the conformance suite: docs/reference/monitor.md §3 and §5.1.

import type { SubjectHost } from "../../guest/conformance/subject.ts";
import type { QmpConnection } from "./qmp-connection.ts";

/** The node with the disk, and the device, by the names that a subject's command line gives them. */
export const NODE_NAME = "disk";
export const DEVICE_ID = "device";

const SECTOR_BYTES = 512;
/** Rounds of asking the monitor and waiting, after which nothing is due any more that does not wait for somebody. */
const SETTLE_ROUNDS = 3;
const SETTLE_PAUSE_MS = 15;
const UNLIMITED = { bps: 0, bps_rd: 0, bps_wr: 0, iops: 0, iops_rd: 0, iops_wr: 0 };

/**
 * Requests are held by a limit of one byte a second, used up for more than an hour by a read of the host's. A breakpoint of
 * blkdebug would not do: QEMU waits within the write to Status until what is in flight has ended, and no monitor answers
 * meanwhile. A limit ends by itself when the disk is drained.
 */
export function monitorHost(monitor: QmpConnection): SubjectHost {
  const limit = (limits: object): Promise<unknown> =>
    monitor.execute("block_set_io_throttle", { id: DEVICE_ID, ...UNLIMITED, ...limits });
  return {
    resize: async (capacitySectors) => {
      await monitor.execute("block_resize", { "node-name": NODE_NAME, size: capacitySectors * SECTOR_BYTES });
    },
    async holdRequests() {
      await limit({ bps: 1, bps_max: 1 });
      await monitor.execute("human-monitor-command", { "command-line": `qemu-io -d ${DEVICE_ID} "read 0 4096"` });
      return async () => {
        await limit({});
        await settle(monitor);
      };
    },
    settle: () => settle(monitor),
  };
}

async function settle(monitor: QmpConnection): Promise<void> {
  for (let round = 0; round < SETTLE_ROUNDS; round++) {
    await new Promise((resolve) => setTimeout(resolve, SETTLE_PAUSE_MS));
    await monitor.execute("query-status").catch(() => {}); // a process that is gone has settled: the next access tells
  }
}
