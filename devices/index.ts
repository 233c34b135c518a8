// The devices' public face: a virtio-mmio register bank and the block device behind it. Free of `node:`.

export type { BlockFeatures } from "./virtio-blk/block-features.ts";
export type { BlockLimits, RangeLimits } from "./virtio-blk/block-limits.ts";
export { VirtioBlk, type VirtioBlkOptions } from "./virtio-blk/virtio-blk.ts";
export type { BlockTopology, DiskGeometry } from "./virtio-blk/virtio-blk-config.ts";
export type { VirtioDevice, VirtioTransport } from "./virtio-device.ts";
export type { RingFeatures } from "./virtio-features.ts";
export { VirtioMmio, type VirtioMmioOptions } from "./virtio-mmio.ts";
