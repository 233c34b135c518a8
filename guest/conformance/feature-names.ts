// Features by the names that the standard gives them: VIRTIO 1.4 §5.2.3 and §6, and those of the legacy interface, §5.2.3.1 and §6.3.

/** [number, name], ascending. */
const FEATURES: readonly (readonly [number, string])[] = [
  [0, "VIRTIO_BLK_F_BARRIER"],
  [1, "VIRTIO_BLK_F_SIZE_MAX"],
  [2, "VIRTIO_BLK_F_SEG_MAX"],
  [4, "VIRTIO_BLK_F_GEOMETRY"],
  [5, "VIRTIO_BLK_F_RO"],
  [6, "VIRTIO_BLK_F_BLK_SIZE"],
  [7, "VIRTIO_BLK_F_SCSI"],
  [9, "VIRTIO_BLK_F_FLUSH"],
  [10, "VIRTIO_BLK_F_TOPOLOGY"],
  [11, "VIRTIO_BLK_F_CONFIG_WCE"],
  [12, "VIRTIO_BLK_F_MQ"],
  [13, "VIRTIO_BLK_F_DISCARD"],
  [14, "VIRTIO_BLK_F_WRITE_ZEROES"],
  [15, "VIRTIO_BLK_F_LIFETIME"],
  [16, "VIRTIO_BLK_F_SECURE_ERASE"],
  [17, "VIRTIO_BLK_F_ZONED"],
  [24, "VIRTIO_F_NOTIFY_ON_EMPTY"],
  [27, "VIRTIO_F_ANY_LAYOUT"],
  [28, "VIRTIO_F_INDIRECT_DESC"],
  [29, "VIRTIO_F_EVENT_IDX"],
  [32, "VIRTIO_F_VERSION_1"],
  [33, "VIRTIO_F_ACCESS_PLATFORM"],
  [34, "VIRTIO_F_RING_PACKED"],
  [35, "VIRTIO_F_IN_ORDER"],
  [36, "VIRTIO_F_ORDER_PLATFORM"],
  [37, "VIRTIO_F_SR_IOV"],
  [38, "VIRTIO_F_NOTIFICATION_DATA"],
  [39, "VIRTIO_F_NOTIF_CONFIG_DATA"],
  [40, "VIRTIO_F_RING_RESET"],
  [41, "VIRTIO_F_ADMIN_VQ"],
  [43, "VIRTIO_F_SUSPEND"],
];

const byName = new Map(FEATURES.map(([number, name]) => [name, number]));
const byNumber = new Map(FEATURES);

/** The bit number of a feature; undefined for a name that there is not. */
export function featureNumber(name: string): number | undefined {
  return byName.get(name);
}

/** The standard's name of a feature, or `feature N`. */
export function featureName(number: number): string {
  return byNumber.get(number) ?? `feature ${number}`;
}
