// The guest's side of a virtio block device: a driver, and the means to write one's own. Published as `virtio-blk/guest`.

export { GuestAllocator } from "./allocator.ts";
export { STATUS_NOT_WRITTEN } from "./block-request.ts";
export { BufferChain } from "./buffer-chain.ts";
export * from "./constants/blk.ts";
export * from "./constants/features.ts";
export * from "./constants/mmio.ts";
export * from "./constants/ring.ts";
export * from "./constants/status.ts";
export { Disk, type DiskLifetime, type RawRequest } from "./disk.ts";
export { DiskZones, type Zone } from "./disk-zones.ts";
export {
  GuestClosedError,
  GuestDriverError,
  type GuestDriverErrorCode,
  GuestIoError,
  GuestOutOfMemoryError,
  TargetLostError,
} from "./errors.ts";
export { passesEvent } from "./event-index.ts";
export { Guest, type GuestOptions, type ProbeOptions } from "./guest.ts";
export { PackedVirtqueue, type PackedVirtqueueOptions } from "./packed-virtqueue.ts";
export { type DescriptorFields, type RawDescriptor, RawSplitQueue, type UsedElement } from "./raw-split-queue.ts";
export { VirtioMmioRegisters } from "./registers.ts";
export { type SplitRingLayout, splitRingBytes, splitRingLayout } from "./split-ring-layout.ts";
export { SplitVirtqueue, type SplitVirtqueueOptions } from "./split-virtqueue.ts";
export type { GuestTarget } from "./target.ts";
export { InProcessTarget, type InProcessTargetOptions } from "./targets/in-process.ts";
export type { RegisterConnection, WakePort } from "./targets/register-connection.ts";
export { RegisterServer, type RegisterServerOptions } from "./targets/register-server.ts";
export { ThreadTarget, type ThreadTargetOptions } from "./targets/thread-target.ts";
export type { RequestResult } from "./transfer.ts";
export type { RangeLimits, VirtioBlkConfig, ZoneLimits } from "./virtio-blk-config.ts";
export type { VirtioBlkDriverOptions } from "./virtio-blk-driver-options.ts";
export type { RingLayout } from "./virtio-blk-limits.ts";
export { type DeviceIdentity, VirtioMmioDriver } from "./virtio-mmio-driver.ts";
export type { QueueNotifier, Virtqueue } from "./virtqueue.ts";
