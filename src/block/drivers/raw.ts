// The raw format: the image is what the file holds, byte for byte.

import type { IoVector } from "../../base/io-vector.ts";
import type { BlockDriver, BlockStatus, DriverChild, WriteZeroesOptions } from "../driver.ts";
import type { BlockNode } from "../node.ts";

/** A raw image in the node `file`, all of it. */
export class RawDriver implements BlockDriver {
  readonly driverName: string = "raw";
  readonly clusterSizeBytes: undefined;
  readonly children: readonly DriverChild[];
  readonly readOnly: boolean;
  readonly #file: BlockNode;

  constructor(options: { file: BlockNode; readOnly?: boolean }) {
    this.#file = options.file;
    this.readOnly = options.readOnly ?? options.file.readOnly;
    this.children = [{ role: "file", node: options.file }];
  }

  get lengthBytes(): number {
    return this.#file.lengthBytes;
  }

  read(offsetBytes: number, vector: IoVector): void | Promise<void> {
    return this.#file.read(offsetBytes, vector);
  }

  write(offsetBytes: number, vector: IoVector): void | Promise<void> {
    return this.#file.write(offsetBytes, vector);
  }

  writeZeroes(offsetBytes: number, lengthBytes: number, options: WriteZeroesOptions): void | Promise<void> {
    return this.#file.writeZeroes(offsetBytes, lengthBytes, options);
  }

  discard(offsetBytes: number, lengthBytes: number): void | Promise<void> {
    return this.#file.discard(offsetBytes, lengthBytes);
  }

  flush(): void | Promise<void> {
    return this.#file.flush();
  }

  blockStatus(offsetBytes: number, lengthBytes: number): BlockStatus | Promise<BlockStatus> {
    return this.#file.blockStatus(offsetBytes, lengthBytes);
  }

  resize(lengthBytes: number): Promise<void> {
    return this.#file.resize(lengthBytes);
  }

  async close(): Promise<void> {}
}
