// The raw format: the image is what the file holds, byte for byte, all of it or a part.

import { BlockError } from "../../base/errors.ts";
import type { IoVector } from "../../base/io-vector.ts";
import { blockStatusThrough } from "../block-status.ts";
import {
  type BlockDriver,
  type BlockStatus,
  type ChildRole,
  type DriverChild,
  SECTOR_SIZE_BYTES,
  type WriteZeroesOptions,
} from "../driver.ts";
import type { BlockNode } from "../node.ts";
import { PERM_RESIZE, type Permissions } from "../permissions.ts";

export interface RawDriverOptions {
  readonly file: BlockNode;
  readonly readOnly?: boolean;
  /** Where the image begins in the file; 0 by default. */
  readonly offsetBytes?: number;
  /** A multiple of 512; up to the end of the file by default. */
  readonly sizeBytes?: number | undefined;
}

/** A raw image in the node `file`. */
export class RawDriver implements BlockDriver {
  readonly driverName: string = "raw";
  readonly clusterSizeBytes: undefined;
  readonly children: readonly DriverChild[];
  readonly readOnly: boolean;
  readonly offsetBytes: number;
  readonly sizeBytes: number | undefined;
  readonly #file: BlockNode;
  /** All of the file is the image. */
  readonly #whole: boolean;
  /** Nothing below wants to know of each request. */
  readonly #quiet: boolean;
  /** Where something below does: something was written since the latest flush. */
  #changed = false;

  constructor(options: RawDriverOptions) {
    const { file, offsetBytes = 0, sizeBytes } = options;
    this.#file = file;
    this.offsetBytes = offsetBytes;
    this.sizeBytes = sizeBytes;
    this.readOnly = options.readOnly ?? file.readOnly;
    this.children = [{ role: "file", node: file }];
    this.#whole = offsetBytes === 0 && sizeBytes === undefined;
    this.#quiet = file.driver.debugEvent === undefined;
  }

  get lengthBytes(): number {
    if (this.#whole) return this.#file.lengthBytes;
    if (this.sizeBytes !== undefined) return this.sizeBytes;
    // Where the image does not begin with a sector, its last sector reaches past the end of the file, and cannot be read.
    return Math.ceil((this.#file.lengthBytes - this.offsetBytes) / SECTOR_SIZE_BYTES) * SECTOR_SIZE_BYTES;
  }

  read(offsetBytes: number, vector: IoVector): void | Promise<void> {
    const at = offsetBytes + this.offsetBytes;
    if (this.#quiet) return this.#file.read(at, vector);
    return this.#after("read_aio", () => this.#file.read(at, vector));
  }

  write(offsetBytes: number, vector: IoVector): void | Promise<void> {
    const at = offsetBytes + this.offsetBytes;
    if (this.#quiet) return this.#file.write(at, vector);
    this.#changed = true;
    return this.#after("write_aio", () => {
      if (vector.abandoned) throw new BlockError("ECANCELED");
      return this.#file.write(at, vector);
    });
  }

  writeZeroes(offsetBytes: number, lengthBytes: number, options: WriteZeroesOptions): void | Promise<void> {
    this.#changed = true;
    return this.#file.writeZeroes(offsetBytes + this.offsetBytes, lengthBytes, options);
  }

  discard(offsetBytes: number, lengthBytes: number): void | Promise<void> {
    this.#changed = true;
    return this.#file.discard(offsetBytes + this.offsetBytes, lengthBytes);
  }

  flush(): void | Promise<void> {
    if (this.#quiet) return this.#file.flush();
    return this.#after("flush_to_os", () => this.#flushToDisk());
  }

  blockStatus(offsetBytes: number, lengthBytes: number): BlockStatus | Promise<BlockStatus> {
    return blockStatusThrough(this.#file, offsetBytes + this.offsetBytes, lengthBytes);
  }

  async resize(lengthBytes: number): Promise<void> {
    if (this.sizeBytes !== undefined) throw new BlockError("ENOTSUP", "Cannot resize fixed-size raw disks");
    await this.#file.resize(lengthBytes + this.offsetBytes);
  }

  extend(lengthBytes: number): void | Promise<void> {
    if (this.sizeBytes !== undefined) throw new BlockError("ENOTSUP", "Cannot resize fixed-size raw disks");
    return this.#file.extend(lengthBytes + this.offsetBytes);
  }

  async close(): Promise<void> {}

  /** An image that is a part of its file counts on where the file ends. */
  childPermissions(_role: ChildRole, asked: Permissions): Permissions {
    if (this.#whole) return asked;
    return { needs: asked.needs, shares: asked.shares & ~PERM_RESIZE };
  }

  #flushToDisk(): void | Promise<void> {
    if (!this.#changed) return this.#file.flush();
    this.#changed = false;
    return this.#after("flush_to_disk", () => this.#file.flush());
  }

  /** Tells a fault injector below what comes, which may make it wait or fail. */
  #after(event: string, request: () => void | Promise<void>): void | Promise<void> {
    const waiting = this.#file.driver.debugEvent!(event);
    return waiting === undefined ? request() : waiting.then(request);
  }
}
