// A driver that keeps nothing: writes vanish, reads find zeroes. What a request costs without its disk is measured on it.

import { type Clock, systemClock } from "../../base/clock.ts";
import type { IoVector } from "../../base/io-vector.ts";
import type { BlockDriver, BlockStatus, DriverChild } from "../driver.ts";

export interface NullDriverOptions {
  readonly lengthBytes: number;
  readonly readZeroes?: boolean;
  readonly readOnly?: boolean;
  /** How long each request takes; at once by default. */
  readonly latencyNs?: number;
  readonly clock?: Clock;
}

/**
 * A disk of any length without content, QEMU's `null-co`. With `readZeroes: false` a read leaves the buffer as it was, which
 * only a benchmark wants. As with QEMU's, discards do not reach it.
 */
export class NullDriver implements BlockDriver {
  readonly driverName: string = "null-co";
  readonly readOnly: boolean;
  readonly clusterSizeBytes: undefined;
  readonly children: readonly DriverChild[] = [];
  readonly lengthBytes: number;
  readonly #readZeroes: boolean;
  readonly #latencyMs: number;
  readonly #clock: Clock;

  constructor(options: NullDriverOptions) {
    this.lengthBytes = options.lengthBytes;
    this.#readZeroes = options.readZeroes ?? true;
    this.readOnly = options.readOnly ?? false;
    this.#latencyMs = (options.latencyNs ?? 0) / 1e6;
    this.#clock = options.clock ?? systemClock;
  }

  read(_offsetBytes: number, vector: IoVector): void | Promise<void> {
    if (this.#readZeroes) vector.clearData();
    if (this.#latencyMs > 0) return this.#later();
  }

  write(): void | Promise<void> {
    if (this.#latencyMs > 0) return this.#later();
  }

  writeZeroes(): void | Promise<void> {
    if (this.#latencyMs > 0) return this.#later();
  }

  flush(): void | Promise<void> {
    if (this.#latencyMs > 0) return this.#later();
  }

  blockStatus(_offsetBytes: number, lengthBytes: number): BlockStatus {
    return { lengthBytes, allocated: true, data: !this.#readZeroes, zero: this.#readZeroes };
  }

  async close(): Promise<void> {}

  #later(): Promise<void> {
    return new Promise((resolve) => {
      this.#clock.setTimer(this.#latencyMs, resolve);
    });
  }
}
