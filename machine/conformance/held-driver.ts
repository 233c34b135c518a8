// A disk in memory whose host can make requests wait or fail: what the conformance suite asks of a host.

import { BlockError } from "../../src/base/errors.ts";
import type { IoVector } from "../../src/base/io-vector.ts";
import type { BlockDriver, BlockStatus, DiskLifetime } from "../../src/block/driver.ts";
import { SparseDisk } from "./sparse-disk.ts";

export interface HeldDriverOptions {
  readonly lengthBytes: number;
  readonly readOnly: boolean;
  /** What it says of its wear; undefined: it does not know. */
  readonly lifetime: DiskLifetime | undefined;
  /** It can erase for good. */
  readonly erases: boolean;
}

/** A `SparseDisk` behind a gate. While the gate is shut, requests wait at it in the order in which they came. */
export class HeldDriver implements BlockDriver {
  readonly driverName: string = "held-memory";
  readonly readOnly: boolean;
  readonly clusterSizeBytes: undefined = undefined;
  readonly children: readonly never[] = [];
  readonly lifetime: DiskLifetime | undefined;
  /** Undefined where it cannot. */
  readonly secureErase?: (offsetBytes: number, lengthBytes: number) => void | Promise<void>;
  readonly #disk: SparseDisk;
  #gate: { readonly opened: Promise<void>; readonly open: () => void } | undefined;
  #waiting = 0;
  #failRead = false;

  constructor(options: HeldDriverOptions) {
    this.readOnly = options.readOnly;
    this.lifetime = options.lifetime;
    this.#disk = new SparseDisk(options.lengthBytes);
    // Nothing is kept of what was in memory.
    if (options.erases) this.secureErase = (offset, length) => this.writeZeroes(offset, length);
  }

  get lengthBytes(): number {
    return this.#disk.lengthBytes;
  }

  /** Requests at the gate. */
  get waiting(): number {
    return this.#waiting;
  }

  /** Shuts the gate; the function returned opens it for good. */
  hold(): () => void {
    let open = (): void => {};
    const opened = new Promise<void>((resolve) => {
      open = resolve;
    });
    this.#gate = { opened, open };
    return () => {
      this.#gate = undefined;
      open();
    };
  }

  /** The next read fails with EIO. */
  failNextRead(): void {
    this.#failRead = true;
  }

  read(offsetBytes: number, vector: IoVector): void | Promise<void> {
    return this.#pass(() => {
      if (this.#failRead) {
        this.#failRead = false;
        throw new BlockError("EIO", "a read was to fail");
      }
      return this.#disk.read(offsetBytes, vector);
    });
  }

  write(offsetBytes: number, vector: IoVector): void | Promise<void> {
    return this.#pass(() => this.#disk.write(offsetBytes, vector));
  }

  writeZeroes(offsetBytes: number, lengthBytes: number): void | Promise<void> {
    return this.#pass(() => this.#disk.writeZeroes(offsetBytes, lengthBytes));
  }

  discard(offsetBytes: number, lengthBytes: number): void | Promise<void> {
    return this.#pass(() => this.#disk.writeZeroes(offsetBytes, lengthBytes));
  }

  flush(): void | Promise<void> {
    return this.#pass(() => {});
  }

  blockStatus(_offsetBytes: number, lengthBytes: number): BlockStatus {
    return { lengthBytes, allocated: true, data: true, zero: false };
  }

  resize(lengthBytes: number): void {
    this.#disk.resize(lengthBytes);
  }

  async close(): Promise<void> {}

  #pass(operation: () => void | Promise<void>): void | Promise<void> {
    if (this.#gate === undefined) return operation();
    return this.#afterGate(this.#gate.opened, operation);
  }

  async #afterGate(opened: Promise<void>, operation: () => void | Promise<void>): Promise<void> {
    this.#waiting++;
    await opened;
    this.#waiting--;
    return operation();
  }
}
