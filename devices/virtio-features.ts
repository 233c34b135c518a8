// Feature bits and device status bits that every virtio device shares: VIRTIO 1.4 §2.1 and §6.

// Device status, §2.1.
export const VIRTIO_CONFIG_S_ACKNOWLEDGE = 1;
export const VIRTIO_CONFIG_S_DRIVER = 2;
export const VIRTIO_CONFIG_S_DRIVER_OK = 4;
export const VIRTIO_CONFIG_S_FEATURES_OK = 8;
export const VIRTIO_CONFIG_S_NEEDS_RESET = 0x40;
export const VIRTIO_CONFIG_S_FAILED = 0x80;

// Reserved feature bits, §6, and those of the legacy interface, §6.3. A feature set is one bigint, bit n for feature n.
export const VIRTIO_F_NOTIFY_ON_EMPTY = 24; // legacy
export const VIRTIO_F_ANY_LAYOUT = 27; // legacy
export const VIRTIO_F_INDIRECT_DESC = 28;
export const VIRTIO_F_EVENT_IDX = 29;
export const VIRTIO_F_VERSION_1 = 32;
export const VIRTIO_F_ACCESS_PLATFORM = 33;
export const VIRTIO_F_RING_PACKED = 34;
export const VIRTIO_F_IN_ORDER = 35;
export const VIRTIO_F_ORDER_PLATFORM = 36;
export const VIRTIO_F_SR_IOV = 37; // PCI alone
export const VIRTIO_F_NOTIFICATION_DATA = 38;
export const VIRTIO_F_NOTIF_CONFIG_DATA = 39; // PCI alone
export const VIRTIO_F_RING_RESET = 40;
export const VIRTIO_F_ADMIN_VQ = 41; // not on MMIO, §4.2.5

/**
 * Which features of rings and transport a device offers, whatever its type; VERSION_1 it always does. One that is left out has
 * the default that stands with it.
 */
export interface RingFeatures {
  /** INDIRECT_DESC, §2.7.5.3; true. */
  readonly indirect?: boolean;
  /** EVENT_IDX, §2.7.7 and §2.8.10; true. */
  readonly eventIndex?: boolean;
  /** RING_RESET, §2.6.1: a queue can be reset alone; true. */
  readonly ringReset?: boolean;
  /** RING_PACKED, §2.8; false. */
  readonly packed?: boolean;
  /** IN_ORDER, §2.7.9: buffers are used in the order in which they were made available; false. */
  readonly inOrder?: boolean;
  /** NOTIFICATION_DATA, §2.9: notifications say how far the ring has come; false. */
  readonly notificationData?: boolean;
  /** ACCESS_PLATFORM, §6: false. Addresses are guest-physical whether it is accepted or not: the bus translates none. */
  readonly accessPlatform?: boolean;
  /** ORDER_PLATFORM, §6: false. The device's order of memory accesses is the strong one, accepted or not. */
  readonly orderPlatform?: boolean;
}

// @virtio RSVD-DEV-001 RSVD-DEV-003
/** The features that `offered` asks for, as a set, and VERSION_1. */
export function ringFeatureSet(offered: RingFeatures = {}): bigint {
  const bits = [VIRTIO_F_VERSION_1];
  if (offered.indirect ?? true) bits.push(VIRTIO_F_INDIRECT_DESC);
  if (offered.eventIndex ?? true) bits.push(VIRTIO_F_EVENT_IDX);
  if (offered.ringReset ?? true) bits.push(VIRTIO_F_RING_RESET);
  if (offered.packed ?? false) bits.push(VIRTIO_F_RING_PACKED);
  if (offered.inOrder ?? false) bits.push(VIRTIO_F_IN_ORDER);
  if (offered.notificationData ?? false) bits.push(VIRTIO_F_NOTIFICATION_DATA);
  if (offered.accessPlatform ?? false) bits.push(VIRTIO_F_ACCESS_PLATFORM);
  if (offered.orderPlatform ?? false) bits.push(VIRTIO_F_ORDER_PLATFORM);
  return featureSet(...bits);
}

/** True when `features` holds feature number `bit`. */
export function hasFeature(features: bigint, bit: number): boolean {
  return ((features >> BigInt(bit)) & 1n) === 1n;
}

/** The set of the features numbered `bits`. */
export function featureSet(...bits: readonly number[]): bigint {
  let features = 0n;
  for (const bit of bits) features |= 1n << BigInt(bit);
  return features;
}

/** Word `word` of a feature set, 32 bits; 0 for words that are not there, whatever their number. */
export function featureWord(features: bigint, word: number): number {
  return word > 1 ? 0 : Number((features >> BigInt(32 * word)) & 0xffff_ffffn);
}
