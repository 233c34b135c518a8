// This project's device as a subject of the conformance suite, in the suite's own process.

import { VirtioBlk } from "../../devices/virtio-blk/virtio-blk.ts";
import type { BlockTopology } from "../../devices/virtio-blk/virtio-blk-config.ts";
import type { RingFeatures } from "../../devices/virtio-features.ts";
import { VirtioMmio } from "../../devices/virtio-mmio.ts";
import type { Subject, SubjectFactory, SubjectOptions, SubjectUnavailable } from "../../guest/conformance/subject.ts";
import { InProcessTarget } from "../../guest/targets/in-process.ts";
import { systemClock } from "../../src/base/clock.ts";
import { BlockBackend } from "../../src/block/backend.ts";
import type { DiskLifetime } from "../../src/block/driver.ts";
import { ZonedDriver } from "../../src/block/drivers/zoned.ts";
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
/** Turns of the event loop after which nothing is due any more that does not wait for somebody. */
const SETTLE_TURNS = 4;

/** Makes devices of this project, as `version`, on a disk in memory. */
export function inProcessSubjects(version: string): SubjectFactory {
  return { name: `virtio-blk ${version}, in process`, open };
}

async function open(options: SubjectOptions): Promise<Subject | SubjectUnavailable> {
  // §5.2.5.2: nobody may use such a disk without ZONED, so no such device can be made.
  if (options.legacy && options.zoned?.model === "host-managed")
    return { unavailable: "a host-managed disk is not for legacy drivers" };
  const { driver, nodes } = makeDisk(options);
  const node = nodes[0]!;
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
    blockFeatures: { geometry: true, barrier: options.barrier ?? false },
    topology: topologyOf(options),
    ...(options.geometry === undefined ? {} : { geometry: options.geometry }),
    limits: options.secureErase === undefined ? {} : { secureErase: options.secureErase },
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
      for (const made of nodes) await made.close();
    },
  };
}

function lifetimeOf({ lifetime }: SubjectOptions): DiskLifetime | undefined {
  if (lifetime === undefined) return undefined;
  const { preEolInfo, estimateA, estimateB } = lifetime;
  return { preEndOfLife: preEolInfo, estimateA, estimateB };
}

function topologyOf({ blockSizeBytes = SECTOR_BYTES, topology }: SubjectOptions): BlockTopology {
  const { physicalBlockExp = 0, minIoBlocks = 0, optIoBlocks = 0 } = topology ?? {};
  return { blockSizeBytes, physicalBlockExp, alignmentOffsetBlocks: 0, minIoBlocks, optIoBlocks };
}

/** The disk that is wished for: its root node first, and the driver that holds the data. */
function makeDisk(options: SubjectOptions): { driver: HeldDriver; nodes: BlockNode[] } {
  const { zoned } = options;
  const driver = new HeldDriver({
    lengthBytes: options.capacitySectors * SECTOR_BYTES,
    readOnly: options.readOnly,
    lifetime: lifetimeOf(options),
    erases: options.secureErase !== undefined,
  });
  const discard = options.unmaps === false ? "ignore" : "unmap";
  if (zoned === undefined) return { driver, nodes: [new BlockNode({ name: "disk", driver, discard })] };
  const file = new BlockNode({ name: "data", driver, discard });
  const zones = new ZonedDriver({
    file,
    model: zoned.model,
    zoneBytes: zoned.zoneSectors * SECTOR_BYTES,
    zoneCapacityBytes: zoned.zoneCapacitySectors * SECTOR_BYTES,
    conventionalZones: zoned.conventionalZones,
    maxOpenZones: zoned.maxOpenZones,
    maxActiveZones: zoned.maxActiveZones,
    maxAppendBytes: zoned.maxAppendSectors * SECTOR_BYTES,
    writeGranularityBytes: zoned.writeGranularityBytes,
    readOnlyZones: zoned.readOnlyZones,
    offlineZones: zoned.offlineZones,
  });
  return { driver, nodes: [new BlockNode({ name: "disk", driver: zones, discard }), file] };
}

async function settle(): Promise<void> {
  for (let turn = 0; turn < SETTLE_TURNS; turn++) await systemClock.yield();
}

async function idle(backend: BlockBackend): Promise<void> {
  for (let busy = backend.untilIdle(); busy !== undefined; busy = backend.untilIdle()) await busy;
}
