// A two-way stream of bytes with backpressure: what monitors, NBD connections and migrations speak over.

import type { BlockError } from "../base/errors.ts";

/** Who reads a stream. Any number of `onData` and `onDrain`, at most one `onEnd`, then one `onClose` and nothing more. */
export interface ByteStreamListener {
  /** Bytes have arrived, at least one. They belong to the listener. Not called while the stream is paused. */
  onData(bytes: Uint8Array): void;
  /** What was written has been taken, after a `write` that returned false. */
  onDrain?(): void;
  /** The peer will send no more, and may still read. */
  onEnd(): void;
  /** Nothing comes or goes any more. `error` says why if neither side asked for it. */
  onClose(error?: BlockError): void;
}

/**
 * One connection.
 *
 *   open ──end()──▶ half closed ──the peer ends too──▶ closed
 *    └────────────close(), error, peer gone────────────▲
 *
 * What arrives waits until a listener is attached, so that nothing is lost before.
 */
export interface ByteStream {
  /** The two ends as QEMU names them, `unix:/run/vm.qmp,server=on` or `tcp:127.0.0.1:4444 <-> 127.0.0.1:50122`. */
  readonly name: string;
  /** Bytes written that the system has not taken yet. */
  readonly backlogBytes: number;
  /** Resolves when the stream is closed, for whatever reason. Never rejects. */
  readonly closed: Promise<void>;
  /** Says who reads. Once in the life of a stream. */
  attach(listener: ByteStreamListener): void;
  /** No `onData` until `resume`. The end of what the peer sends is noticed after what it sent. */
  pause(): void;
  resume(): void;
  /**
   * Sends `bytes`, which the caller leaves unchanged from now on. False asks to wait for `onDrain` before more is written;
   * the bytes are accepted all the same. Nothing is sent once the stream is half closed or closed.
   */
  write(bytes: Uint8Array): boolean;
  /**
   * Writes no more. What was written still arrives, and what the peer sends from now on is dropped. Resolves when the system has
   * taken what was written, or the stream is closed. Never rejects.
   */
  end(): Promise<void>;
  /** Closes at once. What the system has not taken is lost. */
  close(): void;
}
