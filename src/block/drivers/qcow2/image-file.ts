// The file that holds a qcow2 image: reads past its end find zeroes, writes make it longer.

import { BlockError } from "../../../base/errors.ts";
import { IoVector } from "../../../base/io-vector.ts";
import type { BlockNode } from "../../node.ts";
import { MAX_HOST_BYTES } from "./format.ts";

/** The most that the file grows by ahead of need. */
const MAX_GROWTH_BYTES = 16 << 20;
/** File offsets have 63 bits. */
const MAX_FILE_OFFSET = 2 ** 63;

/** Everything that the driver asks of the node below goes through here. */
export class Qcow2File {
  readonly node: BlockNode;
  /** Nothing below wants to know of each step. */
  readonly quiet: boolean;
  readonly #clusterBytes: number;
  /** From here on nothing was written since the file grew: it reads as zeroes. */
  #freshFrom: number;
  /** One at a time: of two, the one that ends last might cut what the other has added. */
  #growing: Promise<void> | undefined;

  constructor(node: BlockNode, clusterBytes: number) {
    this.node = node;
    this.quiet = node.driver.debugEvent === undefined;
    this.#clusterBytes = clusterBytes;
    this.#freshFrom = node.lengthBytes;
  }

  get lengthBytes(): number {
    return this.node.lengthBytes;
  }

  /** Tells a fault injector below what comes. */
  event(name: string): void | Promise<void> {
    if (!this.quiet) return this.node.driver.debugEvent!(name);
  }

  read(offsetBytes: number, vector: IoVector): void | Promise<void> {
    const there = this.node.lengthBytes - offsetBytes;
    if (there >= vector.byteLength) return this.node.read(offsetBytes, vector);
    const some = Math.max(0, there);
    new IoVector(vector.bytes).slice(vector, some, vector.byteLength - some).clearData();
    if (some > 0) return this.node.read(offsetBytes, new IoVector(vector.bytes).slice(vector, 0, some));
  }

  write(offsetBytes: number, vector: IoVector): void | Promise<void> {
    const growing = this.reach(offsetBytes + vector.byteLength);
    if (growing === undefined) return this.node.write(offsetBytes, vector);
    return growing.then(() => this.node.write(offsetBytes, vector));
  }

  writeZeroes(offsetBytes: number, lengthBytes: number): void | Promise<void> {
    const growing = this.reach(offsetBytes + lengthBytes);
    if (growing === undefined) return this.node.writeZeroes(offsetBytes, lengthBytes);
    return growing.then(() => this.node.writeZeroes(offsetBytes, lengthBytes));
  }

  /** Says that nothing there is needed any more. The file may not care: a discard that fails has harmed nobody. */
  async discard(offsetBytes: number, lengthBytes: number): Promise<void> {
    const there = Math.min(lengthBytes, this.node.lengthBytes - offsetBytes);
    if (there <= 0) return;
    try {
      await this.node.discard(offsetBytes, there);
    } catch (error) {
      if (!(error instanceof BlockError)) throw error;
    }
  }

  flush(): void | Promise<void> {
    return this.node.flush();
  }

  /** What is beyond the end of the file is zeroes; EIO where no file reaches. */
  async readBytes(offsetBytes: number, lengthBytes: number): Promise<Uint8Array> {
    if (offsetBytes >= MAX_FILE_OFFSET) throw new BlockError("EIO");
    const bytes = new Uint8Array(lengthBytes);
    await this.read(offsetBytes, IoVector.of(bytes));
    return bytes;
  }

  async writeBytes(offsetBytes: number, bytes: Uint8Array): Promise<void> {
    await this.write(offsetBytes, IoVector.of(bytes));
  }

  /** Makes the file at least that long, and somewhat longer, so that it need not grow for each cluster. */
  reach(endBytes: number): void | Promise<void> {
    const length = this.node.lengthBytes;
    if (endBytes <= length) return;
    if (endBytes > MAX_HOST_BYTES) throw new BlockError("EFBIG");
    const again = (): void | Promise<void> => this.reach(endBytes);
    if (this.#growing !== undefined) return this.#growing.then(again, again);
    const ahead = Math.min(MAX_GROWTH_BYTES, Math.floor(length / 8));
    const unit = this.#clusterBytes;
    const growing = this.node.extend(Math.ceil(Math.max(endBytes, length + ahead) / unit) * unit);
    if (growing === undefined) return;
    this.#growing = growing.finally(() => {
      this.#growing = undefined;
    });
    return this.#growing;
  }

  /** Notes that clusters are taken into use; true if the file reads as zeroes there. */
  takeFresh(offsetBytes: number, lengthBytes: number): boolean {
    const fresh = offsetBytes >= this.#freshFrom;
    this.#freshFrom = Math.max(this.#freshFrom, offsetBytes + lengthBytes);
    return fresh;
  }
}
