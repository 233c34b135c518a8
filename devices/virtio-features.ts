// Feature bits and device status bits that every virtio device shares: VIRTIO 1.4 §2.1 and §6.

// Device status, §2.1.
export const VIRTIO_CONFIG_S_ACKNOWLEDGE = 1;
export const VIRTIO_CONFIG_S_DRIVER = 2;
export const VIRTIO_CONFIG_S_DRIVER_OK = 4;
export const VIRTIO_CONFIG_S_FEATURES_OK = 8;
export const VIRTIO_CONFIG_S_NEEDS_RESET = 0x40;
export const VIRTIO_CONFIG_S_FAILED = 0x80;

// Reserved feature bits, §6. A feature set is one bigint, bit n for feature n.
export const VIRTIO_F_INDIRECT_DESC = 28;
export const VIRTIO_F_EVENT_IDX = 29;
export const VIRTIO_F_VERSION_1 = 32;

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
