// What a device's thread and its guest's thread share: RAM, a few words for registers and the interrupt, and a port to wake each other.

/** Indices into the words. */
export const WORD_STATE = 0;
/** `KIND_READ` or `KIND_WRITE`. */
export const WORD_KIND = 1;
export const WORD_OFFSET = 2;
export const WORD_WIDTH = 3;
/** What to write, or what was read. */
export const WORD_VALUE = 4;
/** The level of the interrupt line, 0 or 1. */
export const WORD_INTERRUPT = 5;
/** 1 while news of a raised line is under way to the guest. */
export const WORD_NEWS = 6;
export const WORD_COUNT = 7;

/** Values of `WORD_STATE`: nothing asked or all answered, an access to carry out, the access threw, the server is closed. */
export const STATE_ANSWERED = 0;
export const STATE_ASKED = 1;
export const STATE_THREW = 2;
export const STATE_CLOSED = 3;

export const KIND_READ = 0;
export const KIND_WRITE = 1;

/** The part of a `MessagePort` that is used, of Node's as of a browser's. */
export interface WakePort {
  postMessage(message: unknown): void;
  addEventListener(type: "message", listener: (event: Event) => void): void;
  start(): void;
  close(): void;
}

/**
 * What a `RegisterServer` hands to the thread of the guest, by `workerData` or `postMessage`, with `port` in the list of what is
 * transferred. It serves one `ThreadTarget`.
 */
export interface RegisterConnection {
  readonly words: Int32Array<SharedArrayBuffer>;
  readonly ram: SharedArrayBuffer;
  /** Where RAM begins in `ram`. */
  readonly ramOffsetBytes: number;
  readonly ramBase: number;
  readonly ramSizeBytes: number;
  /** Bytes of the register bank. */
  readonly bankBytes: number;
  readonly port: WakePort;
}
