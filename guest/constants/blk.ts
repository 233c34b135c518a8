// The block device: VIRTIO 1.4 §5.2. Configuration offsets count from the start of the configuration space.

/** The unit of `capacity` and `sector`, whatever `blk_size` says. */
export const VIRTIO_BLK_SECTOR_BYTES = 512;

// §5.2.4 Device configuration layout
export const VIRTIO_BLK_CONFIG_CAPACITY = 0x00; // le64
export const VIRTIO_BLK_CONFIG_SIZE_MAX = 0x08; // le32
export const VIRTIO_BLK_CONFIG_SEG_MAX = 0x0c; // le32
export const VIRTIO_BLK_CONFIG_CYLINDERS = 0x10; // le16
export const VIRTIO_BLK_CONFIG_HEADS = 0x12; // u8
export const VIRTIO_BLK_CONFIG_SECTORS = 0x13; // u8
export const VIRTIO_BLK_CONFIG_BLK_SIZE = 0x14; // le32
export const VIRTIO_BLK_CONFIG_PHYSICAL_BLOCK_EXP = 0x18; // u8
export const VIRTIO_BLK_CONFIG_ALIGNMENT_OFFSET = 0x19; // u8
export const VIRTIO_BLK_CONFIG_MIN_IO_SIZE = 0x1a; // le16
export const VIRTIO_BLK_CONFIG_OPT_IO_SIZE = 0x1c; // le32
export const VIRTIO_BLK_CONFIG_WRITEBACK = 0x20; // u8
export const VIRTIO_BLK_CONFIG_NUM_QUEUES = 0x22; // le16

// §5.2.6 Device operation: request types
export const VIRTIO_BLK_T_IN = 0;
export const VIRTIO_BLK_T_OUT = 1;
export const VIRTIO_BLK_T_FLUSH = 4;
export const VIRTIO_BLK_T_GET_ID = 8;
export const VIRTIO_BLK_T_GET_LIFETIME = 10;
export const VIRTIO_BLK_T_DISCARD = 11;
export const VIRTIO_BLK_T_WRITE_ZEROES = 13;
export const VIRTIO_BLK_T_SECURE_ERASE = 14;

// §5.2.6 Device operation: the status byte
export const VIRTIO_BLK_S_OK = 0;
export const VIRTIO_BLK_S_IOERR = 1;
export const VIRTIO_BLK_S_UNSUPP = 2;

/** Bytes of a request's header: type le32, reserved le32, sector le64. */
export const VIRTIO_BLK_HEADER_BYTES = 16;
/** Bytes that GET_ID fills, padded with NUL. */
export const VIRTIO_BLK_ID_BYTES = 20;
