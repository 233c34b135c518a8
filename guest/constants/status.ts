// The device status field: VIRTIO 1.4 §2.1.

/** The guest has found the device. */
export const VIRTIO_STATUS_ACKNOWLEDGE = 1;
/** The guest knows how to drive it. */
export const VIRTIO_STATUS_DRIVER = 2;
/** The driver is set up and the device live. */
export const VIRTIO_STATUS_DRIVER_OK = 4;
/** Feature negotiation is complete. */
export const VIRTIO_STATUS_FEATURES_OK = 8;
/** The device is, or is to be, suspended. */
export const VIRTIO_STATUS_SUSPEND = 16;
/** The device has met an error that only a reset ends. */
export const VIRTIO_STATUS_DEVICE_NEEDS_RESET = 64;
/** The guest has given up on the device. */
export const VIRTIO_STATUS_FAILED = 128;
