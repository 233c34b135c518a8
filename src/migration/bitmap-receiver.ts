// The bitmaps that arrive with a migration: docs/reference/persistence-migration.md §5.3.

import { QmpError } from "../base/errors.ts";
import { type DirtyBitmap, MIN_GRANULARITY_BYTES } from "../bitmap/dirty-bitmap.ts";
import type { DirtyBitmapList } from "../bitmap/dirty-bitmap-list.ts";
import type { BlockGraph } from "../block/graph.ts";
import type { BlockNode } from "../block/node.ts";
import type { BitmapChunks, ReceivedBitmapOptions } from "./bitmap-decoder.ts";
import type { BitmapMappingNode } from "./bitmap-mapping.ts";
import { letNodeGo } from "./bitmap-selection.ts";
import { StreamError } from "./stream-error.ts";
import { CHUNK_ALIGN_BYTES } from "./stream-format.ts";

interface ReceivedBitmap {
  readonly bitmap: DirtyBitmap;
  readonly list: DirtyBitmapList;
  readonly enabled: boolean;
  complete: boolean;
  /** The node stays until the bitmap is complete or gone. */
  readonly letGo: () => Promise<void> | undefined;
}

export interface BitmapReceiverOptions {
  readonly graph: BlockGraph;
  readonly mapping: readonly BitmapMappingNode[] | undefined;
  readonly report: (line: string) => void;
}

/** As many as an image can hold. */
const MAX_BITMAPS = 65535;
/** Of all bitmaps together: what one bitmap may have. Each takes 8 bytes for 2^20 of them until bits arrive. */
const MAX_GROUPS = 2 ** 41;
const MAX_GRANULARITY_BYTES = 2 ** 31;

/**
 * One bitmap:
 *
 *   (START) ──▶ incomplete: busy; the successor records from the start of the machine on ──COMPLETE──▶ complete: the users'; records from
 *   the start of the machine on, if it did
 *
 * Names that mean nothing here end the reception of bitmaps, not the migration: what is incomplete is dropped then, and the rest ignored.
 */
export class BitmapReceiver implements BitmapChunks {
  readonly #options: BitmapReceiverOptions;
  #received: ReceivedBitmap[] = [];
  #groups = 0;
  #count = 0;
  #started = false;
  #cancelled = false;
  #nodeAlias = "";
  #node: BlockNode | undefined;
  #mapped: BitmapMappingNode | undefined;
  #bitmapAlias = "";
  #name: string | undefined;
  #current: ReceivedBitmap | undefined;

  constructor(options: BitmapReceiverOptions) {
    this.#options = options;
  }

  selectNode(alias: string | undefined): void {
    if (this.#cancelled) return;
    if (alias === undefined) {
      if (this.#node === undefined) this.#cancel("Error: block device name is not set");
      return;
    }
    if (alias === this.#nodeAlias && this.#node !== undefined) return;
    const { graph, mapping } = this.#options;
    this.#nodeAlias = alias;
    this.#name = undefined;
    this.#current = undefined;
    this.#mapped = mapping?.find((entry) => entry.alias === alias);
    if (mapping !== undefined && this.#mapped === undefined) {
      this.#cancel(`Error: Unknown node alias '${alias}'`);
      return;
    }
    const name = this.#mapped?.["node-name"] ?? alias;
    this.#node = graph.findNode(name);
    if (this.#node === undefined) this.#cancel(`Cannot find device='${name}' nor node-name='${name}'`);
  }

  selectBitmap(alias: string | undefined, starts: boolean): void {
    if (this.#cancelled) return;
    if (alias === undefined) {
      const known = starts ? this.#name : this.#current;
      if (known === undefined) this.#cancel("Error: block device name is not set");
      return;
    }
    const node = this.#node!;
    const entry = this.#mapped?.bitmaps.find((one) => one.alias === alias);
    if (this.#mapped !== undefined && entry === undefined) {
      this.#cancel(`Error: Unknown bitmap alias '${alias}' on node '${node.name}' (alias '${this.#nodeAlias}')`);
      return;
    }
    const name = entry?.name ?? alias;
    this.#bitmapAlias = alias;
    this.#name = name;
    if (starts) return;
    this.#current = this.#received.find(
      ({ bitmap, list, complete }) => list === node.bitmaps && bitmap.name === name && !complete,
    );
    if (this.#current === undefined) {
      this.#cancel(`Error: unknown dirty bitmap '${name}' for block device '${node.name}'`);
    }
  }

  start({ granularityBytes, enabled, persistent }: ReceivedBitmapOptions): void {
    if (this.#cancelled) return;
    const list = this.#node!.bitmaps;
    const name = this.#name!;
    if (list.find(name) !== undefined) {
      throw new StreamError("EINVAL", `Bitmap with the same name ('${name}') already exists on destination`);
    }
    this.#checkSize(granularityBytes);
    let bitmap: DirtyBitmap;
    try {
      bitmap = list.create({ name, granularityBytes, disabled: true });
    } catch (error) {
      throw error instanceof QmpError ? new StreamError("EINVAL", error.message) : error;
    }
    const transform = this.#mapped?.bitmaps.find((one) => one.alias === this.#bitmapAlias)?.transform;
    bitmap.persistent = transform?.persistent ?? persistent;
    if (enabled) {
      const successor = list.createSuccessor(bitmap);
      if (this.#started) successor.enable();
    } else {
      bitmap.setBusy(true);
    }
    const letGo = this.#options.graph.keep(this.#node!, "a migration");
    this.#current = { bitmap, list, enabled, complete: false, letGo };
    this.#received.push(this.#current);
  }

  bits(offsetBytes: number, lengthBytes: number, words: Uint8Array | undefined): void {
    if (this.#cancelled) return;
    const { bitmap } = this.#current!;
    const { bits, sizeBytes, granularityBytes } = bitmap;
    const length = Math.min(lengthBytes, sizeBytes - offsetBytes);
    const align = bits.serializationAlignBytes;
    const isLast = offsetBytes + length === sizeBytes;
    const sectorsEnd = Math.ceil(sizeBytes / 512) * 512;
    const fits = offsetBytes + lengthBytes <= sectorsEnd && length > 0;
    if (!fits || offsetBytes % align !== 0 || (length % align !== 0 && !isLast)) {
      throw new StreamError(
        "EINVAL",
        `Bits ${offsetBytes}+${lengthBytes} do not fit the destination bitmap '${bitmap.name}' of ${sizeBytes} bytes ` +
          `with granularity ${granularityBytes}`,
      );
    }
    if (words === undefined) {
      bits.deserializeZeroes(offsetBytes, length);
      return;
    }
    const needed = bits.serializationSize(offsetBytes, length);
    const most = Math.ceil(needed / CHUNK_ALIGN_BYTES) * CHUNK_ALIGN_BYTES;
    if (words.length < needed || words.length > most) {
      this.#cancel(`Migrated bitmap granularity doesn't match the destination bitmap '${bitmap.name}' granularity`);
      return;
    }
    bits.deserialize(offsetBytes, length, words);
  }

  complete(): void {
    if (this.#cancelled) return;
    const current = this.#current!;
    const { bitmap, list } = current;
    if (bitmap.successor === undefined) bitmap.setBusy(false);
    else list.reclaim(bitmap);
    current.complete = true;
    letNodeGo(current.letGo, this.#options.report);
    this.#current = undefined;
    if (this.#started) this.#received.splice(this.#received.indexOf(current), 1);
  }

  /** The machine is about to run: what recorded on the source records from now on. */
  beforeStart(): void {
    this.#started = true;
    for (const { bitmap, enabled, complete } of this.#received) {
      if (enabled) (complete ? bitmap : bitmap.successor!).enable();
    }
    this.#received = this.#received.filter(({ complete }) => !complete);
  }

  /** The stream has ended well. QEMU keeps what is incomplete, busy for good; here it goes as after a failure, and that is told. */
  finish(): void {
    for (const { bitmap } of this.#received) this.#options.report(`Bitmap '${bitmap.name}' has not arrived completely`);
    this.drop();
  }

  /** The stream has failed, or nobody wants it any more: what is not whole goes, and before the start of the machine all of it. */
  drop(): void {
    this.#cancelled = true;
    for (const received of this.#received) release(received, this.#options.report);
    this.#received = [];
  }

  /** Goes on without bitmaps. */
  #cancel(line: string): void {
    this.#options.report(line);
    this.#cancelled = true;
    for (const received of this.#received) if (!received.complete) release(received, this.#options.report);
    this.#received = this.#received.filter(({ complete }) => complete);
  }

  #checkSize(granularityBytes: number): void {
    const isPower = granularityBytes > 0 && (granularityBytes & (granularityBytes - 1)) === 0;
    if (!isPower || granularityBytes < MIN_GRANULARITY_BYTES || granularityBytes > MAX_GRANULARITY_BYTES) {
      throw new StreamError("EINVAL", "Granularity must be power of 2 and at least 512");
    }
    this.#count++;
    this.#groups += Math.ceil(this.#node!.lengthBytes / granularityBytes);
    if (this.#count > MAX_BITMAPS || this.#groups > MAX_GROUPS) {
      throw new StreamError("EINVAL", "Too much space will be occupied by the bitmaps");
    }
  }
}

function release({ bitmap, list, complete, letGo }: ReceivedBitmap, report: (line: string) => void): void {
  if (complete) {
    // It was the users' already: one of them may use it, or have removed it.
    if (!bitmap.busy && bitmap.name !== undefined && list.find(bitmap.name) === bitmap) list.release(bitmap);
    return;
  }
  if (bitmap.successor === undefined) bitmap.setBusy(false);
  else list.reclaim(bitmap);
  list.release(bitmap);
  letNodeGo(letGo, report);
}
