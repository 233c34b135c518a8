// The source's end of a migration: what is written, and what comes back. docs/reference/migration-stream.md §2.1.

import { type BlockError, strerror } from "../base/errors.ts";
import type { ByteStreamListener } from "../transport/byte-stream.ts";
import type { BinaryWriter } from "./binary-writer.ts";
import type { MigrationChannel } from "./migration-address.ts";
import { RP_SHUT } from "./stream-format.ts";

const RP_HEADER_BYTES = 4;
/** A message is not longer. */
const MAX_RP_BYTES = 512;

/** A migration has failed; `description` is what query-migrate shows of that, if anything. */
export class MigrationFailure extends Error {
  override readonly name: string = "MigrationFailure";
  readonly description: string | undefined;

  constructor(description: string | undefined) {
    super(description ?? "migration failed");
    this.description = description;
  }
}

/** Writes with backpressure, and notices when nobody reads any more. */
export class OutgoingChannel implements ByteStreamListener {
  readonly #channel: MigrationChannel;
  readonly #onChange: () => void;
  #failure: MigrationFailure | undefined;
  #wake: (() => void) | undefined;
  #full = false;
  #peerEnded = false;
  /** Nothing more is to be sent: that it closes is no failure. */
  #finished = false;
  #shut: number | undefined;
  #received: Uint8Array = new Uint8Array(0);
  /** Bytes written. */
  transferredBytes = 0;

  /** `onChange` is called when the channel has broken. */
  constructor(channel: MigrationChannel, onChange: () => void) {
    this.#channel = channel;
    this.#onChange = onChange;
    channel.stream.attach(this);
  }

  /** Throws a `MigrationFailure` once the channel is broken. */
  check(): void {
    if (this.#failure !== undefined) throw this.#failure;
  }

  /** Sends what is written. Resolves when more may be. */
  async send(out: BinaryWriter): Promise<void> {
    this.check();
    const bytes = out.take();
    this.transferredBytes += bytes.length;
    if (bytes.length > 0 && !this.#channel.stream.write(bytes)) this.#full = true;
    while (this.#full) {
      await this.#change();
      this.check();
    }
  }

  /** Resolves when the system has taken everything. */
  async finish(): Promise<void> {
    this.#finished = true;
    await this.#channel.stream.end();
    this.check();
  }

  /** Waits for what the destination says at the end. Rejects unless it says that all is well; then `report` may tell why. */
  async untilShut(report: (line: string) => void): Promise<void> {
    while (this.#shut === undefined) {
      this.check();
      if (this.#peerEnded) throw new MigrationFailure(undefined);
      await this.#change();
    }
    if (this.#shut === 0) return;
    report(`RP: Sibling indicated error ${this.#shut}`);
    throw new MigrationFailure(undefined);
  }

  /** Cuts it off. */
  close(): void {
    this.#finished = true;
    this.#channel.stream.close();
  }

  onData(bytes: Uint8Array): void {
    const all = new Uint8Array(this.#received.length + bytes.length);
    all.set(this.#received);
    all.set(bytes, this.#received.length);
    const view = new DataView(all.buffer);
    let at = 0;
    while (all.length - at >= RP_HEADER_BYTES) {
      const [type, length] = [view.getUint16(at), view.getUint16(at + 2)];
      if (length > MAX_RP_BYTES) {
        this.#fail(new MigrationFailure(`RP: message of ${length} bytes`));
        return;
      }
      if (all.length - at < RP_HEADER_BYTES + length) break;
      if (type === RP_SHUT && length === 4) this.#shut = view.getUint32(at + RP_HEADER_BYTES);
      at += RP_HEADER_BYTES + length;
    }
    this.#received = all.slice(at);
    this.#wake?.();
  }

  onDrain(): void {
    this.#full = false;
    this.#wake?.();
  }

  onEnd(): void {
    this.#peerEnded = true;
    this.#wake?.();
  }

  onClose(error?: BlockError): void {
    this.#peerEnded = true;
    this.#full = false;
    if (error !== undefined || !this.#finished) {
      const reason = strerror(error?.errno ?? "EPIPE");
      this.#fail(new MigrationFailure(`Unable to write to ${this.#channel.kind}: ${reason}`));
    } else {
      this.#wake?.();
    }
  }

  #fail(failure: MigrationFailure): void {
    this.#failure ??= failure;
    this.#wake?.();
    this.#onChange();
  }

  #change(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = () => {
        this.#wake = undefined;
        resolve();
      };
    });
  }
}
