// A driver that keeps nothing: writes vanish, reads find zeroes. What a request costs without its disk is measured on it.

import type { IoVector } from "../../base/io-vector.ts";
import type { BlockDriver, BlockStatus, DriverChild } from "../driver.ts";

/**
 * A disk of any length without content, QEMU's `null-co`. With `readZeroes: false` a read leaves the buffer as it was, which
 * only a benchmark wants.
 */
export class NullDriver implements BlockDriver {
  readonly driverName: string = "null-co";
  readonly readOnly: boolean;
  readonly clusterSizeBytes: undefined;
  readonly children: readonly DriverChild[] = [];
  readonly lengthBytes: number;
  readonly #readZeroes: boolean;

  constructor(options: { lengthBytes: number; readZeroes?: boolean; readOnly?: boolean }) {
    this.lengthBytes = options.lengthBytes;
    this.#readZeroes = options.readZeroes ?? true;
    this.readOnly = options.readOnly ?? false;
  }

  read(_offsetBytes: number, vector: IoVector): void {
    if (this.#readZeroes) vector.clearData();
  }

  write(): void {}

  writeZeroes(): void {}

  discard(): void {}

  flush(): void {}

  blockStatus(_offsetBytes: number, lengthBytes: number): BlockStatus {
    return { lengthBytes, allocated: true, data: !this.#readZeroes, zero: this.#readZeroes };
  }

  async close(): Promise<void> {}
}
