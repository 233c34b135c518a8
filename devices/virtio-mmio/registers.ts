// Offsets of the registers of a virtio-mmio device, of both versions: VIRTIO 1.4 §4.2.2 and, for version 1, §4.2.4.

// In both versions.
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
export const VIRTIO_MMIO_QUEUE_NOTIFY = 0x050; // W
export const VIRTIO_MMIO_INTERRUPT_STATUS = 0x060; // R
export const VIRTIO_MMIO_INTERRUPT_ACK = 0x064; // W
export const VIRTIO_MMIO_STATUS = 0x070; // RW
export const VIRTIO_MMIO_CONFIG = 0x100; // RW

// Version 1 alone.
export const VIRTIO_MMIO_GUEST_PAGE_SIZE = 0x028; // W
export const VIRTIO_MMIO_QUEUE_ALIGN = 0x03c; // W
export const VIRTIO_MMIO_QUEUE_PFN = 0x040; // RW

// Version 2 alone.
export const VIRTIO_MMIO_QUEUE_READY = 0x044; // RW
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
export const VIRTIO_MMIO_QUEUE_RESET = 0x0c0; // RW, with RING_RESET
export const VIRTIO_MMIO_CONFIG_GENERATION = 0x0fc; // R

/** Which offsets are registers, so that an access that is answered with nothing is called by its name. */
interface RegisterTable {
  readonly readOnly: readonly number[];
  readonly writeOnly: readonly number[];
}

const BOTH: RegisterTable = {
  readOnly: [
    VIRTIO_MMIO_MAGIC_VALUE,
    VIRTIO_MMIO_VERSION,
    VIRTIO_MMIO_DEVICE_ID,
    VIRTIO_MMIO_VENDOR_ID,
    VIRTIO_MMIO_DEVICE_FEATURES,
    VIRTIO_MMIO_QUEUE_SIZE_MAX,
    VIRTIO_MMIO_INTERRUPT_STATUS,
  ],
  writeOnly: [
    VIRTIO_MMIO_DEVICE_FEATURES_SEL,
    VIRTIO_MMIO_DRIVER_FEATURES,
    VIRTIO_MMIO_DRIVER_FEATURES_SEL,
    VIRTIO_MMIO_QUEUE_SEL,
    VIRTIO_MMIO_QUEUE_SIZE,
    VIRTIO_MMIO_QUEUE_NOTIFY,
    VIRTIO_MMIO_INTERRUPT_ACK,
  ],
};

export const LEGACY_REGISTERS: RegisterTable = {
  readOnly: BOTH.readOnly,
  writeOnly: [...BOTH.writeOnly, VIRTIO_MMIO_GUEST_PAGE_SIZE, VIRTIO_MMIO_QUEUE_ALIGN],
};

export const MODERN_REGISTERS: RegisterTable = {
  readOnly: [
    ...BOTH.readOnly,
    VIRTIO_MMIO_SHM_LEN_LOW,
    VIRTIO_MMIO_SHM_LEN_HIGH,
    VIRTIO_MMIO_SHM_BASE_LOW,
    VIRTIO_MMIO_SHM_BASE_HIGH,
    VIRTIO_MMIO_CONFIG_GENERATION,
  ],
  writeOnly: [
    ...BOTH.writeOnly,
    VIRTIO_MMIO_QUEUE_DESC_LOW,
    VIRTIO_MMIO_QUEUE_DESC_HIGH,
    VIRTIO_MMIO_QUEUE_DRIVER_LOW,
    VIRTIO_MMIO_QUEUE_DRIVER_HIGH,
    VIRTIO_MMIO_QUEUE_DEVICE_LOW,
    VIRTIO_MMIO_QUEUE_DEVICE_HIGH,
    VIRTIO_MMIO_SHM_SEL,
  ],
};

/** What a read from `offset` is that no register answers. */
export function readMistake(table: RegisterTable, offset: number): "RegisterWriteOnly" | "RegisterUnknown" {
  return table.writeOnly.includes(offset) ? "RegisterWriteOnly" : "RegisterUnknown";
}

/** What a write to `offset` is that no register takes. */
export function writeMistake(table: RegisterTable, offset: number): "RegisterReadOnly" | "RegisterUnknown" {
  return table.readOnly.includes(offset) ? "RegisterReadOnly" : "RegisterUnknown";
}
