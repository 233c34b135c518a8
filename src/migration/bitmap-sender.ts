// Sends the bitmaps of one migration, in whichever phase: docs/reference/persistence-migration.md §5.2.

import { type Clock, Pacer } from "../base/clock.ts";
import { BitmapEncoder, type SentBitmap } from "./bitmap-encoder.ts";
import type { OutgoingChannel } from "./outgoing-channel.ts";
import type { StreamWriter } from "./stream-writer.ts";

/** Written at once. */
const SEND_BYTES = 32768;

export interface BitmapSenderOptions {
  readonly bitmaps: readonly SentBitmap[];
  readonly writer: StreamWriter;
  readonly channel: OutgoingChannel;
  readonly clock: Clock;
}

export class BitmapSender {
  readonly bitmaps: readonly SentBitmap[];
  readonly #writer: StreamWriter;
  readonly #channel: OutgoingChannel;
  readonly #pacer: Pacer;
  readonly #encoder: BitmapEncoder = new BitmapEncoder();
  #index = 0;
  #offset = 0;

  constructor({ bitmaps, writer, channel, clock }: BitmapSenderOptions) {
    this.bitmaps = bitmaps;
    this.#writer = writer;
    this.#channel = channel;
    this.#pacer = new Pacer(clock);
  }

  /** What QEMU counts as left to be sent: the lengths of the disks. */
  get pendingBytes(): number {
    let bytes = -this.#offset;
    for (const { bitmap } of this.bitmaps.slice(this.#index)) bytes += bitmap.sizeBytes;
    return Math.max(bytes, 0);
  }

  start(): void {
    const { out } = this.#writer;
    this.#writer.beginBitmaps("start");
    for (const sent of this.bitmaps) this.#encoder.start(out, sent);
    this.#encoder.endOfSection(out);
    this.#writer.endBitmaps();
  }

  /** One section of so many bytes at least, or the rest. False when there are no more. */
  part(leastBytes: number): boolean {
    const { out } = this.#writer;
    if (this.#index >= this.bitmaps.length) return false;
    this.#writer.beginBitmaps("part");
    const end = out.length + leastBytes;
    while (out.length < end && this.#chunk()) {}
    this.#encoder.endOfSection(out);
    this.#writer.endBitmaps();
    return true;
  }

  /** What is left, and the end of all of them. */
  async end(): Promise<void> {
    const { out } = this.#writer;
    this.#writer.beginBitmaps("end");
    while (this.#chunk()) {
      if (out.length >= SEND_BYTES) await this.#channel.send(out);
      if (this.#pacer.step()) await this.#pacer.yield();
    }
    for (const sent of this.bitmaps) this.#encoder.complete(out, sent);
    this.#encoder.endOfSection(out);
    this.#writer.endBitmaps();
  }

  /** The next one of whichever bitmap is not through; false when all are. */
  #chunk(): boolean {
    for (; this.#index < this.bitmaps.length; this.#index++, this.#offset = 0) {
      const sent = this.bitmaps[this.#index]!;
      if (this.#offset >= sent.bitmap.sizeBytes) continue;
      this.#offset = this.#encoder.bits(this.#writer.out, sent, this.#offset);
      return true;
    }
    return false;
  }
}
