// This project's device as a subject of the conformance suite, in the suite's own process.

import type { BlockFeatures } from "../../devices/virtio-blk/block-features.ts";
import { VirtioBlk } from "../../devices/virtio-blk/virtio-blk.ts";
import type { BlockTopology } from "../../devices/virtio-blk/virtio-blk-config.ts";
import type { RingFeatures } from "../../devices/virtio-features.ts";
import { VirtioMmio } from "../../devices/virtio-mmio.ts";
import type { Subject, SubjectFactory, SubjectOptions, SubjectUnavailable } from "../../guest/conformance/subject.ts";
import { InProcessTarget } from "../../guest/targets/in-process.ts";
import { systemClock } from "../../src/base/clock.ts";
import { BlockBackend } from "../../src/block/backend.ts";
import { BlockNode } from "../../src/block/node.ts";
import { GuestMemory } from "../../src/memory/guest-memory.ts";
import { InterruptLine } from "../../src/memory/interrupt-line.ts";
import { HeldDriver } from "./held-driver.ts";

const RAM_BASE = 0x4000_0000;
const RAM_BYTES = 32 << 20;
const SECTOR_BYTES = 512;
/** What can be offered, so that all of it is looked at. */
const EVERY_RING_FEATURE: RingFeatures = {
  inOrder: true,
  notificationData: true,
  accessPlatform: true,
  orderPlatform: true,
};
const EVERY_BLOCK_FEATURE: BlockFeatures = { geometry: true, barrier: true };
/** Turns of the event loop after which nothing is due any more that does not wait for somebody. */
const SETTLE_TURNS = 4;

/** Makes devices of this project, as `version`, on a disk in memory. */
export function inProcessSubjects(version: string): SubjectFactory {
  return { name: `virtio-blk ${version}, in process`, open };
}

async function open(options: SubjectOptions): Promise<Subject | SubjectUnavailable> {
  const driver = new HeldDriver(options.capacitySectors * SECTOR_BYTES, options.readOnly);
  const node = new BlockNode({ name: "disk", driver, discard: options.unmaps === false ? "ignore" : "unmap" });
  const backend = new BlockBackend({ name: "disk", node, readOnly: options.readOnly });
  const memory = new GuestMemory({ baseAddress: RAM_BASE, sizeBytes: RAM_BYTES });
  const line = new InterruptLine();
  const rings = { ...EVERY_RING_FEATURE, packed: options.packed };
  const device = new VirtioBlk({
    backend,
    serial: "conformance",
    queues: options.queues,
    clock: systemClock,
    offeredFeatures: rings,
    blockFeatures: EVERY_BLOCK_FEATURE,
    topology: topologyOf(options),
  });
  const region = new VirtioMmio({ device, memory, line, legacy: options.legacy, bigEndian: options.bigEndian });
  let release: (() => void) | undefined;
  return {
    target: new InProcessTarget({ memory, region, line }),
    host: {
      resize: (capacitySectors) => node.resize(capacitySectors * SECTOR_BYTES),
      holdRequests() {
        release = driver.hold();
        return Promise.resolve(async () => {
          release?.();
          await idle(backend);
        });
      },
      failNextRead() {
        driver.failNextRead();
        return Promise.resolve();
      },
      settle,
    },
    async close() {
      release?.();
      region.write(0x070, 4, 0);
      await idle(backend);
      backend.close();
      await node.close();
    },
  };
}

function topologyOf({ blockSizeBytes = SECTOR_BYTES, topology }: SubjectOptions): BlockTopology {
  const { physicalBlockExp = 0, minIoBlocks = 0, optIoBlocks = 0 } = topology ?? {};
  return { blockSizeBytes, physicalBlockExp, alignmentOffsetBlocks: 0, minIoBlocks, optIoBlocks };
}

async function settle(): Promise<void> {
  for (let turn = 0; turn < SETTLE_TURNS; turn++) await systemClock.yield();
}

async function idle(backend: BlockBackend): Promise<void> {
  for (let busy = backend.untilIdle(); busy !== undefined; busy = backend.untilIdle()) await busy;
}
