// The configuration of a running block device, as its driver knows it, and the cache mode in it: VIRTIO 1.4 §5.2.4 and §5.2.5.1.

import { VIRTIO_BLK_CONFIG_WRITEBACK } from "./constants/blk.ts";
import { type FeatureSet, hasFeature, VIRTIO_BLK_F_CONFIG_WCE, VIRTIO_BLK_F_FLUSH } from "./constants/features.ts";
import { GuestDriverError } from "./errors.ts";
import { readVirtioBlkConfig, type VirtioBlkConfig } from "./virtio-blk-config.ts";
import type { VirtioMmioDriver } from "./virtio-mmio-driver.ts";

/** Made when features are negotiated; `current` is what was read last: then, or when the device told of a change. */
export class LiveConfig {
  readonly #transport: VirtioMmioDriver;
  readonly #features: FeatureSet;
  readonly #listeners = new Set<() => void>();
  #current: VirtioBlkConfig;

  constructor(transport: VirtioMmioDriver, features: FeatureSet) {
    this.#transport = transport;
    this.#features = features;
    this.#current = readVirtioBlkConfig(transport, features);
  }

  get current(): VirtioBlkConfig {
    return this.#current;
  }

  // @virtio BLK-DRV-014
  /** The device has told of a change: reads everything anew and tells whoever listens, in a microtask. */
  reread(): void {
    this.#current = readVirtioBlkConfig(this.#transport, this.#features);
    for (const listener of this.#listeners) queueMicrotask(listener);
  }

  /** Calls `listener` after each change; the function returned ends that. */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  forgetListeners(): void {
    this.#listeners.clear();
  }

  /** Whether the device caches writes until a flush. Where CONFIG_WCE was not negotiated, FLUSH decides. */
  get writeback(): boolean {
    if (!hasFeature(this.#features, VIRTIO_BLK_F_CONFIG_WCE)) return hasFeature(this.#features, VIRTIO_BLK_F_FLUSH);
    return this.#transport.readConfig(VIRTIO_BLK_CONFIG_WRITEBACK, 1) !== 0;
  }

  /** Throws a `GuestDriverError` (feature-missing) where CONFIG_WCE was not negotiated. */
  set writeback(on: boolean) {
    if (!hasFeature(this.#features, VIRTIO_BLK_F_CONFIG_WCE)) {
      const message = "VIRTIO_BLK_F_CONFIG_WCE was not negotiated: the cache mode is fixed";
      throw new GuestDriverError("feature-missing", message);
    }
    this.#transport.writeConfig(VIRTIO_BLK_CONFIG_WRITEBACK, on ? 1 : 0, 1);
  }
}
