// The split virtqueue in memory: VIRTIO 1.4 §2.7. All fields are little-endian.

/** Bytes of one descriptor: address le64, length le32, flags le16, next le16. §2.7.5 */
export const VIRTQ_DESC_BYTES = 16;
/** The chain goes on at `next`. */
export const VIRTQ_DESC_F_NEXT = 1;
/** The device writes the buffer; without it, reads. */
export const VIRTQ_DESC_F_WRITE = 2;
/** The buffer holds a table of descriptors. §2.7.5.3 */
export const VIRTQ_DESC_F_INDIRECT = 4;

/** Flag of the available ring: no interrupt, please. §2.7.6 */
export const VIRTQ_AVAIL_F_NO_INTERRUPT = 1;
/** Flag of the used ring: no notification, please. §2.7.8 */
export const VIRTQ_USED_F_NO_NOTIFY = 1;

/** The largest size of a queue. §2.7 */
export const VIRTQ_SIZE_MAX = 32768;
