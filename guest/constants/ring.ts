// Virtqueues in memory: VIRTIO 1.4 §2.7 (split) and §2.8 (packed). All fields are little-endian.

/** Bytes of one descriptor, §2.7.5: address le64, length le32, flags le16, next le16; §2.8.13: address, length, id le16, flags le16. */
export const VIRTQ_DESC_BYTES = 16;
/** The chain goes on at `next`. */
export const VIRTQ_DESC_F_NEXT = 1;
/** The device writes the buffer; without it, reads. */
export const VIRTQ_DESC_F_WRITE = 2;
/** The buffer holds a table of descriptors. §2.7.5.3 */
export const VIRTQ_DESC_F_INDIRECT = 4;
/** Packed ring: with `VIRTQ_DESC_F_USED`, whose the descriptor is. §2.8.1 */
export const VIRTQ_DESC_F_AVAIL: number = 1 << 7;
/** Packed ring: with `VIRTQ_DESC_F_AVAIL`, whose the descriptor is. §2.8.1 */
export const VIRTQ_DESC_F_USED: number = 1 << 15;

/** Flag of the available ring: no interrupt, please. §2.7.6 */
export const VIRTQ_AVAIL_F_NO_INTERRUPT = 1;
/** Flag of the used ring: no notification, please. §2.7.8 */
export const VIRTQ_USED_F_NO_NOTIFY = 1;

/** Packed ring, flags of an event suppression structure: notify of everything. §2.8.10 */
export const RING_EVENT_FLAGS_ENABLE = 0;
/** Notify of nothing. */
export const RING_EVENT_FLAGS_DISABLE = 1;
/** Notify when the descriptor of the structure's offset and wrap counter is passed: with VIRTIO_F_EVENT_IDX alone. */
export const RING_EVENT_FLAGS_DESC = 2;

/** The largest size of a queue. §2.7, §2.8.10.1 */
export const VIRTQ_SIZE_MAX = 32768;
