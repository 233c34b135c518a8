// The ways in which one device is driven: each case runs in those in which its requirement can hold.

import { VIRTIO_F_RING_PACKED, VIRTIO_F_VERSION_1 } from "../constants/features.ts";
import type { GateContext } from "./feature-gate.ts";

/** An interface and a layout of the ring. */
export interface Variant extends GateContext {
  readonly name: "modern-split" | "modern-packed" | "legacy-split";
  readonly packed: boolean;
}

/** Every variant, in the order in which they run. */
export const variants: readonly Variant[] = [
  variant("modern-split", { legacy: false, packed: false }),
  variant("modern-packed", { legacy: false, packed: true }),
  variant("legacy-split", { legacy: true, packed: false }),
];

function variant(name: Variant["name"], { legacy, packed }: { legacy: boolean; packed: boolean }): Variant {
  const settled = new Map([
    [VIRTIO_F_VERSION_1, !legacy],
    [VIRTIO_F_RING_PACKED, packed],
  ]);
  return { name, legacy, packed, settled };
}
