// The qcow2 driver: an image in a file, that allocates as it is written to and may stand on another. docs/reference/persistence-migration.md §1.

import type { Clock } from "../../../base/clock.ts";
import { BlockError } from "../../../base/errors.ts";
import type { IoVector } from "../../../base/io-vector.ts";
import type {
  BlockDriver,
  BlockStatus,
  ChildRole,
  DriverChild,
  PreparedReopen,
  WriteZeroesOptions,
} from "../../driver.ts";
import type { OpenContext } from "../../graph-options.ts";
import type { BlockNode } from "../../node.ts";
import type { NodeSettings } from "../../node-settings.ts";
import {
  backingPermissions,
  PERM_CONSISTENT_READ,
  PERM_RESIZE,
  PERM_WRITE,
  PERM_WRITE_UNCHANGED,
  type Permissions,
} from "../../permissions.ts";
import { CacheCleaner } from "./cache-cleaner.ts";
import { ClusterReader } from "./cluster-read.ts";
import { ClusterWriter } from "./cluster-write.ts";
import type { Qcow2Image } from "./image.ts";
import { Qcow2Bitmaps } from "./image-bitmaps.ts";
import { beginWriting } from "./open-image.ts";
import { resizeImage } from "./resize.ts";
import { ClusterZeroer } from "./zero-clusters.ts";

export interface Qcow2DriverOptions {
  readonly image: Qcow2Image;
  readonly backing: BlockNode | undefined;
  readonly readOnly: boolean;
  /** False: the image is somebody else's, and nothing is written to it. */
  readonly active?: boolean;
  /** Of when tables that nobody uses are given up; never without. */
  readonly clock?: Clock;
  readonly onDamage?: OpenContext["imageDamaged"];
}

/** One open image. See `Qcow2Image` for the order in which things reach the file. */
export class Qcow2Driver implements BlockDriver {
  readonly driverName: string = "qcow2";
  readonly clusterSizeBytes: number;
  readonly children: readonly DriverChild[];
  readonly image: Qcow2Image;
  readonly bitmapStore: Qcow2Bitmaps;
  #readOnly: boolean;
  #active: boolean;
  /** Something was written since the latest flush. */
  #changed = false;
  readonly #reader: ClusterReader;
  readonly #writer: ClusterWriter;
  readonly #zeroer: ClusterZeroer;
  readonly #cleaner: CacheCleaner | undefined;

  constructor(options: Qcow2DriverOptions) {
    const { image, backing, readOnly, active = true, clock, onDamage } = options;
    this.image = image;
    this.bitmapStore = new Qcow2Bitmaps(image, () => this.writable && !image.corrupt);
    this.#readOnly = readOnly;
    this.#active = active;
    this.clusterSizeBytes = image.layout.clusterBytes;
    this.children = [
      { role: "file", node: image.file.node },
      ...(backing === undefined ? [] : [{ role: "backing" as const, node: backing }]),
    ];
    const diskBytes = (): number => this.lengthBytes;
    this.#reader = new ClusterReader(image, backing);
    this.#writer = new ClusterWriter(image, this.#reader, diskBytes);
    this.#zeroer = new ClusterZeroer({ image, reader: this.#reader, writer: this.#writer, backing, diskBytes });
    const caches = [image.l2, image.refcounts.cache];
    this.#cleaner = clock && new CacheCleaner({ clock, intervalMs: image.cacheCleanMs, caches });
    image.isWritable = () => this.writable;
    image.onDamage = (damage) => {
      if (damage.fatal) void image.markCorrupt().catch(ignoreFailedMark);
      onDamage?.(this, damage);
    };
  }

  get lengthBytes(): number {
    return this.image.header.sizeBytes;
  }

  get readOnly(): boolean {
    return this.#readOnly;
  }

  /** What is in memory goes to the file at times, if at its end alone. */
  get writable(): boolean {
    return !this.#readOnly && this.#active;
  }

  /** The name in the header of the file that the image stands on. */
  get backingFile(): string | undefined {
    return this.image.header.backingFile;
  }

  read(offsetBytes: number, vector: IoVector): void | Promise<void> {
    return this.#reader.read(offsetBytes, vector);
  }

  write(offsetBytes: number, vector: IoVector): void | Promise<void> {
    this.#changed = true;
    return this.#writer.write(offsetBytes, vector);
  }

  /** Whole clusters are stored compressed where that takes less. */
  writeCompressed(offsetBytes: number, vector: IoVector): Promise<void> {
    this.#changed = true;
    return this.#writer.writeCompressed(offsetBytes, vector);
  }

  writeZeroes(offsetBytes: number, lengthBytes: number, options: WriteZeroesOptions): Promise<void> {
    this.#changed = true;
    return this.#zeroer.writeZeroes(offsetBytes, lengthBytes, options);
  }

  discard(offsetBytes: number, lengthBytes: number): Promise<void> {
    this.#changed = true;
    return this.#zeroer.discard(offsetBytes, lengthBytes);
  }

  flush(): void | Promise<void> {
    const { image } = this;
    if (image.file.quiet) return image.flush();
    return this.#flushWithEvent();
  }

  blockStatus(offsetBytes: number, lengthBytes: number): BlockStatus | Promise<BlockStatus> {
    return this.#reader.blockStatus(offsetBytes, lengthBytes);
  }

  resize(lengthBytes: number): Promise<void> {
    return resizeImage(this.image, this.#zeroer, lengthBytes);
  }

  /** The counts and the header are made right; all else a flush has done before. */
  async close(): Promise<void> {
    this.#cleaner?.stop();
    if (!this.writable || this.image.corrupt) return;
    await this.image.settle();
  }

  async inactivate(): Promise<void> {
    if (this.writable && !this.image.corrupt) await this.image.settle();
    this.#active = false;
  }

  /** The file is the image's alone, as far as writing goes; the backing file must not change. */
  childPermissions(role: ChildRole, asked: Permissions): Permissions {
    if (role === "backing") return backingPermissions(asked);
    const writes = this.#readOnly ? 0 : PERM_WRITE | PERM_RESIZE;
    return {
      needs: (asked.needs & ~PERM_WRITE_UNCHANGED) | PERM_CONSISTENT_READ | writes,
      shares: PERM_CONSISTENT_READ | PERM_WRITE_UNCHANGED,
    };
  }

  async prepareReopen(settings: NodeSettings): Promise<PreparedReopen | undefined> {
    const { readOnly } = settings;
    if (readOnly === this.#readOnly) return undefined;
    if (readOnly) await (this.#active ? this.image.settle() : undefined);
    else if (this.image.corrupt) throw new BlockError("EACCES", "qcow2: Image is corrupt; cannot be opened read/write");
    // From here on, for what it asks of its file goes by it.
    this.#readOnly = readOnly;
    return {
      readOnly,
      commit: () => {},
      finish: async () => {
        if (this.writable) await beginWriting(this.image);
      },
      abort: () => {
        this.#readOnly = !readOnly;
        return Promise.resolve();
      },
    };
  }

  async #flushWithEvent(): Promise<void> {
    const { image } = this;
    await image.file.event("flush_to_os");
    const changed = this.#changed;
    this.#changed = false;
    await image.flush();
    if (!changed) return;
    await image.file.event("flush_to_disk");
    await image.file.flush();
  }
}

/** The image is in such a state that every request fails already; that it cannot be marked so changes nothing. */
function ignoreFailedMark(error: unknown): void {
  if (!(error instanceof BlockError)) throw error;
}
