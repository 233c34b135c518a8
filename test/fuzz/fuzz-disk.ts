// The disk below the fuzzed device: it keeps requests or not, and no request may reach it that does not fit it.

import type { Errno } from "../../src/base/errors.ts";
import type { IoVector } from "../../src/base/io-vector.ts";
import type { DiskLifetime } from "../../src/block/driver.ts";
import { HeldDriver } from "../devices/support/held-driver.ts";

const SECTOR_BYTES = 512;

export class FuzzDisk extends HeldDriver {
  readonly lifetime: DiskLifetime = { preEndOfLife: 1, estimateA: 2, estimateB: 11 };
  readonly #readOnly: boolean;
  /** Called with every request, before anything is done. */
  onRequest: (() => void) | undefined;

  constructor(sectors: number, readOnly: boolean) {
    super(sectors);
    this.#readOnly = readOnly;
    this.holding = false;
  }

  override read(offsetBytes: number, vector: IoVector): void | Promise<void> {
    this.#look("read", offsetBytes, vector.byteLength);
    return super.read(offsetBytes, vector);
  }

  override write(offsetBytes: number, vector: IoVector): void | Promise<void> {
    this.#look("write", offsetBytes, vector.byteLength);
    return super.write(offsetBytes, vector);
  }

  override writeZeroes(offsetBytes: number, lengthBytes: number): void {
    this.#look("zeroes", offsetBytes, lengthBytes);
    super.writeZeroes(offsetBytes, lengthBytes);
  }

  discard(offsetBytes: number, lengthBytes: number): void {
    this.#look("discard", offsetBytes, lengthBytes);
    this.memory.discard(offsetBytes, lengthBytes);
  }

  secureErase(offsetBytes: number, lengthBytes: number): void {
    this.#look("erase", offsetBytes, lengthBytes);
    super.writeZeroes(offsetBytes, lengthBytes);
  }

  override flush(): void | Promise<void> {
    this.onRequest?.();
    return super.flush();
  }

  /** The oldest `count` of those that it keeps, every second one with an error if they fail. */
  end(count: number, errno: Errno | undefined): void {
    for (const [i, call] of [...this.held].slice(0, count).entries()) call.end(i % 2 === 0 ? errno : undefined);
  }

  #look(kind: string, offsetBytes: number, lengthBytes: number): void {
    this.log.length = 0; // nobody reads it, and programs go on for hours
    const fits = offsetBytes >= 0 && offsetBytes % SECTOR_BYTES === 0 && lengthBytes % SECTOR_BYTES === 0;
    if (!fits || offsetBytes + lengthBytes > this.lengthBytes) {
      throw new Error(`the disk is asked for a ${kind} of ${offsetBytes}+${lengthBytes}, of ${this.lengthBytes}`);
    }
    if (kind !== "read" && this.#readOnly) throw new Error(`the read-only disk is asked for a ${kind}`);
    this.onRequest?.();
  }
}
