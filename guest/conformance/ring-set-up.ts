// Where a queue of the suite lies in RAM, and how the device is told: VIRTIO 1.4 §4.2.3.2, and §4.2.4 for a legacy device.

import type { FeatureSet } from "../constants/features.ts";
import { VIRTQ_DESC_BYTES } from "../constants/ring.ts";
import type { SplitRingLayout } from "../split-ring-layout.ts";
import { availableRingBytes, usedRingBytes } from "../split-ring-layout.ts";
import { PackedRing } from "./packed-ring.ts";
import type { Ring } from "./ring.ts";
import type { RingServices } from "./ring-services.ts";
import { SplitRing } from "./split-ring.ts";
import type { Variant } from "./variant.ts";

/** GuestPageSize and QueueAlign, unless a case wants others. */
export const LEGACY_PAGE_BYTES = 4096;
export const LEGACY_GUEST_PAGE_SIZE = 0x028;
const LEGACY_QUEUE_ALIGN = 0x03c;
export const LEGACY_QUEUE_PFN = 0x040;

/** Which queue, and how many descriptors. */
export interface RingChoice {
  readonly index?: number;
  readonly size?: number;
}

/** Places a zeroed ring in RAM and enables the queue with it, in the variant's layout and interface. */
export function setUpRing(services: RingServices, variant: Variant, choice: RingChoice, features: FeatureSet): Ring {
  const { index = 0, size = 8 } = choice;
  const { registers } = services;
  registers.queueSel = index;
  services.check(
    registers.queueSizeMax >= size,
    `QueueSizeMax of queue ${index} is ${registers.queueSizeMax}, less than ${size}`,
  );
  if (variant.legacy) return setUpLegacyRing(services, index, size, features);
  services.check(registers.queueReady === 0, `QueueReady of queue ${index} is not 0 before it is set up`);
  const ring = variant.packed
    ? placePacked(services, index, size, features)
    : placeSplit(services, index, size, features);
  registers.queueSize = size;
  registers.queueDesc = ring.descriptorArea;
  registers.queueDriver = ring.driverArea;
  registers.queueDevice = ring.deviceArea;
  registers.queueReady = 1;
  services.check(registers.queueReady === 1, `QueueReady of queue ${index} does not become 1`);
  return ring;
}

/** The same for a legacy device, whose driver says in which units it counts pages, and how the used ring is aligned. */
export function setUpLegacyRing(
  services: RingServices,
  index: number,
  size: number,
  features: FeatureSet,
  places: { readonly pageBytes?: number; readonly alignBytes?: number } = {},
): Ring {
  const { registers } = services;
  const { pageBytes = LEGACY_PAGE_BYTES, alignBytes = LEGACY_PAGE_BYTES } = places;
  const layout = legacyLayout(services, size, pageBytes, alignBytes);
  registers.write(LEGACY_GUEST_PAGE_SIZE, pageBytes);
  registers.queueSel = index;
  registers.queueSize = size;
  registers.write(LEGACY_QUEUE_ALIGN, alignBytes);
  registers.write(LEGACY_QUEUE_PFN, layout.descriptorTable / pageBytes);
  return new SplitRing(index, layout, features, services);
}

/** §2.7.2: one piece, from a page on; the used ring begins at the next multiple of QueueAlign. */
function legacyLayout(services: RingServices, size: number, pageBytes: number, alignBytes: number): SplitRingLayout {
  const usedOffset = roundUp(VIRTQ_DESC_BYTES * size + availableRingBytes(size), alignBytes);
  // With a page that the alignment divides, and the other way round, offsets in the piece are as in memory.
  const address = zeroed(services, usedOffset + usedRingBytes(size), Math.max(pageBytes, alignBytes));
  return {
    size,
    descriptorTable: address,
    availableRing: address + VIRTQ_DESC_BYTES * size,
    usedRing: address + usedOffset,
  };
}

// Each part by itself, so that a device that takes them for one piece is found out.
function placeSplit(services: RingServices, index: number, size: number, features: FeatureSet): SplitRing {
  const layout: SplitRingLayout = {
    size,
    usedRing: zeroed(services, usedRingBytes(size), 16),
    availableRing: zeroed(services, availableRingBytes(size), 16),
    descriptorTable: zeroed(services, VIRTQ_DESC_BYTES * size, 16),
  };
  return new SplitRing(index, layout, features, services);
}

function placePacked(services: RingServices, index: number, size: number, features: FeatureSet): PackedRing {
  const areas = {
    size,
    device: zeroed(services, 4, 16),
    driver: zeroed(services, 4, 16),
    descriptors: zeroed(services, VIRTQ_DESC_BYTES * size, 16),
  };
  return new PackedRing(index, areas, features, services);
}

function zeroed(services: RingServices, lengthBytes: number, alignment: number): number {
  const address = services.allocator.allocate(lengthBytes, alignment);
  services.target.fillRam(address, 0, lengthBytes);
  return address;
}

function roundUp(value: number, to: number): number {
  return Math.ceil(value / to) * to;
}
