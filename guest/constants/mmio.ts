// Registers of a virtio-mmio device: VIRTIO 1.4 §4.2.2, table "MMIO Device Register Layout"; those of version 1 alone: §4.2.4.

export const VIRTIO_MMIO_MAGIC_VALUE = 0x000; // R
export const VIRTIO_MMIO_VERSION = 0x004; // R
export const VIRTIO_MMIO_DEVICE_ID = 0x008; // R
export const VIRTIO_MMIO_VENDOR_ID = 0x00c; // R
export const VIRTIO_MMIO_DEVICE_FEATURES = 0x010; // R
export const VIRTIO_MMIO_DEVICE_FEATURES_SEL = 0x014; // W
export const VIRTIO_MMIO_DRIVER_FEATURES = 0x020; // W
export const VIRTIO_MMIO_DRIVER_FEATURES_SEL = 0x024; // W
export const VIRTIO_MMIO_QUEUE_SEL = 0x030; // W
export const VIRTIO_MMIO_QUEUE_SIZE_MAX = 0x034; // R
export const VIRTIO_MMIO_QUEUE_SIZE = 0x038; // W
export const VIRTIO_MMIO_QUEUE_READY = 0x044; // RW
export const VIRTIO_MMIO_QUEUE_NOTIFY = 0x050; // W
export const VIRTIO_MMIO_INTERRUPT_STATUS = 0x060; // R
export const VIRTIO_MMIO_INTERRUPT_ACK = 0x064; // W
export const VIRTIO_MMIO_STATUS = 0x070; // RW
export const VIRTIO_MMIO_QUEUE_DESC_LOW = 0x080; // W
export const VIRTIO_MMIO_QUEUE_DESC_HIGH = 0x084; // W
export const VIRTIO_MMIO_QUEUE_DRIVER_LOW = 0x090; // W
export const VIRTIO_MMIO_QUEUE_DRIVER_HIGH = 0x094; // W
export const VIRTIO_MMIO_QUEUE_DEVICE_LOW = 0x0a0; // W
export const VIRTIO_MMIO_QUEUE_DEVICE_HIGH = 0x0a4; // W
export const VIRTIO_MMIO_SHM_SEL = 0x0ac; // W
export const VIRTIO_MMIO_SHM_LEN_LOW = 0x0b0; // R
export const VIRTIO_MMIO_SHM_LEN_HIGH = 0x0b4; // R
export const VIRTIO_MMIO_SHM_BASE_LOW = 0x0b8; // R
export const VIRTIO_MMIO_SHM_BASE_HIGH = 0x0bc; // R
export const VIRTIO_MMIO_QUEUE_RESET = 0x0c0; // RW
export const VIRTIO_MMIO_CONFIG_GENERATION = 0x0fc; // R
export const VIRTIO_MMIO_CONFIG = 0x100; // RW, the device configuration space

// §4.2.4 Legacy interface: instead of QueueReady and the six address registers.
export const VIRTIO_MMIO_GUEST_PAGE_SIZE = 0x028; // W
export const VIRTIO_MMIO_QUEUE_ALIGN = 0x03c; // W
export const VIRTIO_MMIO_QUEUE_PFN = 0x040; // RW

/** What MagicValue reads as: "virt", little-endian. */
export const VIRTIO_MMIO_MAGIC = 0x74726976;
/** What Version reads as on a device that is not a legacy one. */
export const VIRTIO_MMIO_VERSION_MODERN = 2;
/** What Version reads as on a legacy device. §4.2.4 */
export const VIRTIO_MMIO_VERSION_LEGACY = 1;

/** InterruptStatus and InterruptACK, bit 0: the device has used a buffer. */
export const VIRTIO_MMIO_INTERRUPT_USED_BUFFER = 1;
/** InterruptStatus and InterruptACK, bit 1: the configuration of the device has changed, or it needs a reset. */
export const VIRTIO_MMIO_INTERRUPT_CONFIG_CHANGE = 2;

/** DeviceID of a slot without a device. */
export const VIRTIO_ID_NONE = 0;
/** DeviceID of a block device: §5. */
export const VIRTIO_ID_BLOCK = 2;
