// The package's root: a virtio block device and the block layer behind it. Runs in Node and in a browser alike.

export * from "./devices/index.ts";
export { AssertionError } from "./src/base/assert.ts";
export { type Clock, systemClock } from "./src/base/clock.ts";
export { BlockError, type Errno, QmpError, type QmpErrorClass } from "./src/base/errors.ts";
export { IoVector } from "./src/base/io-vector.ts";
export { subscribeTrace, type TraceFields, type TraceListener } from "./src/base/trace.ts";
export { DirtyBitmap, type DirtyBitmapOptions } from "./src/bitmap/dirty-bitmap.ts";
export { type AddBitmapOptions, DirtyBitmapList } from "./src/bitmap/dirty-bitmap-list.ts";
export { DirtyArea, DirtyStatus, HierarchicalBitmap } from "./src/bitmap/hierarchical-bitmap.ts";
export { BlockBackend } from "./src/block/backend.ts";
export { type BeforeWriteNotifier, DROP_REQUEST, type NotifierVerdict } from "./src/block/before-write-notifier.ts";
export type { ClustersCopied } from "./src/block/block-copy.ts";
export type { DrainedSection, NodeParent } from "./src/block/drain.ts";
export {
  type BlockDriver,
  type BlockStatus,
  type DriverChild,
  SECTOR_SIZE_BYTES,
  type WriteZeroesOptions,
} from "./src/block/driver.ts";
export { MemoryDriver } from "./src/block/drivers/memory.ts";
export { NullDriver } from "./src/block/drivers/null.ts";
export { RawDriver } from "./src/block/drivers/raw.ts";
export { BlockNode, type ReadOptions, type WriteOptions, type WriteZeroesRequestOptions } from "./src/block/node.ts";
export type { RequestKind, TrackedRequest } from "./src/block/tracked-request.ts";
export { Backup } from "./src/job/backup.ts";
export { startBackup } from "./src/job/backup-action.ts";
export type { BackupOptions } from "./src/job/backup-options.ts";
export { Job, type JobEvent, type JobListener, type JobOptions, type JobOutcome } from "./src/job/job.ts";
export type { JobDriver, JobProgress } from "./src/job/job-driver.ts";
export type { JobInfo } from "./src/job/job-info.ts";
export { JobList } from "./src/job/job-list.ts";
export type { JobStatus, JobVerb } from "./src/job/job-status.ts";
export { type AccessWidth, Bus, type MmioRegion } from "./src/memory/bus.ts";
export { GuestMemory, GuestMemoryError, type WriteListener } from "./src/memory/guest-memory.ts";
export { InterruptLine, type LineListener } from "./src/memory/interrupt-line.ts";
