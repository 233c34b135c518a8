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
export { type AccountedKind, type AccountedRequests, IoAccounting } from "./src/block/accounting.ts";
export { BlockBackend } from "./src/block/backend.ts";
export type { BackendDevice, BlockBackendOptions } from "./src/block/backend-options.ts";
export { type BeforeWriteNotifier, DROP_REQUEST, type NotifierVerdict } from "./src/block/before-write-notifier.ts";
export type { ClustersCopied } from "./src/block/block-copy-options.ts";
export { type DebugPoints, debugPointsOf } from "./src/block/debug-points.ts";
export type { DrainedSection, NodeParent } from "./src/block/drain.ts";
export {
  type BlockDriver,
  type BlockStatus,
  type ChildRole,
  type DriverChild,
  SECTOR_SIZE_BYTES,
  type WriteZeroesOptions,
} from "./src/block/driver.ts";
export { MemoryDriver } from "./src/block/drivers/memory.ts";
export { memoryOpener, nullOpener } from "./src/block/drivers/memory-openers.ts";
export { MemoryOverlayDriver, type MemoryOverlayOptions } from "./src/block/drivers/memory-overlay.ts";
export { NullDriver } from "./src/block/drivers/null.ts";
export { RawDriver } from "./src/block/drivers/raw.ts";
export { rawOpener } from "./src/block/drivers/raw-opener.ts";
export { ZonedDriver, type ZonedDriverOptions } from "./src/block/drivers/zoned.ts";
export { BlkdebugDriver, type BlkdebugOptions } from "./src/block/filters/blkdebug.ts";
export { blkdebugOpener } from "./src/block/filters/blkdebug-opener.ts";
export type { BlkdebugIoType, InjectErrorOptions, SetStateOptions } from "./src/block/filters/blkdebug-rules.ts";
export { CopyBeforeWriteDriver, type CopyBeforeWriteOptions } from "./src/block/filters/copy-before-write.ts";
export { copyBeforeWriteOpener } from "./src/block/filters/copy-before-write-opener.ts";
export { SnapshotAccessDriver, snapshotAccessOpener } from "./src/block/filters/snapshot-access.ts";
export { ThrottleDriver, throttleOpener } from "./src/block/filters/throttle.ts";
export { ThrottleGroup, ThrottleGroups } from "./src/block/filters/throttle-group.ts";
export type { ThrottledQuantity, ThrottleLimits, WholeThrottleLimits } from "./src/block/filters/throttle-limits.ts";
export {
  BlockGraph,
  type BlockGraphOptions,
  type FoundNode,
  type WriteThresholdListener,
} from "./src/block/graph.ts";
export type {
  BlockdevCreateOptions,
  BlockdevOptions,
  BlockdevReference,
  ChildOption,
  DriverOpener,
  OpenContext,
  OptionValue,
  ReopenRules,
} from "./src/block/graph-options.ts";
export { BlockNode } from "./src/block/node.ts";
export type { DetectZeroes, NodeSettings } from "./src/block/node-settings.ts";
export {
  PERM_ALL,
  PERM_CONSISTENT_READ,
  PERM_RESIZE,
  PERM_WRITE,
  PERM_WRITE_UNCHANGED,
  type Permissions,
} from "./src/block/permissions.ts";
export type { ReadOptions, WriteOptions, WriteZeroesRequestOptions } from "./src/block/request-options.ts";
export type { SnapshotSource } from "./src/block/snapshot-source.ts";
export type { RequestKind, TrackedRequest } from "./src/block/tracked-request.ts";
export {
  type BlockZones,
  type ZoneChange,
  type ZoneCommand,
  type ZoneDescriptor,
  ZoneError,
  type ZoneLayout,
  type ZoneMistake,
  type ZoneModel,
  type ZoneReset,
  type ZoneState,
  type ZoneType,
} from "./src/block/zones.ts";
export { Backup } from "./src/job/backup.ts";
export { startBackup } from "./src/job/backup-action.ts";
export type { BackupOptions } from "./src/job/backup-options.ts";
export { Job } from "./src/job/job.ts";
export type { JobDriver, JobProgress } from "./src/job/job-driver.ts";
export type { JobEvent, JobOutcome } from "./src/job/job-event.ts";
export type { JobInfo } from "./src/job/job-info.ts";
export { JobList } from "./src/job/job-list.ts";
export type { JobListener, JobOptions } from "./src/job/job-options.ts";
export type { JobStatus, JobVerb } from "./src/job/job-status.ts";
export { type AccessWidth, Bus, type MmioRegion } from "./src/memory/bus.ts";
export { GuestMemory, GuestMemoryError, type WriteListener } from "./src/memory/guest-memory.ts";
export { InterruptLine, type LineListener } from "./src/memory/interrupt-line.ts";
