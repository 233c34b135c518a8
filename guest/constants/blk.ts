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
export const VIRTIO_BLK_CONFIG_UNUSED0 = 0x21; // u8
export const VIRTIO_BLK_CONFIG_NUM_QUEUES = 0x22; // le16
export const VIRTIO_BLK_CONFIG_MAX_DISCARD_SECTORS = 0x24; // le32
export const VIRTIO_BLK_CONFIG_MAX_DISCARD_SEG = 0x28; // le32
export const VIRTIO_BLK_CONFIG_DISCARD_SECTOR_ALIGNMENT = 0x2c; // le32
export const VIRTIO_BLK_CONFIG_MAX_WRITE_ZEROES_SECTORS = 0x30; // le32
export const VIRTIO_BLK_CONFIG_MAX_WRITE_ZEROES_SEG = 0x34; // le32
export const VIRTIO_BLK_CONFIG_WRITE_ZEROES_MAY_UNMAP = 0x38; // u8
export const VIRTIO_BLK_CONFIG_UNUSED1 = 0x39; // u8[3]
export const VIRTIO_BLK_CONFIG_MAX_SECURE_ERASE_SECTORS = 0x3c; // le32
export const VIRTIO_BLK_CONFIG_MAX_SECURE_ERASE_SEG = 0x40; // le32
export const VIRTIO_BLK_CONFIG_SECURE_ERASE_SECTOR_ALIGNMENT = 0x44; // le32
export const VIRTIO_BLK_CONFIG_ZONE_SECTORS = 0x48; // le32
export const VIRTIO_BLK_CONFIG_MAX_OPEN_ZONES = 0x4c; // le32
export const VIRTIO_BLK_CONFIG_MAX_ACTIVE_ZONES = 0x50; // le32
export const VIRTIO_BLK_CONFIG_MAX_APPEND_SECTORS = 0x54; // le32
export const VIRTIO_BLK_CONFIG_WRITE_GRANULARITY = 0x58; // le32, bytes
export const VIRTIO_BLK_CONFIG_ZONED_MODEL = 0x5c; // u8
export const VIRTIO_BLK_CONFIG_UNUSED2 = 0x5d; // u8[3]

// §5.2.6 Device operation: request types
export const VIRTIO_BLK_T_IN = 0;
export const VIRTIO_BLK_T_OUT = 1;
export const VIRTIO_BLK_T_FLUSH = 4;
export const VIRTIO_BLK_T_FLUSH_OUT = 5; // §5.2.6.3, legacy
export const VIRTIO_BLK_T_GET_ID = 8;
export const VIRTIO_BLK_T_GET_LIFETIME = 10;
export const VIRTIO_BLK_T_DISCARD = 11;
export const VIRTIO_BLK_T_WRITE_ZEROES = 13;
export const VIRTIO_BLK_T_SECURE_ERASE = 14;
export const VIRTIO_BLK_T_ZONE_APPEND = 15;
export const VIRTIO_BLK_T_ZONE_REPORT = 16;
export const VIRTIO_BLK_T_ZONE_OPEN = 18;
export const VIRTIO_BLK_T_ZONE_CLOSE = 20;
export const VIRTIO_BLK_T_ZONE_FINISH = 22;
export const VIRTIO_BLK_T_ZONE_RESET = 24;
export const VIRTIO_BLK_T_ZONE_RESET_ALL = 26;
/** §5.2.6.3, legacy, where BARRIER was offered: added to a type. */
export const VIRTIO_BLK_T_BARRIER = 0x8000_0000;

// §5.2.6 Device operation: the status byte
export const VIRTIO_BLK_S_OK = 0;
export const VIRTIO_BLK_S_IOERR = 1;
export const VIRTIO_BLK_S_UNSUPP = 2;
export const VIRTIO_BLK_S_ZONE_INVALID_CMD = 3;
export const VIRTIO_BLK_S_ZONE_UNALIGNED_WP = 4;
export const VIRTIO_BLK_S_ZONE_OPEN_RESOURCE = 5;
export const VIRTIO_BLK_S_ZONE_ACTIVE_RESOURCE = 6;

// §5.2.5: zoned.model
export const VIRTIO_BLK_Z_NONE = 0;
export const VIRTIO_BLK_Z_HM = 1;
export const VIRTIO_BLK_Z_HA = 2;

// §5.2.6: z_type of a zone descriptor
export const VIRTIO_BLK_ZT_CONV = 1;
export const VIRTIO_BLK_ZT_SWR = 2;
export const VIRTIO_BLK_ZT_SWP = 3;

// §5.2.6: z_state of a zone descriptor
export const VIRTIO_BLK_ZS_NOT_WP = 0;
export const VIRTIO_BLK_ZS_EMPTY = 1;
export const VIRTIO_BLK_ZS_IOPEN = 2;
export const VIRTIO_BLK_ZS_EOPEN = 3;
export const VIRTIO_BLK_ZS_CLOSED = 4;
export const VIRTIO_BLK_ZS_RDONLY = 13;
export const VIRTIO_BLK_ZS_FULL = 14;
export const VIRTIO_BLK_ZS_OFFLINE = 15;

/** Bytes of a request's header: type le32, reserved le32, sector le64. */
export const VIRTIO_BLK_HEADER_BYTES = 16;
/** Bytes that GET_ID fills, padded with NUL. */
export const VIRTIO_BLK_ID_BYTES = 20;

/** Bytes of one segment of a discard, write zeroes or secure erase: sector le64, num_sectors le32, flags le32. */
export const VIRTIO_BLK_RANGE_BYTES = 16;
/** Flag of a write zeroes segment: the blocks may be deallocated. */
export const VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP = 1;
/** Bytes that GET_LIFETIME fills: three le16. */
export const VIRTIO_BLK_LIFETIME_BYTES = 6;
/** Bytes before the zones of a zone report: nr_zones le64, reserved. */
export const VIRTIO_BLK_ZONE_REPORT_HEADER_BYTES = 64;
/** Bytes of a zone in a report: z_cap le64, z_start le64, z_wp le64, z_type u8, z_state u8, reserved. */
export const VIRTIO_BLK_ZONE_DESCRIPTOR_BYTES = 64;
