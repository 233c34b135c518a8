// What can go wrong on the guest's side: the device refuses, breaks the protocol, fails a request, or the guest itself runs dry.

/** What a device did wrong, or a driver could not do with it. Codes are stable, messages are not. */
export type GuestDriverErrorCode =
  /** MagicValue is not "virt". */
  | "bad-magic"
  /** Version is not one that this driver knows. */
  | "bad-version"
  /** DeviceID is 0: an empty slot. */
  | "no-device"
  /** DeviceID is that of another kind of device. */
  | "wrong-device"
  /** The device lacks a feature that the driver cannot do without. */
  | "feature-missing"
  /** The device did not keep FEATURES_OK. */
  | "features-refused"
  /** Status did not read 0 in time after a reset. */
  | "reset-timeout"
  /** QueueReady was not 0 before the queue was set up. */
  | "queue-in-use"
  /** QueueSizeMax is 0. */
  | "queue-missing"
  /** The queue has too few descriptors for one request. */
  | "queue-too-small"
  /** QueueReady did not become 1. */
  | "queue-refused"
  /** ConfigGeneration kept changing. */
  | "config-unstable"
  /** A configuration field has a value that nothing can be done with. */
  | "config-invalid"
  /** DEVICE_NEEDS_RESET is set. */
  | "needs-reset"
  /** The used ring names a buffer that the device does not hold, or more buffers than it does. */
  | "used-ring"
  /** A used length that does not fit the buffer or what the device says it did. */
  | "used-length"
  /** A zone report that does not fit its buffer, or the disk. */
  | "zone-report"
  /** An append that went, so the device says, where it cannot have gone. */
  | "zone-append"
  /** The interrupt line stays raised however often it is acknowledged. */
  | "interrupt-stuck"
  /** The device did not use a buffer in time. */
  | "timeout";

/** The device and the driver cannot work together (any longer). */
export class GuestDriverError extends Error {
  override readonly name: string = "GuestDriverError";
  readonly code: GuestDriverErrorCode;

  constructor(code: GuestDriverErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

const STATUS_NAMES: Readonly<Record<number, string>> = {
  0: "VIRTIO_BLK_S_OK",
  1: "VIRTIO_BLK_S_IOERR",
  2: "VIRTIO_BLK_S_UNSUPP",
  3: "VIRTIO_BLK_S_ZONE_INVALID_CMD",
  4: "VIRTIO_BLK_S_ZONE_UNALIGNED_WP",
  5: "VIRTIO_BLK_S_ZONE_OPEN_RESOURCE",
  6: "VIRTIO_BLK_S_ZONE_ACTIVE_RESOURCE",
  255: "none written",
};

/** A block request ended with another status than VIRTIO_BLK_S_OK. */
export class GuestIoError extends Error {
  override readonly name: string = "GuestIoError";
  /** The status byte; `STATUS_NOT_WRITTEN` (255) when the device wrote none. */
  readonly status: number;
  /** VIRTIO_BLK_S_…, "none written" or "unknown". */
  readonly statusName: string;
  /** The request's VIRTIO_BLK_T_… */
  readonly type: number;
  /** The request's first sector, in units of 512 bytes. */
  readonly sector: number;

  constructor(status: number, type: number, sector: number, what: string) {
    const statusName = STATUS_NAMES[status] ?? "unknown";
    super(`${what}: status ${status} (${statusName})`);
    this.status = status;
    this.statusName = statusName;
    this.type = type;
    this.sector = sector;
  }
}

/** Guest RAM that the allocator looks after has no free range of this size and alignment. */
export class GuestOutOfMemoryError extends Error {
  override readonly name: string = "GuestOutOfMemoryError";
  readonly sizeBytes: number;

  constructor(sizeBytes: number, alignment: number, freeBytes: number) {
    super(`no ${sizeBytes} bytes of guest RAM aligned to ${alignment}: ${freeBytes} bytes are free in all`);
    this.sizeBytes = sizeBytes;
  }
}

/** The guest, or this use of its device, was ended before the request was. */
export class GuestClosedError extends Error {
  override readonly name: string = "GuestClosedError";
}

/** The machine behind a `GuestTarget` is gone, or does not answer any more: nothing can be said to it. */
export class TargetLostError extends Error {
  override readonly name: string = "TargetLostError";
}
