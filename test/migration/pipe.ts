// Two ends of a connection in memory, which can be cut or bent at any byte.
import { BlockError } from "../../src/base/errors.ts";
import type { ByteStream, ByteStreamListener } from "../../src/transport/byte-stream.ts";

export interface PipeFaults {
  /** From the source only so many bytes arrive: then both ends break. */
  readonly cutAtBytes?: number;
  /** Inverts bits of the byte there. */
  readonly flip?: { readonly at: number; readonly mask: number };
}

export class PipeEnd implements ByteStream {
  readonly name = "pipe";
  readonly backlogBytes = 0;
  readonly closed: Promise<void>;
  /** All that was written here, as it arrived. */
  readonly sent: Uint8Array[] = [];
  #peer: PipeEnd | undefined;
  readonly #faults: PipeFaults;
  #sentBytes = 0;
  #listener: ByteStreamListener | undefined;
  #unread: Uint8Array[] = [];
  #paused = false;
  #ended = false;
  #endRead = false;
  #isClosed = false;
  #settle: () => void = () => {};

  private constructor(faults: PipeFaults) {
    this.#faults = faults;
    this.closed = new Promise((resolve) => {
      this.#settle = resolve;
    });
  }

  /** The source's end, which has the faults, and the destination's. */
  static pair(faults: PipeFaults = {}): [PipeEnd, PipeEnd] {
    const source = new PipeEnd(faults);
    const destination = new PipeEnd({});
    source.#peer = destination;
    destination.#peer = source;
    return [source, destination];
  }

  attach(listener: ByteStreamListener): void {
    this.#listener = listener;
    queueMicrotask(() => this.#deliver());
  }

  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    this.#paused = false;
    queueMicrotask(() => this.#deliver());
  }

  write(bytes: Uint8Array): boolean {
    if (this.#ended || this.#isClosed) return true;
    const peer = this.#peer!;
    if (peer.#isClosed) {
      queueMicrotask(() => this.#break(new BlockError("EPIPE")));
      return true;
    }
    const { cutAtBytes = Number.POSITIVE_INFINITY, flip } = this.#faults;
    const arriving = bytes.slice(0, Math.max(0, cutAtBytes - this.#sentBytes));
    if (flip !== undefined && flip.at >= this.#sentBytes && flip.at < this.#sentBytes + arriving.length) {
      arriving[flip.at - this.#sentBytes]! ^= flip.mask;
    }
    this.#sentBytes += bytes.length;
    this.sent.push(arriving);
    if (arriving.length > 0) peer.#unread.push(arriving);
    if (this.#sentBytes >= cutAtBytes) {
      peer.#endRead = true;
      queueMicrotask(() => this.#break(new BlockError("EPIPE")));
    }
    queueMicrotask(() => peer.#deliver());
    return true;
  }

  async end(): Promise<void> {
    if (this.#ended || this.#isClosed) return;
    this.#ended = true;
    const peer = this.#peer!;
    peer.#endRead = true;
    queueMicrotask(() => peer.#deliver());
    await Promise.resolve();
  }

  close(): void {
    this.#break(undefined);
  }

  #break(error: BlockError | undefined): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#settle();
    this.#listener?.onClose(error);
    const peer = this.#peer!;
    peer.#endRead = true;
    queueMicrotask(() => peer.#deliver());
  }

  #deliver(): void {
    while (this.#listener !== undefined && !this.#paused && !this.#isClosed) {
      const bytes = this.#unread.shift();
      if (bytes !== undefined) {
        this.#listener.onData(bytes);
        continue;
      }
      if (this.#endRead) {
        this.#endRead = false;
        this.#listener.onEnd();
      }
      return;
    }
  }
}
